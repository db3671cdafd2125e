"""Models of responses for the OpenAPI document. Routes build lists as dicts of the same fields, for speed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from vrec.ranking.reranking.reasons import reason_text, reason_video
from vrec.serving.deployments.protocol import Card
from vrec.serving.messages import ListItem, ListResult

CARD_FIELDS = ("title", "kind", "creator_id", "category", "tags", "price", "duration_s")
"""Catalog fields of an item."""
MAX_BARRED = 100
"""Maximum number of barred videos in an explanation."""


class ResponseModel(BaseModel):
    """Base of responses."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ReasonResponse(ResponseModel):
    """Reason for a recommendation."""

    code: str
    """Code: `watched:VIDEO` (also bought, liked, shared, carted, followed and opened), `creator:ID`,
    `category:NAME`, `new`, `popular`, `exploration`, or `featured:RULE` for a slot that a rule gave."""
    text: str
    """Text that completes "You see this …"."""


class LiveState(ResponseModel):
    """Live stream as it is while the list is sent."""

    started_at: datetime
    viewers: int | None
    """Viewers at the last beat that told of them."""
    product_ids: list[str]
    """Ids of the products that are pinned now."""


class MatchingMoment(ResponseModel):
    """Moment of a video that matches a search."""

    start_s: float
    """Start in seconds from the first frame."""
    end_s: float
    source: str
    """Match: words, meaning, or picture."""
    score: float
    text: str | None
    """Subtitle."""


class RecommendedItem(ResponseModel):
    """Video of a list."""

    video_id: str
    position: int
    """Position in the list from 0; send it with the events of this item."""
    score: float
    """Score of the video in this list."""
    p_click: float
    """Predicted probability of a click if the video is shown."""
    watch_s: float
    """Expected watch time in seconds if the video is shown, counting 0 s without a click."""
    p_conv: float
    """Predicted probability of a click that leads to a purchase."""
    utility: float
    """Value of these predictions by `train.ranker.utility`."""
    propensity: float
    """Probability of this video in this position given the videos before it; send it with the impression."""
    source: str
    """Candidate source: cf, content, popular, new, search, …"""
    rules: list[str]
    """Rules of the shop that put it here or changed its score, as `pin:ID`, `campaign:ID` or `boost:ID`."""
    reasons: list[ReasonResponse]
    """Reasons for this video, the most personal first."""
    title: str | None
    kind: str | None
    creator_id: str | None
    category: str | None
    tags: list[str]
    price: float | None
    duration_s: float | None
    live: LiveState | None = None
    """For a live stream, its state."""
    moments: list[MatchingMoment] | None = None
    """With `moments`: at most 3 moments of the video that match the search. In `POST /v1/assistant`: those of
    which an answer about moments tells."""
    scores: dict[str, float] | None = None
    """With `explain`: scores by source of candidates. `cf` and `seed`: similarity by co-watching to what the
    shopper liked, and to the videos of `for`; `content`: cosine to the shopper's taste; `popular`: 1 / place
    in the order of popularity. In `GET /v1/trending`, `shoppers` who chose it in the window, and the number
    `expected` by the time before."""


class BarredVideo(ResponseModel):
    """Video that was considered and that a rule keeps from the list."""

    video_id: str
    rule: str
    """Rule: unavailable, unpublished, expired, kind, age, blocked_video (also hidden and excluded ones),
    blocked_creator, blocked_category, bought, seen, filter, or `ban:ID` for a rule of the shop."""


class ListResponse(ResponseModel):
    """List of videos, best first."""

    request_id: str
    """Id of this response; send it with the events of its items."""
    bundle: str
    """Version of the bundle in service."""
    degraded: bool
    """Whether a part of the service was unavailable, which makes the list worse."""
    why: list[str]
    """Unavailable parts."""
    spent_ms: dict[str, float]
    """Milliseconds by stage."""
    currency: str
    """Currency of the prices, an ISO 4217 code (`serve.currency`)."""
    items: list[RecommendedItem]


class SearchResponse(ListResponse):
    """Response of `POST /v1/search`."""

    found: int
    """Number of items that match the text; if it is 0, the items are popular videos instead."""


class RecommendResponse(ListResponse):
    """Response of `POST /v1/recommend`."""

    arm: str
    """Arm of the A/B test that the shopper is in."""
    arm_share: float
    """Share of the shoppers in this arm."""
    unknown: list[str]
    """Ids of `candidates` and `for` that are not in the catalog."""
    next_cursor: str | None
    """`page.cursor` of the next page; null if there is none."""
    barred: list[BarredVideo] | None = None
    """With `explain`: at most 100 videos that were considered and barred."""


class EventsResponse(ResponseModel):
    """Response of `POST /v1/events`; the events are durable."""

    new: int
    """Number of events added to the log."""
    repeated: int
    """Number of events that were in the log before."""
    unused: int
    """Number of events of other domains that no list can use: the bundle has no weight for their domain, or
    neither it nor the catalog knows their video. They are stored all the same."""
    refused: int
    """Number of events that were not kept, as their shopper does not consent to that."""


class InterestEntry(ResponseModel):
    """Event of a profile that showed interest in a video."""

    video_id: str
    weight: float
    """Weight of the interest."""
    at: datetime
    """Time of the event."""


