"""Settings of reading, weighing and splitting events. Imports no table library."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from vrec.core.config import BaseConfig
from vrec.core.schema import EVENT_KINDS, INTEREST_KINDS, NEGATIVE_KINDS, OWN_KIND_PATTERN

EventKind = Literal[
    "impression", "click", "watch", "like", "share", "follow", "gift", "cart", "purchase", "hide", "unhide",
    "dislike", "skip", "unlike", "unfollow", "refund", "search",
]  # fmt: skip
"""The kinds of events, as in `EVENT_KINDS`."""


def _check_own_name(name: str) -> str:
    """Return the name of an own kind that is none of vrec's."""
    if name in EVENT_KINDS:
        raise ValueError(f"{name} is a kind of event of vrec's: give your own kind another name")
    return name


Recommended = Literal["video", "creator"]
"""What is recommended: videos, or the creators of these."""


OwnKindName = Annotated[str, StringConstraints(pattern=OWN_KIND_PATTERN), AfterValidator(_check_own_name)]
"""Name of a shop's own kind of event."""


class OwnKindConfig(BaseConfig):
    """A shop's own kind of event."""

    counts_as: Literal["positive", "negative", "neutral"] = "positive"
    """`positive` events show interest, as a like does; `negative` ones move a shopper's taste away, as a skip
    does, and are no interaction of a fit; `neutral` ones are counted only."""
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of an event, as of the other kinds; without effect if neutral."""

    @property
    def signed_weight(self) -> float:
        """The weight, below 0 for a negative kind and 0 for a neutral one."""
        return {"positive": 1, "negative": -1, "neutral": 0}[self.counts_as] * self.weight


OwnKinds = dict[OwnKindName, OwnKindConfig]
"""A shop's own kinds of events by name."""


class InterestConfig(BaseConfig):
    """Settings for the interest that events show in a video."""

    impression: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of an impression; at 0 an impression gives no interaction."""
    click: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of a click."""
    watch: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of a complete watch; a partial watch counts in proportion."""
    like: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Weight of a like."""
    share: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Weight of sharing the video."""
    follow: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Weight of following the video's creator from it."""
    gift: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Weight of a gift to the video's creator, whatever its price."""
    cart: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    """Weight of adding a product of the video to the cart."""
    purchase: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Weight of buying a product of the video, whatever its price."""
    dislike: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Weight with which a dislike moves a shopper's taste away from the video; no interaction of a fit."""
    hide: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight with which hiding a video ("not interested") moves the taste away from it, likewise."""
    skip: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """Weight with which skipping a video moves the taste away from it, likewise."""
    own_kinds: OwnKinds = Field(default_factory=dict)
    """The shop's own kinds of events, such as `{save: {counts_as: positive, weight: 2}}`. Those of
    `events.interest` also count in `train.ranker.profiles` and `serve` that declare none."""
    watch_whole_s: float = Field(default=18.0, gt=0, allow_inf_nan=False)
    """Seconds of watching that count as a complete watch, or the video's duration where that is shorter. A
    larger value favors long videos, a smaller one short videos."""
    watch_least: float = Field(default=0.2, ge=0, le=1)
    """Share of a complete watch, in [0, 1], below which a watch gives no interaction."""
    half_life_days: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Days after which an interaction has half its weight; None disables the decay."""

    def signed_weights(self) -> dict[str, float]:
        """Return the weight of each known kind of event, below 0 for negative kinds."""
        return {kind: self.signed_weight(kind) for kind in self.known_kinds}

    def signed_weight(self, kind: str) -> float:
        """Return the weight of a kind of event, below 0 for a negative kind and 0 for an unknown one."""
        if kind in self.own_kinds:
            return self.own_kinds[kind].signed_weight
        if kind in INTEREST_KINDS:
            return getattr(self, kind)
        return -getattr(self, kind) if kind in NEGATIVE_KINDS else 0.0

    @property
    def known_kinds(self) -> tuple[str, ...]:
        """vrec's kinds of events and the shop's own."""
        return (*EVENT_KINDS, *self.own_kinds)


class EventReadConfig(BaseConfig):
    """Settings for reading a table of events."""

    kind: EventKind = "click"
    """Kind of every event of a table without a column `kind`."""
    domain: str = Field(default="shop", min_length=1)
    """Domain of every event of a table without a column `domain`."""
    missing_ids: Literal["refuse", "drop", "keep"] = "refuse"
    """Handling of rows whose user or video is empty or a placeholder such as `NaN` or `NULL`: `refuse` raises
    an error, `drop` leaves them out, `keep` takes placeholders as ids and refuses empty ones."""
    future: Literal["refuse", "drop"] = "refuse"
    """Handling of future events: `refuse` raises an error, `drop` leaves them out and counts them."""
    future_tolerance_s: float = Field(default=300.0, ge=0, allow_inf_nan=False)
    """Seconds by which an event may lie past the present, for clocks that run ahead."""


class EventShardsConfig(BaseConfig):
    """Settings for tables of events in shards, written by `vrec shard`."""

    count: int | None = Field(default=None, ge=1, le=4096)
    """Shards of a new table, each the work of one task; None gives one per million events, rounded up to a
    power of two, and at least 16. For another number the table is written again."""
    local_events: int = Field(default=2_000_000, ge=0)
    """Events up to which tables are sharded, and tables in shards weighed, in the command's own process where
    no `--address` is given; larger ones on Ray, whose start takes several seconds, with the same results."""


class TimeSplitConfig(BaseConfig):
    """Temporal split: one cutoff for all users, as in production."""

    kind: Literal["time"] = "time"
    """Split at one point in time."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the interactions, the latest, in the test, together with those of the same moment as the first
    of them; ignored when `test_from` is set."""
    test_from: datetime | None = None
    """Cutoff, the first moment of the test; without a zone it is UTC. None derives it from `test_share`."""


class LeaveLastOutConfig(BaseConfig):
    """Leave-last-out split, as in many papers; train contains other users' future."""

    kind: Literal["last"] = "last"
    """Split each user's history at its end."""
    last_n: int = Field(default=1, ge=1)
    """Number of test videos per user; users with at most this many videos stay in train entirely."""


class RandomSplitConfig(BaseConfig):
    """Random split of each user's videos, only for comparison with papers that use one."""

    kind: Literal["random"] = "random"
    """Split each user's videos at random."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of each user's videos in the test, rounded to a whole number; at least one stays in train."""
    seed: int = Field(default=0, ge=0)
    """Random seed."""


class GivenSplitConfig(BaseConfig):
    """Published split: the files given by `--test` and `--validation`, for comparison with papers."""

    kind: Literal["given"] = "given"
    """Test on the file given by `--test`; the models are fitted on that of `--events`."""


SplitConfig = Annotated[
    TimeSplitConfig | LeaveLastOutConfig | RandomSplitConfig | GivenSplitConfig, Field(discriminator="kind")
]
