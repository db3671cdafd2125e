"""Protocols that vrec's layers share; each has two implementations or more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol, Self, TypeVar, runtime_checkable

import pyarrow as pa

from vrec.core.types import (
    ApplyResult,
    CatalogContent,
    Clip,
    ExpiredEvents,
    Ids,
    IdsByUser,
    LogChanges,
    Modality,
    Vectors,
    VideoRef,
)


@runtime_checkable
class VideoSource(Protocol):
    """Source of a catalog's videos.

    A bad video raises a VideoError, which the pipeline turns into one row of FAILURES.
    """

    def refs(self) -> Iterator[VideoRef]:
        """Return the videos in a stable order, without reading any of them."""
        ...

    def read(self, ref: VideoRef) -> bytes:
        """Return a video's bytes, or raise VideoError."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Encoder of clips as unit vectors."""

    @property
    def name(self) -> str:
        """Kind and digest of weights and config, such as "cnn@1f0c9a2b7d3e"."""
        ...

    @property
    def modality(self) -> Modality:
        """Modality of a clip that the encoder reads."""
        ...

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        ...

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """Return one unit vector per clip, (len(clips), dim) float32 in the order of `clips`.

        A clip gives the same row alone as in a batch.

        Raises:
            ValueError: A clip lacks the modality; callers leave such clips out.
        """
        ...


