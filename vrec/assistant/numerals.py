"""Numbers in words, English and Chinese, written as digits."""

import re

_SMALL = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_SCALES = {"hundred": 100, "thousand": 1000}
_ANY = "|".join([*_TENS, *_SMALL, *_SCALES])
_WORDS = re.compile(
    rf"\b(?:a (?=hundred|thousand))?(?:{_ANY})"
    rf"(?:(?:(?<=hundred)|(?<=thousand))(?: and)? (?:{_ANY})|[ -](?:{_ANY}))*\b"
)
"""Words of one number; "and" stands only behind a hundred or thousand, so that "ten and twenty" are two."""
_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_HAN = re.compile("[零〇一二两三四五六七八九十][零〇一二两三四五六七八九十百千万]*")
_MIXED = re.compile(r"(\d+(?:\.\d+)?)\s*(百|千|万|k\b)")
_SCALE_OF = {"百": 100, "千": 1000, "万": 10_000, "k": 1000}
_EITHER = re.compile(
    "([一二两三四五六七八九])([二两三四五六七八九])([十百千万])(?![零一二两三四五六七八九十百千万])"
)
"""Two neighbors with one unit, such as 三四百: 300 to 499."""
_EITHER_TENS = re.compile(
    "([一二两三四五六七八九])百([一二三四五六七八])([二三四五六七八九])(?![零一二两三四五六七八九十百千万])"
)
"""Two neighbors behind a hundred, such as 一百七八: 170 to 189."""
_COUPLE = re.compile(r"\b(?:a )?couple (?:of )?(?=hundred|thousand)")
_NEARLY_HUNDRED = re.compile("(?<![零一二两三四五六七八九十百千万])百八十(?=[块元来的]|$)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def with_digits(text: str) -> str:
    """Return a text in its normal form with numbers as digits: "two hundred", 两百, "1,200" and 1.2万.

    A single Chinese digit stays as it is unless a unit of money follows, since 一 is in many words.
    """
    text = _THOUSANDS.sub("", text)
    text = _MIXED.sub(lambda found: _plain(float(found[1]) * _SCALE_OF[found[2]]), text)
    text = _NEARLY_HUNDRED.sub("80到100", _COUPLE.sub("two ", text))
    text = _EITHER_TENS.sub(_tens_from_to, _EITHER.sub(_from_to, text))
    text = _WORDS.sub(lambda found: str(_english(found[0])), text)
    text = re.sub(
        "(?<![零一二两三四五六七八九十百千万])([十百千])来(?=[元块])",
        lambda found: f"大约{_UNITS[found[1]]}",
        text,
    )
    text = re.sub(
        "(?<![零一二两三四五六七八九十百千万几])([百千])(?=[元块])", lambda found: str(_UNITS[found[1]]), text
    )
    return _HAN.sub(lambda found: _han_digits(found, text), text)


def _from_to(found: re.Match[str]) -> str:
    low, high = _DIGITS[found[1]], _DIGITS[found[2]]
    unit = _UNITS[found[3]]
    return f"{low * unit}到{(high + 1) * unit - 1}" if high == low + 1 else found[0]


def _tens_from_to(found: re.Match[str]) -> str:
    hundreds, low, high = (_DIGITS[digit] for digit in found.groups())
    return f"{100 * hundreds + 10 * low}到{100 * hundreds + 10 * high + 9}" if high == low + 1 else found[0]


def _han_digits(found: re.Match[str], text: str) -> str:
    if len(found[0]) == 1 and text[found.end() : found.end() + 1] not in tuple("元块"):
        return found[0]
    value = chinese_number(found[0])
    return found[0] if value is None else str(value)


def chinese_number(text: str) -> int | None:
    """Return the value of a Chinese number below 100 million, such as 三百五; None if it is none."""
    total = section = digit = 0
    last_unit, seen_digit = 1, False
    for character in text:
        if character in _DIGITS:
            if seen_digit and digit:
                return None
            digit, seen_digit = _DIGITS[character], True
            if digit == 0:
                last_unit, seen_digit = 1, False
        else:
            unit = _UNITS[character]
            if unit == 10_000:
                total, section = (total + section + digit) * unit, 0
            else:
                section += (digit if seen_digit else 1) * unit
            digit, last_unit, seen_digit = 0, unit, False
    # 三百五 is 350: a last digit right behind a unit counts the next smaller one.
    tail = digit * (last_unit // 10 if last_unit > 10 else 1)
    return total + section + tail


def _english(text: str) -> int:
    total = current = 0
    for word in re.split("[ -]", text):
        if word in _SMALL or word in _TENS:
            value = _SMALL.get(word, 0) + _TENS.get(word, 0)
            # "Two fifty" is 250.
            current = current * (100 if 0 < current < 10 <= value else 1) + value
        elif word == "hundred":
            current = max(1, current) * 100
        elif word == "thousand":
            total, current = total + max(1, current) * 1000, 0
    return total + current


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
