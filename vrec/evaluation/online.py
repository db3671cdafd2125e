"""Comparison of the arms of a live experiment, valid under continuous monitoring.

Click rate, watch time and conversion are compared between arms. The unit is the user, since arms are assigned
to users: each counts once, with their events within a window after their first impression, from the moment
the window has closed. An analysis at any time therefore sees independent users with final outcomes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field
from scipy.special import ndtri

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.core.schema import CREATOR_PREFIX, EVENTS, VIDEOS, conform
from vrec.evaluation.sequential import (
    RatioSums,
    difference_interval,
    running_sums,
    sums_at,
    weigh_users,
)
from vrec.events.interactions import DAY_US, to_micros
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed

Floats = npt.NDArray[np.float64]

METRICS = {
    "click_rate": ("clicks", "impressions"),
    "watch_s": ("watch_s", "impressions"),
    "watch_share": ("watch_share", "impressions_timed"),
    "conversion": ("purchases", "impressions"),
}
"""Numerator and denominator of each metric, both sums over an arm's users. `watch_share` counts each watch as
a share of the video's length, over impressions of videos with a known length."""


class OnlineConfig(BaseConfig):
    """Settings of the comparison of arms."""

    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level that the intervals hold at all analyses together."""
    window_days: float = Field(default=7.0, gt=0)
    """Days from a user's first impression that count. A longer window includes later purchases, and delays
    results."""
    expected_users: int = Field(default=10_000, gt=0)
    """Number of users at which the intervals are tightest; they are valid at any number."""
    min_users: int = Field(default=200, ge=2)
    """Fewest users in each arm before an interval is given."""
    min_outcomes: int = Field(default=10, ge=1)
    """Fewest users with an outcome (a click, a watch, a purchase) in each arm before an interval is given."""


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """Comparison of one arm with the control in one metric."""

    metric: str
    arm: str
    value: float
    control: str
    control_value: float
    difference: float
    low: float
    """The interval of the difference; infinite before both arms have `min_users`, and `min_outcomes` of them
    with an outcome."""
    high: float
    users: int
    """Users of both arms."""
    outcomes: int
    """Users with an outcome in the arm that has fewer of them."""


def user_outcomes(
    events: pa.Table,
    arms: Mapping[str, str],
    config: OnlineConfig,
    videos: pa.Table | None = None,
    now: datetime | None = None,
) -> pl.DataFrame:
    """Sum the events of every user whose window has closed; a purchase refunded within it does not count.

    Args:
        events: EVENTS.
        arms: Arm by user_id; users without one are left out.
        config: Length of the window.
        videos: VIDEOS with durations; None leaves `watch_share` without denominators.
        now: Time of the analysis; by default that of the last event.

    Returns:
        A row per user with user_id, arm, closed_at (µs since 1970), and the sums impressions,
        impressions_timed, clicks, watch_s, watch_share and purchases over the window from the first
        impression; in the order in which windows closed, ties by user_id.

    Raises:
        SchemaError: If a table is malformed.
        EvaluationError: If no user is left.
    """
    frame = to_polars(conform(events, EVENTS, stage="online")).with_columns(pl.col("at").to_physical())
    # Lists of creators are no part of the outcomes, which are those of videos.
    frame = frame.filter(~pl.col("video_id").str.starts_with(CREATOR_PREFIX))
    present = pl.lit(frame["at"].max() if now is None else to_micros(now), pl.Int64)
    columns = {"user_id": list(arms), "arm": list(arms.values())}
    frame = frame.join(pl.DataFrame(columns, dict.fromkeys(columns, pl.String)), on="user_id")
    window = round(config.window_days * DAY_US)
    first = pl.col("at").filter(pl.col("kind") == "impression").min().over("user_id")
    closed = pl.col("closed_at")
    frame = frame.with_columns(closed_at=first + window)
    frame = frame.filter(closed <= present, pl.col("at") < closed, pl.col("at") >= closed - window)
    if not frame.height:
        raise EvaluationError(
            f"online: none of {len(arms):,} users with an arm has an impression and {config.window_days:g} "
            "days since",
            fix="wait, shorten online.window_days, or check that `arms` names the users of EVENTS",
        )
    return _sums(_with_lengths(drop_reversed(frame), videos)).sort("closed_at", "user_id")


def compare_arms(outcomes: pl.DataFrame, control: str, config: OnlineConfig) -> list[ArmComparison]:
    """Compare every other arm with the control, in every metric, over all `user_outcomes`.

    Each interval holds at its level by itself; to pick the best of several arms, set a higher level.

    Raises:
        EvaluationError: If the control, or every other arm, is missing.
    """
    arms = outcomes["arm"].unique().sort().to_list()
    if control not in arms or len(arms) < 2:
        raise EvaluationError(
            f"online: want users of {control} and of another arm, got {', '.join(arms) or 'none'}",
            fix="give the name of the control, and the arms of the experiment's users",
        )
    comparisons: list[ArmComparison] = []
    for arm in arms:
        if arm == control:
            continue
        both = outcomes.filter(pl.col("arm").is_in([arm, control]))
        treated = (both["arm"] == arm).to_numpy()
        for metric, (total, trials) in METRICS.items():
            y, n = (both[name].cast(pl.Float64).to_numpy() for name in (total, trials))
            looks = difference_over_time(y, n, treated, config, looks=[len(y)])
            comparisons.append(
                ArmComparison(
                    metric=metric,
                    arm=arm,
                    value=looks.treated[-1],
                    control=control,
                    control_value=looks.control[-1],
                    difference=looks.difference[-1],
                    low=looks.low[-1],
                    high=looks.high[-1],
                    users=len(y),
                    outcomes=int(min((y[treated] > 0).sum(), (y[~treated] > 0).sum())),
                )
            )
    return comparisons


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Difference between two arms at each of L looks, with its confidence sequence."""

    users: npt.NDArray[np.int64]
    """(L,) users at each look."""
    treated: Floats
    """(L,) metric in the treated arm; NaN before its denominator is positive."""
    control: Floats
    """(L,) metric in the control."""
    difference: Floats
    """(L,) treated − control."""
    error: Floats
    """(L,) standard error of the difference, by the delta method over users."""
    low: Floats
    """(L,) lower end of the interval; infinite before there is enough, see `OnlineConfig`."""
    high: Floats
    """(L,) upper end."""


