"""Sources of candidates. Each one is an order of rows, of which the first eligible ones are taken."""

from collections.abc import Mapping, Sequence

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
from vrec.serving.recommend.exact_scores import Scores, best_first, pair_scores
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


class CandidateSources:
    """Sources of candidates: neighbors, the vector index, popular and new videos."""

    def __init__(self, neighbors: VideoNeighbors, index: FaissIndex, config: CandidatesConfig) -> None:
        self.neighbors, self.index, self.config = neighbors, index, config

    def by_neighbors(
        self, snapshot: CatalogSnapshot, video_ids: Sequence[str], weights: Sequence[float]
    ) -> RowIndices:
        """Return the neighbors of videos, best first; see `neighbor_candidates`."""
        return neighbor_candidates(snapshot, self.neighbors, video_ids, weights)

    def by_content(
        self, snapshot: CatalogSnapshot, query: Vectors, need: int, mask: Mask | None
    ) -> RowIndices:
        """Return the rows nearest to a vector, best first; see `content_candidates`."""
        return content_candidates(snapshot, self.index, query, need, mask)

    def underexposed(
        self, snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
    ) -> RowIndices:
        """Return rows drawn at random; see `underexposed_candidates`."""
        return underexposed_candidates(snapshot, need, mask, rng)

    def vectors_of(self, snapshot: CatalogSnapshot, video_ids: Sequence[str]) -> Vectors:
        """Return the (N, dim) vectors of those videos that the catalog has, in their order."""
        rows = snapshot.catalog.find(video_ids)
        return snapshot.catalog.vectors[rows[rows >= 0]]

    def has_neighbors(self, video_id: str) -> bool:
        """Return whether a video has neighbors of its own."""
        return self.neighbors.has_any(video_id)

    def similarity(self, weights: Mapping[str, float], video_id: str) -> float:
        """Return the sum over videos of weight times similarity to another video."""
        neighbors = self.neighbors
        target, total = neighbors.position.get(video_id, -1), 0.0
        for name, weight in weights.items():
            at = neighbors.position.get(name)
            if at is not None and target >= 0:
                total += weight * float(neighbors.scores[at][neighbors.indices[at] == target].sum())
        return total

    def popular_places(self, snapshot: CatalogSnapshot, rows: Sequence[int]) -> list[int]:
        """Return the places of rows in the order of popularity, from 1."""
        place = {int(row): place for place, row in enumerate(snapshot.popular, start=1)}
        return [place[row] for row in rows]

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
        streams = min(config.live, len(by_liveness))
        orders = (
            (LIVE_SOURCE, by_liveness, streams),
            *self.orders(query, user, snapshot, eligible.mask, streams=streams),
        )
        eligible.precheck([(order, need) for _, order, need in orders[:-1]])
        picked: dict[int, str] = {}
        for source, order, need in orders:
            left = min(need, config.most - len(picked))
            picked.update(dict.fromkeys(eligible.pick(order, left) if left > 0 else (), source))
        left = min(query.k, config.most) - len(picked)
        picked.update(dict.fromkeys(eligible.pick(snapshot.popular, left) if left > 0 else (), "popular"))
        return picked

    def orders(
        self,
        query: RecommendQuery,
        user: Profile,
        snapshot: CatalogSnapshot,
        mask: Mask | None,
        *,
        streams: int,
    ) -> tuple[tuple[str, RowIndices, int], ...]:
        """Return the sources of candidates besides live streams: name, order, and number of rows needed.

        Args:
            query: The request.
            user: The shopper's profile.
            snapshot: The catalog.
            mask: (N,) rows that the request wants; None for all.
            streams: Number of candidates that are live streams.
        """
        config = self.config
        liked = liked_weights(query, user, config)
        by_neighbors = self.by_neighbors(snapshot, list(liked), list(liked.values()))
        by_content, taste = by_neighbors[:0], taste_vector(user)
        if taste is not None and config.content:
            by_content = self.by_content(snapshot, taste, config.content * 3 // 2, mask)
        recent, rest = config.new // 2, config.most - config.content - config.popular - config.new - streams
        rng = candidate_rng(query, config.rotation_minutes)
        underexposed = self.underexposed(snapshot, config.new - recent, mask, rng)
        return (
            ("cf", by_neighbors, rest),
            ("content", by_content, config.content),
            (NEW_SOURCE, snapshot.published_rows(query.at), recent),
            (NEW_SOURCE, underexposed, config.new - recent),
            ("popular", snapshot.popular, config.popular),
            ("cf", by_neighbors, config.most),
        )


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
    positions = np.array([position for position, _ in known], np.int64)
    found = rank_neighbors(
        neighbors.indices[positions], neighbors.scores[positions], [weight for _, weight in known]
    )
    rows = snapshot.current_rows[found]
    return rows[rows >= 0]


def rank_neighbors(
    indices: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], weights: Sequence[float]
) -> RowIndices:
    """Return the neighbors of L videos, the greatest sum of weighted scores first, ties by their number.

    Args:
        indices: (L, N) numbers of the neighbors of each video, padded with −1.
        scores: (L, N) their scores.
        weights: (L,) weight of each video, above 0.
    """
    if not len(weights) or not indices.shape[1]:
        return np.zeros(0, np.int64)
    found, total = indices.ravel(), (scores * np.array(weights)[:, None]).ravel()
    valid = found >= 0
    found, total = found[valid], total[valid]
    order = _sorted(found)
    found = found[order]
    starts = np.flatnonzero(np.diff(found, prepend=-1))
    total = np.add.reduceat(total[order], starts) if len(starts) else total
    # As integers, the bits of positive floats have the order of the floats.
    best = _sorted(np.iinfo(np.int32).max - total.astype(np.float32).view(np.int32))
    return found[starts][best].astype(np.int64)


