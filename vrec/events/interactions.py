"""From events to interactions: how much interest each event shows, and how it fades."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EventsError
from vrec.core.schema import EVENT_KINDS, EVENTS, INTERACTIONS, VIDEOS, conform
from vrec.events.polars_tables import describe_invalid, from_polars, to_polars

DAY_US = 86_400_000_000


class InterestConfig(BaseConfig):
    """How much interest in a video an event of each kind shows, and how fast it fades."""

    impression: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of having been shown the video; 0 counts as no interaction."""
    click: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of a click."""
    watch: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of a whole watch; a part of it counts in proportion."""
    like: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Weight of a like."""
    share: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Weight of passing the video on."""
    follow: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Weight of following the video's creator from it."""
    cart: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    """Weight of putting a product of the video into the cart."""
    purchase: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    """Weight of buying a product of the video, whatever its price."""
    watch_whole_s: float = Field(default=18.0, gt=0, allow_inf_nan=False)
    """Seconds of watching that count as whole; a shorter video is whole at its end. A larger value favours
    long videos, a smaller one short videos."""
    watch_least: float = Field(default=0.2, ge=0, le=1)
    """Share of a whole watch, in [0, 1], below which watching shows no interest and gives no interaction."""
    half_life_days: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Days after which an interaction weighs half; None means that it never fades."""


def weigh_events(events: pa.Table, config: InterestConfig, videos: pa.Table | None = None) -> pa.Table:
    """INTERACTIONS, one row for each of the EVENTS that shows interest, in their order; nothing fades here.

    A watch weighs `watch` × min(1, seconds / whole), where whole is `watch_whole_s`, or the video's
    duration where `videos` (VIDEOS) says that it is shorter; a watch whose seconds are null is taken as
    whole. Events of weight 0 are left out. Raises EventsError for an unknown kind and for watched
    seconds that are NaN, infinite or below 0; SchemaError for other columns.
    """
    frame = to_polars(conform(events, EVENTS, stage="weigh"))
    _check_kinds(frame)
    weight = pl.col("kind").replace_strict({kind: getattr(config, kind) for kind in EVENT_KINDS})
    whole_s: pl.Expr = pl.lit(config.watch_whole_s)
    if videos is not None:
        frame = frame.join(_durations(videos), on="video_id", how="left", maintain_order="left")
        whole_s = pl.min_horizontal(whole_s, pl.col("duration_s"))
    # min_horizontal passes over nulls: seconds and durations that are not known change nothing.
    share = pl.min_horizontal(pl.lit(1.0), pl.col("value").cast(pl.Float64) / whole_s)
    share = pl.when(share >= config.watch_least).then(share).otherwise(0.0)
    watched = pl.col("kind") == "watch"
    rows = frame.select(
        "user_id",
        "video_id",
        pl.when(watched).then(weight * share).otherwise(weight).cast(pl.Float32).alias("weight"),
        "at",
    )
    return from_polars(rows.filter(pl.col("weight") > 0), INTERACTIONS, "weigh")


def aggregate_interactions(
    interactions: pa.Table, config: InterestConfig, now: datetime | None = None
) -> pa.Table:
    """INTERACTIONS with one row a user and video, sorted by both: weights faded and summed, `at` the last.

    A weight halves every `half_life_days` up to `now`, by default the last `at` of the table; what is
    later than `now` counts in full. A sum below the smallest normal float32 (1.2e-38) is left out. The
    order of the rows is of no consequence, to the last bit. Raises EventsError for weights that are
    not finite and above 0; SchemaError for other columns.
    """
    frame = validate_interactions(interactions, "gather")
    if not frame.height:
        return from_polars(frame, INTERACTIONS, "gather")
    # By weight and time too: float sums depend on the order of their terms.
    frame = frame.sort("user_id", "video_id", "at", "weight")
    weights = frame["weight"].to_numpy().astype(np.float64)
    at = frame["at"].to_physical().to_numpy()
    if config.half_life_days is not None:
        present = at.max() if now is None else to_micros(now)
        age_days = np.maximum(present - at, 0) / DAY_US
        weights = weights * np.exp2(-age_days / config.half_life_days)
    ids = frame.select("user_id", "video_id")
    new = (ids != ids.shift()).select(pl.any_horizontal(pl.all()).fill_null(value=True)).to_series()
    starts = new.arg_true().to_numpy().astype(np.int64)
    rows = frame.select("user_id", "video_id", "at").filter(new)
    rows = rows.with_columns(
        pl.Series("weight", np.add.reduceat(weights, starts)).cast(pl.Float32),
        pl.Series("at", np.maximum.reduceat(at, starts)).cast(frame.schema["at"]),
    )
    least = float(np.finfo(np.float32).tiny)
    return from_polars(rows.filter(pl.col("weight") >= least), INTERACTIONS, "gather")


def validate_interactions(interactions: pa.Table, stage: str) -> pl.DataFrame:
    """INTERACTIONS as a frame; raises SchemaError, and EventsError for weights not finite and above 0."""
    frame = to_polars(conform(interactions, INTERACTIONS, stage=stage))
    weight = frame["weight"]
    wrong = describe_invalid(frame, "weight", ~(weight.is_finite() & (weight > 0)), "not finite and above 0")
    if wrong:
        raise EventsError(f"{stage}: {wrong}", fix="give each interaction a weight above 0, or leave it out")
    return frame


def to_micros(at: datetime) -> int:
    """µs since 1970 of a time; one without a zone is UTC."""
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _check_kinds(frame: pl.DataFrame) -> None:
    value, kind = frame["value"], frame["kind"]
    bad = ~(value.is_finite() & (value >= 0)).fill_null(value=True)
    wrong = [
        describe_invalid(
            frame, "kind", ~kind.is_in(EVENT_KINDS), f"that are none of {', '.join(EVENT_KINDS)}"
        ),
        describe_invalid(frame, "value", bad & (kind == "watch"), "watched seconds not finite or below 0"),
    ]
    if any(wrong):
        raise EventsError(f"weigh: {'; '.join(w for w in wrong if w)}")


def _durations(videos: pa.Table) -> pl.DataFrame:
    # One row a video whatever the table holds, so that the join cannot double an event.
    known = to_polars(conform(videos, VIDEOS, stage="weigh")).filter(pl.col("duration_s") > 0)
    return known.group_by("video_id").agg(pl.col("duration_s").cast(pl.Float64).max())
