"""Feature builder: the one path from requests to features in training, batch scoring and serving."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from vrec.core.errors import RankError
from vrec.profiles.user import HOUR_US
from vrec.ranking.features.arrays import Indices, RankingFeatures, RankingRequest
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.numeric import (
    LikedHistory,
    affinities,
    candidate_numbers,
    liked_history,
    liked_numbers,
    log_hours,
    stack_columns,
    taste_vectors,
    user_numbers,
)
from vrec.ranking.features.space import BLOCKS, HOURS, WEEKDAYS, FeatureSpace
from vrec.ranking.features.taste_similarity import TasteSimilarity
from vrec.ranking.features.video_counts import Doubles


@dataclass(frozen=True, eq=False, slots=True)
class RawFeatures:
    """Numbers of each block before scaling, NaN where missing, with their rows."""

    request: Indices
    video: Indices
    blocks: dict[str, Doubles]
    """Blocks `user` (R, Du), `candidate` (N, Dc) and `history` (H, Dh), the entries of all requests."""
    history: Indices
    """(H,) catalog rows of the history entries."""
    lengths: list[int]
    """Number of history entries of each of the R requests."""


class FeatureBuilder:
    """Builder of features from requests.

    Pure: equal requests give equal features, bit for bit, alone or among others, in training or serving.
    """

    def __init__(self, space: FeatureSpace, catalog: CatalogFeatures) -> None:
        """Raise RankError for a catalog of another feature space."""
        if catalog.space is not space and catalog.space.digest != space.digest:
            raise RankError(
                f"FeatureBuilder: the catalog is of space {catalog.space.digest}, not of {space.digest}",
                fix="build the catalog features with the ranker's own feature space",
            )
        self.space = space
        self.catalog = catalog

    def build(self, requests: Sequence[RankingRequest]) -> RankingFeatures:
        """Build the features of all candidates of all requests, in their order; shapes in RankingFeatures.

        Only history entries before the moment of a request count. A missing number is 0 next to an indicator;
        a value outside the vocabulary and a video outside the catalog have index 0.

        Raises:
            RankError: a number is not finite (the message names it), or video counts, positions or a taste
                vector have the wrong size.
        """
        raw, config = self.raw(requests), self.space.config
        filled = np.arange(config.history) < np.array(raw.lengths, np.int64)[:, None]
        history = np.zeros(filled.shape, np.int32)
        entries = np.zeros((*filled.shape, len(BLOCKS["history"])), np.float32)
        history[filled] = raw.history
        entries[filled] = self.space.scaled("history", raw.blocks["history"])
        return RankingFeatures(
            catalog=self.catalog.arrays,
            shape=self.space.shape,
            request=raw.request,
            video=raw.video,
            candidate=self.space.scaled("candidate", raw.blocks["candidate"]),
            position=self._positions(requests),
            context=self._context(requests),
            user=self.space.scaled("user", raw.blocks["user"]),
            history=history,
            history_dense=entries,
        )

    def raw(self, requests: Sequence[RankingRequest]) -> RawFeatures:
        """Build the numbers before scaling, from which `fit_space` fits the scales; errors as in `build`."""
        counts = [len(r.video_ids) for r in requests]
        request = np.repeat(np.arange(len(requests), dtype=np.int32), counts)
        video = np.concatenate([np.zeros(0, np.int32), *map(self._rows, requests)])
        moments = np.array([r.context.at for r in requests], np.int64)
        liked = [liked_history(r) for r in requests]
        rows, ats, weights, lengths = self._entries(liked)
        tastes = taste_vectors(self.space, requests)
        user = user_numbers(self.space, requests, liked, moments, tastes)
        similarity = TasteSimilarity(self.catalog, tastes)
        columns = candidate_numbers(self.catalog, requests, video, moments[request])
        columns |= affinities(self.catalog, requests, video)
        columns |= similarity.columns(video, run_edges(counts), rows, run_edges(lengths))
        columns |= liked_numbers(requests, liked)
        user["no_liked_vector"] = similarity.without_vector.astype(float)
        ages = np.repeat(moments, lengths) - ats
        history = {"log_age_hours": log_hours(ages), "log_weight": np.log1p(weights)}

        def users(repeats: int | Sequence[int] = 1) -> Sequence[str]:
            return np.repeat([f"user {r.user.entity_id}" for r in requests], repeats).tolist()

        blocks = {
            "user": stack_columns("user", user, users),
            "candidate": stack_columns(
                "candidate", columns, lambda: [v for r in requests for v in r.video_ids]
            ),
            "history": stack_columns("history", history, lambda: users(lengths)),
        }
        return RawFeatures(request, video, blocks, rows, lengths)

    def _rows(self, request: RankingRequest) -> Indices:
        """Return the (C,) catalog rows of a request's candidates."""
        if request.rows is not None:
            return request.rows
        ids = request.video_ids
        return np.fromiter(map(self.catalog.rows.get, ids, repeat(0)), np.int32, len(ids))

    def _entries(
        self, liked: Sequence[LikedHistory]
    ) -> tuple[Indices, npt.NDArray[np.int64], Doubles, list[int]]:
        """Return catalog rows, times (µs) and weights of the newest entries, and their number by request."""
        most, row_of = self.space.config.history, self.catalog.rows.get
        newest = [list(one.at.items())[:most] for one in liked]
        rows = np.array([row_of(video, 0) for entries in newest for video, _ in entries], np.int32)
        ats = np.array([at for entries in newest for _, at in entries], np.int64)
        weights = np.array(
            [one.weights[video] for one, entries in zip(liked, newest, strict=True) for video, _ in entries],
            np.float64,
        )
        return rows, ats, weights, [len(entries) for entries in newest]

    def _positions(self, requests: Sequence[RankingRequest]) -> Indices:
        if all(request.positions is None for request in requests):
            return np.zeros(sum(len(request.video_ids) for request in requests), np.int32)
        slots_by_request = [np.zeros(0, np.int64)]
        for request in requests:
            slots = request.positions
            if slots is not None and len(slots) != len(request.video_ids):
                raise RankError(
                    f"a request of user {request.user.entity_id} has {len(request.video_ids)} candidates and "
                    f"{len(slots)} positions",
                    fix="give one position for each candidate",
                )
            slots_by_request.append(
                np.full(len(request.video_ids), -1) if slots is None else slots.astype(np.int64)
            )
        return np.clip(np.concatenate(slots_by_request) + 1, 0, self.space.config.positions).astype(np.int32)

    def _context(self, requests: Sequence[RankingRequest]) -> Indices:
        surfaces, indices = self.space.surfaces, np.zeros((len(requests), 3), np.int32)
        for row, request in enumerate(requests):
            hours = request.context.at // HOUR_US
            # 1 January 1970 was a Thursday, three days after a Monday.
            weekday = (hours // HOURS + 3) % WEEKDAYS
            indices[row] = surfaces.get(request.context.surface, 0), hours % HOURS + 1, weekday + 1
        return indices


def run_edges(counts: Sequence[int]) -> list[int]:
    """Return the start of each of some adjacent runs of the given lengths, then the end of the last."""
    return np.cumsum([0, *counts]).tolist()
