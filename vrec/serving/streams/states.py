"""States of live streams, as the store has them: one record per stream, which each beat overwrites."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import msgpack
import numpy as np

from vrec.core.errors import VrecError
from vrec.core.types import Vectors

logger = logging.getLogger("ray.serve")

STREAMS_TABLE = "streams"
"""Table of the store with the state of each stream."""
VECTORS_TABLE = "stream_vectors"
"""Table of the store with what each stream shows now."""
FORMAT = 1
"""First value of each record; records of other formats are left out and named in the service's log."""
STREAM_URI = "stream://"
"""Beginning of VIDEOS.uri of a stream; no other video has it, as nothing can be read there."""


class UnknownStream(VrecError):
    """Stream id that the shop does not have."""

    fix = "start the stream by PUT /v1/streams/{stream_id}"


class StreamOver(VrecError):
    """Beat of a stream that has ended, or that had no beat for too long."""

    fix = "start the stream again by PUT /v1/streams/{stream_id}"


class StreamIsLive(VrecError):
    """Change of the video of a live stream other than by the stream."""

    fix = "end the stream by DELETE /v1/streams/{stream_id}, or describe it by PUT /v1/streams/{stream_id}"

    def __init__(self, stream_id: str) -> None:
        """Name the stream."""
        super().__init__(f"{stream_id} is a live stream")


VIDEO_FIX = "choose another stream_id, or remove that video by DELETE /v1/videos/{video_id} first"
"""What to do about an id that a video has."""


class StreamTaken(VrecError):
    """Start of a stream whose id belongs to another one."""

    fix = "choose another stream_id, or end that stream by DELETE /v1/streams/{stream_id} first"

    def __init__(self, message: str, *, is_live: bool = False) -> None:
        """Set whether it is a live stream of another streamer that has the id, else it is a video."""
        super().__init__(message, fix=None if is_live else VIDEO_FIX)
        self.is_live = is_live


@dataclass(frozen=True, slots=True)
class StreamState:
    """State of a live stream."""

    stream_id: str
    streamer_id: str
    started_at: int
    """µs since 1970."""
    beat_at: int
    """Time of the last sign of life, µs since 1970."""
    expires_at: int
    """Time from which it is over unless a further sign of life comes, µs since 1970. It is stored, so that a
    stream that is over stays so when the service starts again with another expiry."""
    ended_at: int | None = None
    """Time at which it was ended, µs since 1970; None if nobody has ended it."""
    language: str | None = None
    uri: str | None = None
    """HLS playlist of the stream; None if its content is not followed."""
    product_ids: tuple[str, ...] = ()
    """Products that are pinned now."""
    pinned_at: int | None = None
    """Time of the last change of the pinned products, µs since 1970; None before the first."""
    viewers: int | None = None
    """Viewers at the last beat that told of them."""
    chats: int | None = None
    """Chat messages since the start."""
    gifts: int | None = None
    """Gifts since the start."""
    text: str | None = None
    """Title and tags, as the encoder of text reads them."""

    @property
    def ends_at(self) -> int:
        """Time (µs) from which it is over: as ended, or without a further beat."""
        return self.expires_at if self.ended_at is None else min(self.ended_at, self.expires_at)

    def is_live(self, at: int) -> bool:
        """Return whether it is live at a time, µs since 1970."""
        return at < self.ends_at


@dataclass(frozen=True, slots=True)
class StreamDetails:
    """Stream as its streamer describes it."""

    streamer_id: str
    title: str | None = None
    tags: tuple[str, ...] = ()
    category: str | None = None
    product_ids: tuple[str, ...] = ()
    """Products that are pinned now."""
    language: str | None = None
    uri: str | None = None
    """HLS playlist."""


