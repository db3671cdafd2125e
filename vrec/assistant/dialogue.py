"""State of a conversation, and what a message does to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vrec.assistant.commands import Command
from vrec.assistant.parse import Utterance
from vrec.assistant.price_steps import ShopView, with_prices
from vrec.assistant.prices import PriceRange, PriceStep
from vrec.assistant.query import FACETS, Facet, FacetValues, ShoppingQuery

Action = Literal[
    "search", "detail", "cart", "person", "order", "moment", "greeting", "thanks", "reset", "unclear"
]
_SMALL_TALK: frozenset[Command] = frozenset({"thanks", "greeting"})
MAX_SEEN = 500
"""Videos shown in a conversation that "more" leaves out."""


@dataclass(frozen=True, slots=True)
class DialogueState:
    """State of a conversation."""

    query: ShoppingQuery = field(default_factory=ShoppingQuery)
    shown: tuple[str, ...] = ()
    """Videos of the last list, in order."""
    seen: tuple[str, ...] = ()
    """Videos of all lists, the oldest first."""
    focus: str | None = None
    """Video that the talk is about."""
    seeds: tuple[str, ...] = ()
    """Videos to which the list is related."""
    order: PriceStep | None = None
    """Order by price, where cheap or dear things are asked for without a bound."""
    told: tuple[str, ...] = ()
    """Wishes of which the shopper knows that the catalog says nothing."""
    language: Literal["en", "zh"] = "en"

    def after_list(self, video_ids: Sequence[str]) -> "DialogueState":
        """Return the state after a list was shown; an empty one leaves the last."""
        if not video_ids:
            return self
        seen = tuple(dict.fromkeys((*self.seen, *video_ids)))[-MAX_SEEN:]
        focus = self.focus if self.focus in video_ids else None
        return replace(self, shown=tuple(video_ids), seen=seen, focus=focus)


@dataclass(frozen=True, slots=True)
class DialoguePlan:
    """Plan of an answer to a message."""

    action: Action
    targets: tuple[str, ...] = ()
    """Videos that are spoken of."""
    missing: tuple[int, ...] = ()
    """Places that the last list does not have."""
    exclude: tuple[str, ...] = ()
    """Videos that the list leaves out."""
    no_step: PriceStep | None = None
    """Direction in which there is nothing."""
    order: PriceStep | None = None
    """Order by price that this message asks for."""
    carried: tuple[Facet | Literal["price"], ...] = ()
    """Wishes from before another subject came up, which end where nothing of it fits them."""
    asked: tuple[tuple[Facet, str], ...] = ()
    """Facets and values of which a question about something shown wants to know whether it has them."""
    foreign_prices: tuple[str, ...] = ()
    """Phrases about prices in a currency that is not the shop's, by which nothing was filtered."""


def next_state(state: DialogueState, said: Utterance, shop: ShopView) -> tuple[DialogueState, DialoguePlan]:
    """Return the state after a message, and the plan for an answer.

    What was asked for holds until it is replaced, refused or cleared. A new category takes the place of the
    last one, and with it go sizes, and tags, creators and words unless the message goes on with the last wish
    ("what about hats?"); colors and prices stay.

    Args:
        state: State before the message.
        said: The message.
        shop: The catalog at this moment.
    """
    state = replace(state, language=said.language)
    said = _without_idle_words(said, shop)
    if "reset" in said.commands:
        state = DialogueState(language=said.language)
        if said.wanted.is_empty and said.unwanted.is_empty and not said.prices:
            return state, DialoguePlan("reset")
    targets, missing = _resolve(state, said, shop)
    if targets:
        state = replace(state, focus=targets[-1])
    plan = _plan_without_search(state, said, targets, missing)
    return _search(state, said, targets, shop) if plan is None else (state, plan)


def state_like(
    state: DialogueState, video_ids: Sequence[str], shop: ShopView
) -> tuple[DialogueState, DialoguePlan]:
    """Return the state after things like some videos were asked for, and the plan for an answer.

    Args:
        state: State before it.
        video_ids: The videos; those that the catalog does not have are ignored.
        shop: The catalog at this moment.
    """
    known = tuple(name for name in dict.fromkeys(video_ids) if shop.card(name) is not None)
    if not known:
        return state, DialoguePlan("search")
    after = replace(state, query=_like(state.query, known, shop), seeds=known)
    return after, DialoguePlan("search", known, exclude=known)


def _plan_without_search(
    state: DialogueState, said: Utterance, targets: tuple[str, ...], missing: tuple[int, ...]
) -> DialoguePlan | None:
    """Return the plan of a message that asks for no list."""
    if missing and not targets:
        return DialoguePlan("unclear", missing=missing)
    for action in ("person", "order"):
        if action in said.commands:
            return DialoguePlan(action, targets)
    if (spoken := _about_shown(state, said, targets)) is not None:
        return replace(spoken, missing=missing)
    if not _changes_query(said) and not targets:
        small_talk: tuple[Action, ...] = ("thanks", "greeting")
        if spoken := next((DialoguePlan(action) for action in small_talk if action in said.commands), None):
            return spoken
    # "The second one" alone asks what it is.
    if targets and not _changes_query(said) and not said.commands and not said.points:
        return DialoguePlan("detail", targets)
    return DialoguePlan("unclear") if said.says_nothing and said.wanted.is_empty else None


