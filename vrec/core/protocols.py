"""The shapes that parts of vrec agree on. A protocol earns its place with a second implementation."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol, Self, TypeVar, runtime_checkable

import pyarrow as pa

from vrec.core.types import ApplyResult, CatalogContent, Clip, Modality, Vectors, VideoRef


@runtime_checkable
class VideoSource(Protocol):
    """A catalogue's videos.

    `refs()` is cheap, in a stable order and reads no video; `read()` gives a video's bytes.
    A bad video raises a VideoError, which the pipeline turns into one row of FAILURES.
    """

    def refs(self) -> Iterator[VideoRef]: ...

    def read(self, ref: VideoRef) -> bytes: ...


@runtime_checkable
class Encoder(Protocol):
    """Clips to unit vectors. Keeps count and order; one clip alone or in a batch gives the same row.

    `encode` raises ValueError for a clip whose modality is absent: callers leave those out.
    """

    @property
    def name(self) -> str:
        """Kind and digest of weights and config, such as "cnn@1f0c9a2b7d3e"."""
        ...

    @property
    def modality(self) -> Modality: ...

    @property
    def dim(self) -> int: ...

    def encode(self, clips: Sequence[Clip]) -> Vectors: ...


@runtime_checkable
class Recommender(Protocol):
    """INTERACTIONS in, RECOMMENDATIONS out.

    For each known user at most `k` rows, ranks from 1 without gaps, scores that never rise, equal scores in
    the order of video_id. What a user was fitted with never appears, nor what `exclude` names for them, nor
    anything outside `candidates` where they are given. A user who was not fitted gets no row. The order of
    the rows given to `fit` is of no consequence, and a saved and loaded model answers the same.
    """

    @property
    def name(self) -> str:
        """What RECOMMENDATIONS.source says, such as "item_knn"."""
        ...

    def fit(self, interactions: pa.Table, content: CatalogContent | None = None) -> Self:
        """The same recommender, fitted; raises SchemaError or FitError for rows that it cannot use."""
        ...

    def recommend(
        self,
        users: Sequence[str],
        k: int,
        exclude: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> pa.Table:
        """RECOMMENDATIONS grouped by user in the order asked for; raises FitError where k < 1."""
        ...

    def save(self, uri: str) -> None:
        """Writes the fitted model as a folder."""
        ...

    @classmethod
    def load(cls, uri: str) -> Self:
        """The model that `save` wrote; raises ModelError where the folder is not a sound one of this kind."""
        ...


Profiles_contra = TypeVar("Profiles_contra", contravariant=True)
Context_contra = TypeVar("Context_contra", contravariant=True)


@runtime_checkable
class Ranker(Protocol[Profiles_contra, Context_contra]):
    """Candidates in, RANKED out: the same rows in the same order, of one user or of many.

    Chances are in [0, 1] and calibrated, seconds are not below 0, and p_conv never exceeds p_click. A row's
    answer depends on its shopper, its video and the moment only: alone or among others it is the same.
    """

    @property
    def name(self) -> str:
        """Kind of the ranker, such as "din"."""
        ...

    def score(
        self,
        candidates: pa.Table,
        users: Mapping[str, Profiles_contra],
        videos: Mapping[str, Profiles_contra],
        context: Context_contra,
    ) -> pa.Table:
        """RANKED rows for RECOMMENDATIONS, from profiles by id; whoever is missing there is new.

        Raises SchemaError, or RankError for what cannot be ranked.
        """
        ...

    def save(self, uri: str) -> None:
        """Writes the fitted ranker as a folder."""
        ...

    @classmethod
    def load(cls, uri: str) -> Self:
        """The ranker that `save` wrote; raises ModelError where the folder is no sound one of this kind."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest vectors by inner product. Filters are exact: every result passes, none that passes is lost."""

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Adds vectors, or replaces those of ids that are there; raises FitError for another dim or NaN."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Removes vectors; ids that are not there are no error."""
        ...

    def search(
        self, queries: Vectors, k: int, allowed: Sequence[str] | None = None
    ) -> tuple[list[list[str]], list[list[float]]]:
        """For each query its at most `k` nearest ids and their scores, best first, ties by id.

        `allowed` restricts the results to these ids.
        """
        ...


Profiles = TypeVar("Profiles")

EXPORT_ROWS = 100_000
"""Events that one call of `export` gives at most, unless it says otherwise: about 30 MB."""


@runtime_checkable
class ProfileStore(Protocol[Profiles]):
    """EVENTS in, profiles out, and a log of every event for the next fit. Methods may be called from threads.

    An event counts once, for ever, whatever is sent again. Profiles depend on which events came, not on how
    they were batched or ordered, but for float rounding. Every method raises StoreError where the store
    cannot do it, and is usable again once the cause is gone.
    """

    def apply(self, events: pa.Table) -> ApplyResult:
        """What became of EVENTS, all of which are in the log and in the profiles by then, or none.

        They survive the death of the process from then on. Raises SchemaError, and EventsError for unknown
        kinds and impossible values; after a StoreError the same events may be sent again.
        """
        ...

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """A future of what `apply` returns, for `asyncio.wrap_future`; bad rows raise at once."""
        ...

    def get(self, kind: Literal["user", "video"], ids: Sequence[str]) -> dict[str, Profiles]:
        """The profiles of users or videos by id, with every event that was acknowledged before the call.

        Who has no events is absent.
        """
        ...

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """The next at most `limit` EVENTS of the log in the order they came, and the cursor behind them.

        `after` is the cursor of the call before; 0 is the beginning. No row means that there is no more yet.
        """
        ...

    def latest_cursor(self) -> int:
        """The cursor behind the newest event at this moment: `export` from there gives what comes later."""
        ...

    def erase(self, user_id: str) -> int:
        """How many events of a user were removed, along with their profile, for good.

        Counts in the profiles of videos stay. The events' ids stay known, so that none comes back.
        """
        ...

    def check(self) -> None:
        """Returns when the store can read and write at this moment; raises StoreError otherwise."""
        ...

    def close(self) -> None:
        """Returns when everything submitted is done and the store is released; closing again does nothing."""
        ...
