"""Train/test splits of interactions without leakage from test to train."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EvaluationError
from vrec.core.schema import INTERACTIONS, conform
from vrec.events.config import InterestConfig, LeaveLastOutConfig, RandomSplitConfig, TimeSplitConfig
from vrec.events.interactions import aggregate_interactions, to_micros, validate_interactions
from vrec.events.polars_tables import from_polars, to_polars


@dataclass(frozen=True, slots=True)
class InteractionSplit:
    """Train and test interactions."""

    train: pa.Table
    """INTERACTIONS as given, sorted by time: several rows per user and video are possible, without decay."""
    test: pa.Table
    """INTERACTIONS, one row per user and video, sorted by both ids; none of the pairs is in train."""
    name: Literal["time", "last", "random", "given"]
    """Kind of the split."""
    cutoff: datetime | None
    """First moment of the test of a time split: models must use nothing from then on."""
    dropped_repeats: int
    """Number of test interactions left out because train has the same user and video."""


def draw_test_users(split: InteractionSplit, most: int, seed: int) -> InteractionSplit:
    """Return the split with the test rows of at most `most` users, drawn at random."""
    users = pc.unique(split.test["user_id"])
    if len(users) <= most:
        return split
    users = users.take(pc.sort_indices(users))
    drawn = np.random.default_rng(seed).choice(len(users), most, replace=False)
    kept = pc.is_in(split.test["user_id"], value_set=users.take(pa.array(drawn)))
    return replace(split, test=split.test.filter(kept))


def split_interactions(
    interactions: pa.Table, config: TimeSplitConfig | LeaveLastOutConfig | RandomSplitConfig
) -> InteractionSplit:
    """Split interactions into train and test; the order of the rows does not matter.

    Pass weighted rows that are not aggregated yet, so that interactions after the split do not change weights
    before it; aggregate train afterwards, as of `cutoff`. For tuning, split train again.

    Args:
        interactions: INTERACTIONS, any number of rows per user and video.
        config: Kind of the split.

    Raises:
        EvaluationError: There are no interactions, or train or test is empty.
        EventsError: A weight is not finite or not above 0.
        SchemaError: The columns are not those of INTERACTIONS.
    """
    frame = validate_interactions(interactions, "split").sort("at", "user_id", "video_id", "weight")
    if not frame.height:
        raise EvaluationError("split: there are no interactions", fix="give events that show interest")
    cutoff = None
    match config:
        case TimeSplitConfig():
            cutoff = _cutoff(frame, config)
            in_test = frame["at"] >= cutoff
            span = f"from {frame['at'][0]} to {frame['at'][-1]}"
            reason = f"{frame.height:,} interactions {span} cut at {cutoff}"
        case LeaveLastOutConfig():
            in_test = _in_pairs(frame, _last_pairs(frame, config))
            reason = f"no user of {frame['user_id'].n_unique():,} has more than {config.last_n} videos"
        case RandomSplitConfig():
            in_test = _in_pairs(frame, _random_pairs(frame, config))
            reason = f"no user of {frame['user_id'].n_unique():,} has a video to spare for the test"
        case _:
            assert_never(config)
    train, test_rows = frame.filter(~in_test), frame.filter(in_test)
    unseen = test_rows.join(train, on=["user_id", "video_id"], how="anti")
    repeats = test_rows.height - unseen.height
    if repeats:
        reason += f", {repeats:,} repeat what the user has in train"
    for part, rows in (("test", unseen), ("train", train)):
        if not rows.height:
            raise EvaluationError(f"split {config.kind}: {part} is empty: {reason}")
    test = aggregate_interactions(
        from_polars(unseen, INTERACTIONS, "split"), InterestConfig(half_life_days=None)
    )
    return InteractionSplit(from_polars(train, INTERACTIONS, "split"), test, config.kind, cutoff, repeats)


def given_split(train: pa.Table, test: pa.Table) -> InteractionSplit:
    """Return a published split of INTERACTIONS: pairs of the test that train has as well are left out of it.

    Raises:
        EvaluationError: Nothing is left of the test, or there is no train.
        EventsError: A weight is not finite or not above 0.
        SchemaError: The columns are not those of INTERACTIONS.
    """
    frames = [
        validate_interactions(part, "split").sort("at", "user_id", "video_id", "weight")
        for part in (train, test)
    ]
    unseen = frames[1].join(frames[0], on=["user_id", "video_id"], how="anti", maintain_order="left")
    repeats = frames[1].height - unseen.height
    for name, rows in (("test", unseen), ("train", frames[0])):
        if not rows.height:
            why = f": all {repeats:,} pairs of it are in train as well" if repeats else ""
            raise EvaluationError(f"split given: {name} is empty{why}")
    tables = [from_polars(rows, INTERACTIONS, "split") for rows in (frames[0], unseen)]
    merged = aggregate_interactions(tables[1], InterestConfig(half_life_days=None))
    return InteractionSplit(tables[0], merged, "given", None, repeats)


def cold_videos(split: InteractionSplit, most: int) -> list[str]:
    """Return the test's videos with at most `most` users in train, sorted; 0 gives those unseen in train."""
    return _cold(split, "video_id", "user_id", most)