@runtime_checkable
class Recommender(Protocol):
    """Recommender fitted on INTERACTIONS that returns RECOMMENDATIONS.

    For each known user it returns at most `k` rows: ranks from 1 without gaps, scores that never rise, equal
    scores in the order of video_id. It never recommends a video of the user's training interactions, a video
    that `exclude` names for the user, or a video outside `candidates` where they are given. A user unseen at
    fit time gets no row. The row order of the training data does not matter, and a saved and loaded model
    gives the same results.
    """

    @property
    def name(self) -> str:
        """Value of RECOMMENDATIONS.source, such as "item_knn"."""
        ...

    def fit(self, interactions: pa.Table, content: CatalogContent | None = None) -> Self:
        """Fit the recommender and return it; raise SchemaError or FitError for rows that it cannot use."""
        ...

    def recommend(
        self, users: Ids, k: int, exclude: IdsByUser | None = None, candidates: Ids | None = None
    ) -> pa.Table:
        """Return RECOMMENDATIONS grouped by user in the order of `users`; raise FitError where k < 1."""
        ...

    def save(self, uri: str) -> None:
        """Write the fitted model to a folder."""
        ...

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load a model that `save` wrote; raise ModelError where the folder is damaged or of another kind."""
        ...


Profiles_contra = TypeVar("Profiles_contra", contravariant=True)
Context_contra = TypeVar("Context_contra", contravariant=True)


@runtime_checkable
class Ranker(Protocol[Profiles_contra, Context_contra]):
    """Ranker that scores candidates, of one user or of many, as RANKED rows in the same order.

    Probabilities are in [0, 1] and calibrated, seconds are not below 0, and p_conv never exceeds p_click. A
    row's scores depend only on its user, its video and the time: alone or among others they are the same.
    """

    @property
    def name(self) -> str:
        """Kind of ranker, such as "din"."""
        ...

    def score(
        self,
        candidates: pa.Table,
        users: Mapping[str, Profiles_contra],
        videos: Mapping[str, Profiles_contra],
        context: Context_contra,
    ) -> pa.Table:
        """Return RANKED rows for candidates.

        Args:
            candidates: RECOMMENDATIONS rows.
            users: User profiles by user id; a user without a profile is new.
            videos: Video profiles by video id; a video without a profile is new.
            context: Request context, such as the time.

        Raises:
            SchemaError: `candidates` are not RECOMMENDATIONS.
            RankError: Candidates cannot be ranked.
        """
        ...

    def save(self, uri: str) -> None:
        """Write the fitted ranker to a folder."""
        ...

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load a ranker that `save` wrote; raise ModelError if the folder is damaged or of another kind."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest-neighbor index by inner product with exact filters: a filter loses no result that passes it."""

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add vectors, replacing those of known ids; raise FitError for another dim or NaN."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors; unknown ids are ignored."""
        ...

    def search(
        self, queries: Vectors, k: int, allowed: Sequence[str] | None = None
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Return the at most `k` nearest ids of each query and their scores, best first, ties by id.

        Args:
            queries: (N, dim) float32.
            k: Number of neighbors per query.
            allowed: Ids to restrict the results to; None allows all.
        """
        ...


Profiles = TypeVar("Profiles")

EXPORT_ROWS = 100_000
"""Default maximum of events that one call of `export` returns: about 30 MB."""

EXPIRY_ROWS = 1_000
"""Default maximum of events that one call of `expire` looks at."""


@runtime_checkable
class ProfileStore(Protocol[Profiles]):
    """Thread-safe store of profiles computed from EVENTS, with a log of every event for the next fit.

    An event counts once, however often it is sent. Profiles depend on the set of events and not on their
    batches or order, up to float rounding; what `unlike`, `unhide` and `refund` reverse counts as never sent.
    After `join` the events of a session are those of its account. Every method raises StoreError on failure,
    and the store is usable again once the cause is gone.
    """

    def apply(self, events: pa.Table) -> ApplyResult:
        """Add EVENTS to the log and the profiles, all of them or none, durably.

        After a StoreError the same events may be sent again.

        Raises:
            SchemaError: `events` are not EVENTS.
            EventsError: A kind is unknown or a value impossible.
        """
        ...

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """Return a future of the result of `apply`, for `asyncio.wrap_future`; raise at once for bad rows."""
        ...

    def submit_all(self, events: pa.Table, sizes: Sequence[int]) -> Future[list[ApplyResult]]:
        """Return a future of the results of several calls of `apply`, which share what a batch can share.

        Args:
            events: EVENTS of all calls, one call after the other.
            sizes: Number of events of each call, of which all are stored or none.

        Raises:
            SchemaError: `events` are not EVENTS.
            EventsError: An event of any call has an unknown kind or an impossible value; none is stored.
        """
        ...

    def get(self, kind: Literal["user", "video"], ids: Sequence[str]) -> dict[str, Profiles]:
        """Return profiles of users or videos by id, with every event acknowledged before the call.

        Ids without events are absent from the result. A joined session has the profile of its account.
        """
        ...

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """Return the next at most `limit` EVENTS of the log in arrival order, and the cursor after them.

        `after` is the cursor of the previous call; 0 is the beginning. An empty table means that there are no
        more events yet. Events of joined sessions have the id of the account.
        """
        ...

    def follow(self, after: int, limit: int = EXPORT_ROWS) -> LogChanges:
        """Return the next at most `limit` changes of the log after a cursor of `follow` or `export`."""
        ...

    def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS that arrived before a cursor, the latest first.

        Args:
            user_id: The user, or a session.
            before: Cursor of the previous call; None for the latest events.
            limit: Maximum number of events.

        Returns:
            The events, and the cursor of the next call; None at the end.
        """
        ...

    def remove(self, event_id: str) -> bool:
        """Remove an event durably, so that all is as if it had never been sent; it is not accepted again.

        Returns:
            False if it was removed or erased before.

        Raises:
            UnknownEvent: There never was an event of this id.
        """
        ...

    def join(self, session: str, user_id: str) -> int:
        """Make the events of a session, before and after, those of a user, durably.

        Args:
            session: User id of the session, which begins with SESSION_PREFIX.
            user_id: The account.

        Returns:
            Number of events that became the user's; 0 if the session is the user's already.

        Raises:
            SessionTaken: The session is another user's.
        """
        ...

    def rename(self, user_id: str, new_id: str) -> int:
        """Give a user or session another id durably, as if it had had that one from the beginning.

        If there are events of the new id already, they are those of one user from then on. A session that has
        joined an account stays joined. Renaming one again, or one that is unknown, changes nothing.

        Args:
            user_id: The user or session.
            new_id: Another id of the same kind.

        Returns:
            Number of events whose user has another id now.
        """
        ...

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each session that has joined one, and every other id itself."""
        ...

    def sessions_of(self, user_id: str) -> list[str]:
        """Return the sessions that joined an account, ascending."""
        ...

    def latest_cursor(self) -> int:
        """Return the cursor after the newest event; `export` from there gives later events only."""
        ...

    def erase(self, user_id: str) -> int:
        """Remove a user's events, sessions and profile permanently and return the number of events removed.

        Counts in video profiles stay. Keyed hashes of the event ids stay known, so that none of the events is
        added again; nothing else of the user does, neither in what the store reads nor in its files.
        """
        ...

    def expire(self, cutoffs: Mapping[str, int], after: int = 0, limit: int = EXPIRY_ROWS) -> ExpiredEvents:
        """Remove the events among the next ones of the log that are too old, as far as an erasure does.

        Users' profiles are then those without them. Counts in video profiles stay, and none of the events is
        accepted again.

        Args:
            cutoffs: Time (µs since 1970) by kind, before which events of the kind are removed.
            after: Cursor of the previous call; 0 is the beginning.
            limit: Maximum number of events that are looked at.
        """
        ...

    def check(self) -> None:
        """Raise StoreError unless the store can read and write now."""
        ...

    def close(self) -> None:
        """Finish all submitted work and release the store; closing again does nothing."""
        ...
