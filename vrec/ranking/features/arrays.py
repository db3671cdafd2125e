"""Inputs and outputs of rankers: requests, features, labels and predictions as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from vrec.profiles.profile import Profile

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Time and surface of a request."""

    at: int
    """µs since 1970, UTC."""
    surface: str
    """Surface that shows the videos, such as "feed"; for a logged impression its domain."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingRequest:
    """One user at one moment with the candidates: the complete input of the features."""

    user: Profile
    """Profile from before the moment; blank for an unknown user."""
    context: RequestContext
    video_ids: tuple[str, ...]
    """(C,) ids of the candidates."""
    video_counts: npt.NDArray[np.float64]
    """(C, len(VIDEO_COUNT_KEYS)) counts of the candidates before the moment, see `profile_counts`."""
    positions: npt.NDArray[np.int16] | None = None
    """(C,) slots from 0 in which they were shown, −1 where unknown; None when scoring."""
    rows: Indices | None = None
    """(C,) rows of the candidates in the catalog of the builder that is asked, for callers that have them;
    None to look them up by id."""


@dataclass(frozen=True, eq=False, slots=True)
class CatalogFeatureArrays:
    """Features of M videos that do not depend on events. Row 0 is the unknown video: all zeros."""

    fields: Indices
    """(M, F) vocabulary index of each field (video_id, creator_id, category, …), 0 for unknown."""
    tags: Indices
    """(M, T) vocabulary indices of tags, padded with 0."""
    dense: Floats
    """(M, Dv) numbers about the video, standardized, without missing values."""
    vectors: Floats
    """(M, dim) unit content vectors, zeros for a video without one; dim is 0 for a catalog without any."""


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """Sizes of features, which determine the input layers of a network."""

    fields: tuple[int, ...]
    """Vocabulary size of each video field, index 0 included."""
    tags: int
    """Vocabulary size of the tags, index 0 included."""
    video: int
    """Dv, count of numbers about a video."""
    dim: int
    """Length of the content vectors, 0 for none."""
    context: tuple[int, ...]
    """Vocabulary size of each request field, index 0 included."""
    user: int
    """Du, count of numbers about a user."""
    candidate: int
    """Dc, count of numbers about a candidate for a user at a moment."""
    history: int
    """Dh, count of numbers about an entry of the history."""
    positions: int
    """Count of position indices, 0 (unknown) included."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingFeatures:
    """Features of N candidates of R requests. Rows of one request are adjacent; all numbers are finite."""

    catalog: CatalogFeatureArrays
    shape: FeatureShape
    request: Indices
    """(N,) request row of each candidate, from 0."""
    video: Indices
    """(N,) catalog row of the candidate, 0 for unknown."""
    candidate: Floats
    """(N, Dc) numbers about the candidate for this user at this moment."""
    position: Indices
    """(N,) slot + 1, 0 where unknown."""
    context: Indices
    """(R, K) vocabulary indices of the request fields (surface, hour, weekday)."""
    user: Floats
    """(R, Du) numbers about the user."""
    history: Indices
    """(R, L) catalog rows of the videos liked last, newest first, padded with 0."""
    history_dense: Floats
    """(R, L, Dh) numbers about each entry (age, weight), zeros in the padding."""

    def __len__(self) -> int:
        return len(self.video)

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """Select candidates in the order of `rows`, with only the requests that they need, in that order."""
        needed, first, request = np.unique(self.request[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)
        needed = needed[order]
        return replace(
            self,
            request=np.argsort(order)[request].astype(np.int32).reshape(-1),
            video=self.video[rows],
            candidate=self.candidate[rows],
            position=self.position[rows],
            context=self.context[needed],
            user=self.user[needed],
            history=self.history[needed],
            history_dense=self.history_dense[needed],
        )


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionLabels:
    """Outcomes of N impressions, in the order of their features."""

    click: Floats
    """(N,) 1 for a click, else 0."""
    watch_s: Floats
    """(N,) seconds watched, 0 where not watched."""
    conversion: Floats
    """(N,) 1 for a click followed by a conversion within the window, else 0."""
    mature: npt.NDArray[np.bool_]
    """(N,) whether the log covers the whole conversion window: only then a 0 means no conversion."""
    duration_s: Floats
    """(N,) duration of the video in seconds, NaN where unknown."""
    at: npt.NDArray[np.int64]
    """(N,) time of the impression in µs since 1970."""
    user: npt.NDArray[np.int64]
    """(N,) number of the user, to group by."""

    def __len__(self) -> int:
        return len(self.click)

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """Select impressions in the order of `rows`."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False, slots=True)
class RankerPredictions:
    """Predictions for N candidates, given that they are shown."""

    p_click: Floats
    """(N,) probability of a click."""
    watch_s: Floats
    """(N,) expected watch time in seconds, counting unwatched as 0 s."""
    p_conv: Floats
    """(N,) probability of a click that ends in a conversion; the CVR is p_conv / p_click."""
    spread: Floats
    """(N,) standard deviation of the log-odds of a click, 0 where the ranker has no estimate."""

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """Select candidates in the order of `rows`."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def concatenate_features(parts: Sequence[RankingFeatures]) -> RankingFeatures:
    """Concatenate features, which must be of one catalog and shape, and renumber their requests."""
    sizes = np.cumsum([0, *(len(part.user) for part in parts)])
    requests = [part.request + np.int32(size) for part, size in zip(parts, sizes, strict=False)]
    rest = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("video", "candidate", "position", "context", "user", "history", "history_dense")
    }
    return replace(parts[0], request=np.concatenate(requests), **rest)


def concatenate_predictions(parts: Sequence[RankerPredictions]) -> RankerPredictions:
    """Return the predictions of all parts in their order."""
    names = RankerPredictions.__dataclass_fields__
    return RankerPredictions(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))
