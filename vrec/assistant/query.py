"""Query of a shopper: facets wanted and not wanted, prices, sizes, words, and the recipient."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from vrec.assistant.prices import PriceRange

Facet = Literal["category", "product", "color", "attribute", "tag", "creator", "size", "word"]
FACETS: tuple[Facet, ...] = (
    "category", "product", "color", "attribute", "tag", "creator", "size", "word"
)  # fmt: skip
FILTERED: tuple[Facet, ...] = ("category", "product", "color", "tag", "creator", "size")
"""Facets that a video must have; attributes too where any video of the shop has them."""
MAX_VALUES = 50
"""Values of one facet that are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class FacetValues:
    """Values of every facet, in the order in which they were named."""

    category: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    """Kinds of products that no category of the shop holds, by the names of `vocabulary.PRODUCTS`."""
    color: tuple[str, ...] = ()
    attribute: tuple[str, ...] = ()
    """Qualities by the names of `vocabulary.ATTRIBUTES`; a video fits with all of them."""
    tag: tuple[str, ...] = ()
    creator: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    word: tuple[str, ...] = ()

    def of(self, facet: Facet) -> tuple[str, ...]:
        """Return the values of a facet."""
        return getattr(self, facet)

    def with_values(self, facet: Facet, values: Iterable[str]) -> "FacetValues":
        """Return a copy in which a facet has these values."""
        return replace(self, **{facet: tuple(dict.fromkeys(values))[-MAX_VALUES:]})

    def adding(self, facet: Facet, values: Iterable[str]) -> "FacetValues":
        """Return a copy with further values of a facet."""
        return self.with_values(facet, (*self.of(facet), *values))

    def without(self, facet: Facet, values: Iterable[str]) -> "FacetValues":
        """Return a copy without some values of a facet."""
        gone = set(values)
        return self.with_values(facet, (value for value in self.of(facet) if value not in gone))

    @property
    def is_empty(self) -> bool:
        """True where no facet has a value."""
        return not any(self.of(facet) for facet in FACETS)


@dataclass(frozen=True, slots=True)
class ShoppingQuery:
    """All that is asked for so far in a conversation."""

    wanted: FacetValues = field(default_factory=FacetValues)
    """A video fits a facet with any of its values."""
    unwanted: FacetValues = field(default_factory=FacetValues)
    """A video with any of these does not fit."""
    price: PriceRange = field(default_factory=PriceRange)
    occasion: str | None = None
    recipient: str | None = None
    either: tuple[str, ...] = ()
    """Attributes of which a video needs only one; it needs all the others that are wanted."""
    spared: tuple[str, ...] = ()
    """Shades that fit although a color that takes them in is refused: "not red, burgundy is fine"."""

    @property
    def attribute_groups(self) -> list[tuple[str, ...]]:
        """Attributes that are wanted, in groups of which a video needs one each."""
        wanted = self.wanted.attribute
        either = tuple(name for name in wanted if name in self.either)
        return [*([either] if either else []), *((name,) for name in wanted if name not in either)]

    @property
    def is_empty(self) -> bool:
        """True where nothing is asked for."""
        return self == ShoppingQuery()

    def wanting(self, facet: Facet, values: tuple[str, ...], *, also: bool = False) -> "ShoppingQuery":
        """Return the query after values of a facet were asked for.

        Args:
            facet: The facet.
            values: Its values; they are not unwanted any more.
            also: Whether the facet's earlier values stay, as after "or"; words always do.
        """
        keep = also or facet in ("word", "tag", "attribute")
        wanted = self.wanted.adding(facet, values) if keep else self.wanted.with_values(facet, values)
        return replace(self, wanted=wanted, unwanted=self.unwanted.without(facet, values))

    def refusing(self, facet: Facet, values: tuple[str, ...]) -> "ShoppingQuery":
        """Return the query after values of a facet were refused."""
        return replace(
            self,
            wanted=self.wanted.without(facet, values),
            unwanted=self.unwanted.adding(facet, values),
            spared=tuple(one for one in self.spared if facet != "color" or one not in values),
        )

    def clearing(self, facet: Facet) -> "ShoppingQuery":
        """Return the query without any wish for a facet."""
        return replace(
            self,
            wanted=self.wanted.with_values(facet, ()),
            unwanted=self.unwanted.with_values(facet, ()),
        )