def _asked(said: Utterance) -> tuple[tuple[Facet, str], ...]:
    """Return the facets and values that a question about something shown names."""
    return tuple((facet, value) for facet in FACETS for value in said.wanted.of(facet))


def _without_idle_words(said: Utterance, shop: ShopView) -> Utterance:
    """Return a message that thanks, or speaks of something shown, without words that no video has.

    "Thanks, that was kind" and "what would the second set me back?" ask for nothing kind and no set.
    """
    only_words = said.wanted.with_values("word", ()).is_empty and said.unwanted.is_empty and not said.prices
    if not only_words or not (said.references or "thanks" in said.commands):
        return said
    if any(shop.has("word", word) for word in said.wanted.word):
        return said
    return replace(said, wanted=said.wanted.with_values("word", ()))


def _resolve(
    state: DialogueState, said: Utterance, shop: ShopView
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the videos that a message refers to, and the places that there are not."""
    targets: list[str] = []
    missing: list[int] = []
    for reference in said.references:
        place = reference.place or 0
        if place == -1 and state.shown:
            targets.append(state.shown[-1])
        elif 0 < place <= len(state.shown):
            targets.append(state.shown[place - 1])
        elif state.shown or place > 0:
            missing.append(place)
    about_shown = {"cart", "detail", "similar", "moment"}.intersection(said.commands)
    if not targets and not missing and state.shown and (about_shown or said.points):
        if (named := _by_looks(state, said, shop)) is not None and about_shown:
            targets = [named]
        elif said.points or (about_shown and not said.wanted.of("category")):
            targets = [state.focus or state.shown[0]]
    return tuple(dict.fromkeys(targets)), tuple(missing)


def _by_looks(state: DialogueState, said: Utterance, shop: ShopView) -> str | None:
    """Return the one video of the last list that has the colors and the category which a message names."""
    colors, categories = said.wanted.of("color"), said.wanted.of("category")
    if not colors and not categories:
        return None
    for name in state.shown:
        card = shop.card(name)
        if card is None or (colors and card.colors.isdisjoint(colors)):
            continue
        if not categories or card.category in categories:
            return name
    return None


def _about_shown(state: DialogueState, said: Utterance, targets: tuple[str, ...]) -> DialoguePlan | None:
    """Return the plan of a message about something shown: its price, its moments, into the cart."""
    actions: tuple[Action, ...] = ("moment", "cart", "detail")
    for action in actions:
        if action not in said.commands:
            continue
        if targets:
            return DialoguePlan(action, targets)
        if action == "moment":
            return DialoguePlan(action, (state.focus,) if state.focus else ())
        if said.wanted.is_empty and said.unwanted.is_empty and not said.prices:
            return DialoguePlan("unclear")
    if targets and _asks_of_shown(said):
        return DialoguePlan("detail", targets, asked=_asked(said))
    return None


def _asks_of_shown(said: Utterance) -> bool:
    """Return whether a message asks for facts of what it refers to.

    Who names a color or a size alone, and does not ask whether it is so, wants it like that.
    """
    if not said.asks_of_shown or said.prices or not _SMALL_TALK.issuperset(said.commands):
        return False
    other = said.wanted.with_values("color", ()).with_values("size", ())
    is_variant = other.is_empty and not said.wanted.is_empty
    return not is_variant or said.asks_what_it_is


def _changes_query(said: Utterance) -> bool:
    return bool(
        said.prices
        or said.foreign_prices
        or said.occasion
        or said.recipient
        or said.any_of
        or not said.freed.is_empty
        or said.other_color
        or {"similar", "more"}.intersection(said.commands)
        or not said.wanted.is_empty
        or not said.unwanted.is_empty
    )


def _search(
    state: DialogueState, said: Utterance, targets: tuple[str, ...], shop: ShopView
) -> tuple[DialogueState, DialoguePlan]:
    query = state.query
    seeds = state.seeds
    if targets:
        query, seeds = _like(query, targets, shop), targets
    if _begins_anew(query, said) or _names_the_absent(query, said, shop):
        query, seeds, state = ShoppingQuery(), (), replace(state, order=None)
        said = replace(said, unwanted=_without_subjects(said.unwanted))
    query, changed = _with_categories(query, said, shop)
    if changed and not targets:
        seeds = ()
    query = _with_facets(query, said, shop)
    query = _with_colors(query, said, state, targets, shop)
    query = replace(
        query, occasion=said.occasion or query.occasion, recipient=said.recipient or query.recipient
    )
    reference = targets or state.shown
    query, order, no_step = with_prices(query, said, reference, shop)
    sort: PriceStep | None = next((wish.order for wish in said.prices if wish.order is not None), None)
    more = "more" in said.commands or "similar" in said.commands
    # "The second, in blue" may be the second itself; something like it is not.
    unlike = targets if "similar" in said.commands else ()
    exclude = state.seen if more and query == state.query else unlike
    after = replace(state, query=query, seeds=seeds, order=order or state.order)
    carried = _carried(state.query, said) if changed else ()
    plan = DialoguePlan(
        "search", targets, exclude=exclude, no_step=no_step, order=sort, carried=carried,
        foreign_prices=said.foreign_prices,
    )  # fmt: skip
    return after, plan


def _begins_anew(query: ShoppingQuery, said: Utterance) -> bool:
    """Return whether a message names another subject in the place of one that it turns from."""
    named = {*said.wanted.category, *said.wanted.product}
    before = {*query.wanted.category, *query.wanted.product}
    if not named or not before or not named.isdisjoint(before) or said.also:
        return False
    refused = {*said.unwanted.category, *said.unwanted.product}
    return said.leaves_subject or not refused.isdisjoint(before)


def _names_the_absent(query: ShoppingQuery, said: Utterance, shop: ShopView) -> bool:
    """Return whether a message asks whether the shop has some thing that no video is called."""
    words = said.wanted.word
    only_words = said.wanted.with_values("word", ()).is_empty and not said.prices
    return (
        said.asks_for_things
        and only_words
        and bool(words)
        and not query.is_empty
        and not any(shop.has("word", word) for word in words)
    )


def _without_subjects(values: FacetValues) -> FacetValues:
    return values.with_values("category", ()).with_values("product", ())


def _carried(before: ShoppingQuery, said: Utterance) -> tuple[Facet | Literal["price"], ...]:
    """Return the wishes that were made of another subject and that a message does not repeat."""
    if not before.wanted.category and not before.wanted.product:
        return ()
    price: tuple[Literal["price"], ...] = () if said.prices else ("price",)
    color: tuple[Facet, ...] = () if said.wanted.color else ("color",)
    return (*price, *color)


def _like(query: ShoppingQuery, targets: Sequence[str], shop: ShopView) -> ShoppingQuery:
    """Return the query for things like some videos: of their category, without the words of before."""
    cards = [card for name in targets if (card := shop.card(name)) is not None]
    categories = tuple(dict.fromkeys(card.category for card in cards if card.category))
    wanted = FacetValues(category=categories or query.wanted.category, color=query.wanted.color)
    return replace(query, wanted=wanted)


def _with_categories(query: ShoppingQuery, said: Utterance, shop: ShopView) -> tuple[ShoppingQuery, bool]:
    """Return the query after categories, or products that no category holds, were asked for, and whether that
    is another subject."""
    facets: tuple[Facet, ...] = ("category", "product")
    named = {(facet, value) for facet in facets for value in said.wanted.of(facet)}
    before = {(facet, value) for facet in facets for value in query.wanted.of(facet)}
    if not named:
        return query, False
    changed = not said.also and named.isdisjoint(before)
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
        if values or not said.also:
            query = query.wanting(facet, values, also=said.also)
    return query, changed


def _with_facets(query: ShoppingQuery, said: Utterance, shop: ShopView) -> ShoppingQuery:
    facets: tuple[Facet, ...] = ("tag", "attribute", "creator", "size", "word")
    for facet in said.any_of:
        query = replace(query, price=PriceRange()) if facet == "price" else query.clearing(facet)
    for facet in FACETS:
        values = said.freed.of(facet)
        query = replace(
            query,
            wanted=query.wanted.without(facet, values),
            unwanted=query.unwanted.without(facet, values),
        )
    query = _without_replaced(query, said, shop)
    if said.either and said.wanted.attribute:
        joined = () if len(said.wanted.attribute) > 1 else query.wanted.attribute[-1:]
        query = replace(query, either=(*query.either, *joined, *said.wanted.attribute))
    for facet in facets:
        if values := said.wanted.of(facet):
            query = query.wanting(facet, values, also=said.also)
    unwanted: tuple[Facet, ...] = ("category", "product", *facets)
    for facet in unwanted:
        if values := said.unwanted.of(facet):
            query = query.refusing(facet, values)
    return query


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


def _with_colors(
    query: ShoppingQuery, said: Utterance, state: DialogueState, targets: Sequence[str], shop: ShopView
) -> ShoppingQuery:
    if said.other_color:
        shown = shop.card(targets[0] if targets else state.focus or (state.shown or ("",))[0])
        seen = tuple(sorted(shown.colors)) if shown else ()
        query = query.refusing("color", said.unwanted.color or query.wanted.color or seen)
    if values := said.wanted.of("color"):
        query = query.wanting("color", values, also=said.also)
    if values := said.unwanted.of("color"):
        query = query.refusing("color", values)
    return query
