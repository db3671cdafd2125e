"""Models of requests and responses about live streams."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

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
from vrec.serving.http.schemas.videos import SIMILAR_SUFFIX, check_new_id
from vrec.serving.streams.content.messages import ContentState
from vrec.serving.streams.states import StreamBeat, StreamDetails, StreamState

BEAT_SUFFIX = "/beat"
"""End of the path of a stream's beats."""
MAX_BEATS = 1_000
"""Maximum number of beats in one request."""
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
    return check_new_id(stream_id)


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


class NamedBeat(BeatRequest):
    """Beat of one of several streams."""

    stream_id: StreamId


def _check_named_once(beats: list[NamedBeat]) -> list[NamedBeat]:
    """Return beats of which no two are of one stream."""
    counts = Counter(beat.stream_id for beat in beats)
    if repeated := next((name for name, count in counts.items() if count > 1), None):
        raise PydanticCustomError("repeated", "stream {name} is named twice", {"name": repr(repeated)})
    return beats


class BeatsRequest(RequestModel):
    """Body of `POST /v1/streams:beat`."""

    beats: Annotated[
        list[NamedBeat],
        Field(min_length=1, max_length=MAX_BEATS, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_check_named_once),
    ]
    """Beats of streams, one each."""


class BeatOutcome(ResponseModel):
    """Result of a beat."""

    stream_id: str
    outcome: Literal["live", "over", "unknown"]
    """`live`: recorded. `over`: the stream has ended, or had no beat for too long; start it again. `unknown`:
    there is no such stream."""


class BeatsResponse(ResponseModel):
    """Outcomes of beats."""

    beats: list[BeatOutcome]
    """In the order of the request."""


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


class StreamContentResponse(ResponseModel):
    """Result of the last attempt at what a live stream shows now."""

    embedded_at: datetime | None
    """Time since which the stream has the vector of what it showed then; null before the first."""
    failures: int
    """Attempts that failed since the last one that did not; 0 while all is well."""
    error: str | None
    """Kind of the last attempt's error, such as `VanishedVideo`; null if it did not fail."""
    reason: str | None
    """What was wrong."""
    fix: str | None
    """What to do about it."""
    retry_at: datetime | None
    """Time of the next attempt after a failure."""


class FollowedStreamResponse(StreamResponse):
    """Live stream, with what became of its content."""

    content: StreamContentResponse | None
    """Null if its content is not followed, or not yet."""


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


def content_body(content: ContentState | None) -> dict[str, Any] | None:
    """Return a StreamContentResponse as a dict; None for no content."""
    if content is None:
        return None
    return {
        "embedded_at": None if content.embedded_at is None else _to_time(content.embedded_at),
        "failures": content.failures,
        "error": content.error,
        "reason": content.reason,
        "fix": content.fix,
        "retry_at": None if content.retry_at is None else _to_time(content.retry_at),
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
