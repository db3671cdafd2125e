"""Steps from one query to another: what a message does to the facets that are asked for."""

from collections.abc import Sequence
from dataclasses import replace

from vrec.assistant.lexicon import wider_colors
from vrec.assistant.price_steps import ShopView
from vrec.assistant.prices import PriceRange
from vrec.assistant.query import FACETS, Facet, FacetValues, ShoppingQuery
from vrec.assistant.understanding.utterance import Utterance


def like(query: ShoppingQuery, targets: Sequence[str], shop: ShopView) -> ShoppingQuery:
    """Return the query for things like some videos: of their category, without the words of before."""
    cards = [card for name in targets if (card := shop.card(name)) is not None]
    categories = tuple(dict.fromkeys(card.category for card in cards if card.category))
    wanted = FacetValues(category=categories or query.wanted.category, color=query.wanted.color)
    return replace(query, wanted=wanted)


def with_categories(query: ShoppingQuery, said: Utterance, shop: ShopView) -> tuple[ShoppingQuery, bool]:
    """Return the query after categories, or products that no category holds, were asked for, and whether that
    is another subject.

    Args:
        query: The query before.
        said: The message.
        shop: The catalog at this moment.
    """
    facets: tuple[Facet, ...] = ("category", "product")
    named = {(facet, value) for facet in facets for value in said.wanted.of(facet)}
    before = {(facet, value) for facet in facets for value in query.wanted.of(facet)}
    if not named:
        return query, False
    also = said.also and not said.needs_another
    changed = not also and named.isdisjoint(before)
    if changed and before:
        dropped: tuple[Facet, ...] = (
            ("size",) if said.elliptic else ("size", "tag", "attribute", "creator", "word")
        )
        for facet in dropped:
            query = query.clearing(facet)
    if said.wanted.category:
        # What the shop does not have at all is no alternative to what it has.
        absent = [name for name in query.wanted.product if not shop.has("product", name)]
        query = replace(query, wanted=query.wanted.without("product", absent))
    for facet in facets:
        values = said.wanted.of(facet)
        if values or not also:
            query = query.wanting(facet, values, also=also)
    return query, changed


def with_facets(query: ShoppingQuery, said: Utterance, shop: ShopView) -> ShoppingQuery:
    """Return the query after everything else was asked for, refused, permitted or given up, but for prices.

    Args:
        query: The query, with the categories of the message.
        said: The message.
        shop: The catalog at this moment.
    """
    for facet in said.any_of:
        query = replace(query, price=PriceRange()) if facet == "price" else query.clearing(facet)
        query = query.clearing("tag") if facet == "attribute" else query
    for facet in FACETS:
        values = said.freed.of(facet)
        if facet in ("category", "product") and not said.wanted.of(facet):
            continue  # 裙子换成红色的 goes on with dresses
        query = replace(
            query,
            wanted=query.wanted.without(facet, values),
            unwanted=query.unwanted.without(facet, values),
        )
    query = _with_alternatives(_without_replaced(query, said, shop), said, shop)
    facets: tuple[Facet, ...] = ("tag", "attribute", "creator", "size", "word")
    for facet in facets:
        if values := said.wanted.of(facet):
            query = query.wanting(facet, values, also=said.also)
    unwanted: tuple[Facet, ...] = ("category", "product", *facets)
    for facet in unwanted:
        if values := said.unwanted.of(facet):
            query = query.refusing(facet, values)
    removable: tuple[Facet, ...] = (*unwanted, "color")
    for facet in removable:
        query = _without_removed(query, facet, said.removed.of(facet))
    return query


def _without_removed(query: ShoppingQuery, facet: Facet, values: Sequence[str]) -> ShoppingQuery:
    """Return the query without values of a facet: given up where they are wished for, else refused."""
    wished = [value for value in values if value in query.wanted.of(facet)]
    if wished and facet != "category":
        return replace(query, wanted=query.wanted.without(facet, wished))
    return query.refusing(facet, tuple(values)) if values else query


def _with_alternatives(query: ShoppingQuery, said: Utterance, shop: ShopView) -> ShoppingQuery:
    """Return the query in which one is enough of attributes that the message calls alternatives, or that no
    video of the category has together."""
    named = said.wanted.attribute
    subject = FacetValues(category=query.wanted.category, product=query.wanted.product)
    exclusive = (
        len(named) > 1
        and not shop.fits(ShoppingQuery(replace(subject, attribute=named)))
        and all(shop.fits(ShoppingQuery(replace(subject, attribute=(name,)))) for name in named)
    )
    if not named or not (said.either or exclusive):
        return query
    joined = () if len(named) > 1 else query.wanted.attribute[-1:]
    return replace(query, either=(*query.either, *joined, *named))


def _without_replaced(query: ShoppingQuery, said: Utterance, shop: ShopView) -> ShoppingQuery:
    """Return the query without tags and attributes in whose place others are wanted.

    They are replaced where the message says so, and where nothing of the category could be both: who asks for
    silk after cotton does not want a dress of either.
    """
    new = FacetValues(tag=said.wanted.tag, attribute=said.wanted.attribute)
    old = FacetValues(tag=query.wanted.tag, attribute=query.wanted.attribute)
    if new.is_empty or old.is_empty or said.also:
        return query
    subject = FacetValues(category=query.wanted.category, product=query.wanted.product)
    both = replace(subject, tag=(*old.tag, *new.tag), attribute=(*old.attribute, *new.attribute))
    alone = replace(subject, tag=new.tag, attribute=new.attribute)
    exclusive = shop.fits(ShoppingQuery(alone)) and not shop.fits(ShoppingQuery(both))
    if not said.replaces and not exclusive:
        return query
    return replace(query, wanted=replace(query.wanted, tag=(), attribute=()))


def with_colors(query: ShoppingQuery, said: Utterance, shown: frozenset[str] | None) -> ShoppingQuery:
    """Return the query after colors were asked for, refused, or said to be another than shown.

    Args:
        query: The query before.
        said: The message.
        shown: Colors of the video that the message speaks of; None without one.
    """
    if said.other_color:
        seen = tuple(sorted(shown or ()))
        query = query.refusing("color", said.unwanted.color or query.wanted.color or seen)
    if values := said.wanted.of("color"):
        query = query.wanting("color", values, also=said.also)
    if values := said.unwanted.of("color"):
        query = query.refusing("color", values)
    return query


def with_permitted(query: ShoppingQuery, said: Utterance) -> ShoppingQuery:
    """Return the query after values were permitted: "burgundy is fine".

    A shade of a color that is refused may be in spite of that. Other values join those that are wanted.

    Args:
        query: The query with all else that the message says.
        said: The message.
    """
    for facet in FACETS:
        values = said.permitted.of(facet)
        if facet == "color":
            refused = set(query.unwanted.color)
            spared = tuple(one for one in values if not refused.isdisjoint(wider_colors(one)))
            query = replace(query, spared=tuple(dict.fromkeys((*query.spared, *spared))))
            values = tuple(one for one in values if one not in spared)
        if values and facet != "word":
            if facet == "attribute" and query.wanted.attribute:
                query = replace(query, either=(*query.either, query.wanted.attribute[-1], *values))
            query = query.wanting(facet, values, also=True)
    return query
