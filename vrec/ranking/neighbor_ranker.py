"""Ranker from a recommender's neighbors, for shops whose log has no impressions to train one on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.types import CatalogContent
from vrec.profiles.linked import history_parts
from vrec.ranking.base import ProfileRanker, VideoScalars
from vrec.ranking.config import NeighborRankerConfig
from vrec.ranking.features.arrays import Floats, RankerPredictions, RankingRequest
from vrec.ranking.features.numeric import liked_history, request_counts, user_counts
from vrec.ranking.reranking.utility import UtilityConfig


class NeighborRanker(ProfileRanker):
    """Ranker in the order of a recommender: by the neighbors of what the user liked, then by popularity.

    Its `p_click` orders videos and is no calibrated probability: from .5 on it grows with the sum of the
    neighbors' scores, below .5 are videos without any, in the order of popularity. It expects no seconds
    watched and no conversions.
    """

    kind = "neighbors"
    predicts = False

    def __init__(
        self,
        config: NeighborRankerConfig,
        position: Mapping[str, int],
        scalars: VideoScalars,
        *,
        indices: npt.NDArray[np.int32],
        scores: Floats,
        popularity: Floats,
    ) -> None:
        """Build the ranker.

        Args:
            config: Its settings.
            position: Row of each of M videos by its id.
            scalars: Durations and prices.
            indices: (M, N) int32 rows of each video's neighbors, padded with −1.
            scores: (M, N) float32 scores ≥ 0 of these neighbors.
            popularity: (M,) float32 in [0, 1], greater for more popular videos.
        """
        self.config, self.scalars, self.utility_config = config, scalars, UtilityConfig()
        self._position, self._indices, self._scores, self._popularity = position, indices, scores, popularity

    @classmethod
    def from_neighbors(
        cls,
        config: NeighborRankerConfig,
        content: CatalogContent,
        video_ids: Sequence[str],
        *,
        indices: npt.NDArray[np.int32],
        scores: Floats,
        popular: Sequence[str],
    ) -> Self:
        """Make the ranker of a catalog.

        Args:
            config: Its settings.
            content: VIDEOS of the catalog.
            video_ids: (M,) ids of the videos.
            indices: (M, N) int32 indices of each video's neighbors, padded with −1.
            scores: (M, N) float32 scores ≥ 0 of these neighbors.
            popular: The most popular of the videos, best first.
        """
        place = {video_id: 1 - rank / len(popular) for rank, video_id in enumerate(popular)}
        popularity = np.array([place.get(video_id, 0.0) for video_id in video_ids], np.float32)
        position = {video_id: row for row, video_id in enumerate(video_ids)}
        arrays = {"indices": indices, "scores": scores, "popularity": popularity}
        return cls(config, position, VideoScalars.from_content(content), **arrays)

    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy of the ranker with the videos of `content` added or updated; new ones come last."""
        return self._with_scalars(self.scalars.with_videos(content))

    def restricted_to(self, video_ids: Sequence[str], newer: ProfileRanker | None = None) -> Self:
        """Return a copy that knows the scalars of some videos only; see `ProfileRanker`."""
        newer = self._check_same_kind(newer)
        return self._with_scalars(
            self.scalars.restricted_to(video_ids, None if newer is None else newer.scalars)
        )

    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """Predict from requests; see `ProfileRanker`."""
        user_counts(requests)  # raises for invalid ones
        request_counts(requests)
        scores = [self._order(request) for request in requests]
        p_click = np.concatenate(scores) if scores else np.zeros(0, np.float32)
        nothing = np.zeros_like(p_click)
        return RankerPredictions(p_click, nothing, nothing, nothing)

    def save(self, uri: str) -> None:
        """Write the ranker as a folder; see `Ranker`."""
        ids = pa.table({"video_id": pa.array(self._position, pa.string())})
        tables = {"neighbors": ids, "videos": self.scalars.store()}
        config = self.config.model_dump(mode="json")
        write_artifact(uri, ModelArtifact(self.kind, config, self._arrays, tables))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the ranker that `save` wrote; see `Ranker`."""
        artifact = read_artifact(uri, cls.kind)
        ids: list[str] = artifact.tables["neighbors"].column("video_id").to_pylist()
        return cls(
            NeighborRankerConfig.model_validate(artifact.config),
            {video_id: row for row, video_id in enumerate(ids)},
            VideoScalars.restore(artifact.tables["videos"]),
            **artifact.arrays,
        )

    def _with_scalars(self, scalars: VideoScalars) -> Self:
        return type(self)(self.config, self._position, scalars, **self._arrays)

    @property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"indices": self._indices, "scores": self._scores, "popularity": self._popularity}

    def _order(self, request: RankingRequest) -> Floats:
        """Return (N,) float32 `p_click` of a request's candidates."""
        find = self._position.get
        rows = np.array([find(video_id, -1) for video_id in request.video_ids], np.int64)
        popular = np.where(rows >= 0, self._popularity[rows] if len(self._popularity) else 0, 0)
        sums = self._neighbor_sums(request)
        near = np.array([sums.get(row, 0.0) for row in rows.tolist()])
        order = np.where(near > 0, 0.5 + 0.5 * near / (1 + near), 0.499 * popular)
        return order.astype(np.float32)

    def _neighbor_sums(self, request: RankingRequest) -> dict[int, float]:
        """Return the sum of weight × score over the user's liked videos, by row of their neighbors."""
        known: list[tuple[int, float]] = []
        for part, factor in history_parts(request.user):
            liked = liked_history(replace(request, user=part))
            names = list(liked.at)[: self.config.history]
            weights = [liked.weights[n] * self.config.recency**step * factor for step, n in enumerate(names)]
            known += [
                (self._position[n], w) for n, w in zip(names, weights, strict=True) if n in self._position
            ]
        if not known:
            return {}
        positions = [row for row, _ in known]
        found = self._indices[positions]
        weighted = self._scores[positions].astype(np.float64) * np.array([[w] for _, w in known])
        rows, inverse = np.unique(found[found >= 0], return_inverse=True)
        sums = np.bincount(inverse, weights=weighted[found >= 0], minlength=len(rows))
        return dict(zip(rows.tolist(), sums.tolist(), strict=True))
