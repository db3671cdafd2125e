"""Interactions from events: weights by kind of event, and their decay over time."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, INTERACTIONS, VIDEOS, conform
from vrec.events.config import InterestConfig
from vrec.events.polars_tables import describe_invalid, from_polars, to_polars
from vrec.events.reversals import drop_reversed

DAY_US = 86_400_000_000
"""Microseconds in a day."""


def weigh_events(events: pa.Table, config: InterestConfig, videos: pa.Table | None = None) -> pa.Table:
    """Weight events by the interest they show, without decay.

    A watch weighs `watch` × min(1, seconds / whole), where whole is `watch_whole_s`, or the video's
    duration where that is shorter. A watch whose seconds are null counts as complete. A negative kind, such
    as `dislike`, shows no interest, nor does an event that a later one reverses, such as a like before an
    `unlike`.

    Args:
        events: EVENTS.
        config: The weights.
        videos: VIDEOS, for the durations; without them only `watch_whole_s` counts.

    Returns:
        INTERACTIONS in the order of the events, without events of weight 0 or below.

    Raises:
        EventsError: A kind is unknown, or watched seconds are NaN, infinite or below 0.
        SchemaError: The columns are not those of EVENTS or VIDEOS.
    """
    frame = to_polars(conform(events, EVENTS, stage="weigh_events"))
    _check_kinds(frame, config)
    frame = drop_reversed(frame)
    weight = pl.col("kind").replace_strict(config.signed_weights(), return_dtype=pl.Float64)
    whole_s: pl.Expr = pl.lit(config.watch_whole_s)
    if videos is not None:
        frame = frame.join(_durations(videos), on="video_id", how="left", maintain_order="left")
        whole_s = pl.min_horizontal(whole_s, pl.col("duration_s"))
    # min_horizontal ignores nulls: unknown seconds and durations change nothing.
    share = pl.min_horizontal(pl.lit(1.0), pl.col("value").cast(pl.Float64) / whole_s)
    share = pl.when(share >= config.watch_least).then(share).otherwise(0.0)
    watched = pl.col("kind") == "watch"
    rows = frame.select(
        "user_id",
        "video_id",
        pl.when(watched).then(weight * share).otherwise(weight).cast(pl.Float32).alias("weight"),
        "at",
    )
    return from_polars(rows.filter(pl.col("weight") > 0), INTERACTIONS, "weigh_events")


def aggregate_interactions(
    interactions: pa.Table, config: InterestConfig, now: datetime | None = None
) -> pa.Table:
    """Sum the decayed weights of each pair of user and video.

    A weight halves every `half_life_days` before `now`; later interactions count in full. The result does
    not depend on the order of the rows, to the last bit.

    Args:
        interactions: INTERACTIONS, any number of rows per pair.
        config: The half-life.
        now: Reference time of the decay, by default the last `at` of the table; without a zone it is UTC.

    Returns:
        INTERACTIONS with one row per pair, sorted by user and video; `at` is the pair's last. Pairs whose sum
        is below the smallest normal float32 (1.2e-38) are left out.

    Raises:
        EventsError: A weight is not finite or not above 0.
        SchemaError: The columns are not those of INTERACTIONS.
    """
    stage = "aggregate_interactions"
    frame = validate_interactions(interactions, stage)
    if not frame.height:
        return from_polars(frame, INTERACTIONS, stage)
    # Sorted by time and weight too, as float sums depend on the order of their terms.
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
    return from_polars(rows.filter(pl.col("weight") >= least), INTERACTIONS, stage)


def validate_interactions(interactions: pa.Table, stage: str) -> pl.DataFrame:
    """Convert INTERACTIONS to a frame.

    Raises:
        EventsError: A weight is not finite or not above 0.
        SchemaError: The columns are not those of INTERACTIONS.
    """
    frame = to_polars(conform(interactions, INTERACTIONS, stage=stage))
    weight = frame["weight"]
    invalid = ~(weight.is_finite() & (weight > 0))
    problem = describe_invalid(frame, "weight", invalid, "not finite and above 0")
    if problem:
        raise EventsError(
            f"{stage}: {problem}", fix="give each interaction a weight above 0, or leave it out"
        )
    return frame


def to_micros(at: datetime) -> int:
    """Convert a time to µs since 1970; a time without a zone is UTC."""
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _check_kinds(frame: pl.DataFrame, config: InterestConfig) -> None:
    value, kind, known = frame["value"], frame["kind"], config.known_kinds
    bad = ~(value.is_finite() & (value >= 0)).fill_null(value=True)
    problems = [
        describe_invalid(
            frame,
            "kind",
            ~kind.is_in(known),
            f"that are none of {', '.join(known)}",
        ),
        describe_invalid(frame, "value", bad & (kind == "watch"), "watched seconds not finite or below 0"),
    ]
    if any(problems):
        raise EventsError(f"weigh_events: {'; '.join(problem for problem in problems if problem)}")


def _durations(videos: pa.Table) -> pl.DataFrame:
    # One row per video whatever the table holds, so that the join cannot duplicate an event.
    known = to_polars(conform(videos, VIDEOS, stage="weigh_events")).filter(pl.col("duration_s") > 0)
    return known.group_by("video_id").agg(pl.col("duration_s").cast(pl.Float64).max())
