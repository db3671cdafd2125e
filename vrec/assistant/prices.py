"""Prices that a message asks for: bounds, ranges, "about", and cheaper or dearer than what was shown."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vrec.assistant.currencies import CURRENCY, currencies_in

PriceStep = Literal["cheaper", "dearer"]
ABOUT = 0.2
"""Relative distance that "about" allows."""


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Range of prices; the default is every price."""

    least: float | None = None
    most: float | None = None
    above: bool = False
    """Whether `least` itself is excluded."""
    below: bool = False
    """Whether `most` itself is excluded."""
    is_about: bool = field(default=False, compare=False)
    """Whether it stands for one amount, so that neither bound was meant as one."""

    def has(self, price: float) -> bool:
        """Return whether a price lies in the range."""
        if self.least is not None and (price < self.least or (self.above and price == self.least)):
            return False
        return self.most is None or price < self.most or (not self.below and price == self.most)

    @property
    def is_empty(self) -> bool:
        """True where no price lies in the range."""
        if self.least is None or self.most is None:
            return False
        return self.least > self.most or (self.least == self.most and (self.above or self.below))

    @property
    def is_any(self) -> bool:
        """True where every price lies in the range."""
        return self.least is None and self.most is None

    def narrowed(self, later: "PriceRange") -> "PriceRange":
        """Return the range after a later wish: its bounds replace these, and one that contradicts it goes."""
        merged = replace(self, is_about=later.is_about)
        if later.least is not None:
            merged = replace(merged, least=later.least, above=later.above)
        if later.most is not None:
            merged = replace(merged, most=later.most, below=later.below)
        return later if merged.is_empty else merged


@dataclass(frozen=True, slots=True)
class PriceWish:
    """Wish about the price in one phrase."""

    start: int
    """Position of the phrase in the text."""
    end: int
    range: PriceRange | None = None
    step: PriceStep | None = None
    """Cheaper or dearer than what was shown."""
    order: PriceStep | None = None
    """Order that is asked for: the cheapest, or the dearest, first."""


_CURRENCY = rf"(?:元|块钱|块|圆|kuai\b|{CURRENCY})"
_M = rf"(?:{CURRENCY})?\s*(\d+(?:\.\d+)?)\s*{_CURRENCY}?"
_MONEY = rf"(?:{CURRENCY}\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*{_CURRENCY})(?![a-z])"
_NEARLY = r"(?:about|around|approximately|approx\.?|roughly|near(?:ly)?|circa)"
_TO = r"\s*(?:-|~|–|—|to|and|until|到|至|和)\s*"


def _between(low: float, high: float) -> PriceRange:
    return PriceRange(min(low, high), max(low, high))


def _about(price: float) -> PriceRange:
    return PriceRange(round(price * (1 - ABOUT), 6), round(price * (1 + ABOUT), 6), is_about=True)


def _exactly(price: float) -> PriceRange:
    return PriceRange(price, price)


def _at_most(price: float) -> PriceRange:
    return PriceRange(most=price)


def _below(price: float) -> PriceRange:
    return PriceRange(most=price, below=True)


def _at_least(price: float) -> PriceRange:
    return PriceRange(least=price)


def _above(price: float) -> PriceRange:
    return PriceRange(least=price, above=True)


def _and_some(price: float) -> PriceRange:
    """Return the range of 三百多: up to the next number with as many digits that are not zero."""
    zeros = len(f"{price:.0f}") - len(f"{price:.0f}".rstrip("0"))
    return PriceRange(price, price + 10**zeros, below=True)


