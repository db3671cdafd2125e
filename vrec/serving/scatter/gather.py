"""Lists gathered from the parts of a catalog, with the answers of one engine over the whole catalog."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.growing_bm25 import WordCounts
from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.retrieval.live.online import OnlineLiveModel
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import ListResult, RecommendQuery, RequestFilters
from vrec.serving.recommend.candidates import draw_places, liked_weights
from vrec.serving.recommend.draws import candidate_rng
from vrec.serving.recommend.live import ScoreStreams
from vrec.serving.recommend.predictions import with_valid_taste
from vrec.serving.rules.book import RuleBook
from vrec.serving.scatter.gathered import GatheredEngine, GatheredFacts
from vrec.serving.scatter.messages import (
    FactsQuery,
    LookQuery,
    Numbers,
    PartFacts,
    PartRecords,
    PartRows,
    PopularKey,
)
from vrec.serving.scatter.part_engine import named_videos
from vrec.serving.streams.states import StreamBook

MISSING = "shards"
"""Name in `degraded` of parts of the catalog that did not answer."""
T = TypeVar("T")


class NoPartAnswers(ServeError):
    """Failure of every part of the catalog."""

    fix = "see the log of the shards, and whether their replicas run"


class CatalogPart(Protocol):
    """Part of the catalog; a call returns None if the part does not answer."""

    async def facts(self, ask: FactsQuery) -> PartFacts | None:
        """Return facts of videos; see `PartEngine.facts`."""
        ...

    async def look(self, ask: LookQuery) -> PartRows | None:
        """Return the videos that a list may depend on; see `PartEngine.look`."""
        ...

    async def records(self, video_ids: Sequence[str]) -> PartRecords | None:
        """Return what ranking needs of videos; see `PartEngine.records`."""
        ...

    async def popular_before(self, keys: Sequence[PopularKey]) -> list[int] | None:
        """Return the number of videos before each key; see `PartEngine.popular_before`."""
        ...


@dataclass(frozen=True, eq=False)
class _Answering:
    """Parts that answered all calls of a request so far."""

    parts: tuple[CatalogPart | None, ...]

    async def ask(
        self, call: Callable[[int, CatalogPart], Awaitable[T | None]]
    ) -> "tuple[_Answering, list[T | None]]":
        """Call all parts at once, and return those that answered, and their answers by part."""

        async def one(number: int, part: CatalogPart | None) -> T | None:
            return None if part is None else await call(number, part)

        answers = await asyncio.gather(*(one(number, part) for number, part in enumerate(self.parts)))
        left = (None if answer is None else part for part, answer in zip(self.parts, answers, strict=True))
        made = _Answering(tuple(left))
        if not any(part is not None for part in made.parts):
            raise NoPartAnswers("no part of the catalog answers")
        return made, answers

    @property
    def degraded(self) -> tuple[str, ...]:
        """MISSING if any part is."""
        return (MISSING,) if None in self.parts else ()


class ScatterGather:
    """Lists from the parts of a bundle's catalog. The bundle is its head, without any video."""

    def __init__(self, head: ServingBundle, config: ServeConfig) -> None:
        assert head.part is not None
        self._head, self._config, self._cut = head, config, head.part.cut

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self._head.version

    @property
    def live_model(self) -> OnlineLiveModel | None:
        """Model of live streams, if the bundle has one."""
        return self._head.live

    async def recommend(
        self,
        parts: Sequence[CatalogPart],
        query: RecommendQuery,
        user: Profile,
        book: RuleBook,
        *,
        streams: StreamBook,
        score_streams: ScoreStreams | None = None,
    ) -> ListResult:
        """Recommend videos; see `RecommendEngine.recommend`.

        A list without some parts has what the others have, and is marked as degraded.

        Raises:
            NoPartAnswers: No part answers.
        """
        user = with_valid_taste(user, self._dim)
        answering, engine = await self._look(parts, LookQuery("recommend", query, user))
        chosen = engine.choose(query, user, book, streams=streams)
        wanted = self._by_part([*engine.ids_of(chosen), *named_videos(query, user)])
        answering, records = await answering.ask(lambda number, part: part.records(wanted[number]))
        engine.take_records([one for one in records if one is not None])
        if query.explain:
            answering = await self._find_places(answering, engine, engine.ids_of(chosen))
        result = engine.rank(chosen, streams=streams, score_streams=score_streams)
        return replace(result, degraded=answering.degraded)

    async def similar(
        self,
        parts: Sequence[CatalogPart],
        video_id: str,
        k: int,
        filters: RequestFilters,
        *,
        at: int,
        book: RuleBook,
        streams: StreamBook,
    ) -> ListResult:
        """Return similar videos; see `RecommendEngine.similar`.

        Raises:
            NoPartAnswers: No part answers, or not the one of the video.
            UnknownVideo: The video is not in the catalog.
        """
        query = RecommendQuery("", "", "similar", k, at, filters, seeds=(video_id,))
        answering, engine = await self._look(parts, LookQuery("similar", query, Profile("user", "")))
        result = engine.similar(video_id, k, filters, at, book, streams=streams)
        return replace(result, degraded=answering.degraded)

    async def search(
        self,
        parts: Sequence[CatalogPart],
        text: str,
        vector: Vectors | None,
        k: int,
        filters: RequestFilters,
        *,
        at: int,
        book: RuleBook,
        streams: StreamBook,
    ) -> ListResult:
        """Search by a text; see `RecommendEngine.search`. Raises NoPartAnswers."""
        query = RecommendQuery("", "", "search", k, at, filters)
        ask = LookQuery("search", query, Profile("user", ""), text=text, vector=vector)
        answering, engine = await self._look(parts, ask)
        result = engine.search(text, vector, k, filters, at, book=book, streams=streams)
        return replace(result, degraded=answering.degraded)

    @property
    def _dim(self) -> int:
        embeddings = self._head.content.embeddings
        return 0 if embeddings is None else embeddings.schema.field("vector").type.list_size

    async def _look(self, parts: Sequence[CatalogPart], ask: LookQuery) -> tuple[_Answering, GatheredEngine]:
        """Return the parts that answer, and the engine over the videos that they found."""
        query, config = ask.query, self._config.candidates
        liked = liked_weights(query, ask.user, config) if ask.kind == "recommend" else {}
        named = (*query.seeds, *query.cart)
        need = config.new - config.new // 2 if _wants_candidates(ask) else 0
        wants_facts = bool(liked or named or need or ask.kind == "search")
        answering, found = _Answering(tuple(parts)), list[PartFacts | None]()
        if wants_facts:
            text = ask.text if ask.kind == "search" else None
            names = tuple(dict.fromkeys((*liked, *named)))
            facts_query = FactsQuery(names, query.filters, query.at, need > 0, text)
            answering, found = await answering.ask(lambda _, part: part.facts(facts_query))
        known = [one for one in found if one is not None]
        facts = GatheredFacts.of(known)
        if ask.kind == "similar" and query.seeds[0] not in facts.vectors:
            if answering.parts[self._cut.part_of(query.seeds[0])] is None:
                raise NoPartAnswers(f"the part of the catalog that has {query.seeds[0]} does not answer")
            raise UnknownVideo(f"no video {query.seeds[0]} is in the catalog")
        orders = {tuple(liked): facts.ranked_neighbors(list(liked), list(liked.values()))}
        orders[named] = facts.ranked_neighbors(named, [1.0] * len(named))
        split = {names: self._cut.split_rows(order) for names, order in orders.items() if len(order)}
        draws = self._draws(query, need, found)
        words = [one.words for one in known if one.words is not None]
        whole = replace(ask, vectors=facts.vectors, words=WordCounts.total(words) if words else None)

        def look(number: int, part: CatalogPart) -> Awaitable[PartRows | None]:
            neighbors = {names: rows[number] for names, rows in split.items()}
            return part.look(replace(whole, neighbors=neighbors, draws=draws[number] if draws else None))

        answering, rows = await answering.ask(look)
        return answering, GatheredEngine(
            self._head, self._config, facts, [one for one in rows if one is not None]
        )

    def _draws(
        self, query: RecommendQuery, need: int, found: Sequence[PartFacts | None]
    ) -> list[tuple[Numbers, Numbers]]:
        """Return each part's random draws; none if nothing is drawn."""
        counts = [0 if one is None else one.matching for one in found]
        ends = np.cumsum([0, *counts])
        rng = candidate_rng(query, self._config.candidates.rotation_minutes)
        drawn = draw_places(int(ends[-1]), need, rng)
        owner = np.searchsorted(ends, drawn, side="right") - 1
        places = [np.flatnonzero(owner == number) for number in range(len(counts))]
        return [(mine, drawn[mine] - ends[number]) for number, mine in enumerate(places)]

    def _by_part(self, video_ids: Sequence[str]) -> list[list[str]]:
        wanted: list[list[str]] = [[] for _ in range(len(self._cut))]
        for name in dict.fromkeys(video_ids):
            wanted[self._cut.part_of(name)].append(name)
        return wanted

    async def _find_places(
        self, answering: _Answering, engine: GatheredEngine, video_ids: Sequence[str]
    ) -> _Answering:
        keys = [engine.popular_key(name) for name in video_ids]
        answering, before = await answering.ask(lambda _, part: part.popular_before(keys))
        totals = np.sum([one for one in before if one is not None], axis=0).tolist()
        engine.sources.places = {name: int(n) + 1 for name, n in zip(video_ids, totals, strict=True)}
        return answering


def _wants_candidates(ask: LookQuery) -> bool:
    """Return whether a request needs candidates that are drawn at random."""
    query = ask.query
    related = bool(query.seeds or query.cart)
    found = query.candidates is None and (query.order == "ranked" or related)
    return ask.kind == "recommend" and found and query.filters.streams != "only"
