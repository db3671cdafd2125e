"""Ranges of prices that messages ask for, and steps from what was shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vrec.assistant.currencies import currencies_in

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


def about(price: float) -> PriceRange:
    """Return the range of an amount that is asked for approximately."""
    return PriceRange(round(price * (1 - ABOUT), 6), round(price * (1 + ABOUT), 6), is_about=True)


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