def cold_users(split: InteractionSplit, most: int) -> list[str]:
    """Return the test's users with at most `most` videos in train, sorted; 0 gives those unseen in train."""
    return _cold(split, "user_id", "video_id", most)


def popularity_thirds(train: pa.Table) -> dict[str, list[str]]:
    """Group train's videos into `head`, `mid` and `tail`, each the most popular first.

    A video's popularity is its number of users, ties by id. From the most popular on, a video belongs to the
    head while those before it hold less than a third of all pairs of user and video, to the mid while they
    hold less than two thirds, and to the tail after. Videos not in train are in no group.
    """
    frame = to_polars(conform(train, INTERACTIONS, stage="popularity_thirds"))
    pairs = frame.select("user_id", "video_id").unique()
    counts = pairs.group_by("video_id").len().sort(["len", "video_id"], descending=[True, False])
    before = counts["len"].cast(pl.Int64).cum_sum() - counts["len"]
    third = np.minimum(3 * before.to_numpy() // max(pairs.height, 1), 2)
    return {
        name: counts["video_id"].filter(pl.Series(third == index)).to_list()
        for index, name in enumerate(("head", "mid", "tail"))
    }


def history_lengths(split: InteractionSplit) -> dict[str, list[str]]:
    """Group the test's users that are in train by their number of videos there, each group sorted."""
    counts = _train_counts(split, "user_id", "video_id")
    names = ("1 to 4 videos in history", "5 to 19 videos in history", "20 or more in history")
    return _by_bounds(counts, "user_id", "len", (5, 20), names)


def video_ages(split: InteractionSplit) -> dict[str, list[str]]:
    """Group the test's videos by the days from their first interaction in train to its last, each sorted.

    Only where `at` is a time. Videos that are not in train are in no group.
    """
    frame = to_polars(split.train)
    ages = frame.group_by("video_id").agg(
        days=(frame["at"].max() - pl.col("at").min()).dt.total_seconds() / 86_400
    )
    tested = to_polars(split.test).select("video_id").unique().join(ages, on="video_id")
    names = ("videos up to a week old", "videos up to a month old", "videos older than a month")
    return _by_bounds(tested, "video_id", "days", (7, 30), names)


def _by_bounds(
    frame: pl.DataFrame, side: str, value: str, bounds: tuple[float, float], names: tuple[str, str, str]
) -> dict[str, list[str]]:
    low, high = bounds
    place = pl.when(pl.col(value) < low).then(0).when(pl.col(value) < high).then(1).otherwise(2)
    groups = frame.with_columns(place=place)
    return {
        name: groups.filter(pl.col("place") == index)[side].sort().to_list()
        for index, name in enumerate(names)
    }


def _cutoff(frame: pl.DataFrame, config: TimeSplitConfig) -> datetime:
    if config.test_from is not None:
        return pl.Series([to_micros(config.test_from)]).cast(frame.schema["at"])[0]
    first = frame.height - max(1, round(frame.height * config.test_share))
    return frame["at"][first]


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    # One row per user and video with its last time, in an order that does not depend on the rows'.
    pairs = frame.group_by("user_id", "video_id").agg(pl.col("at").max())
    return pairs.sort("user_id", "at", "video_id")


def _last_pairs(frame: pl.DataFrame, config: LeaveLastOutConfig) -> pl.DataFrame:
    last = pl.int_range(pl.len()).over("user_id") >= pl.len().over("user_id") - config.last_n
    enough = pl.len().over("user_id") > config.last_n
    return _pairs(frame).filter(last & enough)


def _random_pairs(frame: pl.DataFrame, config: RandomSplitConfig) -> pl.DataFrame:
    pairs = _pairs(frame).sort("user_id", "video_id")
    draw = pl.Series("draw", np.random.default_rng(config.seed).random(pairs.height))
    videos = pl.len().over("user_id").cast(pl.Int64)
    wanted = pl.min_horizontal((videos * config.test_share + 0.5).floor().cast(pl.Int64), videos - 1)
    return pairs.with_columns(draw).filter(pl.col("draw").rank("ordinal").over("user_id") <= wanted)


def _in_pairs(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    marked = pairs.select("user_id", "video_id", marked=True)
    joined = frame.join(marked, on=["user_id", "video_id"], how="left", maintain_order="left")
    return joined["marked"].fill_null(value=False)


def _cold(split: InteractionSplit, side: str, other: str, most: int) -> list[str]:
    in_test = to_polars(split.test).select(side).unique()
    counts = in_test.join(_train_counts(split, side, other), on=side, how="left")
    return counts.filter(pl.col("len").fill_null(0) <= most)[side].sort().to_list()


def _train_counts(split: InteractionSplit, side: str, other: str) -> pl.DataFrame:
    """Return the test's ids of one side that are in train, and their number of distinct others there."""
    pair: Sequence[str] = (side, other)
    train = to_polars(split.train).select(pair).unique().group_by(side).len()
    return to_polars(split.test).select(side).unique().join(train, on=side)
