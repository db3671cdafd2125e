"""Answers: cards, and sentences made of what is known of them and of the shop's documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vrec.assistant.catalog import CardFacts
from vrec.assistant.constraints import Constraint, constraints_of
from vrec.assistant.dialogue import Action
from vrec.assistant.lexicon import ShopLexicon
from vrec.assistant.passages import PassageMatch
from vrec.assistant.prices import PriceStep
from vrec.assistant.query import ShoppingQuery
from vrec.assistant.text import one_line
from vrec.assistant.wording import Language, Wording

AnswerKind = Literal["cards", "nothing", "detail", "cart", "passage", "person", "order", "moment", "talk"]
HandOverReason = Literal["asked", "unknown", "order"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Message that a shopper may send next."""

    label: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one message."""

    kind: AnswerKind
    language: Language
    text: str
    video_ids: tuple[str, ...] = ()
    """Videos of the cards, best first."""
    constraints: tuple[Constraint, ...] = ()
    """What is asked for by now."""
    relaxed: tuple[str, ...] = ()
    """Facets that no video fits and that the cards leave out."""
    unchecked: tuple[str, ...] = ()
    """Wishes that no filter can express; the cards are only ordered by them."""
    sources: tuple[PassageMatch, ...] = ()
    """Passages that the text quotes."""
    suggestions: tuple[Suggestion, ...] = ()
    hand_over: bool = False
    """Whether a person should take over."""
    understood: bool = True
    """Whether the rules understood the message; otherwise a language model may know what it means."""
    hand_over_reason: HandOverReason | None = None
    """Reason of a hand-over: the shopper `asked`, the answer is `unknown`, or an `order` is to be changed."""


@dataclass(frozen=True, slots=True)
class FoundCards:
    """Result of a search in the catalog."""

    video_ids: tuple[str, ...]
    total: int
    """Videos that fit."""
    relaxed: tuple[str, ...] = ()
    missing_words: tuple[str, ...] = ()
    """Words that no fitting video has."""
    absent: tuple[str, ...] = ()
    """Keys of the products that the shop does not have at all."""
    by_popularity: bool = False
    """Whether the cards are offered because nothing fits."""
    no_step: PriceStep | None = None
    foreign_prices: tuple[str, ...] = ()
    """Phrases about prices in a currency that is not the shop's, by which nothing was filtered."""


def cards_answer(
    query: ShoppingQuery,
    found: FoundCards,
    shown: Sequence[CardFacts],
    words: Wording,
    lexicon: ShopLexicon,
) -> Answer:
    """Return the answer to a search.

    Args:
        query: What was asked for.
        found: What was found.
        shown: Facts of the cards.
        words: The shopper's language.
        lexicon: Names of the shop's categories.
    """
    constraints = tuple(constraints_of(query, words, lexicon))
    asked = " · ".join(one.label for one in constraints)
    unchecked = _unchecked(found, constraints)
    parts = _of_prices(found, words)
    if found.by_popularity:
        nothing = _nothing(found, constraints, words)
        offer = (
            words.say("These are popular now; or tell me more, or ask for a person.")
            if found.video_ids
            else ""
        )
        return Answer(
            "nothing", words.code, words.joined([*parts, nothing, offer]), found.video_ids, constraints,
            suggestions=_fresh_start(words),
        )  # fmt: skip
    offer = ""
    if found.relaxed:
        dropped = " · ".join(one.label for one in constraints if one.key.partition(":")[0] in found.relaxed)
        parts.append(words.say("Nothing fits all of %(asked)s.") % {"asked": asked})
        offer = words.say("These fit without %(dropped)s:") % {"dropped": dropped}
    elif not found.video_ids and found.total:
        parts.append(words.say("You have seen all that fits."))
    elif asked:
        text = words.counted("%(n)d found for %(asked)s.", "%(n)d found for %(asked)s.", found.total)
        parts.append(text % {"n": found.total, "asked": asked})
    else:
        parts.append(words.say("Here are some for you:"))
    if unchecked:
        parts.append(
            words.say("The catalog does not say: %(what)s. I ordered by it as far as words go.")
            % {"what": " · ".join(unchecked)}
        )
    # It ends with a colon: what follows are the cards.
    parts.append(offer)
    return Answer(
        "cards", words.code, words.joined(parts), found.video_ids, constraints,
        relaxed=found.relaxed, unchecked=unchecked, suggestions=_next_steps(query, found, shown, words),
    )  # fmt: skip


def _of_prices(found: FoundCards, words: Wording) -> list[str]:
    """Return what is said first: wishes about prices that could not be met."""
    parts: list[str] = []
    if found.foreign_prices:
        parts.append(
            words.say("Prices here are in %(currency)s, so I did not filter by “%(what)s”.")
            % {"currency": words.currency_name(), "what": one_line("; ".join(found.foreign_prices))}
        )
    if found.no_step == "cheaper":
        parts.append(words.say("Nothing cheaper fits."))
    elif found.no_step is not None:
        parts.append(words.say("Nothing more expensive fits."))
    return parts


def detail_answer(cards: Sequence[CardFacts], words: Wording) -> Answer:
    """Return what is known of videos at this moment."""
    parts = []
    for card in cards:
        title = shown_title(card)
        if card.price is None:
            parts.append(words.say("%(title)s: no price is given.") % {"title": title})
        else:
            parts.append(
                words.say("%(title)s costs %(price)s.") % {"title": title, "price": words.money(card.price)}
            )
        parts.append(
            words.say("It is available.") if card.available else words.say("It is not available now.")
        )
    return Answer(
        "detail", words.code, words.joined(parts), tuple(card.video_id for card in cards),
        suggestions=(
            Suggestion(words.say("More like this"), words.say("something like this")),
            Suggestion(words.say("Cheaper"), words.say("cheaper")),
        ),
    )  # fmt: skip


