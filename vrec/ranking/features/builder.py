"""The one function from requests to features: training, batch scoring and serving all call it."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """The numbers of each block before they are scaled, NaN where missing, and where they lie."""

    request: Indices
    video: Indices
    blocks: dict[str, Doubles]
    """`user` (R, Du), `candidate` (N, Dc), `history` (H, Dh) of all entries one after another."""
    history: Indices
    """(H,) catalog rows of the entries."""
    lengths: list[int]
    """Of the R requests, how many entries each has."""


class FeatureBuilder:
    """Makes features of requests. A pure function: equal requests give equal features, bit for bit, whether
    alone or among others, in training or in serving."""

    def __init__(self, space: FeatureSpace, catalog: CatalogFeatures) -> None:
        """Raises RankError for a catalog that was made for another space."""
        if catalog.space is not space and catalog.space.digest != space.digest:
            raise RankError(
                f"FeatureBuilder: the catalog is of space {catalog.space.digest}, not of {space.digest}",
                fix="make the catalog with the ranker's own feature space",
            )
        self.space = space
        self.catalog = catalog

    def build(self, requests: Sequence[RankingRequest]) -> RankingFeatures:
        """The features of all candidates of all requests, N rows in their order; see Features for shapes.

        Only what is before a request's moment counts in the history. What is missing is 0 beside an
        indicator, a value without a place has place 0, as a video that the catalog does not know. Raises
        RankError that names the numbers which are not finite, and for states, positions and tastes whose
        sizes do not fit.
        """
        raw, config = self.raw(requests), self.space.config
        inside = np.arange(config.history) < np.array(raw.lengths, np.int64)[:, None]
        history = np.zeros(inside.shape, np.int32)
        entries = np.zeros((*inside.shape, len(BLOCKS["history"])), np.float32)
        history[inside] = raw.history
        entries[inside] = self.space.scaled("history", raw.blocks["history"])
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
        """The numbers before scaling, which `fit_space` learns the scales of; errors as `build`."""
        counts = [len(r.video_ids) for r in requests]
        request = np.repeat(np.arange(len(requests), dtype=np.int32), counts)
        row_of = self.catalog.rows.get
        video = np.array([row_of(v, 0) for r in requests for v in r.video_ids], np.int32)
        moments = np.array([r.context.at for r in requests], np.int64)
        liked = [liked_history(r) for r in requests]
        rows, ats, weights, lengths = self._entries(liked)
        tastes = taste_vectors(self.space, requests)
        user = user_numbers(self.space, requests, liked, moments, tastes)
        likeness = TasteSimilarity(self.catalog, tastes)
        columns = candidate_numbers(self.catalog, requests, video, moments[request])
        columns |= affinities(self.catalog, requests, video)
        columns |= likeness.columns(video, run_edges(counts), rows, run_edges(lengths))
        columns |= liked_numbers(requests, liked)
        user["no_liked_vector"] = likeness.without_vector.astype(float)
        ages = np.repeat(moments, lengths) - ats
        history = {"log_age_hours": log_hours(ages), "log_weight": np.log1p(weights)}
        users = [f"user {r.user.entity_id}" for r in requests]
        entries = [name for name, length in zip(users, lengths, strict=True) for _ in range(length)]
        blocks = {
            "user": stack_columns("user", user, users),
            "candidate": stack_columns("candidate", columns, [v for r in requests for v in r.video_ids]),
            "history": stack_columns("history", history, entries),
        }
        return RawFeatures(request, video, blocks, rows, lengths)

    def _entries(
        self, liked: Sequence[LikedHistory]
    ) -> tuple[Indices, npt.NDArray[np.int64], Doubles, list[int]]:
        """Rows, times and weights of the newest entries of all requests, and how many each has."""
        most, row_of = self.space.config.history, self.catalog.rows.get
        kept = [list(one.at.items())[:most] for one in liked]
        rows = np.array([row_of(video, 0) for entries in kept for video, _ in entries], np.int32)
        ats = np.array([at for entries in kept for _, at in entries], np.int64)
        weights = np.array(
            [one.weights[video] for one, entries in zip(liked, kept, strict=True) for video, _ in entries],
            np.float64,
        )
        return rows, ats, weights, [len(entries) for entries in kept]

    def _positions(self, requests: Sequence[RankingRequest]) -> Indices:
        found = [np.zeros(0, np.int64)]
        for request in requests:
            slots = request.positions
            if slots is not None and len(slots) != len(request.video_ids):
                raise RankError(
                    f"a request of user {request.user.entity_id} has {len(request.video_ids)} candidates and "
                    f"{len(slots)} positions"
                )
            found.append(np.full(len(request.video_ids), -1) if slots is None else slots.astype(np.int64))
        return np.clip(np.concatenate(found) + 1, 0, self.space.config.positions).astype(np.int32)

    def _context(self, requests: Sequence[RankingRequest]) -> Indices:
        at = np.array([r.context.at for r in requests], np.int64)
        surfaces = [self.space.surfaces.get(r.context.surface, 0) for r in requests]
        hours = at // HOUR_US
        # The first day of 1970 was a Thursday, three days after a Monday.
        days = hours // HOURS + 3
        places = np.stack([np.array(surfaces, np.int64), hours % HOURS + 1, days % WEEKDAYS + 1], axis=1)
        return places.astype(np.int32)


def run_edges(counts: Sequence[int]) -> list[int]:
    """Where each of some neighbouring runs starts, and after them where the last ends."""
    return np.cumsum([0, *counts]).tolist()
