"""State of a conversation, and what a message does to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vrec.assistant.commands import Command
from vrec.assistant.facet_steps import like, with_categories, with_colors, with_facets, with_permitted
from vrec.assistant.price_steps import ShopView, with_prices
from vrec.assistant.prices import PriceRange, PriceStep, PriceWish, about
from vrec.assistant.query import FACETS, Facet, FacetValues, ShoppingQuery
from vrec.assistant.understanding.utterance import Utterance

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
    said = _without_context(state, _without_idle_words(_with_subject(said), shop), shop)
    said = _with_amount(state, said)
    if "reset" in said.commands:
        state = DialogueState(language=said.language)
        if said.wanted.is_empty and said.unwanted.is_empty and not said.prices:
            return state, DialoguePlan("reset")
    targets, missing = _resolve(state, said, shop)
    models = _models(state, said, targets)
    if targets:
        state = replace(state, focus=targets[-1])
    plan = _plan_without_search(state, said, targets, missing)
    return _search(state, said, models, shop) if plan is None else (state, plan)


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
    after = replace(state, query=like(state.query, known, shop), seeds=known)
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
    if not _changes_query(said) and not said.references:
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
    if not only_words or not (said.references or {"thanks", "more"}.intersection(said.commands)):
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
        elif said.points or (about_shown and not _names_others(said)):
            targets = [state.focus or state.shown[0]]
    return tuple(dict.fromkeys(targets)), tuple(missing)


def _names_others(said: Utterance) -> bool:
    """Return whether a message names things by more than their color: "are the silk ones expensive?"."""
    return not said.wanted.with_values("color", ()).with_values("word", ()).is_empty


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


def _models(state: DialogueState, said: Utterance, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the videos that a list is to be like: those that a message names by their places.

    "It", "this" and "them" are the things that are asked for, unless one of them was spoken of and more like
    it is asked for.
    """
    is_like_one = "similar" in said.commands and state.focus is not None
    return targets if said.references or is_like_one else ()


def _with_subject(said: Utterance) -> Utterance:
    """Return a message in which a subject that would do is one that is wanted beside the last one."""
    subjects = FacetValues(category=said.permitted.category, product=said.permitted.product)
    if subjects.is_empty:
        return said
    wanted = said.wanted.adding("category", subjects.category).adding("product", subjects.product)
    return replace(said, wanted=wanted, permitted=_without_subjects(said.permitted), also=True)


def _without_context(state: DialogueState, said: Utterance, shop: ShopView) -> Utterance:
    """Return a message without things that the shop does not have and that are only spoken of.

    Who says more of what is asked for already, such as a price, does not ask for the wallet of "my wallet
    says 90".
    """
    products = said.wanted.product
    asks = said.asks_for_things or said.asks_for_products or said.elliptic or said.leaves_subject
    more = said.prices or said.points or not said.wanted.with_values("product", ()).is_empty
    if not products or not state.query.wanted.category or said.wanted.category or asks or not more:
        return said
    if any(shop.has("product", product) for product in products):
        return said
    return replace(said, wanted=said.wanted.with_values("product", ()))


def _with_amount(state: DialogueState, said: Utterance) -> Utterance:
    """Return a message in which an amount alone is a price in the place of the last one: "no, 130"."""
    before, amount = state.query.price, said.amount
    if amount is None or before.is_any or amount <= len(state.shown):
        return said
    if not said.wanted.with_values("word", ()).is_empty:
        return said
    if before.is_about:
        price = about(amount)
    elif before.least is not None and before.most is None:
        price = replace(before, least=amount)
    else:
        price = PriceRange(most=amount, below=before.below)
    return replace(said, prices=(PriceWish(0, 0, price),))


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
        or not said.removed.is_empty
        or not said.permitted.is_empty
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
        query, seeds = like(query, targets, shop), targets
    if _begins_anew(query, said) or _names_the_absent(query, said, shop):
        query, seeds, state = ShoppingQuery(), (), replace(state, order=None)
        said = replace(
            said, unwanted=_without_subjects(said.unwanted), removed=_without_subjects(said.removed)
        )
    query, changed = with_categories(query, said, shop)
    if changed and not targets:
        seeds = ()
    spoken_of = shop.card(targets[0] if targets else state.focus or (state.shown or ("",))[0])
    query = with_facets(query, said, shop)
    query = with_colors(query, said, None if spoken_of is None else spoken_of.colors)
    query = replace(
        with_permitted(query, said),
        occasion=said.occasion or query.occasion,
        recipient=said.recipient or query.recipient,
    )
    reference = targets or state.shown
    query, order, no_step = with_prices(query, said, reference, shop)
    sort: PriceStep | None = next((wish.order for wish in said.prices if wish.order is not None), None)
    more = "more" in said.commands or "similar" in said.commands
    # "The second, in blue" may be the second itself; something like it is not.
    unlike = targets if "similar" in said.commands else ()
    exclude = state.seen if more and not targets and query == state.query else unlike
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
    if not named or not before or not named.isdisjoint(before) or (said.also and not said.needs_another):
        return False
    refused = {
        *said.unwanted.category, *said.unwanted.product, *said.removed.category, *said.removed.product,
        *said.freed.category, *said.freed.product,
    }  # fmt: skip
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