@dataclass(frozen=True, slots=True)
class StreamBeat:
    """Sign of life of a stream; what is None stays as it was."""

    viewers: int | None = None
    product_ids: tuple[str, ...] | None = None
    chats: int | None = None
    gifts: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class StreamVector:
    """Content of a stream's last window."""

    encoder: str
    """Encoder of the fused vector."""
    at: int
    """End of the window, µs since 1970."""
    vector: Vectors
    """(dim,) float32 unit vector."""


@dataclass(frozen=True, slots=True)
class StreamBook:
    """Streams as one process knows them; immutable. A stream that is not in it is over."""

    version: int = 0
    """Version of the last state."""
    states: Mapping[str, StreamState] = field(default_factory=dict)
    vectors_version: int = 0
    vectors: Mapping[str, tuple[int, StreamVector]] = field(default_factory=dict)
    """Version and vector of each stream whose content is followed."""

    def with_state(self, state: StreamState) -> "StreamBook":
        """Return the book with a stream's new state."""
        return replace(self, states={**self.states, state.stream_id: state})

    def after(self, records: Sequence[tuple[int, str, bytes]], version: int) -> "StreamBook":
        """Return the book after more states of the store, up to a version."""
        unpacked = ((name, unpack_state(name, record)) for _, name, record in records)
        states = {name: state for name, state in unpacked if state is not None}
        return replace(self, version=version, states={**self.states, **states})

    def after_vectors(self, records: Sequence[tuple[int, str, bytes]]) -> "StreamBook":
        """Return the book after more vectors of the store, by ascending version."""
        vectors = dict(self.vectors)
        for version, stream_id, record in records:
            if (vector := unpack_vector(stream_id, record)) is not None:
                vectors[stream_id] = version, vector
        last = records[-1][0] if records else self.vectors_version
        return StreamBook(self.version, self.states, last, vectors)

    def without_old(self, before: int) -> "StreamBook":
        """Return the book without streams that had neither beat nor vector since a time, µs since 1970."""
        states = {name: one for name, one in self.states.items() if one.beat_at >= before}
        vectors = {name: one for name, one in self.vectors.items() if name in states or one[1].at >= before}
        if len(states) == len(self.states) and len(vectors) == len(self.vectors):
            return self
        return StreamBook(self.version, states, self.vectors_version, vectors)


NO_STREAMS = StreamBook()
"""No streams: all that the catalog has count as over."""


def pack_state(state: StreamState) -> bytes:
    """Encode a state as a record."""
    packed = msgpack.packb((FORMAT, asdict(state)))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_state(stream_id: str, record: bytes) -> StreamState | None:
    """Decode a record; None, with an error in the service's log, if it is none of this version."""
    try:
        form, values = msgpack.unpackb(record)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        if unknown := values.keys() - _FIELDS:
            raise ValueError(f"it has unknown fields {sorted(unknown)}")
        return StreamState(**values | {"product_ids": tuple(values["product_ids"])})
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        log_refused("state", stream_id, error)
        return None


def pack_vector(vector: StreamVector) -> bytes:
    """Encode a vector as a record."""
    packed = msgpack.packb((FORMAT, vector.encoder, vector.at, vector.vector.astype("<f4").tobytes()))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_vector(stream_id: str, record: bytes) -> StreamVector | None:
    """Decode a record; None, with an error in the service's log, if it is none of this version."""
    try:
        form, encoder, at, data = msgpack.unpackb(record)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        return StreamVector(encoder, at, np.frombuffer(data, "<f4").astype(np.float32))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        log_refused("vector", stream_id, error)
        return None


def is_stream(card: Mapping[str, Any]) -> bool:
    """Return whether a row of VIDEOS is a stream, which is over unless a state says that it is live."""
    return str(card["uri"]).startswith(STREAM_URI)


_FIELDS = frozenset(one.name for one in fields(StreamState))


def log_refused(what: str, stream_id: str, error: Exception) -> None:
    """Log that a record of a stream cannot be decoded."""
    extra = {"stream_id": stream_id, "why": str(error)[:300]}
    logger.error("the %s of a stream cannot be read", what, extra=extra)
