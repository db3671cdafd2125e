"""Models of requests and responses about rules of the shop."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, TypeAdapter, ValidationInfo
from pydantic.types import Discriminator, Tag
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.serving.http.schemas.requests import (
    MAX_ITEMS,
    WHOLE_NUMBER,
    Expression,
    Id,
    ListFilters,
    Moment,
    Names,
    RequestModel,
    Surface,
    Text,
    VideoId,
    VideoKind,
)
from vrec.serving.http.schemas.responses import ResponseModel
from vrec.serving.http.schemas.videos import check_in_utc
from vrec.serving.messages import ListResult
from vrec.serving.rules.book import RuleChange, RuleState, ShopRule

MAX_NAMED_VIDEOS = 1_000
"""Maximum number of videos that a rule names."""
MAX_SHOPPERS = 100
"""Maximum number of shoppers in a preview."""
PIN_TAG, BOOST_TAG, BAN_TAG, CAMPAIGN_TAG = "(pin)", "(boost)", "(ban)", "(campaign)"
IDS_TAG, EXPRESSION_TAG = "(video_ids)", "(expression)"
RULE_TAGS = frozenset({PIN_TAG, BOOST_TAG, BAN_TAG, CAMPAIGN_TAG, IDS_TAG, EXPRESSION_TAG})
"""Alternatives of a rule. They stand in the paths of validation errors, but in no message to a client."""
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _check_end(end: datetime | None, info: ValidationInfo) -> datetime | None:
    """Return the end of a rule if it is after its start."""
    start = info.data.get("starts_at")
    if end is not None and start is not None and end <= start:
        raise PydanticCustomError("end", "is not after starts_at, {start}", {"start": start.isoformat()})
    return end


RuleTime = Annotated[Moment, AfterValidator(check_in_utc)]
RuleEnd = Annotated[RuleTime, AfterValidator(_check_end)]


class NamedVideos(RequestModel):
    """Videos of a rule by their ids."""

    video_ids: Annotated[list[VideoId], Field(min_length=1, max_length=MAX_NAMED_VIDEOS)]
    """Ids of the videos, which need not be in the catalog."""


class MatchingVideos(RequestModel):
    """Videos of a rule by a filter expression."""

    expression: Expression
    """Filter expression, such as `category = "mugs" and price < 10`; videos that come later count too."""


def _tag_of_videos(videos: Any) -> str | None:
    """Return the tag of a rule's videos by how they are given; None, an error, unless in exactly one way."""
    if not isinstance(videos, dict | BaseModel):
        return IDS_TAG  # whose model says that it wants an object
    has = videos.__contains__ if isinstance(videos, dict) else functools.partial(hasattr, videos)
    tags = {"video_ids": IDS_TAG, "expression": EXPRESSION_TAG}
    given = [tag for name, tag in tags.items() if has(name)]
    return given[0] if len(given) == 1 else None


RuleVideos = TypeAliasType(
    "RuleVideos",
    Annotated[
        Annotated[NamedVideos, Tag(IDS_TAG)] | Annotated[MatchingVideos, Tag(EXPRESSION_TAG)],
        Discriminator(
            _tag_of_videos,
            custom_error_type="videos",
            custom_error_message="give either video_ids or expression",
        ),
    ],
)


class RuleFields(RequestModel):
    """Common fields of rules."""

    surfaces: Annotated[list[Surface], Field(max_length=20)] = Field(default_factory=list)
    """Surfaces whose lists the rule is about; all if empty."""
    categories: Names = Field(default_factory=list)
    """Only lists that their own filter `categories` restricts to these; all lists if empty."""
    starts_at: RuleTime | None = None
    """Time from which the rule holds; at once if absent."""
    ends_at: RuleEnd | None = None
    """Time from which the rule holds no more; never if absent."""
    note: Text | None = None
    """Text for people, such as the reason."""


class PinRule(RuleFields):
    """Rule that puts a video at a position."""

    kind: Literal["pin"]
    video_id: VideoId
    """Video, which is left out of a list whose filters or shopper bar it."""
    position: Annotated[int, Field(ge=0, lt=MAX_ITEMS), WHOLE_NUMBER]
    """Position from 0."""


class BoostRule(RuleFields):
    """Rule that multiplies the utility of videos."""

    kind: Literal["boost"]
    videos: RuleVideos
    """Videos of the rule."""
    factor: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    """Factor on the utility; below 1 it lowers the videos."""


class BanRule(RuleFields):
    """Rule that keeps videos from lists, searches and similar videos."""

    kind: Literal["ban"]
    videos: RuleVideos
    """Videos of the rule."""


class CampaignRule(RuleFields):
    """Rule that gives videos a share of the positions for a time."""

    kind: Literal["campaign"]
    videos: RuleVideos
    """Videos of the rule."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the positions: the first m of a list have at least ⌊share × m⌋ videos of the campaign, as far
    as the shopper may have so many."""
    starts_at: RuleTime  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """Time from which the rule holds."""
    ends_at: RuleEnd  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """Time from which the rule holds no more."""


RULE_MODELS = (PinRule, BoostRule, BanRule, CampaignRule)


def _tag_of_rule(rule: Any) -> str | None:
    if not isinstance(rule, dict | BaseModel):
        return PIN_TAG  # whose model says that it wants an object
    kind = rule.get("kind") if isinstance(rule, dict) else getattr(rule, "kind", None)
    return f"({kind})" if kind in ("pin", "boost", "ban", "campaign") else None


