"""What rankers see: the shopper, the moment and the candidates as arrays."""

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
    """The moment of a request."""

    at: int
    """µs since 1970, UTC."""
    surface: str
    """Where the videos are shown, such as "feed"; of a logged impression its domain."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingRequest:
    """One shopper at one moment, and the candidates: everything that features are made of."""

    user: Profile
    """As it was before the moment; a blank profile of a shopper who is not known."""
    context: RequestContext
    video_ids: tuple[str, ...]
    """(C,) the candidates."""
    video_counts: npt.NDArray[np.float64]
    """(C, len(STATE)) counts of the candidates as they were before the moment: `state_of` their profiles."""
    positions: npt.NDArray[np.int16] | None = None
    """(C,) slots from 0 in which they were shown, −1 where that is not known; None when scoring."""


@dataclass(frozen=True, eq=False, slots=True)
class CatalogFeatureArrays:
    """What is known of M videos apart from events. Row 0 stands for an unknown video: zeros throughout."""

    fields: Indices
    """(M, F) a vocabulary place of each field (video_id, creator_id, category, …), 0 for unknown."""
    tags: Indices
    """(M, T) vocabulary places of tags, padded with 0."""
    dense: Floats
    """(M, Dv) numbers about the video itself, scaled to about unit size, none of them missing."""
    vectors: Floats
    """(M, dim) unit content vectors, zeros where there is none; dim is 0 where the catalog has none."""


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """The sizes that a network must have to take these features."""

    fields: tuple[int, ...]
    """Of each field of a video, the places of its vocabulary, 0 included."""
    tags: int
    """Indices of the tags' vocabulary, 0 included."""
    video: int
    """Dv, numbers about a video."""
    dim: int
    """Length of the content vectors, 0 for none."""
    context: tuple[int, ...]
    """Of each field of a request, the places of its vocabulary, 0 included."""
    user: int
    """Du, numbers about a shopper."""
    candidate: int
    """Dc, numbers about a candidate for a shopper at a moment."""
    history: int
    """Dh, numbers about an entry of the history."""
    positions: int
    """Indices of positions, 0 (unknown) included."""


@dataclass(frozen=True, eq=False, slots=True)
class RankingFeatures:
    """N candidates of R requests. Rows of one request are neighbours; numbers are finite."""

    catalog: CatalogFeatureArrays
    shape: FeatureShape
    request: Indices
    """(N,) the request of each candidate, from 0."""
    video: Indices
    """(N,) the candidate's row in the catalog, 0 for unknown."""
    candidate: Floats
    """(N, Dc) numbers about the candidate for this shopper at this moment."""
    position: Indices
    """(N,) slot + 1, 0 where it is not known."""
    context: Indices
    """(R, K) vocabulary places of the request's fields (surface, hour, weekday)."""
    user: Floats
    """(R, Du) numbers about the shopper."""
    history: Indices
    """(R, L) catalog rows of the videos liked last, the newest first, padded with 0."""
    history_dense: Floats
    """(R, L, Dh) numbers about each entry (age, weight), zeros in the padding."""

    def __len__(self) -> int:
        return len(self.video)

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """The features of some candidates, in that order, with the requests that they need."""
        needed, request = np.unique(self.request[rows], return_inverse=True)
        return replace(
            self,
            request=request.astype(np.int32).reshape(-1),
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
    """What came of N impressions, in the order of their features."""

    click: Floats
    """(N,) 1 where it was clicked."""
    watch_s: Floats
    """(N,) seconds watched, 0 where it was not watched."""
    conversion: Floats
    """(N,) 1 where it was clicked and a conversion followed within the window."""
    mature: npt.NDArray[np.bool_]
    """(N,) whether the log goes on for the whole conversion window: only then a 0 means no conversion."""
    duration_s: Floats
    """(N,) the video's length in seconds, NaN where it is not known."""
    at: npt.NDArray[np.int64]
    """(N,) µs since 1970 of the impression."""
    user: npt.NDArray[np.int64]
    """(N,) a number for each user, to group by."""

    def __len__(self) -> int:
        return len(self.click)

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """The labels of some impressions, in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False, slots=True)
class RankerPredictions:
    """What a ranker expects of N candidates if they are shown."""

    p_click: Floats
    """(N,) chance of a click."""
    watch_s: Floats
    """(N,) expected seconds of watching, 0 s for no watching included."""
    p_conv: Floats
    """(N,) chance of a click that ends in a conversion; the CVR is p_conv / p_click."""
    spread: Floats
    """(N,) standard deviation of the log-odds of a click: how unsure the ranker is, 0 where it cannot say."""

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """What is expected of some candidates, in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def concatenate_features(parts: Sequence[RankingFeatures]) -> RankingFeatures:
    """The features of all parts, which must be of one catalog and shape, one after another."""
    sizes = np.cumsum([0, *(len(part.user) for part in parts)])
    requests = [part.request + np.int32(size) for part, size in zip(parts, sizes, strict=False)]
    rest = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("video", "candidate", "position", "context", "user", "history", "history_dense")
    }
    return replace(parts[0], request=np.concatenate(requests), **rest)
