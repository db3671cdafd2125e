"""Look for a list in one part of a catalog: what may be in the list of all parts, and in no case less.

Whatever is in a list of the whole catalog was among the first eligible videos of some order. Before any of
its videos a part has at most as many of these as the whole. So if each part takes as many of every order as
the whole could, the whole's choice lies within the choices of the parts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vrec.config.serve import CandidatesConfig
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.ranking.reranking.catalog import RowIndices
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.candidates import CandidateSources, scored_by_content
from vrec.serving.recommend.eligibility import EligibilityFilter, checked_at_once
from vrec.serving.recommend.exact_scores import Scores
from vrec.serving.recommend.seeds import seeded_candidates
from vrec.serving.scatter.messages import LookQuery
from vrec.serving.streams.rows import NO_LIVE, LiveStreams


class LookingFilter(EligibilityFilter):
    """Filter that notes what it looks at. Streams, whose number in a list is limited, come on top."""

    def __init__(self, snapshot: CatalogSnapshot, *args: Any, **options: Any) -> None:
        super().__init__(snapshot, *args, **options)
        self._every_stream = frozenset[int](snapshot.streams.tolist())
        self._heads: set[int] = set()

    @property
    def touched(self) -> set[int]:
        """Rows that were looked at so far."""
        return self._heads | self._rule_by_row.keys()

    def touch(self, rows: RowIndices) -> None:
        """Note rows that a list may depend on."""
        self._heads.update(rows[rows >= 0].tolist())

    def pick(self, order: RowIndices, need: int) -> list[int]:
        """Return the first `need` eligible rows besides streams; see `EligibilityFilter.pick`."""
        self.touch(order[: checked_at_once(need)])
        return super().pick(order, need)

    def _allowed(self, rows: RowIndices, need: int) -> list[int]:
        if self.mask is not None:
            rows = rows[self.mask[rows]]
        self._check_rows(rows)
        allowed: list[int] = []
        for row in rows.tolist():
            if len(allowed) == need:
                break
            if row in self._seen:
                continue
            self._seen.add(row)
            if self._rule_by_row[row] < 0 and row not in self._every_stream:
                allowed.append(row)
        return allowed


class LookingSources(CandidateSources):
    """Sources of candidates in a part: what depends on other parts was sent with the request."""

    def __init__(self, index: FaissIndex, config: CandidatesConfig, ask: LookQuery, neighbors: Any) -> None:
        super().__init__(neighbors, index, config)
        self._ask = ask
        self.found: dict[bytes, tuple[RowIndices, Scores]] = {}
        """Rows near to each vector that was searched for, and their scores."""
        self.drawn: RowIndices = np.zeros(0, np.int64)
        """Rows that were drawn."""

    def by_neighbors(
        self, snapshot: CatalogSnapshot, video_ids: Sequence[str], weights: Sequence[float]
    ) -> RowIndices:
        """Return the part's rows among the neighbors of videos of any part, best first."""
        rows = snapshot.current_rows[self._ask.neighbors.get(tuple(video_ids), self.drawn[:0])]
        return rows[rows >= 0]

    def by_content(
        self, snapshot: CatalogSnapshot, query: Vectors, need: int, mask: Mask | None
    ) -> RowIndices:
        """Return the rows nearest to a vector, best first, and note their scores."""
        found = scored_by_content(snapshot, self.index, query, need, mask)
        self.found[query.tobytes()] = found
        return found[0]

    def vectors_of(self, snapshot: CatalogSnapshot, video_ids: Sequence[str]) -> Vectors:
        """Return the vectors of videos of any part."""
        known = [self._ask.vectors[name] for name in video_ids if name in self._ask.vectors]
        return np.stack(known) if known else snapshot.catalog.vectors[:0]

    def underexposed(
        self, snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
    ) -> RowIndices:
        """Return the rows whose places were drawn, in any order."""
        if self._ask.draws is not None:
            self.drawn = snapshot.pool(mask).take(self._ask.draws[1])
        return self.drawn

    def look(
        self,
        query: RecommendQuery,
        user: Profile,
        snapshot: CatalogSnapshot,
        eligible: LookingFilter,
        live: LiveStreams = NO_LIVE,
    ) -> None:
        """Look for what may be among the candidates for a shopper; see `CandidateSources.candidates`."""
        eligible.touch(live.rows)
        if query.filters.streams == "only":
            return
        if query.seeds or query.cart:
            seeded_candidates(query, snapshot, eligible, self)
        orders = self.orders(query, user, snapshot, eligible.mask, streams=0)
        eligible.precheck([(order, need) for _, order, need in orders[:-1]])
        for rows, _ in self.found.values():
            eligible.touch(rows)
        eligible.touch(self.drawn)
        for _, order, need in orders:
            eligible.pick(order, max(need, 0))
        eligible.pick(snapshot.popular, min(query.k, self.config.most))


def places_of(rows: RowIndices, touched: RowIndices) -> RowIndices:
    """Return the place of each of (N,) rows in `touched`, in any order; −1 where it is not in it."""
    order = np.argsort(touched)
    at = np.searchsorted(touched, rows, sorter=order)
    at[at == len(touched)] = 0
    places = order[at] if len(touched) else np.full(len(rows), -1)
    return np.where(touched[places] == rows, places, -1) if len(touched) else places
