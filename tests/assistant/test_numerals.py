"""Numbers in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.assistant.numerals import chinese_number, with_digits
from vrec.assistant.text import normal_form

DIGITS = "零一二三四五六七八九"


def written(value):
    """A number below 100,000 in Chinese, as it is spoken in full."""
    if value >= 10_000:
        rest = value % 10_000
        gap = "零" if 0 < rest < 1_000 else ""
        return written(value // 10_000) + "万" + gap + (written(rest) if rest else "")
    text, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // unit % 10
        if digit:
            text += ("零" if zero and text else "") + DIGITS[digit] + name
            zero = False
        else:
            zero = True
    return text


@given(st.integers(1, 99_999))
def test_chinese_numbers_are_read_as_they_are_written(value):
    assert chinese_number(written(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("between twenty and forty-five", "between 20 and 45"),
        ("one hundred and fifty", "150"),
        ("a hundred", "100"),
        ("two thousand three hundred", "2300"),
        ("三百五", "350"),
        ("两千零六", "2006"),
        ("十五块", "15块"),
        ("五块", "5块"),
        ("1.2万", "12000"),
        ("1,200.50", "1200.50"),
        ("3k", "3000"),
        ("千万不要", "千万不要"),
        ("十分好看", "十分好看"),
        ("一件", "一件"),
        ("第二个", "第二个"),
    ],
)
def test_numbers_in_words_become_digits(text, expected):
    assert with_digits(normal_form(text)) == expected


@given(st.text(max_size=60))
def test_any_text_passes(text):
    with_digits(normal_form(text))
