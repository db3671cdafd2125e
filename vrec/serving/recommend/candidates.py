"""Sources of candidates. Each one is an order of rows, of which the first eligible ones are taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.bundle.neighbors import VideoNeighbors
from vrec.config.serve import CandidatesConfig
from vrec.core.types import Vectors
from vrec.profiles.linked import history_parts
from vrec.profiles.profile import Profile
from vrec.profiles.user import hidden_videos, taste_vector
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.numeric import liked_history
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.reranking.catalog import RowIndices
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.catalog.columns import Mask, zero_counts
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.draws import candidate_rng
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.live import LIVE_SOURCE, live_order
from vrec.serving.streams.rows import NO_LIVE, LiveStreams

MAX_SCANNED_ROWS = 20_000
"""Maximum number of filtered rows that the search by content scans exhaustively; with more, the index is
searched first, for more results the fewer rows pass the filter."""
MAX_INDEX_RESULTS = 2_000
"""Maximum number of results of an index search, unless more are needed."""
DRAWS_PER_PICK = 8
"""Random draws for each underexposed candidate needed; those with the fewest impressions are taken."""
NEW_SOURCE = "new"
"""Source of candidates that were published lately or hardly shown yet."""
IMPRESSION_COLUMN = VIDEO_COUNT_KEYS.index("event:impression")
"""Column of impressions in the counts of a video."""


@dataclass(frozen=True, eq=False, slots=True)
class CandidateSources:
    """Sources of candidates: neighbors, the vector index, popular and new videos."""

    neighbors: VideoNeighbors
    index: FaissIndex
    config: CandidatesConfig

    def candidates(
        self,
        query: RecommendQuery,
        user: Profile,
        snapshot: CatalogSnapshot,
        eligible: EligibilityFilter,
        live: LiveStreams = NO_LIVE,
    ) -> dict[int, str]:
        """Select candidates for a shopper.

        Popular videos fill up to min(`k`, `most`) rows as long as eligible videos are left. The candidates do
        not depend on the request id; see `candidate_rng`.

        Where only streams are wanted, all live ones are candidates. In other lists the first `live` of these
        come before all other sources, and `eligible` limits those that other sources have.

        Returns:
            The first source of each row: cf, content, live, new or popular; at most `most` rows.
        """
        config, by_liveness = self.config, live_order(snapshot, live, user)
        if query.filters.streams == "only":
            return dict.fromkeys(eligible.pick(by_liveness, config.most), LIVE_SOURCE)
        liked = liked_weights(query, user, self.config)
        by_neighbors = neighbor_candidates(snapshot, self.neighbors, list(liked), list(liked.values()))
        by_content, taste = by_neighbors[:0], taste_vector(user)
        if taste is not None and config.content:
            by_content = content_candidates(
                snapshot, self.index, taste, config.content * 3 // 2, eligible.mask
            )
        streams = min(config.live, len(by_liveness))
        recent, rest = config.new // 2, config.most - config.content - config.popular - config.new - streams
        rng = candidate_rng(query, config.rotation_minutes)
        underexposed = underexposed_candidates(snapshot, config.new - recent, eligible.mask, rng)
        orders = (
            (LIVE_SOURCE, by_liveness, streams),
            ("cf", by_neighbors, rest),
            ("content", by_content, config.content),
            (NEW_SOURCE, snapshot.published_rows(query.at), recent),
            (NEW_SOURCE, underexposed, config.new - recent),
            ("popular", snapshot.popular, config.popular),
            ("cf", by_neighbors, config.most),
        )
        eligible.precheck([(order, need) for _, order, need in orders[:-1]])
        picked: dict[int, str] = {}
        for source, order, need in orders:
            left = min(need, config.most - len(picked))
            picked.update(dict.fromkeys(eligible.pick(order, left) if left > 0 else (), source))
        left = min(query.k, config.most) - len(picked)
        picked.update(dict.fromkeys(eligible.pick(snapshot.popular, left) if left > 0 else (), "popular"))
        return picked


def liked_weights(query: RecommendQuery, user: Profile, config: CandidatesConfig) -> dict[str, float]:
    """Return the weight of each of a shopper's latest liked videos that is not hidden, the latest first.

    The latest of each linked account follow, times the factor of its domain.
    """
    hidden, found = hidden_videos(user), dict[str, float]()
    for part, factor in history_parts(user):
        context = RequestContext(query.at, query.surface)
        liked = liked_history(RankingRequest(part, context, (), zero_counts(0)))
        names = [name for name in liked.at if name not in hidden][: config.history]
        for step, name in enumerate(names):
            found[name] = found.get(name, 0.0) + factor * liked.weights[name] * config.recency**step
    return found


def neighbor_candidates(
    snapshot: CatalogSnapshot, neighbors: VideoNeighbors, video_ids: Sequence[str], weights: Sequence[float]
) -> RowIndices:
    """Return the neighbors of videos, best first; ties go by their order in the bundle.

    A neighbor's score is the sum over the videos of the video's weight times its similarity to the neighbor.

    Args:
        snapshot: The catalog.
        neighbors: Neighbors of each of the bundle's videos.
        video_ids: Videos, of which unknown ones are ignored.
        weights: Weight of each video, above 0.

    Returns:
        int64 current rows; removed videos are left out.
    """
    known = [
        (neighbors.position[name], weight)
        for name, weight in zip(video_ids, weights, strict=True)
        if name in neighbors.position
    ]
    if not known or not neighbors.indices.shape[1]:
        return np.zeros(0, np.int64)
    positions = np.array([position for position, _ in known])
    found = neighbors.indices[positions].ravel()
    scores = (neighbors.scores[positions] * np.array([weight for _, weight in known])[:, None]).ravel()
    # Rows of `indices` with fewer neighbors are padded with −1.
    valid = found >= 0
    found, scores = found[valid], scores[valid]
    order = _sorted(found)
    found = found[order]
    starts = np.flatnonzero(np.diff(found, prepend=-1))
    total = np.add.reduceat(scores[order], starts) if len(starts) else scores
    rows = snapshot.current_rows[found[starts]]
    # As integers, the bits of positive floats have the order of the floats.
    best = rows[_sorted(np.iinfo(np.int32).max - total.astype(np.float32).view(np.int32))]
    return best[best >= 0]


def _sorted(keys: npt.NDArray[np.int32]) -> RowIndices:
    """Return the stable order of (N,) keys ≥ 0, in a fifth of the time of a stable argsort."""
    return np.sort(keys.astype(np.int64) << 32 | np.arange(len(keys))) & 0xFFFFFFFF


def content_candidates(
    snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int, mask: Mask | None
) -> RowIndices:
    """Return the rows nearest to a (dim,) unit vector, best first.

    Changed videos are scanned; the others are searched in the index, unless the mask leaves few.

    Args:
        snapshot: The catalog.
        index: Index of the bundle's vectors.
        query: (dim,) unit vector.
        need: Number of rows inside the mask that the result should have, if there are as many.
        mask: (N,) rows that the request wants; None for all.

    Returns:
        int64 rows, some of which may lie outside the mask.
    """
    if mask is not None:
        wanted = np.flatnonzero(mask)
        if len(wanted) > MAX_SCANNED_ROWS:
            rows = _by_index(snapshot, index, query, need * len(mask) // len(wanted) * 2)
            if np.count_nonzero(mask[rows]) >= need:
                return rows
        return _nearest(snapshot, wanted, query, need)
    return _by_index(snapshot, index, query, need)


def _by_index(snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int) -> RowIndices:
    # Changed videos are still in the index and use up results.
    limit = min(need + min(len(snapshot.changed_rows), need), max(MAX_INDEX_RESULTS, need), len(index))
    rows = np.zeros(0, np.int64)
    if limit:
        ids, _ = index.search(query[None], limit)
        rows = snapshot.catalog.find(ids[0])
        rows = rows[(rows >= 0) & (rows < len(snapshot.current_rows))]
    if not len(snapshot.changed):
        return rows
    return _nearest(snapshot, np.concatenate([rows, snapshot.changed]), query, need)


def _nearest(snapshot: CatalogSnapshot, rows: RowIndices, query: Vectors, need: int) -> RowIndices:
    """Return the `need` rows (more with ties) of the greatest dot product; rows without a vector drop out."""
    vectors = snapshot.catalog.vectors[rows]
    present = vectors.any(axis=1)
    rows, scores = rows[present], vectors[present] @ query
    if len(rows) > need:
        least = np.partition(scores, len(rows) - need)[len(rows) - need]
        rows, scores = rows[scores >= least], scores[scores >= least]
    return rows[np.lexsort((rows, -scores))]


def underexposed_candidates(
    snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
) -> RowIndices:
    """Return DRAWS_PER_PICK × `need` rows drawn at random, those with the fewest impressions first.

    Every video is drawn now and then, and one that was never shown comes first when it is. The cost does not
    depend on the size of the catalog.
    """
    pool = np.flatnonzero(snapshot.listed) if mask is None else np.flatnonzero(mask)
    if not len(pool) or not need:
        return pool[:0]
    drawn = pool[rng.integers(len(pool), size=DRAWS_PER_PICK * need)]
    impressions = snapshot.video_counts[drawn, IMPRESSION_COLUMN]
    return drawn[np.argsort(impressions, kind="stable")]
