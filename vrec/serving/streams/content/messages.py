"""Messages between the service and those who follow a stream's content, and what is known of it."""

from dataclasses import dataclass, replace

import msgpack

from vrec.serving.streams.states import StreamVector, log_refused

CONTENT_TABLE = "stream_content"
"""Table of the store with what became of the last attempt at each stream's content."""
FORMAT = 1
"""First value of each record."""


@dataclass(frozen=True, slots=True)
class ContentState:
    """Outcome of the last attempt at a stream's content."""

    at: int
    """µs since 1970."""
    embedded_at: int | None = None
    """Time of the last vector, µs since 1970; None before the first."""
    failures: int = 0
    """Attempts that failed since the last one that did not."""
    error: str | None = None
    """Class of the last one's error (FAILURES.error); None if it did not fail."""
    reason: str | None = None
    fix: str | None = None
    retry_at: int | None = None
    """Time of the next attempt, µs since 1970; None if the last one did not fail."""


@dataclass(frozen=True, slots=True)
class FollowedStream:
    """Stream whose content is followed."""

    stream_id: str
    uri: str
    """Its playlist."""
    started_at: int
    """µs since 1970."""
    text: str | None = None
    """Title and tags."""
    failures: int = 0
    """Attempts that had failed when it was given to whoever follows it."""


@dataclass(frozen=True, eq=False, slots=True)
class ContentReport:
    """Outcome of one attempt."""

    stream_id: str
    at: int
    """µs since 1970."""
    vector: StreamVector | None = None
    """None if it failed, or nothing has come since the last vector."""
    failures: int = 0
    error: str | None = None
    reason: str | None = None
    fix: str | None = None
    retry_at: int | None = None

    @property
    def outcome(self) -> str:
        """Outcome, as metrics name it."""
        return self.error or ("unchanged" if self.vector is None else "embedded")

    def state(self, before: ContentState | None) -> ContentState:
        """Return the stream's state after it."""
        embedded_at = None if before is None else before.embedded_at
        return ContentState(
            at=self.at,
            embedded_at=embedded_at if self.vector is None else self.vector.at,
            failures=self.failures,
            error=self.error,
            reason=self.reason,
            fix=self.fix,
            retry_at=self.retry_at,
        )


def pack_content(state: ContentState) -> bytes:
    """Encode a state as a record."""
    values = (state.at, state.embedded_at, state.failures, state.error, state.reason)
    packed = msgpack.packb((FORMAT, *values, state.fix, state.retry_at))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_content(stream_id: str, record: bytes) -> ContentState | None:
    """Decode a record; None, with an error in the service's log, if it is none of this version."""
    try:
        form, *values = msgpack.unpackb(record)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        return ContentState(*values)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        log_refused("content", stream_id, error)
        return None


def content_since(state: ContentState | None, started_at: int) -> ContentState | None:
    """Return what became of a stream's content since a start; None if there was no attempt yet."""
    if state is None or state.at < started_at:
        return None
    if state.embedded_at is not None and state.embedded_at < started_at:
        return replace(state, embedded_at=None)
    return state
