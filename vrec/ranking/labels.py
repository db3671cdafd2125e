"""Impression labels, and the split of a log by time into train, validation and test."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.core.errors import RankError
from vrec.core.schema import EVENTS, VIDEOS, conform
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed
from vrec.profiles.user import HOUR_US
from vrec.ranking.config import LabelsConfig, LogSplitConfig
from vrec.ranking.features.arrays import ImpressionLabels
from vrec.ranking.replay import impressions


def build_labels(
    events: pa.Table, videos: pa.Table | None, config: LabelsConfig, end: int | None = None
) -> ImpressionLabels:
    """Build the labels of the impressions of EVENTS, in the order of `impressions`.

    That is also the order of the candidates of `replay_requests`. An event belongs to the latest impression
    of its user and video at or before it, among those with its request_id if there are any, and to none where
    there is no such impression. An event that a later one up to the end reverses, such as a purchase before
    its refund, is no outcome.

    Args:
        events: EVENTS of all or some users.
        videos: VIDEOS, for the durations.
        config: Windows and conversion kinds.
        end: End of the log in µs since 1970, by default the last event. Later events are ignored, except for
            impressions. Required for the events of some users only; pass the end of the training split so
            that labels do not depend on what came after it.

    Raises:
        SchemaError: a table has other columns.
    """
    events = conform(events, EVENTS, stage="build_labels")
    shown = to_polars(impressions(events)).with_row_index("row").with_columns(_micros())
    frame = to_polars(events).with_columns(_micros())
    if end is None:
        end = int(frame["at"].to_numpy().max(initial=0))
    frame = drop_reversed(frame.filter(pl.col("kind") != "impression", pl.col("at") <= end))
    responses = _attributed(frame, shown)
    response_window = round(config.response_window_hours * HOUR_US)
    conversion_window = round(config.conversion_window_hours * HOUR_US)
    age = pl.col("at") - pl.col("shown_at")
    outcomes = responses.group_by("row").agg(
        click=((pl.col("kind") == "click") & (age <= response_window)).any(),
        watch_s=pl.col("value")
        .filter((pl.col("kind") == "watch") & (age <= response_window))
        .cast(pl.Float64)
        .sum(),
        converted=(pl.col("kind").is_in(config.conversion_kinds) & (age <= conversion_window)).any(),
    )
    shown = shown.join(outcomes, on="row", how="left", maintain_order="left")
    shown = shown.join(_durations(videos), on="video_id", how="left", maintain_order="left")
    click = shown["click"].fill_null(value=False).to_numpy()
    conversion = click & shown["converted"].fill_null(value=False).to_numpy()
    at = shown["at"].to_numpy().astype(np.int64)
    return ImpressionLabels(
        click=click.astype(np.float32),
        watch_s=shown["watch_s"].fill_null(0.0).to_numpy().astype(np.float32),
        conversion=conversion.astype(np.float32),
        # Early conversions are not mature either: counting only those would make every young impression
        # with a known outcome a conversion.
        mature=at + conversion_window <= end,
        duration_s=shown["duration_s"].fill_null(float("nan")).to_numpy().astype(np.float32),
        at=at,
        user=_hash_users(shown["user_id"]),
    )


@dataclass(frozen=True, slots=True)
class LogSplit:
    """Boundaries of the train, validation and test splits by time; a boundary belongs to the later split."""

    validation_from: int
    """First moment of the validation split, in µs since 1970."""
    test_from: int
    """First moment of the test split, in µs since 1970."""

    def split_of(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Return (N,) int8 split numbers of (N,) times in µs: 0 train, 1 validation, 2 test."""
        return ((at >= self.validation_from) + (at >= self.test_from).astype(np.int8)).astype(np.int8)


def split_log(at: npt.NDArray[np.int64], config: LogSplitConfig) -> LogSplit:
    """Split a log with impressions `at` (N,) µs; raise RankError where a split would be empty."""
    ordered = np.sort(at)
    later = config.validation_share + config.test_share
    firsts = [round(len(at) * (1 - share)) for share in (later, config.test_share)]
    if len(at) and firsts[1] < len(at):
        split = LogSplit(*(int(ordered[first]) for first in firsts))
        sizes = np.bincount(split.split_of(at), minlength=3)
        if sizes.all():
            return split
    raise RankError(
        f"split_log: {len(at):,} impressions at {len(np.unique(at)):,} times cannot be split in three",
        fix="provide a longer log, or change validation_share and test_share",
    )


def _micros() -> pl.Expr:
    return pl.col("at").dt.epoch("us")


def _attributed(events: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """Return the events that belong to an impression, with its row and time."""
    events = events.select("user_id", "video_id", "request_id", "kind", "value", "at").sort(
        "at", maintain_order=True
    )
    shown = shown.select("row", "user_id", "video_id", "request_id", "at", shown_at="at").sort("at", "row")
    named = _latest(events, shown.drop_nulls("request_id"), ["user_id", "video_id", "request_id"])
    rest = named.filter(pl.col("row").is_null()).drop("row", "shown_at")
    others = _latest(rest, shown.drop("request_id"), ["user_id", "video_id"])
    return pl.concat([named, others]).drop_nulls("row")


def _latest(events: pl.DataFrame, shown: pl.DataFrame, same: list[str]) -> pl.DataFrame:
    """Add `row` and `shown_at` of the latest impression at or before each event with the same ids."""
    # Of several impressions at one moment the last counts.
    shown = shown.unique([*same, "at"], keep="last", maintain_order=True)
    return events.join_asof(shown, on="at", by=same, strategy="backward", check_sortedness=False)


def _durations(videos: pa.Table | None) -> pl.DataFrame:
    table = VIDEOS.arrow().empty_table() if videos is None else videos
    frame = to_polars(conform(table, VIDEOS, stage="build_labels", extra=True)).select(
        "video_id", "duration_s"
    )
    return frame.filter(pl.col("duration_s") > 0).unique("video_id", keep="first", maintain_order=True)


def hash_user_id(user_id: str) -> int:
    """Return the signed 64-bit number of a user in ImpressionLabels, the same for every part of a log."""
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), "big", signed=True)


def _hash_users(users: pl.Series) -> npt.NDArray[np.int64]:
    numbers = {user: hash_user_id(user) for user in users.unique().to_list()}
    return np.array([numbers[user] for user in users.to_list()], np.int64)
