"""Engine of one part of a catalog: answers questions of the process that gathers a list."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.profiles.linked import history_parts
from vrec.profiles.profile import Profile
from vrec.ranking.ranker_part import take_part
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.eligibility import request_mask, shopper_context
from vrec.serving.recommend.engine import RecommendEngine
from vrec.serving.recommend.exact_scores import Scores
from vrec.serving.recommend.rank_fusion import fusion_depth
from vrec.serving.recommend.search import DEEPER
from vrec.serving.rules.book import RuleBook
from vrec.serving.rules.compiled import ListRules
from vrec.serving.scatter.looking import LookingFilter, LookingSources, places_of
from vrec.serving.scatter.messages import (
    FactsQuery,
    LookQuery,
    Numbers,
    PartFacts,
    PartRecords,
    PartRows,
    PopularKey,
)
from vrec.serving.scatter.part_rows import part_rows, popular_ranks
from vrec.serving.streams.rows import LiveStreams
from vrec.serving.streams.states import StreamBook

K = TypeVar("K")
Found = dict[str, tuple[Numbers, Scores]]


class PartEngine(RecommendEngine):
    """Engine over a bundle that `cut_bundle` made, with the changes of its videos since."""

    def __init__(self, bundle: ServingBundle, config: ServeConfig) -> None:
        super().__init__(bundle, config)
        assert bundle.part is not None
        self.part = bundle.part
        """Place of the part among the others."""

    def facts(self, ask: FactsQuery, *, streams: StreamBook) -> PartFacts:
        """Return facts of those of some videos that this part has."""
        neighbors, snapshot = self._bundle.neighbors, self._snapshot
        lists = {
            name: (neighbors.indices[at], neighbors.scores[at])
            for name in ask.video_ids
            if (at := neighbors.position.get(name)) is not None
        }
        rows = snapshot.catalog.find(ask.video_ids)
        vectors = {
            name: snapshot.catalog.vectors[row]
            for name, row in zip(ask.video_ids, rows.tolist(), strict=True)
            if row >= 0
        }
        matching = 0
        if ask.draws:
            live = self._streams.compiled(streams, snapshot).live(ask.at)
            matching = len(snapshot.pool(request_mask(snapshot, ask.filters, live)))
        words = None if ask.text is None else self._search.new_word_counts(ask.text)
        return PartFacts(lists, vectors, matching, words)

    def look(self, ask: LookQuery, book: RuleBook, *, streams: StreamBook) -> PartRows:
        """Return the videos that a list of the whole catalog may depend on."""
        query, snapshot = ask.query, self._snapshot
        rules = self._rules.compiled(book, snapshot).for_list(query.surface, query.filters, query.at)
        live = self._streams.compiled(streams, snapshot).live(query.at)
        sources = LookingSources(self._bundle.index, self._config.candidates, ask, self._bundle.neighbors)
        user = ask.user if ask.kind == "recommend" else None
        eligible = LookingFilter(
            snapshot,
            query.filters,
            shopper_context(user, query.filters, query.age),
            self._config.rerank.for_surface(query.surface).rules,
            query.at,
            bans=rules.bans,
            live=live,
        )
        found: Found = {}
        eligible.touch(snapshot.catalog.find(named_videos(query, ask.user)))
        if ask.kind == "recommend":
            self._look_for_shopper(ask, sources, eligible, live, rules)
        elif ask.kind == "similar":
            self._look_around(ask, sources, eligible)
        else:
            found = self._look_up(ask, eligible)
        ids = snapshot.catalog.video_ids
        ordered = sorted(eligible.touched, key=ids.__getitem__)
        touched = np.array(ordered, np.int64)
        places = np.zeros(0, np.int64) if ask.draws is None else ask.draws[0]
        return part_rows(
            snapshot,
            self.part,
            touched,
            live=live,
            has_neighbors=np.array([sources.has_neighbors(ids[row]) for row in ordered], np.bool_),
            by_content=_placed(sources.found, touched),
            drawn=(places[: len(sources.drawn)], places_of(sources.drawn, touched)),
            found=_placed(found, touched),
        )

    def records(self, video_ids: Sequence[str]) -> PartRecords:
        """Return what ranking needs of videos of this part; unknown ones are left out."""
        rows = self._snapshot.catalog.find(video_ids)
        ids = [name for name, row in zip(video_ids, rows.tolist(), strict=True) if row >= 0]
        vectors = self._snapshot.catalog.vectors[rows[rows >= 0]]
        # Of a video that was removed, ranking still knows what the shopper saw.
        return PartRecords(ids, vectors, take_part(self._ranker.known(video_ids), video_ids))

    def popular_before(self, keys: Sequence[PopularKey]) -> list[int]:
        """Return the number of this part's videos before each key in the order of popularity."""
        popular = self._snapshot.popular
        rank, value = popular_ranks(self._snapshot, self.part, popular)
        rows: list[int] = popular.tolist()
        ids = [self._snapshot.catalog.video_ids[row] for row in rows]
        mine: list[PopularKey] = sorted(zip(rank.tolist(), value.tolist(), ids, strict=True))
        return [bisect_left(mine, key) for key in keys]

    def _look_for_shopper(
        self,
        ask: LookQuery,
        sources: LookingSources,
        eligible: LookingFilter,
        live: LiveStreams,
        rules: ListRules,
    ) -> None:
        query = ask.query
        if query.candidates is not None:
            return
        if query.order == "popular" and not (query.seeds or query.cart):
            eligible.touch(live.rows)
            if query.filters.streams != "only":
                eligible.pick(self._snapshot.popular, min(query.k, self._config.candidates.most))
        else:
            sources.look(query, ask.user, self._snapshot, eligible, live)
        if rules.places:
            rules.candidates(query, self._snapshot, eligible)

    def _look_around(self, ask: LookQuery, sources: LookingSources, eligible: LookingFilter) -> None:
        (video_id,), snapshot = ask.query.seeds, self._snapshot
        depth, vector = fusion_depth(ask.query.k), ask.vectors[video_id]
        orders = [sources.by_neighbors(snapshot, [video_id], [1.0])]
        if vector.any():
            orders.append(sources.by_content(snapshot, vector, 2 * depth, eligible.mask))
            eligible.touch(orders[-1])
        row = snapshot.catalog.row_by_id.get(video_id, -1)
        for order in orders:
            eligible.pick_independently(order[order != row], depth)

    def _look_up(self, ask: LookQuery, eligible: LookingFilter) -> Found:
        """Look for a text, and return the rows found and their scores by the name of the order."""
        depth, snapshot, search = fusion_depth(ask.query.k), self._snapshot, self._search
        found: Found = {
            "words": _deeper(lambda limit: search.scored_words(ask.text, limit, snapshot), depth, eligible),
            "words-new": _deeper(
                lambda limit: search.scored_new_words(ask.text, limit, snapshot, ask.words), depth, eligible
            ),
        }
        for rows, _ in found.values():
            eligible.touch(rows)
        if (meaning := search.scored_by_meaning(ask.vector, snapshot)) is not None:
            eligible.pick_independently(meaning[0], depth)
            seen = np.isin(meaning[0], np.array(list(eligible.touched), np.int64))
            found["meaning"] = meaning[0][seen], meaning[1][seen]
        eligible.pick_independently(snapshot.popular, ask.query.k)
        return found


def _deeper(
    best: Callable[[int], tuple[Numbers, Scores]], depth: int, eligible: LookingFilter
) -> tuple[Numbers, Scores]:
    """Return the matches of a search, as many as the search of the whole catalog may ask of a part."""
    limit = DEEPER * depth
    while True:
        rows, scores = best(limit)
        if len(rows) < limit or len(eligible.pick_independently(rows[rows >= 0], depth)) >= depth:
            return rows, scores
        limit *= DEEPER


def _placed(found: Mapping[K, tuple[Numbers, Scores]], touched: Numbers) -> dict[K, tuple[Numbers, Scores]]:
    """Return scored rows by their places among touched ones."""
    return {name: (places_of(rows, touched), scores) for name, (rows, scores) in found.items()}


def named_videos(query: RecommendQuery, user: Profile) -> list[str]:
    """Return the videos that a request or the shopper's history names."""
    shown = (entry.video_id for part, _ in history_parts(user) for entry in part.history)
    named = (*(query.candidates or ()), *query.seeds, *query.cart, *query.shown, *shown)
    return list(dict.fromkeys((*named, *(entry.video_id for entry in user.history))))
