"""Assistant over a bundle: its catalog, its search, and its ranking for the shopper."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from vrec.assistant.answers import Answer
from vrec.assistant.assistant import Assistant
from vrec.assistant.constraints import constraints_of, without
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.language_model.parsing import shop_vocabulary
from vrec.assistant.moments import moment_answer, said_answer, says_of
from vrec.assistant.passages import PassageSearch
from vrec.assistant.ranking import RankRequest
from vrec.assistant.wording import wording
from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.profiles.searches import search_subject
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import changed_videos
from vrec.serving.conversation.messages import (
    AssistantReply,
    ConverseQuery,
    ConverseResult,
    ShopMoment,
)
from vrec.serving.conversation.moments import MAX_ASKED, find_said
from vrec.serving.messages import CatalogChange, ListItem, RecommendQuery, RequestFilters, unranked_item
from vrec.serving.moments.messages import FoundMoment, MomentQuery
from vrec.serving.recommend.engine import RecommendEngine
from vrec.serving.recommend.rank_fusion import RANK_CONSTANT

SURFACE = "assistant"
"""Surface of the assistant's lists, for settings and rules."""
MAX_RANKED = 300
"""Fitting videos that the shopper's ranking orders; of more, the best by words, then the most popular."""
FUSED_DEPTH = 8
"""Places of the shopper's ranking for each card, where it is fused with the order of a search."""
FACTS_READ = 20
"""Subtitles of a video, the best by words, among which one is sought that tells a fact."""
ANY_AGE = 1_000
"""Age in years above every limit."""
EncodeTexts = Callable[[Sequence[str]], Vectors]
"""From texts to (n, dim) float32 unit rows of the bundle's text encoder."""
EncodeText = Callable[[str], Vectors | None]
"""From a text to its (dim,) float32 unit vector; None if it cannot be encoded now."""


