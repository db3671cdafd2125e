"""Neighbors of videos: what a recommender gives to a user who watched only that video."""

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.blocks import MapBlocks, equal_blocks, map_in_turn
from vrec.core.errors import BundleError
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import SingleModelsConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, to_interactions
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import topk_dense

NeighborIndices = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

BATCH = 2048
"""Number of videos per call of the recommender, which returns a table of this many times the neighbors."""


@dataclass(frozen=True, eq=False)
class VideoNeighbors:
    """At most N neighbors of each of M videos by collaborative filtering, best first."""

    ids: tuple[str, ...]
    """(M,) video ids: those of VIDEOS, and behind them videos of other domains that only a fit knows."""
    indices: NeighborIndices
    """(M, N) int32 indices into `ids` of the neighbors, which are in VIDEOS, padded with −1."""
    scores: Floats
    """(M, N) float32 in [0, 1], 1 for a video's best neighbor, padded with 0."""

    @classmethod
    def from_recommender(
        cls,
        recommender: MatrixRecommender,
        video_ids: Sequence[str],
        count: int,
        more: Sequence[str] = (),
        map_blocks: MapBlocks = map_in_turn,
    ) -> Self:
        """Compute the neighbors of videos among these videos.

        A video's scores are shifted so that a negative minimum becomes 0, then divided by the greatest.
        Popularity, which does not depend on the video watched, is left out of a hybrid. A video that the
        recommender does not know has no neighbors, nor has one that nobody watched if its list is that of an
        empty history.

        Args:
            recommender: The recommender.
            video_ids: The videos, which are also the candidates.
            count: Maximum number of neighbors per video.
            more: Further videos, which have neighbors and are none.
            map_blocks: Runner of the blocks of videos.

        Raises:
            BundleError: The recommender cannot recommend from one watched video.
        """
        model, candidates = _history_model(recommender), list(video_ids)
        ids = [*candidates, *more]
        result = cls.empty(ids, min(count, max(len(ids) - 1, 0)))
        if not result.indices.shape[1]:
            return result
        vocabulary = IdVocabulary(pa.array(ids, pa.string()))
        search = _NeighborSearch(model, ids, candidates, result.indices.shape[1])
        for rows in map_blocks(_find_block, search, equal_blocks(len(ids), BATCH)):
            at = vocabulary.find(rows.column("user_id")), np.asarray(rows.column("rank")) - 1
            result.indices[at] = vocabulary.find(rows.column("video_id"))
            result.scores[at] = np.asarray(rows.column("score"))
        _clear_default_lists(result, model, vocabulary)
        return cls(result.ids, result.indices, _normalize(result.scores, result.indices >= 0))

    @classmethod
    def empty(cls, video_ids: Sequence[str], count: int = 0) -> Self:
        """Return (M, count) arrays without neighbors."""
        size = (len(video_ids), count)
        return cls(tuple(video_ids), np.full(size, -1, np.int32), np.zeros(size, np.float32))

    def without(self, video_ids: Collection[str]) -> Self:
        """Return the same without some videos as neighbors; they keep their own."""
        gone = [self.position[name] for name in video_ids if name in self.position]
        if not gone:
            return self
        dropped = np.isin(self.indices, gone)
        indices = np.where(dropped, np.int32(-1), self.indices)
        scores = np.where(dropped, np.float32(0), self.scores)
        # Best first, padded at the end.
        order = np.argsort(indices < 0, axis=1, kind="stable")
        return type(self)(
            self.ids, np.take_along_axis(indices, order, axis=1), np.take_along_axis(scores, order, axis=1)
        )

    @cached_property
    def position(self) -> dict[str, int]:
        """Row of each video."""
        return {video_id: row for row, video_id in enumerate(self.ids)}

    def has_any(self, video_id: str) -> bool:
        """Return whether a video has neighbors."""
        row = self.position.get(video_id)
        return row is not None and bool((self.indices[row, :1] >= 0).any())

    def find(self, video_id: str, k: int) -> list[tuple[str, float]]:
        """Return the at most `k` best neighbors of a video with their scores; none of an unknown video."""
        row = self.position.get(video_id)
        if row is None:
            return []
        pairs = zip(self.indices[row, :k].tolist(), self.scores[row, :k].tolist(), strict=True)
        return [(self.ids[index], score) for index, score in pairs if index >= 0]


@dataclass(frozen=True, eq=False, slots=True)
class _NeighborSearch:
    """Model and videos, the same for all blocks."""

    model: MatrixRecommender
    ids: list[str]
    candidates: list[str]
    count: int


def _find_block(search: _NeighborSearch, block: range) -> pa.Table:
    """Return RECOMMENDATIONS to users of whom each watched one video of the block."""
    histories = _watched_one(search.ids[block.start : block.stop])
    return search.model.recommend_from(histories, search.count, candidates=search.candidates)


