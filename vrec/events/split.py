"""Interactions in two parts, one to fit on and one to test on, so that nothing of the second leaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, assert_never

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.core.schema import INTERACTIONS, conform
from vrec.events.interactions import InterestConfig, aggregate_interactions, to_micros, validate_interactions
from vrec.events.polars_tables import from_polars, to_polars


class TimeSplitConfig(BaseConfig):
    """One cut through time for all users, as in life: the past is known, the future is asked for."""

    kind: Literal["time"] = "time"
    """Split at one point in time."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the interactions, the latest, that are past the cut, and whatever is of the same moment as the
    first of them; not used with `test_from`."""
    test_from: datetime | None = None
    """The cut itself, the first moment of the test; without a zone it is UTC. None takes `test_share`."""


class LeaveLastOutConfig(BaseConfig):
    """Each user's last videos are the test, as many papers do; it lets the future of others into the fit."""

    kind: Literal["last"] = "last"
    """Split each user's history at its end."""
    last_n: int = Field(default=1, ge=1)
    """Videos of each user that are the test; users with no more than these stay in train altogether."""


class RandomSplitConfig(BaseConfig):
    """A random part of each user's videos is the test: only to compare with papers that do so."""

    kind: Literal["random"] = "random"
    """Split each user's videos by lot."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of each user's videos that are the test, to the nearest whole number, leaving at least one."""
    seed: int = Field(default=0, ge=0)
    """Seed of the lot."""


SplitConfig = Annotated[TimeSplitConfig | LeaveLastOutConfig | RandomSplitConfig, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class InteractionSplit:
    """Interactions to fit on and to test on."""

    train: pa.Table
    """INTERACTIONS as they were given, by time: a user and video may have several rows, nothing faded."""
    test: pa.Table
    """INTERACTIONS, one row a user and video, none of these pairs in train, sorted by both ids."""
    name: Literal["time", "last", "random"]
    """Which split it is."""
    cutoff: datetime | None
    """The first moment of the test in a time split: a model fitted for it may know nothing from then."""
    dropped_repeats: int
    """Interactions after the cut left out of the test because train has the same user and video."""


def split_interactions(
    interactions: pa.Table, config: TimeSplitConfig | LeaveLastOutConfig | RandomSplitConfig
) -> InteractionSplit:
    """The interactions as train and test; the order of the rows is of no consequence.

    Give it weighed rows that were not gathered yet, so that what happens after the split does not
    reach into a weight before it; gather train afterwards, as of `cut`. For tuning, split train again.
    Raises EvaluationError where either part is empty; EventsError and SchemaError for rows that cannot
    be used.
    """
    frame = validate_interactions(interactions, "split").sort("at", "user_id", "video_id", "weight")
    if not frame.height:
        raise EvaluationError("split: there are no interactions", fix="give events that show interest")
    cut = None
    match config:
        case TimeSplitConfig():
            cut = _cut(frame, config)
            tested = frame["at"] >= cut
            reason = f"{frame.height:,} interactions from {frame['at'][0]} to {frame['at'][-1]} cut at {cut}"
        case LeaveLastOutConfig():
            tested = _held_out(frame, _last_pairs(frame, config))
            reason = f"no user of {frame['user_id'].n_unique():,} has more than {config.last_n} videos"
        case RandomSplitConfig():
            tested = _held_out(frame, _random_pairs(frame, config))
            reason = f"no user of {frame['user_id'].n_unique():,} has a video to spare for the test"
        case _:
            assert_never(config)
    train, later = frame.filter(~tested), frame.filter(tested)
    fresh = later.join(train, on=["user_id", "video_id"], how="anti")
    repeats = later.height - fresh.height
    if repeats:
        reason += f", {repeats:,} repeat what the user has in train"
    for part, rows in (("test", fresh), ("train", train)):
        if not rows.height:
            raise EvaluationError(f"split {config.kind}: {part} is empty: {reason}")
    test = aggregate_interactions(
        from_polars(fresh, INTERACTIONS, "split"), InterestConfig(half_life_days=None)
    )
    return InteractionSplit(from_polars(train, INTERACTIONS, "split"), test, config.kind, cut, repeats)


def cold_videos(split: InteractionSplit, most: int) -> list[str]:
    """The test's videos with at most `most` users in train, sorted; 0 gives those never seen there."""
    return _cold(split, "video_id", "user_id", most)


def cold_users(split: InteractionSplit, most: int) -> list[str]:
    """The test's users with at most `most` videos in train, sorted; 0 gives those never seen there."""
    return _cold(split, "user_id", "video_id", most)


def popularity_thirds(train: pa.Table) -> dict[str, list[str]]:
    """Train's videos as `head`, `mid` and `tail`, each the most popular first.

    A video's popularity is its number of users, ties by id. From the most popular on, a video is of
    the head while those before it hold less than a third of all pairs of user and video, of the
    mid while they hold less than two thirds, and of the tail after. Videos not in train are in none.
    """
    frame = to_polars(conform(train, INTERACTIONS, stage="popularity_thirds"))
    pairs = frame.select("user_id", "video_id").unique()
    counts = pairs.group_by("video_id").len().sort(["len", "video_id"], descending=[True, False])
    before = counts["len"].cast(pl.Int64).cum_sum() - counts["len"]
    third = np.minimum(3 * before.to_numpy() // max(pairs.height, 1), 2)
    return {
        name: counts["video_id"].filter(pl.Series(third == place)).to_list()
        for place, name in enumerate(("head", "mid", "tail"))
    }


def _cut(frame: pl.DataFrame, config: TimeSplitConfig) -> datetime:
    if config.test_from is not None:
        cut = pl.Series([to_micros(config.test_from)]).cast(frame.schema["at"])
        return cut[0]
    first = frame.height - max(1, round(frame.height * config.test_share))
    return frame["at"][first]


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    # One row a user and video with its last time, in an order that does not depend on the rows'.
    pairs = frame.group_by("user_id", "video_id").agg(pl.col("at").max())
    return pairs.sort("user_id", "at", "video_id")


def _last_pairs(frame: pl.DataFrame, config: LeaveLastOutConfig) -> pl.DataFrame:
    last = pl.int_range(pl.len()).over("user_id") >= pl.len().over("user_id") - config.last_n
    enough = pl.len().over("user_id") > config.last_n
    return _pairs(frame).filter(last & enough)


def _random_pairs(frame: pl.DataFrame, config: RandomSplitConfig) -> pl.DataFrame:
    pairs = _pairs(frame).sort("user_id", "video_id")
    lot = pl.Series("lot", np.random.default_rng(config.seed).random(pairs.height))
    videos = pl.len().over("user_id").cast(pl.Int64)
    wanted = pl.min_horizontal((videos * config.test_share + 0.5).floor().cast(pl.Int64), videos - 1)
    return pairs.with_columns(lot).filter(pl.col("lot").rank("ordinal").over("user_id") <= wanted)


def _held_out(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    marked = pairs.select("user_id", "video_id", held=True)
    joined = frame.join(marked, on=["user_id", "video_id"], how="left", maintain_order="left")
    return joined["held"].fill_null(value=False)


def _cold(parts: InteractionSplit, side: str, other: str, most: int) -> list[str]:
    known: Sequence[str] = (side, other)
    train = to_polars(parts.train).select(known).unique().group_by(side).len()
    tested = to_polars(parts.test).select(side).unique()
    counts = tested.join(train, on=side, how="left").with_columns(pl.col("len").fill_null(0))
    return counts.filter(pl.col("len") <= most)[side].sort().to_list()
