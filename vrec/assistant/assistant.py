"""Assistant of a shop: from a message to an answer that names only what the shop has."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.assistant.answers import (
    Answer,
    FoundCards,
    cards_answer,
    cart_answer,
    detail_answer,
    facts_answer,
    passage_answer,
    person_answer,
    talk_answer,
)
from vrec.assistant.catalog import CardFacts, CatalogFacets, Mask, Rows
from vrec.assistant.commands import Command
from vrec.assistant.config import AssistantConfig
from vrec.assistant.constraints import dropping, facet_label, relaxed, without
from vrec.assistant.dialogue import (
    Action,
    DialoguePlan,
    DialogueState,
    next_state,
    state_like,
)
from vrec.assistant.lexicon import ShopLexicon
from vrec.assistant.parse import MessageParser
from vrec.assistant.passages import PassageMatch, PassageSearch
from vrec.assistant.price_steps import ShopView
from vrec.assistant.prices import in_shop_currency
from vrec.assistant.query import FACETS, Facet, ShoppingQuery
from vrec.assistant.ranking import RankRequest, RankVideos
from vrec.assistant.service_questions import may_be_service
from vrec.assistant.understanding.utterance import Utterance
from vrec.assistant.vocabulary import ATTRIBUTE_NAMES, OCCASIONS, RECIPIENTS, names
from vrec.assistant.wording import Language, Wording, wording
from vrec.core.types import Vectors

MAX_TOLD = 50
"""Wishes of which a conversation keeps that the catalog says nothing of them."""


_DEFAULT = AssistantConfig()
EncodeQuestion = Callable[[], Vectors | None]
"""Gives the vector of a message."""


_GUESSES: tuple[Action, ...] = ("search", "unclear", "detail", "cart")
_ABOUT_CARDS: frozenset[Command] = frozenset({"detail", "cart", "similar", "more"})
"""Commands that mean nothing where no cards were shown."""


class Assistant:
    """Assistant over one state of a catalog; it keeps nothing between messages."""

    def __init__(
        self,
        videos: pa.Table,
        passages: PassageSearch | None = None,
        currency: str | None = None,
        config: AssistantConfig = _DEFAULT,
    ) -> None:
        """Read a catalog.

        Args:
            videos: VIDEOS.
            passages: The shop's own documents, if it has any.
            currency: ISO 4217 code of the prices.
            config: Settings; its documents are those of `passages`.
        """
        self._config = config
        self.lexicon = ShopLexicon(videos)
        self.catalog = CatalogFacets(videos, self.lexicon)
        self._parser = MessageParser(self.lexicon)
        self._passages, self._currency = passages, currency
        self._shop = _view_of(self.catalog)

    def over(self, catalog: CatalogFacets) -> Self:
        """Return the same assistant over another state of the catalog."""
        other = copy(self)
        other.catalog = catalog
        if catalog.lexicon is not self.lexicon:
            other.lexicon, other._parser = catalog.lexicon, MessageParser(catalog.lexicon)
        other._shop = _view_of(catalog)
        return other

    def answer(
        self,
        state: DialogueState,
        message: str,
        rank: RankVideos,
        language: Language | None = None,
        vector: EncodeQuestion | None = None,
        *,
        understood: Utterance | None = None,
    ) -> tuple[DialogueState, Answer]:
        """Answer a message.

        Args:
            state: The conversation before it; `DialogueState()` at its beginning.
            message: What the shopper wrote.
            rank: Orders videos for the shopper.
            language: Language of the answer; None for that of the message.
            vector: Gives the (dim,) unit vector of the message by the passages' encoder, or None, which has
                it encoded here; it is asked only if documents are searched.
            understood: What the message means, if that is known already.

        Returns:
            The conversation after it, and the answer.
        """
        begun = state.shown or not state.query.is_empty
        said = understood or self._parser.parse(message, state.language if begun else None, self._in_catalog)
        if language is not None:
            said = replace(said, language=language)
        prices, foreign = in_shop_currency(said.text, said.prices, self._currency, self._config.rates)
        said = replace(said, prices=prices, foreign_prices=foreign)
        after, answer = self._answer(state, said, message, rank, vector)
        if understood is None and said.says_nothing and not said.asks_service:
            found = answer.kind not in ("talk", "nothing", "person") and not answer.unchecked
            answer = replace(answer, understood=found)
        return after, answer

    def _answer(
        self,
        state: DialogueState,
        said: Utterance,
        message: str,
        rank: RankVideos,
        vector: EncodeQuestion | None,
    ) -> tuple[DialogueState, Answer]:
        words = wording(said.language, self._currency)
        if (known := self._from_documents(state, said, message, vector)) is not None:
            return replace(state, language=said.language), passage_answer(known, words)
        after, plan = next_state(state, said, self._shop)
        if plan.action in _GUESSES and self._asks_the_unknown(state, said):
            knows_of_service = self._passages is not None or said.asks_service
            answer = person_answer(words, asked=False) if knows_of_service else talk_answer("unclear", words)
            return replace(state, language=said.language), answer
        if plan.action == "search":
            return self._search(after, plan, rank, words)
        if plan.action == "unclear" and self._passages is not None and said.is_question and not plan.missing:
            return after, person_answer(words, asked=False)
        return after, self._talk(after, plan, words)

    def asked_by(self, text: str) -> list[tuple[Facet, str]]:
        """Return the facets and values that a text asks for, such as ("category", "mugs").

        Args:
            text: Text of a search.
        """
        said = self._parser.parse(text, None, self._in_catalog)
        return [(facet, value) for facet in FACETS for value in said.wanted.of(facet)]

    def without(self, state: DialogueState, key: str, rank: RankVideos) -> tuple[DialogueState, Answer]:
        """Answer after a shopper took one constraint back.

        Args:
            state: The conversation.
            key: Key of the constraint.
            rank: Orders videos for the shopper.
        """
        after = replace(state, query=without(state.query, key))
        return self._search(after, DialoguePlan("search"), rank, wording(state.language, self._currency))

    def like(
        self, state: DialogueState, video_ids: Sequence[str], rank: RankVideos, *, keep: bool = False
    ) -> tuple[DialogueState, Answer]:
        """Answer a wish for things like some videos.

        Args:
            state: The conversation.
            video_ids: The videos; those that are not in the catalog are ignored.
            rank: Orders videos for the shopper.
            keep: Whether the videos may be in the answer themselves.
        """
        after, plan = state_like(state, video_ids, self._shop)
        if keep:
            plan = replace(plan, exclude=())
        return self._search(after, plan, rank, wording(state.language, self._currency))

    def _from_documents(
        self, state: DialogueState, said: Utterance, message: str, vector: EncodeQuestion | None
    ) -> PassageMatch | None:
        """Return the passage that answers a question of customer service."""
        spoken = self._of_no_card(self._spoken(state, said))
        if self._passages is None or not may_be_service(spoken):
            return None
        # "Any waterproof ones?" speaks of what was shown, "what about our old piano?" perhaps not.
        of_shown = state.shown and not said.asks_service and (said.points or not spoken.says_nothing)
        if of_shown and all(self._in_catalog(word) for word in said.wanted.word):
            return None
        known = None if vector is None else vector()
        best = next(iter(self._passages.search(message, 1, known)), None)
        if best is None:
            return None
        enough = self._config.sure_passage_score if of_shown else self._enough(spoken)
        return best if best.score >= enough else None

    def _of_no_card(self, said: Utterance) -> Utterance:
        """Return a message without what it seems to say of cards, if it speaks of something else.

        That is so where it has words that no video has, and names an occasion alone, or something of the
        shopper's own: "what is my old guitar worth?".
        """
        unknown = any(not self._in_catalog(word) for word in said.wanted.word)
        names = not said.wanted.with_values("word", ()).is_empty or said.prices or said.references
        if names or not unknown:
            return said
        is_own = said.speaks_of_own and {"detail"}.issuperset(said.commands)
        return replace(said, occasion=None, recipient=None, commands=() if is_own else said.commands)

    def _enough(self, said: Utterance) -> float:
        """Return the score from which on a passage answers a message."""
        names_nothing = not said.prices and said.wanted.with_values("word", ()).is_empty
        is_sure = said.asks_service or said.says_nothing or (names_nothing and not said.commands)
        return self._config.min_passage_score if is_sure else self._config.sure_passage_score

    def _asks_the_unknown(self, state: DialogueState, said: Utterance) -> bool:
        """Return whether a message asks for what only documents say, or names nothing of the shop."""
        said = self._spoken(state, said)
        if not said.is_question or (said.asks_for_products and not may_be_service(said)):
            return False
        unknown = [word for word in said.wanted.word if not self._in_catalog(word)]
        if self._passages is None or (said.asks_of_the_world and len(unknown) > 1):
            names_nothing = said.says_nothing and bool(unknown) and len(unknown) == len(said.wanted.word)
            is_service = said.asks_service and names_nothing and may_be_service(said)
            return is_service or (said.asks_of_the_world and len(unknown) > 1)
        if said.asks_service or said.commands:
            return said.asks_service and may_be_service(said)
        known = sum(len(said.wanted.of(facet)) for facet in FACETS[:-1])
        known += bool(said.occasion) + bool(said.recipient)
        if not said.says_nothing:
            # "Do your teachers give lessons by video?" names somebody known, and more that is not.
            return not said.prices and not said.asks_for_products and len(unknown) > max(1, known)
        return not state.shown or len(unknown) == len(said.wanted.word)

    def _spoken(self, state: DialogueState, said: Utterance) -> Utterance:
        """Return a message without references to, and commands about, cards where none were shown."""
        if state.shown:
            return said
        commands = tuple(kind for kind in said.commands if kind not in _ABOUT_CARDS)
        return replace(said, references=(), points=False, commands=commands)

    def _in_catalog(self, word: str) -> bool:
        """Return whether a word stands in any title or tag."""
        return bool(self.catalog.having("word", (word,)).any())

    def _talk(self, state: DialogueState, plan: DialoguePlan, words: Wording) -> Answer:
        cards = [card for name in plan.targets if (card := self.catalog.card(name)) is not None]
        if plan.action == "person":
            return person_answer(words, asked=True)
        if plan.action == "detail" and cards:
            return self._detail(cards, plan.asked, words)
        if plan.action == "cart" and cards:
            return cart_answer(cards, words)
        if plan.action in ("order", "moment"):
            answer = talk_answer(plan.action, words)
            return replace(answer, kind=plan.action, video_ids=plan.targets)
        return talk_answer(plan.action, words, plan.missing, len(state.shown))

    def _detail(self, cards: list[CardFacts], asked: Sequence[tuple[Facet, str]], words: Wording) -> Answer:
        """Return what is known of videos, and which of the values that are asked about they have."""
        if not asked:
            return detail_answer(cards, words)
        rows = [self.catalog.row(card.video_id) for card in cards]
        held = [bool(self.catalog.having(facet, (value,))[rows].all()) for facet, value in asked]
        labels = [facet_label(facet, value, words, self.lexicon) for facet, value in asked]
        told = [label for label, has in zip(labels, held, strict=True) if has]
        untold = [label for label, has in zip(labels, held, strict=True) if not has]
        return facts_answer(cards, told, untold, words)

    def _search(
        self, state: DialogueState, plan: DialoguePlan, rank: RankVideos, words: Wording
    ) -> tuple[DialogueState, Answer]:
        query, k = state.query, self._config.cards
        fits, left_out = self._fitting(query)
        found = FoundCards((), 0, by_popularity=True)
        if fits.any():
            narrowed, missing = self._by_words(query, fits)
            if narrowed is not None:
                ids = self._ordered(state, narrowed, plan, rank)
                if not ids:  # all with the words were seen
                    narrowed, ids = fits, self._ordered(state, fits, plan, rank)
                found = FoundCards(ids, int(narrowed.sum()), left_out, missing)
        if found.by_popularity:
            available = self.catalog.fitting(ShoppingQuery(unwanted=query.unwanted))
            rows = self._rows(available, plan.exclude)
            ids = self._rank(rank, RankRequest("", rows, self.catalog, (), k))
            found = replace(found, video_ids=ids, absent=self._absent(query))
        found = replace(found, no_step=plan.no_step, foreign_prices=plan.foreign_prices)
        shown: list[CardFacts] = [card for name in found.video_ids if (card := self.catalog.card(name))]
        untold = tuple(word for word in found.missing_words if word not in state.told)
        answer = cards_answer(query, replace(found, missing_words=untold), shown, words, self.lexicon)
        for facet in left_out:
            # What was asked of another subject, and is now said not to fit, is not asked for any longer.
            query = dropping(query, facet) if facet in plan.carried else query
        told = (*state.told, *untold)[-MAX_TOLD:]
        return replace(state.after_list(found.video_ids), query=query, told=told), answer

    def _fitting(self, query: ShoppingQuery) -> tuple[Mask, tuple[str, ...]]:
        """Return which videos fit, and the facets that had to be left out for there to be any."""
        fits = self.catalog.fitting(query)
        if fits.any():
            return fits, ()
        for less, left_out in relaxed(query):
            if (fits := self.catalog.fitting(less)).any():
                return fits, left_out
        return fits, ()

    def _absent(self, query: ShoppingQuery) -> tuple[str, ...]:
        """Return the keys of the products that are asked for and that nothing in the catalog is called."""
        products = query.wanted.of("product")
        return tuple(
            f"product:{product}"
            for product in products
            if not self.catalog.having("product", (product,)).any()
        )

    def _by_words(self, query: ShoppingQuery, fits: Mask) -> tuple[Mask | None, tuple[str, ...]]:
        """Narrow to the videos with the words of a query, and name the words and attributes that none has.

        The last that was asked for narrows first, and one that is in no fitting video narrows nothing. Where
        only words are asked for, and none is in the catalog, nothing is found: None.
        """
        missing: list[str] = []
        wishes: list[tuple[str, tuple[str, ...]]] = [
            *(
                (f"attribute:{group[0]}", tuple(name for one in group for name in ATTRIBUTE_NAMES[one]))
                for group in query.attribute_groups
            ),
            *((f"word:{word}", (word,)) for word in reversed(query.wanted.word)),
        ]
        if query.recipient:
            wishes.append(("recipient", names(RECIPIENTS[query.recipient])))
        if query.occasion:
            wishes.append(("occasion", names(OCCASIONS[query.occasion])))
        narrowed = fits
        for name, phrases in wishes:
            having = narrowed & self.catalog.having("word", phrases)
            if having.any():
                narrowed = having
            else:
                missing.append(name)
        no_words = replace(query, wanted=query.wanted.with_values("word", ()), occasion=None, recipient=None)
        if no_words.is_empty and query.wanted.of("word") and 2 * len(missing) >= len(wishes):
            return None, tuple(missing)
        return narrowed, tuple(missing)

    def _ordered(
        self, state: DialogueState, fits: Mask, plan: DialoguePlan, rank: RankVideos
    ) -> tuple[str, ...]:
        query, rows, k = state.query, self._rows(fits, plan.exclude), self._config.cards
        order = plan.order or (None if any((query.price.least, query.price.most)) else state.order)
        if order is not None:
            prices = self.catalog.prices[rows]
            prices = np.where(np.isnan(prices), np.inf, prices if order == "cheaper" else -prices)
            return tuple(self.catalog.video_ids[rows[np.argsort(prices, kind="stable")[:k]]].tolist())
        wished = [name for one in query.wanted.attribute for name in ATTRIBUTE_NAMES[one]]
        wished += query.wanted.word
        wished += [query.recipient] if query.recipient else []
        wished += [query.occasion] if query.occasion else []
        return self._rank(rank, RankRequest(" ".join(wished), rows, self.catalog, state.seeds, k))

    def _rows(self, fits: Mask, exclude: Sequence[str]) -> Rows:
        gone = [row for name in exclude if (row := self.catalog.row(name)) >= 0]
        if gone:
            fits = fits.copy()
            fits[gone] = False
        return np.flatnonzero(fits)

    def _rank(self, rank: RankVideos, request: RankRequest) -> tuple[str, ...]:
        """Return the ranking, whatever it has named besides left out."""
        allowed = np.zeros(len(self.catalog.video_ids), np.bool_)
        allowed[request.rows] = True
        ranked: dict[str, None] = {}
        for name in rank(request):
            row = self.catalog.row(name)
            if row >= 0 and allowed[row]:
                ranked[name] = None
            if len(ranked) == request.k:
                break
        return tuple(ranked)


def _view_of(catalog: CatalogFacets) -> ShopView:
    return ShopView(
        catalog.card,
        lambda query: bool(catalog.fitting(query).any()),
        lambda facet, value: bool(catalog.having(facet, (value,)).any()),
    )