AnyRule = TypeAliasType(
    "AnyRule",
    Annotated[
        Annotated[PinRule, Tag(PIN_TAG)]
        | Annotated[BoostRule, Tag(BOOST_TAG)]
        | Annotated[BanRule, Tag(BAN_TAG)]
        | Annotated[CampaignRule, Tag(CAMPAIGN_TAG)],
        Discriminator(
            _tag_of_rule,
            custom_error_type="kind",
            custom_error_message="kind is one of pin, boost, ban and campaign",
        ),
    ],
)
RULE_BODY: TypeAdapter[PinRule | BoostRule | BanRule | CampaignRule] = TypeAdapter(AnyRule)
"""Body of `PUT /v1/rules/{rule_id}`."""


class RulePreviewRequest(RequestModel):
    """Body of `POST /v1/rules:preview`."""

    rule_id: RuleId
    """Id of the rule, new or not."""
    rule: AnyRule | None = None
    """The rule as it would be; null to see what its removal does."""
    shoppers: Annotated[list[Id], Field(min_length=1, max_length=MAX_SHOPPERS)]
    """Profile ids of shoppers: a `user_id`, or `session:` and a `session_id`."""
    surface: Surface = "feed"
    """Surface of the lists."""
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS), WHOLE_NUMBER] = 20
    """Maximum number of videos in a list."""
    kinds: Annotated[list[VideoKind], Field(max_length=3)] = Field(default_factory=list)
    """Only videos of these kinds."""
    filters: ListFilters = Field(default_factory=ListFilters)
    """Filters of the lists."""
    at: RuleTime | None = None
    """Time of the lists, such as within a campaign to come; now if absent."""


class RuleResponse(ResponseModel):
    """Rule of the shop."""

    rule_id: str
    version: int
    """Number of its last change; in quotes the ETag of the rule."""
    state: RuleState
    """Whether it does not hold yet, holds, or holds no more."""
    changed_by: str | None
    """Name of the API key that changed it last; null without keys."""
    changed_at: datetime
    rule: AnyRule
    unknown: list[str]
    """Ids in the rule that the catalog does not have now; the rule has no effect on them until it does."""


class RulesResponse(ResponseModel):
    """Response of `GET /v1/rules`."""

    rules: list[RuleResponse]
    """All rules by id."""


class RuleVersionResponse(ResponseModel):
    """Change of a rule."""

    version: int
    changed_by: str | None
    """Name of the API key that made it; null without keys."""
    changed_at: datetime
    request_id: str
    """Request that made it."""
    rule: AnyRule | None
    """The rule after the change; null for its removal."""


class RuleHistoryResponse(ResponseModel):
    """Response of `GET /v1/rules/{rule_id}/history`."""

    rule_id: str
    versions: list[RuleVersionResponse]
    """All changes, the last first."""


class PreviewedList(ResponseModel):
    """List of a shopper without and with a change of a rule."""

    user_id: str
    before: list[str]
    """Video ids as they are now, in order."""
    after: list[str]
    """Video ids as they would be."""
    entered: list[str]
    """Those of `after` that are not in `before`."""
    left: list[str]
    """Those of `before` that are not in `after`."""


class RulePreviewResponse(ResponseModel):
    """Response of `POST /v1/rules:preview`."""

    changed: int
    """Number of shoppers whose list would be another."""
    lists: list[PreviewedList]


def to_rule(rule_id: str, body: PinRule | BoostRule | BanRule | CampaignRule) -> ShopRule:
    """Return a rule from its body."""
    values: dict[str, Any] = {
        "rule_id": rule_id,
        "kind": body.kind,
        "surfaces": tuple(body.surfaces),
        "categories": tuple(body.categories),
        "starts_at": to_micros(body.starts_at),
        "ends_at": to_micros(body.ends_at),
        "note": body.note,
    }
    if isinstance(body, PinRule):
        return ShopRule(**values, video_ids=(body.video_id,), position=body.position)
    if isinstance(body.videos, MatchingVideos):
        values["expression"] = body.videos.expression
    else:
        values["video_ids"] = tuple(dict.fromkeys(body.videos.video_ids))
    if isinstance(body, BoostRule):
        values["factor"] = body.factor
    if isinstance(body, CampaignRule):
        values["share"] = body.share
    return ShopRule(**values)


def rule_body(rule: ShopRule) -> dict[str, Any]:
    """Return a rule as the body that `to_rule` takes."""
    videos = {"video_ids": rule.video_ids} if rule.expression is None else {"expression": rule.expression}
    own: dict[str, dict[str, Any]] = {
        "pin": {"video_id": rule.video_ids[0] if rule.video_ids else "", "position": rule.position},
        "boost": {"videos": videos, "factor": rule.factor},
        "ban": {"videos": videos},
        "campaign": {"videos": videos, "share": rule.share},
    }
    return {
        "kind": rule.kind,
        "surfaces": rule.surfaces,
        "categories": rule.categories,
        "starts_at": _to_time(rule.starts_at),
        "ends_at": _to_time(rule.ends_at),
        "note": rule.note,
        **own[rule.kind],
    }


def changed_body(change: RuleChange, number: int) -> dict[str, Any]:
    """Return what a change's responses have in common."""
    return {
        "version": number,
        "changed_by": change.by,
        "changed_at": _to_time(change.at),
        "rule": None if change.rule is None else rule_body(change.rule),
    }


def previewed_list(user_id: str, before: ListResult, after: ListResult) -> dict[str, Any]:
    """Return a PreviewedList as a dict."""
    was, will = ([item.video_id for item in one.items] for one in (before, after))
    return {
        "user_id": user_id,
        "before": was,
        "after": will,
        "entered": [name for name in will if name not in set(was)],
        "left": [name for name in was if name not in set(will)],
    }


def to_micros(at: datetime | None) -> int | None:
    """Return a time as µs since 1970."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def _to_time(at: int | None) -> datetime | None:
    return None if at is None else _EPOCH + at * _MICROSECOND
