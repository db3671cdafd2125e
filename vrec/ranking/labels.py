"""What came of each impression, and the log cut by time into parts to train, validate and test on."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.core.schema import EVENTS, VIDEOS, conform
from vrec.events.polars_tables import to_polars
from vrec.profiles.user import HOUR_US
from vrec.ranking.features.arrays import ImpressionLabels
from vrec.ranking.replay import impressions

OutcomeKind = Literal["click", "watch", "like", "share", "follow", "cart", "purchase"]


class LabelsConfig(BaseConfig):
    """What counts as the outcome of an impression."""

    conversion_kinds: tuple[OutcomeKind, ...] = Field(default=("purchase",), min_length=1)
    """Kinds of event that a click may end in; any of them makes it a conversion."""
    conversion_window_hours: float = Field(default=72.0, gt=0)
    """Hours after an impression within which a conversion counts. Impressions younger than this at the log's
    end are not mature: nobody knows yet whether they convert."""
    response_window_hours: float = Field(default=24.0, gt=0)
    """Hours after an impression within which clicks and watches count."""


def build_labels(
    events: pa.Table, videos: pa.Table | None, config: LabelsConfig, end: int | None = None
) -> ImpressionLabels:
    """Labels of the impressions of EVENTS, in the order of `impressions` and so of replay's candidates.

    An event belongs to the latest impression of its user and video at or before it, among those of its own
    request_id if there are any; to none where there was none. `end` (µs since 1970) is when the log ends, by
    default the last event; what is later is as if it had not happened, but for impressions. Give it with the
    events of some users only, and give a training part's to learn nothing of what came after. `videos`
    (VIDEOS) gives the durations. Raises SchemaError for other columns.
    """
    events = conform(events, EVENTS, stage="labels_of")
    shown = to_polars(impressions(events)).with_row_index("row").with_columns(_micros())
    frame = to_polars(events).with_columns(_micros())
    if end is None:
        end = int(frame["at"].to_numpy().max(initial=0))
    frame = frame.filter(pl.col("kind") != "impression", pl.col("at") <= end)
    signs = _attributed(frame, shown)
    answers = round(config.response_window_hours * HOUR_US)
    ends = round(config.conversion_window_hours * HOUR_US)
    age = pl.col("at") - pl.col("shown_at")
    found = signs.group_by("row").agg(
        click=((pl.col("kind") == "click") & (age <= answers)).any(),
        watch_s=pl.col("value").filter((pl.col("kind") == "watch") & (age <= answers)).cast(pl.Float64).sum(),
        converted=(pl.col("kind").is_in(config.conversion_kinds) & (age <= ends)).any(),
    )
    shown = shown.join(found, on="row", how="left", maintain_order="left")
    shown = shown.join(_durations(videos), on="video_id", how="left", maintain_order="left")
    click = shown["click"].fill_null(value=False).to_numpy()
    conversion = click & shown["converted"].fill_null(value=False).to_numpy()
    at = shown["at"].to_numpy().astype(np.int64)
    return ImpressionLabels(
        click=click.astype(np.float32),
        watch_s=shown["watch_s"].fill_null(0.0).to_numpy().astype(np.float32),
        conversion=conversion.astype(np.float32),
        # A conversion that came early teaches no more than one that is missing: to count only the first
        # would make every young impression a conversion.
        mature=at + ends <= end,
        duration_s=shown["duration_s"].fill_null(float("nan")).to_numpy().astype(np.float32),
        at=at,
        user=_numbers(shown["user_id"]),
    )


class LogSplitConfig(BaseConfig):
    """Where a log is cut into parts to train, validate and test on."""

    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the impressions, next to the latest, to stop training and to calibrate by."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the impressions, the latest, to test on."""

    @model_validator(mode="after")
    def _some_left(self) -> "LogSplitConfig":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        return self


@dataclass(frozen=True, slots=True)
class LogSplit:
    """A log in three parts by time. What happened at a boundary belongs to the later part."""

    validation_from: int
    """µs since 1970: the first moment of the validation part."""
    test_from: int
    """µs since 1970: the first moment of the test part."""

    def split_of(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """(N,) 0 where `at` is in the training part, 1 in the validation and 2 in the test part."""
        return ((at >= self.validation_from) + (at >= self.test_from).astype(np.int8)).astype(np.int8)


def split_log(at: npt.NDArray[np.int64], config: LogSplitConfig) -> LogSplit:
    """The parts of a log with impressions `at` (N,) µs; raises RankError where one of them is empty."""
    ordered = np.sort(at)
    later = config.validation_share + config.test_share
    firsts = [round(len(at) * (1 - share)) for share in (later, config.test_share)]
    if len(at) and firsts[1] < len(at):
        parts = LogSplit(*(int(ordered[first]) for first in firsts))
        sizes = np.bincount(parts.split_of(at), minlength=3)
        if sizes.all():
            return parts
    raise RankError(
        f"time_parts: {len(at):,} impressions at {len(np.unique(at)):,} times cannot be cut into three parts",
        fix="give a longer log, or other shares",
    )


def _micros() -> pl.Expr:
    return pl.col("at").dt.epoch("us")


def _attributed(events: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """The events that belong to an impression, with its row and time."""
    events = events.select("user_id", "video_id", "request_id", "kind", "value", "at").sort(
        "at", maintain_order=True
    )
    shown = shown.select("row", "user_id", "video_id", "request_id", "at", shown_at="at").sort("at", "row")
    named = _latest(events, shown.drop_nulls("request_id"), ["user_id", "video_id", "request_id"])
    rest = named.filter(pl.col("row").is_null()).drop("row", "shown_at")
    others = _latest(rest, shown.drop("request_id"), ["user_id", "video_id"])
    return pl.concat([named, others]).drop_nulls("row")


def _latest(events: pl.DataFrame, shown: pl.DataFrame, same: list[str]) -> pl.DataFrame:
    """Each event with `row` and `shown_at` of the latest impression at or before it with the same ids."""
    # Of impressions at one moment the last counts.
    shown = shown.unique([*same, "at"], keep="last", maintain_order=True)
    return events.join_asof(shown, on="at", by=same, strategy="backward", check_sortedness=False)


def _durations(videos: pa.Table | None) -> pl.DataFrame:
    table = VIDEOS.arrow().empty_table() if videos is None else videos
    frame = to_polars(conform(table, VIDEOS, stage="labels_of", extra=True)).select("video_id", "duration_s")
    return frame.filter(pl.col("duration_s") > 0).unique("video_id", keep="first", maintain_order=True)


def hash_user_id(user_id: str) -> int:
    """The number that stands for a user in Labels: the same in whichever part of the log, 64 bits, signed."""
    return int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), "big", signed=True)


def _numbers(users: pl.Series) -> npt.NDArray[np.int64]:
    found = {user: hash_user_id(user) for user in users.unique().to_list()}
    return np.array([found[user] for user in users.to_list()], np.int64)