_RANGES: tuple[tuple[str, Callable[..., PriceRange]], ...] = (
    (rf"\b(?:between|from)\s+{_M}{_TO}{_M}", _between),
    (rf"(?<![\d.]){_M}(?:\s*(?:-|~|–|—|到|至)\s*|\s+to\s+){_M}(?:\s*之间)?", _between),
    (rf"{_M}\s*和\s*{_M}\s*之间", _between),
    (r"\b(?:no more than|not more than|not over|not above|at most|up to)\s*" + _M, _at_most),
    (
        r"\b(?:not|nothing|don't|can't|cannot|won't|never)(?: \w+){0,4}"
        r" (?:more than|over|above|beyond|exceed)\s*" + _M,
        _at_most,
    ),
    (r"\b(?:not|nothing|don't)(?: \w+){0,4} (?:less than|under|below)\s*" + _M, _at_least),
    (r"\b(?:max(?:imum)?\.?(?: of)?|within)\s*" + _M, _at_most),
    (rf"\b(?:budget|limit)(?: is| of|:)? {_NEARLY}\s*{_M}", _about),
    (r"\b(?:budget|limit)(?: is| of|:)?\s*" + _M, _at_most),
    (r"<=\s*" + _M, _at_most),
    (rf"{_M}\s*(?:or (?:less|under|cheaper|below)|and (?:below|under)|at most)", _at_most),
    (rf"{_M}\s*(?:max(?:imum)?\b|tops\b)", _at_most),
    (r"\b(?:under|below|less than|cheaper than|lower than)\s*" + _M, _below),
    (r"<\s*" + _M, _below),
    (r"\b(?:no less than|not less than|not under|not below|at least)\s*" + _M, _at_least),
    (r"\b(?:min(?:imum)?(?: of)?|starting (?:at|from))\s*" + _M, _at_least),
    (r">=\s*" + _M, _at_least),
    (rf"{_M}\s*(?:or (?:more|above|over|up)|and (?:up|above|over)|\+|upwards?\b)", _at_least),
    (r"\b(?:over|above|more than|higher than)\s*" + _M, _above),
    (r">\s*" + _M, _above),
    (rf"\b{_NEARLY}\s*{_M}(?![a-z])", _about),
    (rf"{_M}\s*(?:or so|-ish|ish\b)", _about),
    (rf"\b(?:exactly|precisely)\s*{_M}", _exactly),
    (rf"{_M}\s*(?:exactly|precisely|on the dot)\b", _exactly),
    (rf"(?:刚好|正好|恰好|刚刚好)(?:是|要)?\s*{_M}", _exactly),
    (rf"{_M}\s*整(?![a-z\u4e00-\u9fff])", _exactly),
    (
        r"(?:[不别]要?(?:想|能|会)?(?:超过?|高于|多于)|最多|最高|至多|顶多|上限|控制在)"
        rf"\s*{_M}\s*(?:以内|以下|之内)?",
        _at_most,
    ),
    (rf"预算(?:是|在|为)?(?:大概|大约|差不多)\s*{_M}(?:左右|上下)?", _about),
    (rf"预算(?:是|在|为)?\s*{_M}(?:左右|上下)", _about),
    (rf"预算(?:是|在|为|大概|大约)?\s*{_M}\s*(?:以内|以下|之内)?", _at_most),
    (rf"(?:低于|少于|小于|不到|便宜于|不足)\s*{_M}", _below),
    (rf"(?:不低于|不少于|至少|最低|最少)\s*{_M}", _at_least),
    (rf"(?:高于|超过|大于|多于|贵于)\s*{_M}", _above),
    (rf"(?:大约|大概|差不多|约)\s*{_M}\s*(?:左右|上下)?", _about),
    (rf"{_M}\s*(?:左右|上下)", _about),
    (rf"{_M}\s*(?:以下|以内|之内|之下|封顶)", _at_most),
    (rf"{_M}\s*(?:以上|起)", _at_least),
    (rf"(?<![\d.])(\d+)\s*(?:多|几)\s*{_CURRENCY}", _and_some),
    (rf"(?<![\d.])(\d+)\s*{_CURRENCY}?\s*出头", _and_some),
    (rf"(?<![\d.])(\d+)\s*来\s*{_CURRENCY}", _about),
    (_MONEY, _about),
)  # fmt: skip
_CHEAPEST = (
    r"\b(?:the )?(?:cheapest|least expensive|most affordable|lowest[- ]priced)(?: (?:one|ones|first))?\b"
    r"|\blowest price(?: first)?\b|最便宜的?|价格最低的?|从低到高"
)
_DEAREST = (
    r"\b(?:the )?(?:most expensive|priciest|dearest|highest[- ]priced)(?: (?:one|ones|first))?\b"
    r"|\bhighest price(?: first)?\b|最贵的?|价格最高的?|从高到低"
)
_CHEAPER = (
    r"\b(?:much |a (?:bit|little) |even )?(?:cheaper|less expensive|lower[- ]priced"
    r"|more affordable)(?: ones?)?\b"
    r"|\b(?:too|so|very) (?:expensive|pricey|dear)\b|\blower (?:the )?price\b|\bnot (?:so|too"
    r"|that) expensive\b"
    r"|\b(?:something|anything) cheap\b"
    r"|\b(?:costs?|pay|spend) less\b|\bless pricey\b|\bnot (?:so|too|that) pricey\b"
    r"|(?:再|更|还要)?便宜(?:一点儿?|点儿?|一些|些)(?:的)?|(?:更|再)便宜的?|价格再?低(?:一点儿?|点儿?|一些|些)"
    r"|(?:有点|有些|太|好|这么)贵了?|不要(?:太|那么)贵的?|别太贵的?"
)
_DEARER = (
    r"\b(?:a (?:bit|little) )?(?:more expensive|pricier|dearer|higher[- ]priced|more premium"
    r"|more upscale)(?: ones?)?\b"
    r"|\btoo cheap\b|(?:再|更)?(?:贵|高档|高端)(?:一点儿?|点儿?|一些|些)(?:的)?"
    r"|更(?:贵|高档|高端)的?|太便宜了?"
)
_SCANNERS = [(re.compile(pattern), make) for pattern, make in _RANGES]
_OTHERS = [
    (re.compile(pattern), kind)
    for pattern, kind in (
        (_CHEAPEST, PriceWish(0, 0, order="cheaper")),
        (_DEAREST, PriceWish(0, 0, order="dearer")),
        (_CHEAPER, PriceWish(0, 0, step="cheaper")),
        (_DEARER, PriceWish(0, 0, step="dearer")),
    )
]


