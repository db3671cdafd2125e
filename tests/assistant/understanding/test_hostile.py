"""Patterns of messages against texts that make careless patterns backtrack."""

import re

import pytest

from vrec.assistant import commands, phrases
from vrec.assistant.parse import MAX_MESSAGE_CHARS
from vrec.assistant.understanding import clauses, indifference, price_phrases

HOSTILE = (
    "no ", "1", "1 ", "预算", "不", "是", "and ", "any ", "我 ", "的都", "$", "to match my ", "is not ", "a",
    "有没有", "color color ", "颜色", "一百", "two fifty ", "i said 1 ", "第一个", "!", " ", "more than ",
)  # fmt: skip


def patterns():
    """Return all compiled patterns of the modules that read messages."""
    found: list[re.Pattern[str]] = []
    for module in (commands, phrases, clauses, indifference, price_phrases):
        waiting = [value for name, value in vars(module).items() if not name.startswith("__")]
        while waiting:
            one = waiting.pop()
            if isinstance(one, re.Pattern):
                found.append(one)
            elif isinstance(one, dict):
                waiting.extend(one.values())
            elif isinstance(one, list | tuple) and not isinstance(one, str):
                waiting.extend(one)
    return list({one.pattern: one for one in found}.values())


def test_there_are_patterns_to_test():
    assert len(patterns()) > 60


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_pattern_backtracks_for_long(piece):
    """An exponential pattern would not end before the timeout of the tests."""
    text = (piece * MAX_MESSAGE_CHARS)[:MAX_MESSAGE_CHARS]
    for pattern in patterns():
        list(pattern.finditer(text))