def facts_answer(
    cards: Sequence[CardFacts], told: Sequence[str], untold: Sequence[str], words: Wording
) -> Answer:
    """Return the answer to a question about videos.

    Args:
        cards: The videos.
        told: What is asked about and stands in their titles or tags.
        untold: What is asked about and stands in neither.
        words: The shopper's language.
    """
    names = ", ".join(map(shown_title, cards))
    parts: list[str] = []
    if told:
        text = words.say("%(titles)s: title or tags say %(what)s.")
        parts.append(text % {"titles": names, "what": " · ".join(told)})
    if untold:
        text = words.say("The catalog does not say of %(titles)s: %(what)s.")
        parts.append(text % {"titles": names, "what": " · ".join(untold)})
    return Answer(
        "detail", words.code, words.joined(parts), tuple(card.video_id for card in cards),
        unchecked=tuple(untold), suggestions=person_offer(words),
    )  # fmt: skip


def shown_title(card: CardFacts) -> str:
    """Return what an answer calls a video: its title as one line, or its id."""
    return one_line(card.title or "") or card.video_id


def cart_answer(cards: Sequence[CardFacts], words: Wording) -> Answer:
    """Return the answer to a wish to buy: the page, not the assistant, fills carts."""
    sold = [card for card in cards if not card.available]
    if sold:
        names = ", ".join(map(shown_title, sold))
        text = words.say("%(titles)s: not available now.") % {"titles": names}
        return Answer("detail", words.code, text, tuple(card.video_id for card in cards))
    names = ", ".join(
        f"{shown_title(card)} ({words.money(card.price)})" if card.price is not None else shown_title(card)
        for card in cards
    )
    text = words.say("Press “Add to cart” to take %(titles)s.") % {"titles": names}
    return Answer("cart", words.code, text, tuple(card.video_id for card in cards))


def passage_answer(match: PassageMatch, words: Wording) -> Answer:
    """Return a passage's sentences with where they stand."""
    text = words.say("%(quote)s (from “%(title)s”)") % {
        "quote": match.quote,
        "title": match.passage.title or match.passage.document,
    }
    return Answer("passage", words.code, text, sources=(match,), suggestions=person_offer(words))


def person_answer(words: Wording, *, asked: bool) -> Answer:
    """Return the answer that hands over, because the shopper `asked` for it or since nothing is known."""
    text = (
        words.say("I am passing you on to a person, with what we have said so far.")
        if asked
        else words.say(
            "I do not know that, and will not guess. A person can help you: I pass on our conversation."
        )
    )
    reason: HandOverReason = "asked" if asked else "unknown"
    return Answer("person", words.code, text, hand_over=True, hand_over_reason=reason)


def talk_answer(action: Action, words: Wording, missing: Sequence[int] = (), shown: int = 0) -> Answer:
    """Return the answer to greetings, thanks, a new start, and what was not understood."""
    if missing and shown:
        text = words.counted(
            "The last list has %(n)d item only.", "The last list has %(n)d items only.", shown
        ) % {"n": shown}
    elif missing:
        text = words.say("There is no list yet that you could mean. What are you looking for?")
    else:
        texts = {
            "greeting": words.say("Hello! What are you looking for?"),
            "thanks": words.say("You are welcome!"),
            "reset": words.say("All forgotten. What are you looking for?"),
            "moment": words.say("Which video do you mean?"),
            "order": words.say("I cannot see orders here."),
        }
        text = texts.get(
            action,
            words.say("I did not understand that. Name a product, a color or a price, or ask for a person."),
        )
    return Answer("talk", words.code, text, suggestions=() if action == "thanks" else person_offer(words))


def _nothing(found: FoundCards, constraints: Sequence[Constraint], words: Wording) -> str:
    absent = [one.label for one in constraints if one.key in found.absent]
    if absent:
        return words.say("This shop has nothing called %(what)s.") % {"what": " · ".join(absent)}
    if not constraints:
        return words.say("Nothing found.")
    return words.say("Nothing found for %(asked)s.") % {"asked": " · ".join(one.label for one in constraints)}


def _unchecked(found: FoundCards, constraints: Sequence[Constraint]) -> tuple[str, ...]:
    labels = {one.key: one.label for one in constraints}
    return tuple(labels.get(word, word) for word in found.missing_words)


def _next_steps(
    query: ShoppingQuery, found: FoundCards, shown: Sequence[CardFacts], words: Wording
) -> tuple[Suggestion, ...]:
    steps = []
    if len({card.price for card in shown if card.price is not None}) > 1:
        steps.append(Suggestion(words.say("Cheaper"), words.say("cheaper")))
    if found.total > len(found.video_ids):
        steps.append(Suggestion(words.say("More"), words.say("show me more")))
    if query.wanted.of("color"):
        steps.append(Suggestion(words.say("Any color"), words.say("any color")))
    return (*steps, *_fresh_start(words)) if not query.is_empty else tuple(steps)


def _fresh_start(words: Wording) -> tuple[Suggestion, ...]:
    return (Suggestion(words.say("Start again"), words.say("start again")), *person_offer(words))


def person_offer(words: Wording) -> tuple[Suggestion, ...]:
    """Return the suggestion to ask for a person."""
    return (Suggestion(words.say("A person, please"), words.say("I want to talk to a person")),)