def _sorted(keys: npt.NDArray[np.int32]) -> RowIndices:
    """Return the stable order of (N,) keys ≥ 0, in a fifth of the time of a stable argsort."""
    return np.sort(keys.astype(np.int64) << 32 | np.arange(len(keys))) & 0xFFFFFFFF


def content_candidates(
    snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int, mask: Mask | None
) -> RowIndices:
    """Return the rows inside a mask that are nearest to a vector, best first; see `scored_by_content`."""
    return scored_by_content(snapshot, index, query, need, mask)[0]


def scored_by_content(
    snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int, mask: Mask | None
) -> tuple[RowIndices, Scores]:
    """Return the rows inside a mask that are nearest to a (dim,) unit vector, and their scores, best first.

    Changed videos are scanned; the others are searched in the index, unless the mask leaves few.

    Args:
        snapshot: The catalog.
        index: Index of the bundle's vectors.
        query: (dim,) unit vector.
        need: Maximum number of rows.
        mask: (N,) rows that the request wants; None for all.

    Returns:
        int64 rows, ties by video id, and float32 dot products.
    """
    if mask is None:
        return _nearest(snapshot, _by_index(snapshot, index, query, need), query, need)
    wanted = np.flatnonzero(mask)
    if len(wanted) > MAX_SCANNED_ROWS:
        rows = _by_index(snapshot, index, query, need * len(mask) // len(wanted) * 2)
        rows = rows[mask[rows]]
        if len(rows) >= need:
            return _nearest(snapshot, rows, query, need)
    return _nearest(snapshot, wanted, query, need)


def _by_index(snapshot: CatalogSnapshot, index: FaissIndex, query: Vectors, need: int) -> RowIndices:
    """Return at least `need` rows near to a vector, if there are as many, and all changed ones."""
    # Changed videos are still in the index and use up results.
    limit = min(need + min(len(snapshot.changed_rows), need), max(MAX_INDEX_RESULTS, need), len(index))
    rows = np.zeros(0, np.int64)
    if limit:
        ids, _ = index.search(query[None], limit)
        rows = snapshot.catalog.find(ids[0])
        rows = rows[(rows >= 0) & (rows < len(snapshot.current_rows))]
    return np.concatenate([rows, snapshot.changed]) if len(snapshot.changed) else rows


def _nearest(
    snapshot: CatalogSnapshot, rows: RowIndices, query: Vectors, need: int
) -> tuple[RowIndices, Scores]:
    """Return the `need` rows of the greatest dot product; rows without a vector drop out."""
    vectors = snapshot.catalog.vectors[rows]
    present = vectors.any(axis=1)
    rows, vectors = rows[present], vectors[present]
    if len(rows) > 2 * need:
        # By rounded products first, and with a margin for their error.
        rough = vectors @ query
        slack = np.float32(2 * len(query) * 2.0**-23 * np.linalg.norm(query))
        chosen = rough >= np.partition(rough, len(rows) - need)[len(rows) - need] - slack
        rows, vectors = rows[chosen], vectors[chosen]
    scores = pair_scores(vectors, query)
    order = best_first(scores, rows, snapshot.catalog.video_ids)[:need]
    return rows[order], scores[order]


def underexposed_candidates(
    snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
) -> RowIndices:
    """Return DRAWS_PER_PICK × `need` rows drawn at random, those with the fewest impressions first.

    Every video is drawn now and then, and one that was never shown comes first when it is.
    """
    pool = snapshot.pool(mask)
    return by_impressions(snapshot, pool.take(draw_places(len(pool), need, rng)))


def draw_places(count: int, need: int, rng: np.random.Generator) -> RowIndices:
    """Return DRAWS_PER_PICK × `need` places among `count` videos by id, drawn at random; none without any."""
    return rng.integers(count, size=DRAWS_PER_PICK * need) if count and need else np.zeros(0, np.int64)


def by_impressions(snapshot: CatalogSnapshot, drawn: RowIndices) -> RowIndices:
    """Return rows that were drawn, those with the fewest impressions first."""
    return drawn[np.argsort(snapshot.video_counts[drawn, IMPRESSION_COLUMN], kind="stable")]