def price_wishes(text: str) -> list[PriceWish]:
    """Return what a text says of prices, from the left; of phrases that overlap, the one that begins first.

    Args:
        text: Text in its normal form, with numbers as digits (`with_digits`).
    """
    found: list[PriceWish] = []
    for pattern, make in _SCANNERS:
        for match in pattern.finditer(text):
            amounts = [float(group) for group in match.groups() if group is not None]
            found.append(PriceWish(match.start(), match.end(), range=make(*amounts)))
    for pattern, kind in _OTHERS:
        found.extend(replace(kind, start=match.start(), end=match.end()) for match in pattern.finditer(text))
    found.sort(key=lambda wish: (wish.start, -wish.end))
    kept: list[PriceWish] = []
    for wish in found:
        if not kept or wish.start >= kept[-1].end:
            kept.append(wish)
    return kept


def in_shop_currency(
    text: str, wishes: Sequence[PriceWish], shop: str | None, rates: Mapping[str, float]
) -> tuple[tuple[PriceWish, ...], tuple[str, ...]]:
    """Return wishes about prices in the shop's currency, and the phrases that cannot be said in it.

    Args:
        text: The message in its normal form, with numbers as digits.
        wishes: Wishes of the message.
        shop: Currency of the shop's prices; None takes every amount as one of it.
        rates: Value of one unit of other currencies in the shop's, by code.
    """
    kept, foreign = list[PriceWish](), list[str]()
    for wish in wishes:
        phrase = text[wish.start : wish.end].strip()
        codes = () if wish.range is None else currencies_in(phrase)
        if shop is None or not codes or shop in codes:
            kept.append(wish)
        elif wish.range is not None and (known := [code for code in codes if code in rates]):
            kept.append(replace(wish, range=_converted(wish.range, rates[known[0]])))
        else:
            foreign.append(phrase)
    return tuple(kept), tuple(foreign)


def _converted(price: PriceRange, rate: float) -> PriceRange:
    least, most = price.least, price.most
    return replace(
        price,
        least=None if least is None else round(least * rate, 2),
        most=None if most is None else round(most * rate, 2),
    )
