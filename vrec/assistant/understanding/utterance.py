"""Message as it is understood by itself, before what was said earlier counts."""

from dataclasses import dataclass, field
from typing import Literal

from vrec.assistant.commands import Command
from vrec.assistant.phrases import Reference
from vrec.assistant.prices import PriceWish
from vrec.assistant.query import FACETS, FacetValues
from vrec.assistant.understanding.indifference import AnyFacet


@dataclass(frozen=True, slots=True)
class Utterance:
    """One message, understood by itself; what it means depends on what was said before."""

    text: str
    """The message in its normal form."""
    language: Literal["en", "zh"]
    commands: tuple[Command, ...] = ()
    """The most important first."""
    wanted: FacetValues = field(default_factory=FacetValues)
    unwanted: FacetValues = field(default_factory=FacetValues)
    freed: FacetValues = field(default_factory=FacetValues)
    """What need not be any more, without being refused."""
    removed: FacetValues = field(default_factory=FacetValues)
    """What is taken out of the wishes, or refused if it is none: "take out the red ones"."""
    permitted: FacetValues = field(default_factory=FacetValues)
    """What may be, beside what is wanted or in spite of what is refused: "burgundy is fine"."""
    prices: tuple[PriceWish, ...] = ()
    amount: float | None = None
    """Amount of a message that says no more, which takes the place of an earlier one."""
    foreign_prices: tuple[str, ...] = ()
    """Phrases about prices in a currency that is not the shop's."""
    references: tuple[Reference, ...] = ()
    """Places of the last list that are meant."""
    points: bool = False
    """Whether it speaks of "this" or "it"."""
    occasion: str | None = None
    recipient: str | None = None
    also: bool = False
    """Whether what is wanted joins what was wanted."""
    needs_another: bool = False
    """Whether it asks for one more thing, beside what was found: "I also need a lamp"."""
    either: bool = False
    """Whether one of the things named is enough: "linen or cotton"."""
    replaces: bool = False
    """Whether what is wanted takes the place of what was wanted of its kind."""
    leaves_subject: bool = False
    """Whether it turns from what was asked for before."""
    elliptic: bool = False
    """Whether it goes on with the last wish."""
    is_question: bool = False
    asks_service: bool = False
    """Whether it names a subject of customer service."""
    asks_for_products: bool = False
    """Whether it asks to be shown things to buy."""
    asks_for_things: bool = False
    """Whether it asks if the shop has some thing: "do you sell surfboards?"."""
    asks_for_popular: bool = False
    """Whether it asks for what others like, by which every list is ordered anyway."""
    asks_of_shown: bool = False
    """Whether it asks something of what it refers to, such as whether it is waterproof."""
    asks_what_it_is: bool = False
    """Whether it asks if something is so, not if it is to be had so."""
    speaks_of_own: bool = False
    """Whether it speaks of something that the shopper has: "my guitar"."""
    asks_how: bool = False
    """Whether it asks what may be done, or how, not how things stand."""
    asks_of_the_world: bool = False
    """Whether it asks who, why or when."""
    any_of: tuple[AnyFacet, ...] = ()
    """Facets that do not matter."""
    other_color: bool = False

    @property
    def says_nothing(self) -> bool:
        """True where nothing in it was understood but single words."""
        return not (
            self.commands
            or self.prices
            or self.foreign_prices
            or self.asks_for_popular
            or self.references
            or self.occasion
            or self.recipient
            or self.any_of
            or self.other_color
            or not self.unwanted.is_empty
            or not self.freed.is_empty
            or not self.removed.is_empty
            or not self.permitted.is_empty
            or any(self.wanted.of(facet) for facet in FACETS[:-1])
        )