class ProfileResponse(ResponseModel):
    """Profile of a shopper."""

    user_id: str
    events: int
    """Number of events remembered to detect repeated ones; the shopper may have more."""
    counts: dict[str, float]
    """Counters of the profile by key, such as `category:mugs`."""
    history: list[InterestEntry]
    """Latest events that showed interest, oldest first."""


class NeighborItem(ResponseModel):
    """Video similar to another one."""

    video_id: str
    score: float
    title: str | None


class AddVideoResponse(ResponseModel):
    """Response of `POST /v1/videos` and `POST /v1/uploads`."""

    video_id: str
    duration_s: float | None
    modalities: list[str]
    """Embedded modalities: frames, audio, text, fused."""
    decode_s: float
    """Seconds of decoding."""
    encode_s: float
    """Seconds of encoding."""
    recommendable: bool
    """Whether the video is in the index already; otherwise it will be shortly."""
    copy_of: str | None
    """Video of the bundle that shows the same recording, or null: always null if the bundle has no
    fingerprints (`bundle.fingerprints`)."""
    neighbours: list[NeighborItem]
    """Most similar videos, nearest first."""


class VideoResponse(ResponseModel):
    """Current catalog entry of a video."""

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
    expires_at: datetime | None
    """Time from which no list has the video; null if it does not expire."""


class AuditedCall(ResponseModel):
    """Call of an operation that needs the scope `manage`."""

    at: datetime
    by: str | None
    """Name of the API key; null without keys."""
    operation: str
    """Operation of this document, such as `update_video`."""
    method: str
    path: str
    """Path as in this document."""
    target: dict[str, str]
    """Parameters of the path, except ids of shoppers; of some operations also what they change."""
    status: int
    """Status of the response."""
    request_id: str
    reason: str | None
    """Reason why a new video, a move to a bundle or a change of the A/B test was refused; null otherwise."""


class AuditResponse(ResponseModel):
    """Response of `GET /v1/audit`."""

    entries: list[AuditedCall]
    """Calls, the last first."""
    next_cursor: str | None
    """`cursor` of the page of earlier calls; null if there is none."""


class HealthResponse(ResponseModel):
    """Response of `/healthz`."""

    status: str


class ReadyResponse(ResponseModel):
    """Response of `/readyz`."""

    ready: bool
    bundle: str
    parts: dict[str, str | None]
    """Reason why a part is not ready, by part; null if it is ready."""
    refused: str | None
    """Reason why the bundle requested last was refused; null if it is in service."""


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the content as a JSON response; NaN and infinity, which JSON lacks, become null."""
    return Response(to_json(content, inf_nan_mode="null"), status, dict(headers or {}), "application/json")


def rounded_seconds(seconds: float | None) -> float | None:
    """Return seconds to the millisecond: tables hold 12.3 as a float32, which is 12.300000190734863."""
    return None if seconds is None else round(seconds, 3)


def list_response(
    result: ListResult, cards: Mapping[str, Card], request_id: str, currency: str, shown: int = 0
) -> dict[str, Any]:
    """Return a ListResponse as a dict; `shown` is the number of items on earlier pages."""
    return {
        "request_id": request_id,
        "bundle": result.bundle,
        "degraded": bool(result.degraded),
        "why": list(result.degraded),
        "spent_ms": result.spent_ms,
        "currency": currency,
        "items": [item_body(item, position, cards) for position, item in enumerate(result.items, shown)],
    }


def add_scores(content: dict[str, Any], result: ListResult) -> None:
    """Add the scores of a list to the items of its response."""
    for item, scores in zip(content["items"], result.scores, strict=False):
        item["scores"] = scores


def add_explanation(content: dict[str, Any], result: ListResult) -> None:
    """Add the scores and barred videos of a list to its RecommendResponse; a fallback list has none."""
    add_scores(content, result)
    barred = result.barred[:MAX_BARRED]
    content["barred"] = [{"video_id": video_id, "rule": rule} for video_id, rule in barred]


def mentioned_video_ids(result: ListResult) -> list[str]:
    """Return the ids of the videos that a list contains or gives as reasons, each once."""
    video_ids = dict.fromkeys(item.video_id for item in result.items)
    for item in result.items:
        video_ids |= dict.fromkeys(_videos_of(item))
    return list(video_ids)


def _videos_of(item: ListItem) -> list[str]:
    """Return the videos that an item's reasons name."""
    named = (reason_video(reason) for reason in item.reasons)
    return [video_id for video_id in named if video_id is not None]


def item_body(item: ListItem, position: int, cards: Mapping[str, Card]) -> dict[str, Any]:
    """Return a RecommendedItem as a dict."""
    card = cards.get(item.video_id, {})
    card_fields: dict[str, Any] = {name: card.get(name) for name in CARD_FIELDS}
    card_fields["tags"] = card_fields["tags"] or []
    card_fields["duration_s"] = rounded_seconds(card_fields["duration_s"])
    # Only videos have titles here: a creator may have the id of a video.
    titles = {name: title for name in _videos_of(item) if (title := cards.get(name, {}).get("title"))}
    return {
        "video_id": item.video_id,
        "position": position,
        "score": item.score,
        "p_click": item.p_click,
        "watch_s": item.watch_s,
        "p_conv": item.p_conv,
        "utility": item.utility,
        "propensity": item.propensity,
        "source": item.source,
        "rules": list(item.rules),
        "reasons": [{"code": reason, "text": reason_text(reason, titles)} for reason in item.reasons],
        **card_fields,
    }