def ignores_history(recommender: MatrixRecommender) -> bool:
    """Return whether a recommender gives everyone the same videos, as the popular list does."""
    if isinstance(recommender, HybridRecommender):
        if recommender.single is not None:
            return ignores_history(recommender.panel.members[recommender.single])
        return _without_popular(recommender) is None
    return isinstance(recommender, PopularRecommender)


def _history_model(recommender: MatrixRecommender) -> MatrixRecommender:
    """Return the recommender, or the members of a hybrid that depend on the history; raise BundleError."""
    if not recommender.inductive:
        raise BundleError(
            f"{recommender.kind} only knows the users that it was fitted with and cannot recommend from one "
            "watched video, so it gives no neighbors",
            fix="give the folder of another recommender, such as item_knn, ease or hybrid",
        )
    if isinstance(recommender, HybridRecommender) and _is_popular_by_choice(recommender):
        # The data chose the popular list for shoppers; videos still have neighbors.
        table = to_interactions(recommender.histories, recommender.users, recommender.videos)
        return ItemKnn((recommender.config.models or SingleModelsConfig()).item_knn).fit(table)
    if isinstance(recommender, HybridRecommender) and recommender.single is not None:
        return _history_model(recommender.panel.members[recommender.single])
    if isinstance(recommender, HybridRecommender) and (members := _without_popular(recommender)):
        return members
    if isinstance(recommender, CrossDomain):
        return recommender.without_popularity()
    if ignores_history(recommender):
        raise BundleError(
            f"{recommender.kind} gives everyone the same videos, so it gives no neighbors",
            fix="give the folder of another recommender, such as item_knn, ease or hybrid",
        )
    return recommender


def _is_popular_by_choice(hybrid: HybridRecommender) -> bool:
    """Return whether only popularity was chosen, of several members."""
    return set(hybrid.panel.members) == {PopularRecommender.kind} and len(hybrid.config.members) > 1


def _without_popular(hybrid: HybridRecommender) -> HybridRecommender | None:
    """Return the hybrid without its popular member and boosts of cold videos; None if no member is left."""
    panel = hybrid.panel
    members = {kind: member for kind, member in panel.members.items() if kind != PopularRecommender.kind}
    if not members:
        return None
    other = copy(hybrid)
    other.config = hybrid.config.model_copy(update={"cold_every": None})
    other.weights = hybrid.weights[:, [name != PopularRecommender.kind for name in panel.features]]
    other.panel = ScorePanel(members, panel.videos, panel.support)
    return other


def _clear_default_lists(
    neighbors: VideoNeighbors, model: MatrixRecommender, vocabulary: IdVocabulary
) -> None:
    """Remove, in place, the neighbors of unwatched videos that are just what an empty history gets."""
    users = np.bincount(model.histories.weights.indices, minlength=len(model.videos))
    columns = model.videos.find(vocabulary.ids)
    unwatched = np.flatnonzero((columns >= 0) & (users[columns] == 0))
    if not len(unwatched):
        return
    nothing = np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(2, np.int32)
    empty = InteractionMatrix(sparse.csr_matrix(nothing, shape=(1, len(model.videos))), np.empty(0, np.int64))
    scores = model.score_block(empty, np.array([-1]))[:, columns]
    scores[:, columns < 0] = -np.inf
    default, best = topk_dense(scores, neighbors.indices.shape[1] + 1)
    order = default[0, best[0] > -np.inf]
    for row in unwatched.tolist():
        length = np.count_nonzero(neighbors.indices[row] >= 0)
        if np.array_equal(neighbors.indices[row, :length], order[order != row][:length]):
            neighbors.indices[row], neighbors.scores[row] = -1, 0


def _watched_one(video_ids: Sequence[str]) -> pa.Table:
    """Return INTERACTIONS of one user per video, who has the video's id and watched only it."""
    ids, count = pa.array(video_ids, pa.string()), len(video_ids)
    at = pa.array(np.zeros(count, np.int64)).cast(TIMESTAMP)
    columns = [ids, ids, pa.array(np.ones(count, np.float32)), at]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def _normalize(scores: Floats, valid: npt.NDArray[np.bool_]) -> Floats:
    """Scale each row's valid scores to [0, 1] with the best at 1; the others are 0."""
    lowest = np.min(scores, axis=1, keepdims=True, initial=0, where=valid)
    best = np.max(scores, axis=1, keepdims=True, initial=-np.inf, where=valid)
    span = best - lowest
    # Where all are 0, none is better than another.
    shares = np.divide(scores - lowest, span, out=np.ones_like(scores), where=span > 0)
    return np.where(valid, np.clip(shares, 0, 1), np.float32(0)).astype(np.float32)