def difference_over_time(
    y: Floats,
    n: Floats,
    treated: npt.NDArray[np.bool_],
    config: OnlineConfig,
    looks: Sequence[int] | None = None,
) -> ConfidenceSequence:
    """Return the difference of Σy / Σn between arms at several looks, with a confidence sequence.

    The probability that any interval misses the truth is at most 1 − level, whatever the looks and however
    rare the outcomes: see `vrec.evaluation.sequential`. Users with more outcomes or impressions than
    any before count in part in the interval, in the same way in both arms, and in full in the values.

    Args:
        y: (N,) numerators per user ≥ 0, in order of arrival.
        n: (N,) denominators per user.
        treated: (N,) True for users of the arm, False for those of the control.
        config: Level, expected users, and what is enough.
        looks: Numbers of users, ascending; by default 20, spread over all.
    """
    at = np.unique(np.linspace(1, len(y), 20).astype(np.int64)) if looks is None else np.array(looks)
    arm, control = _running_ratio(y, n, treated), _running_ratio(y, n, ~treated)
    weighted_y, weighted_n, limits = weigh_users(y, n)
    sums = [running_sums(weighted_y, weighted_n, member) for member in (treated, ~treated)]
    ends = np.full((2, len(at)), np.inf) * [[-1], [1]]
    for place, users in enumerate(at):
        pair = [sums_at(rows, users, limits[users - 1]) for rows in sums]
        if all(has_enough(one, config) for one in pair):
            ends[:, place] = difference_interval(pair[0], pair[1], config.level, config.expected_users)
    rows = at - 1
    return ConfidenceSequence(
        users=at,
        treated=arm.value[rows],
        control=control.value[rows],
        difference=(arm.value - control.value)[rows],
        error=np.sqrt(arm.variance + control.variance)[rows],
        low=ends[0],
        high=ends[1],
    )


def has_enough(sums: RatioSums, config: OnlineConfig) -> bool:
    """Return whether an arm has the users and the users with an outcome that an interval needs."""
    return sums.users >= config.min_users and sums.holders >= config.min_outcomes


def fixed_horizon_interval(sequence: ConfidenceSequence, config: OnlineConfig) -> tuple[Floats, Floats]:
    """Return (L,) ends of normal intervals, valid for a single analysis fixed beforehand (to compare)."""
    radius = ndtri((1 + config.level) / 2) * sequence.error
    return sequence.difference - radius, sequence.difference + radius


@dataclass(frozen=True, slots=True)
class _RunningRatio:
    """Ratio of sums over an arm's users after each of N users."""

    value: Floats
    variance: Floats
    """Of `value`."""


def _running_ratio(y: Floats, n: Floats, member: npt.NDArray[np.bool_]) -> _RunningRatio:
    """Return Σy / Σn over the members among the first 1, 2, … users, with its delta-method variance."""
    users, sy, sn, syy, syn, snn = np.cumsum(
        np.stack([np.ones(len(y)), y, n, y * y, y * n, n * n]) * member, axis=1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sy / sn
        # The sum of (y − value·n)², whose mean is 0 by the choice of the value.
        residual = np.maximum(0.0, syy - 2 * value * syn + value**2 * snn)
        variance = residual / sn**2 * users / (users - 1)
    return _RunningRatio(value, variance)


def _sums(frame: pl.DataFrame) -> pl.DataFrame:
    kind, length = pl.col("kind"), pl.col("duration_s")
    seconds = pl.col("value").cast(pl.Float64).filter(kind == "watch")
    return frame.group_by("user_id", "arm", "closed_at").agg(
        impressions=(kind == "impression").sum(),
        impressions_timed=((kind == "impression") & length.is_not_null()).sum(),
        clicks=(kind == "click").sum(),
        watch_s=seconds.sum(),
        watch_share=(seconds / length.filter(kind == "watch")).clip(upper_bound=1.0).sum(),
        purchases=(kind == "purchase").sum(),
    )


def _with_lengths(frame: pl.DataFrame, videos: pa.Table | None) -> pl.DataFrame:
    if videos is None:
        return frame.with_columns(duration_s=pl.lit(None, pl.Float64))
    table = to_polars(conform(videos, VIDEOS, stage="online", extra=True)).select("video_id", "duration_s")
    length = pl.col("duration_s").cast(pl.Float64)
    table = table.with_columns(duration_s=pl.when(length > 0).then(length)).unique("video_id", keep="first")
    return frame.join(table, on="video_id", how="left")
