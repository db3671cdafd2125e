"""Where candidates come from, each source as an order of rows of which the first that may be given count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.bundle.neighbors import VideoNeighbors
from vrec.config.serve import CandidatesConfig
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.profiles.user import taste_vector
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.numeric import liked_history
from vrec.ranking.reranking.catalog import RowIndices
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.catalog.columns import Mask, zero_counts
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.eligibility import EligibilityFilter

MAX_SCANNED_ROWS = 20_000
"""Rows that a filter may leave for the search by content to look at all of them at once; with more, the index
is asked first, for as many more as the filter lets through fewer."""
MAX_INDEX_RESULTS = 2_000
"""Vectors that the index is asked for at most."""
DRAWS_PER_PICK = 8
"""Videos drawn for each of the hardly shown ones that are wanted: those with the fewest impressions are
taken."""
IMPRESSION_COLUMN = 0
"""The place of impressions in a video's counts."""


@dataclass(frozen=True, eq=False, slots=True)
class CandidateSources:
    """What candidates are found by."""

    near: VideoNeighbors
    index: FaissIndex
    config: CandidatesConfig

    def candidates(
        self,
        query: RecommendQuery,
        user: Profile,
        snapshot: CatalogSnapshot,
        eligible: EligibilityFilter,
        *,
        rng: np.random.Generator,
    ) -> dict[int, str]:
        """Rows, and which source had each first: cf, content, new or popular.

        At most `most`, and at least `k` or `most` where as many may be given at all: then popular videos, of
        which all videos are the last, fill up.
        """
        config = self.config
        liked = liked_history(
            RankingRequest(user, RequestContext(query.at, query.surface), (), zero_counts(0))
        )
        names = list(liked.at)[: config.history]
        weights = [liked.weights[name] * config.recency**step for step, name in enumerate(names)]
        near = neighbor_candidates(snapshot, self.near, names, weights)
        close, direction = near[:0], taste_vector(user)
        if direction is not None and config.content:
            close = content_candidates(
                snapshot, self.index, direction, config.content * 3 // 2, eligible.mask
            )
        late, rest = config.new // 2, config.most - config.content - config.popular - config.new
        orders = (
            ("cf", near, rest),
            ("content", close, config.content),
            ("new", snapshot.published_rows(query.at), late),
            (
                "new",
                underexposed_candidates(snapshot, config.new - late, eligible.mask, rng),
                config.new - late,
            ),
            ("popular", snapshot.popular, config.popular),
            ("cf", near, config.most),
        )
        eligible.precheck([(order, need) for _, order, need in orders[:-1]])
        picked: dict[int, str] = {}
        for source, order, need in orders:
            left = min(need, config.most - len(picked))
            picked.update(dict.fromkeys(eligible.pick(order, left) if left > 0 else (), source))
        left = min(query.k, config.most) - len(picked)
        picked.update(dict.fromkeys(eligible.pick(snapshot.popular, left) if left > 0 else (), "popular"))
        return picked


def neighbor_candidates(
    snapshot: CatalogSnapshot, neighbors: VideoNeighbors, video_ids: Sequence[str], weights: Sequence[float]
) -> RowIndices:
    """The neighbours of some videos, best first, ties by their order in the bundle.

    A neighbour's score is the sum of those that the videos give it, each times the video's weight.
    """
    known = [
        (neighbors.position[name], weight)
        for name, weight in zip(video_ids, weights, strict=True)
        if name in neighbors.position
    ]
    if not known or not neighbors.indices.shape[1]:
        return np.zeros(0, np.int64)
    places = np.array([place for place, _ in known])
    found = neighbors.indices[places].ravel()
    scores = (neighbors.scores[places] * np.array([weight for _, weight in known])[:, None]).ravel()
    # A neighbour that is no more has the place −1, which is no video's.
    there = found >= 0
    found, scores = found[there], scores[there]
    order = _sorted(found)
    found = found[order]
    starts = np.flatnonzero(np.diff(found, prepend=-1))
    total = np.add.reduceat(scores[order], starts) if len(starts) else scores
    rows = snapshot.current[found[starts]]
    # The bits of floats above 0 rise with them.
    best = rows[_sorted(np.iinfo(np.int32).max - total.astype(np.float32).view(np.int32))]
    return best[best >= 0]


def _sorted(keys: npt.NDArray[np.int32]) -> RowIndices:
    """The order of (N,) keys from 0, equal ones as they stand: a fifth of the time of a stable argsort."""
    return np.sort(keys.astype(np.int64) << 32 | np.arange(len(keys))) & 0xFFFFFFFF


def content_candidates(
    snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int, mask: Mask | None
) -> RowIndices:
    """The rows nearest to a (dim,) unit vector, best first, `need` that the mask wants among them, or all.

    Videos that changed are looked at one by one, the others through the index unless the mask wants few.
    """
    if mask is not None:
        wanted = np.flatnonzero(mask)
        if len(wanted) > MAX_SCANNED_ROWS:
            rows = _by_index(snapshot, index, query, need * len(mask) // len(wanted) * 2)
            if np.count_nonzero(mask[rows]) >= need:
                return rows
        return _nearest(snapshot, wanted, query, need)
    return _by_index(snapshot, index, query, need)


def _by_index(wares: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int) -> RowIndices:
    # What changed is asked for in vain.
    asked = min(need + min(len(wares.top), need), max(MAX_INDEX_RESULTS, need), len(index))
    rows = np.zeros(0, np.int64)
    if asked:
        ids, _ = index.search(query[None], asked)
        rows = wares.shelf.find(ids[0])
        rows = rows[(rows >= 0) & (rows < len(wares.current))]
    if not len(wares.changed):
        return rows
    return _nearest(wares, np.concatenate([rows, wares.changed]), query, need)


def _nearest(wares: CatalogSnapshot, rows: RowIndices, query: Vectors, need: int) -> RowIndices:
    vectors = wares.shelf.vectors[rows]
    there = vectors.any(axis=1)
    rows, scores = rows[there], vectors[there] @ query
    if len(rows) > need:
        least = np.partition(scores, len(rows) - need)[len(rows) - need]
        rows, scores = rows[scores >= least], scores[scores >= least]
    return rows[np.lexsort((rows, -scores))]


def underexposed_candidates(
    snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
) -> RowIndices:
    """Rows of videos with few impressions: of DRAWN × `need` drawn at random, those with the fewest first.

    Every video comes up now and then, one that was never shown nearly always when it is drawn, and what it
    costs does not depend on how many videos there are.
    """
    pool = np.flatnonzero(snapshot.listed) if mask is None else np.flatnonzero(mask)
    if not len(pool) or not need:
        return pool[:0]
    drawn = pool[rng.integers(len(pool), size=DRAWS_PER_PICK * need)]
    shown = snapshot.states[drawn, IMPRESSION_COLUMN]
    return drawn[np.argsort(shown, kind="stable")]
