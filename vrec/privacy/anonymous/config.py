"""Settings of `vrec anonymise`."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig

TimeUnit = Literal["hour", "day", "week", "month", "quarter", "year"]
Width = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MAX_PARENTS = 20
"""Most levels of a hierarchy of categories."""


class HideableColumn(BaseConfig):
    """Settings that all quasi-identifiers have."""

    may_hide: bool = True
    """Whether the search may replace the whole column by `*`."""


class NumberColumn(HideableColumn):
    """Numbers in bands, such as ages and prices."""

    kind: Literal["number"] = "number"
    """Numbers in bands, such as ages and prices."""
    widths: tuple[Width, ...] = Field(min_length=1, max_length=20)
    """Widths of the bands, the finest first; each is a multiple of the first. Bands begin at multiples of
    their width."""

    @model_validator(mode="after")
    def _nested(self) -> Self:
        for narrow, wide in zip(self.widths, self.widths[1:], strict=False):
            times = wide / self.widths[0]
            if wide <= narrow or abs(times - round(times)) > 1e-9 * times:
                raise ValueError(
                    f"widths: {wide:g} follows {narrow:g}; want greater ones, multiples of {self.widths[0]:g}"
                )
        return self


class TimeColumn(HideableColumn):
    """Times, of which a part is left."""

    kind: Literal["time"] = "time"
    """Times, as in EVENTS."""
    units: tuple[TimeUnit, ...] = Field(min_length=1, max_length=6)
    """Units to which times are shortened, the finest first; days and weeks are those of UTC."""


class CategoryColumn(HideableColumn):
    """Categories in a hierarchy."""

    kind: Literal["category"] = "category"
    """Categories in a hierarchy."""
    parents: dict[str, str] = Field(default_factory=dict)
    """Parent of a category; each level of the hierarchy is a step of the search."""
    rare: int = Field(default=0, ge=0)
    """Categories of fewer shoppers become `other`."""

    @model_validator(mode="after")
    def _no_circles(self) -> Self:
        depth_of(self.parents)
        return self


class PrefixColumn(HideableColumn):
    """Texts of which the beginning is left, such as postal codes."""

    kind: Literal["prefix"] = "prefix"
    """Texts of which the beginning is left, such as postal codes."""
    lengths: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(min_length=1, max_length=20)
    """Characters that are left, the most first."""

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if list(self.lengths) != sorted(set(self.lengths), reverse=True):
            raise ValueError("lengths: want each smaller than the one before")
        return self


QuasiColumn = Annotated[
    NumberColumn | TimeColumn | CategoryColumn | PrefixColumn, Field(discriminator="kind")
]


class AnonymousConfig(BaseConfig):
    """Settings of anonymous tables; columns that are not named are left out."""

    k: int = Field(default=10, ge=2)
    """Least number of shoppers who share the quasi-identifiers of a row, or of all rows of a shopper with
    `numbers`."""
    diversity: int = Field(default=1, ge=1)
    """l of l-diversity: least number of values of each sensitive column among the rows that share their
    quasi-identifiers. 1 asks for none."""
    shopper: str = Field(default="user_id", min_length=1)
    """Column of the shoppers' ids, which is left out."""
    quasi_identifiers: dict[str, QuasiColumn] = Field(default_factory=dict)
    """Columns by which others may know a shopper's rows, with their levels, such as
    `{age: {kind: number, widths: [5, 10]}}`. Kinds are `number`, `time`, `category` and `prefix`;
    docs/privacy.md has their keys."""
    sensitive: tuple[str, ...] = ()
    """Columns that are written as they are."""
    max_suppressed: float | None = Field(default=None, ge=0, lt=1)
    """Share of rows that may be left out. With it, the levels that keep the most information are searched;
    None takes the first level of each column."""
    numbers: bool = False
    """Whether rows of a shopper stay together by a random number. Then k shoppers must have the same rows."""
    risk_samples: int = Field(default=2000, ge=100, le=1_000_000)
    """Draws for each figure of the risk, where a table is too large to try all sets of known events."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        named = [self.shopper, *self.quasi_identifiers, *self.sensitive]
        if repeated := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(
                f"privacy.anonymous: {repeated[0]} is named twice; a column is the shopper's id, a "
                "quasi-identifier or sensitive"
            )
        return self


def depth_of(parents: Mapping[str, str]) -> int:
    """Return the number of steps from the lowest category to its highest ancestor.

    Raises:
        ValueError: A category is its own ancestor, or there are too many levels.
    """
    deepest = 0
    for child in parents:
        name, steps = child, 0
        while name in parents:
            name, steps = parents[name], steps + 1
            if steps > MAX_PARENTS:
                raise ValueError(
                    f"parents: {child} has more than {MAX_PARENTS} ancestors, or is one of its own"
                )
        deepest = max(deepest, steps)
    return deepest
