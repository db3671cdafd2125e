"""The videos that a recommender gives to whoever watched one video, for every video of a catalogue."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import BundleError
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.score_panel import ScorePanel

NeighborIndices = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

BATCH = 2048
"""Videos asked about at once: what is found is a table of this many times the neighbours' number."""


@dataclass(frozen=True, eq=False)
class VideoNeighbors:
    """Each of M videos' nearest by collaborative filtering, at most N of them, best first."""

    ids: tuple[str, ...]
    """(M,) the videos; a place is one's position here."""
    places: NeighborIndices
    """(M, N) int32 places of the neighbours, −1 where there are no more."""
    scores: Floats
    """(M, N) float32 in [0, 1], 1 for a video's best; 0 where there are no more."""

    @classmethod
    def from_recommender(cls, recommender: MatrixRecommender, video_ids: Sequence[str], count: int) -> Self:
        """The at most `count` videos among `video_ids` that the recommender gives to who watched only one.

        Scores are divided by the video's best, after the worst was made 0 where it is below. Popularity,
        which is the same whatever was watched, is left out of a hybrid. A video that the recommender does
        not know has no neighbours. Raises BundleError for recommenders that cannot say.
        """
        asked, ids = _by_history(recommender), list(video_ids)
        found = cls.empty(ids, min(count, max(len(ids) - 1, 0)))
        if not found.places.shape[1]:
            return found
        known = IdVocabulary(pa.array(ids, pa.string()))
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            rows = asked.recommend_from(_watched_one(some), found.places.shape[1], candidates=ids)
            at = known.find(rows.column("user_id")), np.asarray(rows.column("rank")) - 1
            found.places[at] = known.find(rows.column("video_id"))
            found.scores[at] = np.asarray(rows.column("score"))
        return cls(found.ids, found.places, _from_0_to_1(found.scores, found.places >= 0))

    @classmethod
    def empty(cls, video_ids: Sequence[str], count: int = 0) -> Self:
        """No neighbours of any video, in (M, count) arrays."""
        size = (len(video_ids), count)
        return cls(tuple(video_ids), np.full(size, -1, np.int32), np.zeros(size, np.float32))

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of each video."""
        return {video_id: place for place, video_id in enumerate(self.ids)}

    def find(self, video_id: str, k: int) -> list[tuple[str, float]]:
        """The at most `k` best neighbours of a video and their scores, best first; none of an unknown one."""
        row = self.position.get(video_id)
        if row is None:
            return []
        pairs = zip(self.places[row, :k].tolist(), self.scores[row, :k].tolist(), strict=True)
        return [(self.ids[place], score) for place, score in pairs if place >= 0]


def _by_history(recommender: MatrixRecommender) -> MatrixRecommender:
    """The recommender, or of a hybrid its part that looks at what was watched; raises BundleError."""
    if not recommender.inductive:
        raise BundleError(
            f"{recommender.kind} knows users that it was fitted with and nothing of who watched one video, "
            "so it has no neighbours to give",
            fix="give the folder of another recommender, such as item_knn, ease or hybrid",
        )
    if isinstance(recommender, HybridRecommender) and (members := _without_popular(recommender)):
        return members
    if isinstance(recommender, PopularRecommender | HybridRecommender):
        raise BundleError(
            f"{recommender.kind} gives everyone the same videos, so it has no neighbours to give",
            fix="give the folder of another recommender, such as item_knn, ease or hybrid",
        )
    return recommender


def _without_popular(hybrid: HybridRecommender) -> HybridRecommender | None:
    """The same blend without its popular member and without raising cold videos; None where none is left."""
    panel = hybrid.panel
    kept = {kind: member for kind, member in panel.members.items() if kind != PopularRecommender.kind}
    if not kept:
        return None
    other = copy(hybrid)
    other.config = hybrid.config.model_copy(update={"cold_every": None})
    other.weights = hybrid.weights[:, [name != PopularRecommender.kind for name in panel.features]]
    other.panel = ScorePanel(kept, panel.videos, panel.support)
    return other


def _watched_one(video_ids: Sequence[str]) -> pa.Table:
    """INTERACTIONS of as many users as videos, each called as the one video that they watched."""
    ids, count = pa.array(video_ids, pa.string()), len(video_ids)
    at = pa.array(np.zeros(count, np.int64)).cast(TIMESTAMP)
    columns = [ids, ids, pa.array(np.ones(count, np.float32)), at]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def _from_0_to_1(scores: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    lowest = np.min(scores, axis=1, keepdims=True, initial=0, where=there)
    best = np.max(scores, axis=1, keepdims=True, initial=-np.inf, where=there)
    span = best - lowest
    # Where all are 0, none is better than another.
    shares = np.divide(scores - lowest, span, out=np.ones_like(scores), where=span > 0)
    return np.where(there, np.clip(shares, 0, 1), np.float32(0)).astype(np.float32)
