"""Models of requests and responses about live streams."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from vrec.serving.deployments.protocol import Card
from vrec.serving.http.schemas.requests import (
    PLAIN_PATTERN,
    WHOLE_NUMBER,
    Cursor,
    LanguageTag,
    Name,
    Names,
    RequestModel,
    ShortId,
    ShortIds,
    Text,
    VideoId,
)
from vrec.serving.http.schemas.responses import ResponseModel
from vrec.serving.http.schemas.videos import SIMILAR_SUFFIX, check_addressable
from vrec.serving.streams.states import StreamBeat, StreamDetails, StreamState

BEAT_SUFFIX = "/beat"
"""End of the path of a stream's beats."""
MAX_STREAMS_LISTED = 200
"""Maximum number of streams in a page."""
PlaylistUri = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=PLAIN_PATTERN)]
Count = Annotated[int, Field(ge=0, le=2**53), WHOLE_NUMBER]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _check_stream_id(stream_id: str) -> str:
    """Return an id that does not collide with the path of beats."""
    if f"/{stream_id}".endswith(BEAT_SUFFIX):
        raise PydanticCustomError(
            "beat", "an id may not be beat or end in /beat, which is a path of the service"
        )
    if f"/{stream_id}" == SIMILAR_SUFFIX:
        raise PydanticCustomError("similar", "an id may not be similar, which is a path of the service")
    return check_addressable(stream_id)


StreamId = Annotated[VideoId, AfterValidator(_check_stream_id)]


class StreamRequest(RequestModel):
    """Body of `PUT /v1/streams/{stream_id}`. It describes the stream as a whole: an absent field is empty."""

    streamer_id: ShortId
    """Id of the streamer, who is the creator of the stream's video. It stays while the stream is live."""
    title: Text | None = None
    """Title of the stream."""
    tags: Names = Field(default_factory=list)
    """Tags of the stream."""
    category: Name | None = None
    """Category of the stream."""
    product_ids: ShortIds = Field(default_factory=list)
    """Ids of the products that are pinned now."""
    language: LanguageTag | None = None
    """Language tag, such as `en` or `zh-Hans`."""
    source: PlaylistUri | None = None
    """HLS playlist of the stream, a path or a URI."""

    def to_details(self) -> StreamDetails:
        """Return the description for the serving backend."""
        return StreamDetails(
            streamer_id=self.streamer_id,
            title=self.title,
            tags=tuple(self.tags),
            category=self.category,
            product_ids=tuple(dict.fromkeys(self.product_ids)),
            language=self.language,
            uri=self.source,
        )


class BeatRequest(RequestModel):
    """Body of `POST /v1/streams/{stream_id}/beat`. Absent fields stay as they were."""

    viewers: Count | None = None
    """Viewers now."""
    product_ids: ShortIds | None = None
    """Ids of the products that are pinned now; an empty list unpins them."""
    chats: Count | None = None
    """Chat messages since the stream began."""
    gifts: Count | None = None
    """Gifts since the stream began."""

    def to_beat(self) -> StreamBeat:
        """Return the beat for the serving backend."""
        pinned = None if self.product_ids is None else tuple(dict.fromkeys(self.product_ids))
        return StreamBeat(self.viewers, pinned, self.chats, self.gifts)


class ListStreamsQuery(RequestModel):
    """Query of `GET /v1/streams`."""

    model_config = RequestModel.model_config | {"strict": False}

    limit: Annotated[int, Field(ge=1, le=MAX_STREAMS_LISTED)] = 50
    """Maximum number of streams in the page."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


class StreamResponse(ResponseModel):
    """Live stream."""

    stream_id: str
    """Id of the stream, and of its video in lists and events."""
    streamer_id: str
    title: str | None
    tags: list[str]
    category: str | None
    language: str | None
    source: str | None
    """HLS playlist."""
    live: bool
    """Whether it is live now."""
    started_at: datetime
    beat_at: datetime
    """Time of the last beat, or start."""
    ended_at: datetime | None
    """Time since which it is over; null if it is live."""
    viewers: int | None
    """Viewers at the last beat that told of them."""
    product_ids: list[str]
    """Ids of the products that are pinned now."""
    chats: int | None
    gifts: int | None


class StreamsResponse(ResponseModel):
    """Page of the live streams, by ascending id."""

    streams: list[StreamResponse]
    found: int
    """Number of streams that are live now, on all pages."""
    next_cursor: str | None
    """`cursor` of the next page; null on the last one."""


def stream_body(state: StreamState, ended_at: int | None, card: Card | None) -> dict[str, Any]:
    """Return a StreamResponse as a dict.

    Args:
        state: The stream.
        ended_at: Time since which it is over, µs since 1970; None if it is live.
        card: Its row of VIDEOS, if the catalog has one.
    """
    described: Mapping[str, Any] = {} if card is None else card
    return {
        "stream_id": state.stream_id,
        "streamer_id": state.streamer_id,
        "title": described.get("title"),
        "tags": described.get("tags") or [],
        "category": described.get("category"),
        "language": state.language,
        "source": state.uri,
        "live": ended_at is None,
        "started_at": _to_time(state.started_at),
        "beat_at": _to_time(state.beat_at),
        "ended_at": None if ended_at is None else _to_time(ended_at),
        "viewers": state.viewers,
        "product_ids": list(state.product_ids),
        "chats": state.chats,
        "gifts": state.gifts,
    }


def live_body(state: StreamState) -> dict[str, Any]:
    """Return a LiveState as a dict."""
    return {
        "started_at": _to_time(state.started_at),
        "viewers": state.viewers,
        "product_ids": list(state.product_ids),
    }


def _to_time(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)
