"""Check that a phrased answer says nothing that the answer of the rules does not say.

A list of what is forbidden would miss the next invention. So the check is closed: a phrased text may have the
words of the rules' text and plain words, and its numbers, names and negations are those of the rules' text in
the same order.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from vrec.assistant.language_model.plain_words import CHINESE_PLAIN, ENGLISH_PLAIN
from vrec.assistant.text import language_of, normal_form, stem_of, units_of

MAX_CHARS = 600
"""Maximum length of a phrased text."""
LONGER = 2.5
"""A phrased text has at most this many times the characters of the rules' text, and 80 more."""
_SIGNS = frozenset(".,!?;:'\"()-–—…‘’“”，。！？；：（）、~")
_NUMBER = r"[$€£¥₩₹]?\s?\d+(?:[.,]\d+)*\s?(?:%|[$€£¥₩₹])?"
_NEGATION = (
    r"\b(?:no|not|nothing|none|never|nor|neither|without|except|cannot)\b|n['’]t\b|[不没无未别非勿莫除]"
)
_JOINED = re.compile(r"[^\W\d_]\.[^\W\d_]|://|@")
"""Dot between letters as in the name of a host, and other signs of addresses."""
_MOST_HAN = 30


def grounding_fault(text: str, told: str, names: Iterable[str], language: str) -> str | None:
    """Return why a phrased text must not be shown; None if it may.

    Args:
        text: The phrased text.
        told: The text of the rules.
        names: Titles of videos that `told` may have.
        language: The shopper's language, `en` or `zh`.
    """
    if not text.strip() or len(text) > min(MAX_CHARS, LONGER * len(told) + 80):
        return "length"
    if any(unicodedata.category(character)[0] == "C" for character in text):
        return "invisible characters"
    new, old = normal_form(text), normal_form(told)
    titles = sorted({name for one in names if (name := normal_form(one))}, key=len, reverse=True)
    if _facts(new, titles) != _facts(old, titles):
        return "numbers, names or negations"
    rest = _without(new, titles)
    if language_of(rest, language) != language:
        return "language"
    held = {unit.text for unit in units_of(old)}
    signs = {unit.text for unit in units_of(rest) if unit.is_sign}
    if not signs <= _SIGNS | held or {one[0] for one in _JOINED.finditer(rest)} - set(_joined(old)):
        return "signs"
    plain = CHINESE_PLAIN if language == "zh" else ENGLISH_PLAIN
    return None if _has_known_words(rest, old, plain) else "words"


def _facts(text: str, titles: Sequence[str]) -> list[str]:
    """Return titles, numbers and negations in their order."""
    pattern = "|".join([*(re.escape(title) for title in titles), _NUMBER, _NEGATION])
    return ["".join(found.split()) for found in re.findall(pattern, text)]


def _without(text: str, titles: Sequence[str]) -> str:
    for title in titles:
        text = text.replace(title, " ")
    return text


def _joined(text: str) -> list[str]:
    return [found[0] for found in _JOINED.finditer(text)]


def _has_known_words(text: str, told: str, plain: frozenset[str]) -> bool:
    stems = {unit.stem for unit in units_of(told)}
    han = ""
    for unit in units_of(text):
        if unit.is_han:
            han += unit.text
            continue
        if not _is_covered(han, told, plain):
            return False
        han = ""
        if unit.is_sign or unit.text[0].isdigit():
            continue
        word = unit.text.replace("’", "'")
        if unit.stem not in stems and plain.isdisjoint((word, stem_of(word))):
            return False
    return _is_covered(han, told, plain)


def _is_covered(han: str, told: str, plain: frozenset[str]) -> bool:
    """Return whether Chinese text is made of plain words and of pieces of `told`, two characters or more."""
    reached = [True] + [False] * len(han)
    for end in range(1, len(han) + 1):
        for start in range(max(0, end - _MOST_HAN), end):
            piece = han[start:end]
            if reached[start] and (piece in plain or (len(piece) > 1 and piece in told)):
                reached[end] = True
                break
    return reached[-1]
