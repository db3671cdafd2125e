"""Constraints of a query one by one: their names for shoppers, and the query without one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vrec.assistant.lexicon import ShopLexicon
from vrec.assistant.prices import PriceRange
from vrec.assistant.query import FACETS, Facet, ShoppingQuery
from vrec.assistant.text import one_line
from vrec.assistant.vocabulary import ATTRIBUTE_NAMES, OCCASIONS, PRODUCT_NAMES, RECIPIENTS, SHADES, names
from vrec.assistant.wording import Wording


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing that is asked for; a shopper can take it back."""

    key: str
    """Key such as `color:red`, `not-color:red`, `price` or `recipient`."""
    label: str
    """Name in the shopper's language."""


def constraints_of(query: ShoppingQuery, words: Wording, lexicon: ShopLexicon) -> list[Constraint]:
    """Return the constraints of a query, the subject first.

    Args:
        query: The query.
        words: The shopper's language.
        lexicon: Names of the shop's categories.
    """
    found = [
        Constraint(f"{facet}:{value}", facet_label(facet, value, words, lexicon))
        for facet in FACETS
        for value in query.wanted.of(facet)
    ]
    if not query.price.is_any:
        found.append(Constraint("price", price_label(query.price, words)))
    if query.recipient:
        label = _name(RECIPIENTS[query.recipient], words)
        found.append(Constraint("recipient", words.say("for %(who)s") % {"who": label}))
    if query.occasion:
        found.append(Constraint("occasion", _name(OCCASIONS[query.occasion], words)))
    found.extend(
        Constraint(
            f"not-{facet}:{value}",
            words.say("not %(what)s") % {"what": facet_label(facet, value, words, lexicon)},
        )
        for facet in FACETS
        for value in query.unwanted.of(facet)
    )
    return found


def without(query: ShoppingQuery, key: str) -> ShoppingQuery:
    """Return the query without a constraint; as it is if it has none of that key.

    Args:
        query: The query.
        key: Key of a Constraint.
    """
    if key == "price":
        return replace(query, price=PriceRange())
    if key == "recipient":
        return replace(query, recipient=None)
    if key == "occasion":
        return replace(query, occasion=None)
    name, _, value = key.partition(":")
    for facet in FACETS:
        if name == facet:
            return replace(query, wanted=query.wanted.without(facet, [value]))
        if name == f"not-{facet}":
            return replace(query, unwanted=query.unwanted.without(facet, [value]))
    return query


def relaxed(query: ShoppingQuery) -> Iterator[tuple[ShoppingQuery, tuple[str, ...]]]:
    """Iterate over queries that ask for less, with the facets they leave out: one of them, then more.

    The subject, and what is refused, is never left out.
    """
    facets: tuple[Facet | str, ...] = tuple(
        facet
        for facet in ("size", "tag", "attribute", "creator", "price", "color")
        if (not query.price.is_any if facet == "price" else query.wanted.of(_facet(facet)))
    )
    for facet in facets:
        yield dropping(query, facet), (facet,)
    for end in range(2, len(facets) + 1):
        less = query
        for facet in facets[:end]:
            less = dropping(less, facet)
        yield less, tuple(facets[:end])


def _facet(name: str) -> Facet:
    return next(facet for facet in FACETS if facet == name)


def dropping(query: ShoppingQuery, facet: str) -> ShoppingQuery:
    """Return the query without what is wanted of a facet, or of the price."""
    if facet == "price":
        return replace(query, price=PriceRange())
    return replace(query, wanted=query.wanted.with_values(_facet(facet), ()))


def facet_label(facet: Facet, value: str, words: Wording, lexicon: ShopLexicon) -> str:
    """Return the name of a facet's value."""
    if facet == "category":
        return one_line(lexicon.category_name(value, words.code))
    if facet == "color":
        return _shade_name(value, words)
    if facet in ("product", "attribute"):
        called = PRODUCT_NAMES if facet == "product" else ATTRIBUTE_NAMES
        return _name(", ".join(called[value]), words)
    if facet == "size":
        return words.say("size %(size)s") % {"size": value.upper()}
    return one_line(value)


def price_label(price: PriceRange, words: Wording) -> str:
    """Return a range of prices in words."""
    least, most = price.least, price.most
    if least is not None and least == most:
        return words.say("exactly %(price)s") % {"price": words.money(least)}
    if least is not None and most is not None:
        return words.say("%(least)s to %(most)s") % {"least": words.money(least), "most": words.money(most)}
    if most is not None:
        text = words.say("under %(price)s") if price.below else words.say("at most %(price)s")
        return text % {"price": words.money(most)}
    text = words.say("over %(price)s") if price.above else words.say("at least %(price)s")
    return text % {"price": words.money(least or 0)}


def _shade_name(value: str, words: Wording) -> str:
    shade = next(shade for shade in SHADES if shade.name == value)
    return _name(", ".join((shade.name, *shade.names)), words)


def _name(line: str, words: Wording) -> str:
    """Return the first name of a line of the vocabulary in the shopper's language."""
    held = names(line)
    if words.code == "zh":
        return next((name for name in held if not name.isascii()), held[0])
    return held[0]
