"""Schemas of moments."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from vrec.serving.deployments.protocol import Card
from vrec.serving.http.schemas.requests import (
    WHOLE_NUMBER,
    Expression,
    ListFilters,
    ListRequest,
    RequestModel,
    VideoId,
)
from vrec.serving.http.schemas.responses import ResponseModel
from vrec.serving.messages import RequestFilters
from vrec.serving.moments.messages import By, FoundMoment, MomentResult, MomentSource

MOST_MOMENTS = 100
LAST_SECOND = 86_400.0
MomentCount = Annotated[int, Field(ge=1, le=MOST_MOMENTS), WHOLE_NUMBER]
PerVideo = Annotated[int, Field(ge=1, le=20), WHOLE_NUMBER]
Second = Annotated[float, Field(ge=0, le=LAST_SECOND, allow_inf_nan=False)]


class MomentsRequest(ListRequest):
    """Body of `POST /v1/moments:search`: seconds of a video of the catalog, as an example of what to find."""

    video_id: VideoId
    """Video of the example; none of its own moments is in the answer."""
    start_s: Second
    """Start of the example in seconds."""
    end_s: Second
    """End of the example in seconds, not before its start."""
    by: By | None = None
    """What to compare: pictures or sound; pictures if the example has any by default."""
    per_video: PerVideo = 1
    """Maximum number of moments of one video."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.end_s < self.start_s:
            raise ValueError("end_s lies before start_s")
        return self


class ExampleFields(RequestModel):
    """Fields of an example in a file."""

    k: MomentCount = 20
    """Maximum number of moments."""
    per_video: PerVideo = 1
    """Maximum number of moments of one video."""
    by: By | None = None
    """What to compare: pictures or sound; pictures if the example has any by default."""
    expression: Expression | None = None
    """Filter expression."""

    def to_filters(self) -> RequestFilters:
        """Return the filters for the serving backend."""
        return ListFilters(expression=self.expression).to_filters([], [])


class ExampleForm(ExampleFields):
    """Form of `POST /v1/moments:by-file`."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    """Picture (JPEG, PNG, WebP) or short clip, of which the first 20 s count."""


class MomentItem(ResponseModel):
    """Moment of a video."""

    video_id: str
    start_s: float
    """Start in seconds from the first frame."""
    end_s: float
    """End in seconds."""
    source: MomentSource
    """Match: `words` of a subtitle, its `meaning`, the `picture`, or the `sound`."""
    score: float
    """Score in this list: a cosine, for words the mean of the share of the words and the cosine."""
    text: str | None
    """Subtitle; null for pictures and sound."""
    title: str | None
    """Title of the video."""


class MomentsResponse(ResponseModel):
    """Moments, best first."""

    request_id: str
    bundle: str
    """Version of the bundle in service."""
    degraded: bool
    """Whether a part of the service was unavailable, which makes the list worse."""
    why: list[str]
    """Unavailable parts."""
    moments: list[MomentItem]


def moment_body(moment: FoundMoment, cards: Mapping[str, Card]) -> dict[str, Any]:
    """Return a MomentItem as a dict."""
    return {
        "video_id": moment.video_id,
        "start_s": moment.start_s,
        "end_s": moment.end_s,
        "source": moment.source,
        "score": moment.score,
        "text": moment.text,
        "title": cards.get(moment.video_id, {}).get("title"),
    }


def moments_body(result: MomentResult, cards: Mapping[str, Card], request_id: str) -> dict[str, Any]:
    """Return a MomentsResponse as a dict."""
    return {
        "request_id": request_id,
        "bundle": result.bundle,
        "degraded": bool(result.degraded),
        "why": list(result.degraded),
        "moments": [moment_body(moment, cards) for moment in result.moments],
    }
