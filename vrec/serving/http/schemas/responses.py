"""What answers say, as OpenAPI documents it; the hot ones are written as plain dicts of the same fields."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from vrec.ranking.reranking.reasons import reason_text
from vrec.serving.deployments.protocol import Card
from vrec.serving.messages import ListItem, ListResult

CARD_FIELDS = ("title", "kind", "creator_id", "category", "tags", "price", "duration_s")
"""What an item tells of its video."""


class ResponseModel(BaseModel):
    """The base of what answers say."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ReasonResponse(ResponseModel):
    """Why a video is in a list."""

    code: str
    """For programs: `watched:VIDEO`, `creator:ID`, `category:NAME`, `new`, `popular` or `exploration`."""
    text: str
    """For people, the end of "You see this …"."""


class RecommendedItem(ResponseModel):
    """One video of a list."""

    video_id: str
    position: int
    """Its place, from 0; send it with the events of this item."""
    score: float
    """What the list is in the order of."""
    p_click: float
    """The chance of a click if it is shown."""
    watch_s: float
    """Seconds that it will be watched if it is shown, those who do not click included."""
    p_conv: float
    """The chance of a click that ends in a purchase."""
    utility: float
    """What that is worth."""
    propensity: float
    """The chance of this video in this place given those before it; send it with the impression."""
    source: str
    """Where it was found: cf, content, popular, new, search, …"""
    reasons: list[ReasonResponse]
    """Why it is here, the most personal first."""
    title: str | None
    kind: str | None
    creator_id: str | None
    category: str | None
    tags: list[str]
    price: float | None
    duration_s: float | None


class ListResponse(ResponseModel):
    """A list of videos, best first."""

    request_id: str
    """The id of this answer; send it with the events of its items."""
    bundle: str
    """The version of the bundle that answered."""
    degraded: bool
    """Whether something was missing and the list is less than it could be."""
    why: list[str]
    """What was missing."""
    spent_ms: dict[str, float]
    """Milliseconds by stage."""
    items: list[RecommendedItem]


class RecommendResponse(ListResponse):
    """`POST /v1/recommend`."""

    arm: str
    """Which side of a live comparison the shopper is on."""
    arm_share: float
    """The chance with which the shopper got there."""


class EventsResponse(ResponseModel):
    """`POST /v1/events`: the events are durable."""

    new: int
    """Events that are in the log now."""
    repeated: int
    """Events that were there before."""


class InterestEntry(ResponseModel):
    """Something that showed interest."""

    video_id: str
    weight: float
    """How much interest it showed."""
    at: datetime


class ProfileResponse(ResponseModel):
    """What is known of a shopper."""

    user_id: str
    events: int
    """Events remembered to tell repeated ones; there may have been more."""
    counts: dict[str, float]
    """Signs of interest by what they are about, such as `category:mugs`."""
    history: list[InterestEntry]
    """The newest signs of interest, the oldest first."""


class EraseResponse(ResponseModel):
    """`DELETE /v1/profiles/{user_id}`."""

    user_id: str
    erased: int
    """Events that were removed."""


class NeighborItem(ResponseModel):
    """A video that is like another one."""

    video_id: str
    score: float
    title: str | None


class AddVideoResponse(ResponseModel):
    """`POST /v1/videos`."""

    video_id: str
    duration_s: float | None
    modalities: list[str]
    """What could be embedded: frames, audio, text, fused."""
    decode_s: float
    encode_s: float
    recommendable: bool
    """Whether it is in the index by now; where it is not, it will be shortly."""
    neighbours: list[NeighborItem]
    """The videos that are most like it, the nearest first."""


class VideoResponse(ResponseModel):
    """A catalogue entry as it is now."""

    video_id: str
    title: str | None
    kind: str
    creator_id: str
    category: str | None
    tags: list[str]
    product_ids: list[str]
    language: str | None
    price: float | None
    duration_s: float | None
    available: bool


class HealthResponse(ResponseModel):
    """`/healthz`."""

    status: str


class ReadyResponse(ResponseModel):
    """`/readyz`."""

    ready: bool
    bundle: str
    parts: dict[str, str | None]
    """By part, null where it is ready, else why it is not."""
    refused: str | None
    """Why the bundle that was asked for last is not the one that answers, null where it is."""


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The content as a JSON response; NaN and infinity, which JSON does not have, are null."""
    return Response(to_json(content, inf_nan_mode="null"), status, dict(headers or {}), "application/json")


def list_response(answer: ListResult, cards: Mapping[str, Card], request_id: str) -> dict[str, Any]:
    """ListSaid as a dict."""
    return {
        "request_id": request_id,
        "bundle": answer.bundle,
        "degraded": bool(answer.degraded),
        "why": list(answer.degraded),
        "spent_ms": answer.spent_ms,
        "items": [_item(item, place, cards) for place, item in enumerate(answer.items)],
    }


def mentioned_video_ids(answer: ListResult) -> list[str]:
    """The ids of the videos that an answer lists or gives as reasons, each once."""
    names = dict.fromkeys(item.video_id for item in answer.items)
    for item in answer.items:
        names |= {r.removeprefix("watched:"): None for r in item.reasons if r.startswith("watched:")}
    return list(names)


def _item(item: ListItem, place: int, cards: Mapping[str, Card]) -> dict[str, Any]:
    card = cards.get(item.video_id, {})
    said: dict[str, Any] = {name: card.get(name) for name in CARD_FIELDS}
    said["tags"] = said["tags"] or []
    titles = {
        name: cards[name]["title"]
        for name in (reason.partition(":")[2] for reason in item.reasons)
        if name in cards and cards[name].get("title")
    }
    return {
        "video_id": item.video_id,
        "position": place,
        "score": item.score,
        "p_click": item.p_click,
        "watch_s": item.watch_s,
        "p_conv": item.p_conv,
        "utility": item.utility,
        "propensity": item.propensity,
        "source": item.source,
        "reasons": [{"code": reason, "text": reason_text(reason, titles)} for reason in item.reasons],
        **said,
    }