class BundleAssistant:
    """Assistant over one state of an engine's catalog."""

    def __init__(self, engine: RecommendEngine, config: ServeConfig, passages: PassageSearch | None) -> None:
        """Read the catalog.

        Args:
            engine: Engine with the catalog.
            config: Settings.
            passages: The shop's documents, if it has any.
        """
        self.engine, self._currency = engine, config.currency
        llm = config.assistant.llm
        self._asks_model = llm.url is not None and llm.parses
        view, self._min_similarity = engine.bundle_view, config.search.min_similarity
        self._assistant = Assistant(view.videos, passages, config.currency, config.assistant)
        self._catalog, self._known = self._assistant.catalog, dict[str, CatalogChange]()
        self._follow(engine.snapshot)

    def with_engine(self, engine: RecommendEngine) -> "BundleAssistant":
        """Return the assistant over a later state of the same bundle's catalog; this one stays as it is.

        The cost is proportional to the changes, apart from copies of a few numbers per video.
        """
        other = copy(self)
        other.engine = engine
        other._follow(engine.snapshot)
        return other

    def _follow(self, snapshot: CatalogSnapshot) -> None:
        """Read the changes of a snapshot that are not known yet."""
        changes = [one for name, one in snapshot.latest.items() if self._known.get(name) is not one]
        if changes:
            present = [one for one in changes if one.row is not None]
            gone = [one.video_id for one in changes if one.row is None]
            videos = changed_videos(present) if present else VIDEOS.arrow().empty_table()
            self._catalog = self._catalog.with_changes(videos, gone)
            self._known = snapshot.latest
        rows, names = self._catalog.changed()
        base = len(snapshot.current_rows)
        # The row of an outdated one is of another video, or none; no answer has it.
        moved = np.maximum(snapshot.catalog.find(names), 0) if names else rows
        self._snapshot_rows: RowIndices = np.concatenate([np.arange(base), moved])
        """(rows,) row of the snapshot by row of the assistant's catalog."""
        places = np.full(snapshot.count, snapshot.count)
        places[snapshot.popular] = np.arange(len(snapshot.popular))
        self._places: RowIndices = places[self._snapshot_rows]
        """(rows,) place in the order of popularity by row of the assistant's catalog."""

    def converse(
        self, query: ConverseQuery, user: Profile, encode: EncodeText, moment: ShopMoment
    ) -> ConverseResult:
        """Answer a message of a shopper.

        Args:
            query: The message, and the conversation before it.
            user: The shopper's profile.
            encode: The bundle's text encoder; where it gives no vector, words alone are searched.
            moment: What holds in the shop at this moment.
        """
        ranking = _ShopperRanking(self.engine, query, user, encode, moment, places=self._places)
        message, rows = query.message, self._snapshot_rows
        seen = self._catalog.seen_by(*(mask[rows] for mask in ranking.masks()))
        assistant = self._assistant.over(seen)
        unknown = tuple(name for name in message.like if self._catalog.row(name) < 0)
        state, answer = _answer(assistant, query, ranking, encode)
        moments: tuple[FoundMoment, ...] = ()
        if answer.kind == "moment":
            answer, moments = self._with_moments(answer, state, query, encode, ranking)
        if answer.kind == "detail" and answer.unchecked:
            answer, moments = self._with_subtitle(answer, query, ranking)
        # What is asked for stays in sight while the talk is about something else.
        words = wording(answer.language, self._currency)
        asked = tuple(constraints_of(state.query, words, assistant.lexicon))
        answer = replace(answer, constraints=asked)
        items = tuple(ranking.item(name, place) for place, name in enumerate(answer.video_ids, start=1))
        cards = {item.video_id: card for item in items if (card := self.engine.card(item.video_id))}
        reply = AssistantReply(answer, state, items, self.engine.version, unknown=unknown, moments=moments)
        asks_model = self._asks_model and not answer.understood
        return ConverseResult(reply, cards, shop_vocabulary(assistant.lexicon) if asks_model else None)

    def search_subject(self, text: str) -> str | None:
        """Return what stands in place of the video in the event of a search for a text; None for nothing."""
        return search_subject(self._assistant.over(self._catalog).asked_by(text))

    def _with_moments(
        self,
        answer: Answer,
        state: DialogueState,
        query: ConverseQuery,
        encode: EncodeText,
        ranking: "_ShopperRanking",
    ) -> tuple[Answer, tuple[FoundMoment, ...]]:
        """Return an answer about a moment with the times that are found in its videos, or the last list."""
        text, allowed = query.message.text, ranking.masks()[0]
        vector = encode(text) if self.engine.moments is not None else None
        targets = answer.video_ids or state.shown[:MAX_ASKED]
        asked = MomentQuery(k=3 if answer.video_ids else 1, at=query.at, text=text, video_ids=targets)
        moments = find_said(self.engine, asked, allowed, vector, self._min_similarity)
        titles = {one.video_id: (self.engine.card(one.video_id) or {}).get("title") for one in moments}
        found = [(one.video_id, titles[one.video_id], one.start_s, one.end_s) for one in moments]
        rows = self.engine.snapshot.catalog.find(answer.video_ids).tolist()
        named = zip(answer.video_ids, rows, strict=True)
        may = tuple(name for name, row in named if row >= 0 and allowed[row])
        return moment_answer(answer, found, may, wording(answer.language)), tuple(moments)

    def _with_subtitle(
        self, answer: Answer, query: ConverseQuery, ranking: "_ShopperRanking"
    ) -> tuple[Answer, tuple[FoundMoment, ...]]:
        """Return an answer to a question about a video with the subtitle that tells, if one does."""
        text, names = " ".join((*answer.unchecked, query.message.text)), answer.video_ids
        asked = MomentQuery(k=FACTS_READ, at=query.at, text=text, video_ids=names, per_video=FACTS_READ)
        found = find_said(self.engine, asked, ranking.masks()[0], None, self._min_similarity)
        telling = [one for one in found if one.text and says_of(one.text, answer.unchecked)][:1]
        for one in telling:
            answer = said_answer(answer, one.text or "", one.start_s, one.end_s, wording(answer.language))
        return answer, tuple(telling)


def _answer(
    assistant: Assistant, query: ConverseQuery, rank: "_ShopperRanking", encode: EncodeText
) -> tuple[DialogueState, Answer]:
    """Take back, add and say what a message has, in this order."""
    state, message = query.state, query.message
    if message.language is not None:
        state = replace(state, language=message.language)
    if message.remove is not None and (message.text or message.like):
        state = replace(state, query=without(state.query, message.remove))
    if message.like:
        after, answer = assistant.like(state, message.like, rank, keep=bool(message.example))
        if not message.text:
            return after, answer
        state = after
    if message.text:
        return assistant.answer(
            state,
            message.text,
            rank,
            message.language,
            lambda: encode(message.text),
            understood=query.understood,
        )
    return assistant.without(state, message.remove or "", rank)


