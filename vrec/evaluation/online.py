"""Arms of a live experiment compared: click rate, watch time and conversion, valid however often one looks.

The unit is the user, since arms are given to users: each counts once, with what they did within a window
after their first impression, from the moment the window is over. So a look at any time sees independent
users, and not the same ones growing.
"""

from collections.abc import Mapping
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
from vrec.core.schema import EVENTS, VIDEOS, conform
from vrec.events.interactions import DAY_US, to_micros
from vrec.events.polars_tables import to_polars

Floats = npt.NDArray[np.float64]

METRICS = {
    "click_rate": ("clicks", "impressions"),
    "watch_s": ("watch_s", "impressions"),
    "watch_share": ("watch_share", "impressions_timed"),
    "conversion": ("purchases", "impressions"),
}
"""What is compared: sums over an arm's users, one by the other. `watch_share` counts each watch as the share
of the video's length, over impressions of videos whose length is known."""


class OnlineConfig(BaseConfig):
    """How arms are compared."""

    level: float = Field(default=0.95, gt=0, lt=1)
    """How often an interval shall hold the truth at all looks together."""
    window_days: float = Field(default=7.0, gt=0)
    """Days after a user's first impression that count; a longer window sees later purchases, and later."""
    expected_users: int = Field(default=10_000, gt=0)
    """Users at which the intervals are tightest; they hold at any number."""
    min_users: int = Field(default=200, ge=2)
    """Fewest users in each arm before an interval is given: the guarantee is asymptotic."""


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """One arm against the control in one metric."""

    metric: str
    arm: str
    value: float
    control: str
    control_value: float
    difference: float
    low: float
    """The interval of the difference; infinite before there are `min_users` in both arms."""
    high: float
    users: int
    """Users of both arms."""


def user_outcomes(
    events: pa.Table,
    arms: Mapping[str, str],
    config: OnlineConfig,
    videos: pa.Table | None = None,
    now: datetime | None = None,
) -> pl.DataFrame:
    """One row a user whose window is over: user_id, arm, closed_at, and sums of what they saw and did.

    The sums are impressions, impressions_timed, clicks, watch_s, watch_share, purchases, over the window from
    the first impression on; rows come in the order in which windows closed, ties by id. `arms` names each
    user's arm, users without one are left out; `videos` (VIDEOS) gives lengths; `now` is by default the time
    of the last event. Raises SchemaError, and EvaluationError where no user of any arm is left.
    """
    frame = to_polars(conform(events, EVENTS, stage="online")).with_columns(pl.col("at").to_physical())
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
    return _sums(_with_lengths(frame, videos)).sort("closed_at", "user_id")


def compare_arms(outcomes: pl.DataFrame, control: str, config: OnlineConfig) -> list[ArmComparison]:
    """Every other arm against the control, in every metric, at the last of the `user_outcomes`.

    Each interval holds at its level for itself; who picks the best of several must ask for a higher level.
    Raises EvaluationError where the control or any other arm is missing.
    """
    arms = outcomes["arm"].unique().sort().to_list()
    if control not in arms or len(arms) < 2:
        raise EvaluationError(
            f"online: want users of {control} and of another arm, got {', '.join(arms) or 'none'}",
            fix="give the control's name, and arms to the users of the experiment",
        )
    found: list[ArmComparison] = []
    for arm in arms:
        if arm == control:
            continue
        both = outcomes.filter(pl.col("arm").is_in([arm, control]))
        treated = (both["arm"] == arm).to_numpy()
        for metric, (total, trials) in METRICS.items():
            y, n = (both[name].cast(pl.Float64).to_numpy() for name in (total, trials))
            looks = difference_over_time(y, n, treated, config)
            found.append(
                ArmComparison(
                    metric,
                    arm,
                    looks.treated[-1],
                    control,
                    looks.control[-1],
                    looks.difference[-1],
                    looks.low[-1],
                    looks.high[-1],
                    len(y),
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """What a look after each of N users shows."""

    treated: Floats
    """(N,) the metric in the arm; NaN before it has trials."""
    control: Floats
    difference: Floats
    error: Floats
    """(N,) standard error of the difference, by the delta method over users."""
    low: Floats
    """(N,) the interval; infinite before there are `min_users` in both arms."""
    high: Floats


def difference_over_time(
    y: Floats, n: Floats, treated: npt.NDArray[np.bool_], config: OnlineConfig
) -> ConfidenceSequence:
    """The difference of Σy / Σn between arms after each of N users, with a confidence sequence.

    `y` and `n` are (N,) sums of each user, in the order in which they came in; `treated` says who was in the
    arm that is compared with the control. The chance that the truth is outside of any of the intervals, at
    however many looks, is at most 1 − level: an asymptotic confidence sequence (Waudby-Smith et al. 2024,
    "Time-uniform central limit theory and asymptotic confidence sequences"), with the two-sample
    variance in place of the variance of their inverse-probability-weighted outcomes, which it equals when
    those are centred by arm.
    """
    inside, outside = _running_ratio(y, n, treated), _running_ratio(y, n, ~treated)
    users = np.arange(1.0, len(y) + 1)
    error = np.sqrt(inside.variance + outside.variance)
    enough = np.minimum(inside.users, outside.users) >= config.min_users
    half = np.where(enough, confidence_radius(error, users, config), np.inf)
    difference = inside.value - outside.value
    low, high = np.nan_to_num(difference) - half, np.nan_to_num(difference) + half
    return ConfidenceSequence(inside.value, outside.value, difference, error, low, high)


def confidence_radius(error: Floats | float, users: Floats | float, config: OnlineConfig) -> Floats:
    """Half the width of the interval that holds at all looks together, as `difference_over_time` explains.

    `error` is the estimate's standard error and `users` how many it comes from; either may be an array.
    """
    alpha = 1 - config.level
    # The mixture's scale that makes the interval tightest at the expected number of users.
    scale = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / config.expected_users
    grown = users * scale + 1
    return error * np.sqrt(2 * grown / (users * scale) * np.log(np.sqrt(grown) / alpha))


def fixed_horizon_interval(looks: ConfidenceSequence, config: OnlineConfig) -> tuple[Floats, Floats]:
    """The (N,) usual intervals, each right for one look fixed beforehand and wrong for many: to compare."""
    reach = ndtri((1 + config.level) / 2) * looks.error
    return looks.difference - reach, looks.difference + reach


@dataclass(frozen=True, slots=True)
class _RunningRatio:
    users: Floats
    value: Floats
    variance: Floats
    """Of the value."""


def _running_ratio(y: Floats, n: Floats, member: npt.NDArray[np.bool_]) -> _RunningRatio:
    """Σy / Σn over the members among the first 1, 2, … users, and its variance by the delta method."""
    users, sy, sn, syy, syn, snn = np.cumsum(
        np.stack([np.ones(len(y)), y, n, y * y, y * n, n * n]) * member, axis=1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sy / sn
        # The sum of (y − value·n)², whose mean is 0 by the choice of the value.
        residual = np.maximum(0.0, syy - 2 * value * syn + value**2 * snn)
        variance = residual / sn**2 * users / (users - 1)
    return _RunningRatio(users, value, variance)


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