class _ShopperRanking:
    """Ranking of videos for one answer; it keeps the items of the videos that it ranked."""

    def __init__(
        self,
        engine: RecommendEngine,
        query: ConverseQuery,
        user: Profile,
        encode: EncodeText,
        moment: ShopMoment,
        *,
        places: RowIndices,
    ) -> None:
        self._engine, self._user, self._encode, self._moment = engine, user, encode, moment
        self._places, self._items = places, dict[str, ListItem]()
        """(rows,) places in the order of popularity, and the items that were ranked so far."""
        message = query.message
        self._found = message.like if message.example else ()
        """Videos that a file was found to look or sound like, the nearest first."""
        self._query = RecommendQuery(
            message.request_id, query.user_id, message.surface, 1, query.at, message.filters, message.age
        )

    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the (N,) masks of the snapshot's videos for the shopper, and for anybody."""
        streams, book = self._moment.streams, self._moment.book
        anybody = replace(self._query, filters=RequestFilters(), age=ANY_AGE)
        return (
            self._engine.allowed(self._query, self._user, book, streams=streams),
            self._engine.allowed(anybody, Profile("user", ""), book, streams=streams),
        )

    def item(self, video_id: str, place: int) -> ListItem:
        """Return the item of a video of the answer in a place from 1."""
        found = self._items.get(video_id)
        # The answer's order is not the one that the propensity was for.
        return replace(found, propensity=1.0) if found else unranked_item(video_id, 1 / place, SURFACE)

    def __call__(self, request: RankRequest) -> list[str]:
        """Return the fitting videos by the shopper's ranking, fused with the order of a search for the words
        by reciprocal rank; those that were found by a file come first."""
        ranked, catalog = self._ranked(request), request.catalog
        if not self._found:
            return ranked
        fits = set(request.rows.tolist())
        first = [name for name in self._found if catalog.row(name) in fits]
        return list(dict.fromkeys((*first, *ranked)))

    def _ranked(self, request: RankRequest) -> list[str]:
        catalog, by_words = request.catalog, self._search(request.text)
        rows, allowed = request.rows, np.zeros(len(self._places), np.bool_)
        allowed[rows] = True
        by_words = [name for name in by_words if (row := catalog.row(name)) >= 0 and allowed[row]]
        allowed[[catalog.row(name) for name in by_words]] = False
        rest = rows[allowed[rows]]
        need = MAX_RANKED - len(by_words)
        if 0 < need < len(rest):
            rest = rest[np.argpartition(self._places[rest], need)[:need]]
        rest = rest[np.argsort(self._places[rest], kind="stable")] if need > 0 else rest[:0]
        candidates: tuple[str, ...] = (*by_words, *catalog.video_ids[rest].tolist())[:MAX_RANKED]
        # A place costs time. Fused with another order, a place further back counts too.
        k = min(len(candidates), request.k * (FUSED_DEPTH if by_words else 1))
        query = replace(self._query, k=k, candidates=candidates, seeds=request.seeds)
        moment = self._moment
        items = self._engine.recommend(query, self._user, moment.book, streams=moment.streams).items
        self._items |= {item.video_id: item for item in items}
        ranked = [item.video_id for item in items]
        if not by_words:
            return [*ranked, *(name for name in candidates if name not in self._items)]
        scores = dict.fromkeys(candidates, 0.0)
        for order in (by_words, ranked):
            for place, name in enumerate(order, start=1):
                scores[name] += 1 / (RANK_CONSTANT + place)
        return sorted(scores, key=lambda name: -scores[name])

    def _search(self, text: str) -> list[str]:
        if not text:
            return []
        query, moment, vector = self._query, self._moment, self._encode(text)
        found = self._engine.search(
            text, vector, MAX_RANKED, query.filters, query.at, book=moment.book, streams=moment.streams
        )
        return [item.video_id for item in found.items if item.source.startswith("search:")]
