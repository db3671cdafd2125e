"""Readers of public logs of live streams, for comparing models with published results.

Both follow the formats' published descriptions; the files themselves were not at hand when they were written.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, STREAMS
from vrec.core.uris import join_uri, resolve
from vrec.events.columns import POLARS_TIMESTAMP
from vrec.events.datasets import dataset_folder, epoch_time, read_frame
from vrec.events.polars_tables import from_polars

STEP_S = 600
"""Seconds of a step of LiveRec's clock."""
STEP_0 = datetime(2020, 1, 1, tzinfo=UTC)
"""Made-up time of step 0 of LiveRec's clock."""
LIVEREC_FILES = ("100k.csv", "full_a.csv.gz", "full_a.csv")
KUAILIVE_FILE = "room.csv"


@dataclass(frozen=True, slots=True)
class LiveDataset:
    """A log of live streams as vrec's tables."""

    name: str
    events: pa.Table
    """EVENTS, sorted by time, then event_id; `video_id` is a stream."""
    streams: pa.Table
    """STREAMS, sorted by id, those of `events` at least."""
    note: str
    """Source, license and conversion."""


LiveDatasetReader = Callable[[str | os.PathLike[str]], LiveDataset]
"""A function from a file of a set, or from its folder, to the set."""


def read_liverec(path: str | os.PathLike[str]) -> LiveDataset:
    """Read the Twitch log of LiveRec from one of its files, or from a folder with one.

    Rows are `user, stream, streamer, start, stop` without a header, in steps of ten minutes, and become
    watches. The log says nothing of streams that nobody watched: a stream is live from its first view's start
    to its last view's end. A streamer whose streams overlap in this log has the earlier one end where the
    later one starts. Rappaz, McAuley and Aberer 2021, "Recommendation on Live-Streaming Platforms: Dynamic
    Availability and Repeat Consumption".

    Args:
        path: `100k.csv`, `full_a.csv.gz`, or the folder that holds one of them; of both, the first is read.

    Raises:
        EventsError: There is no such file, a row is not of this form, or a view ends before it begins.
    """
    uri = _liverec_file(os.fspath(path))
    names = ["user_id", "video_id", "streamer_id", "start", "stop"]
    types = [pl.String, pl.String, pl.String, pl.Int64, pl.Int64]
    options = {
        "has_header": False,
        "new_columns": names,
        "schema_overrides": dict(zip(names, types, strict=True)),
    }
    rows = read_frame(uri, pl.read_csv, **options)
    if rows.width != len(names) or rows.null_count().sum_horizontal().sum():
        raise EventsError(f"{uri}: a row is not of the form {', '.join(names)}", fix="give LiveRec's file")
    if (backwards := rows.filter(pl.col("stop") < pl.col("start")).height) > 0:
        raise EventsError(f"{uri}: {backwards:,} views end before they begin", fix="give LiveRec's file")
    streams = _without_overlaps(
        rows.group_by("video_id", "streamer_id").agg(pl.col("start").min(), pl.col("stop").max())
    )
    events = rows.with_row_index("row").select(
        pl.concat_str(pl.lit("view"), "row", separator="-").alias("event_id"),
        "user_id",
        "video_id",
        kind=pl.lit("watch"),
        value=((pl.col("stop") - pl.col("start")) * STEP_S).cast(pl.Float32),
        at=_step_time("stop"),
    )
    note = "LiveRec, Twitch; times are steps of ten minutes from a made-up day, intervals those of the views"
    return _dataset("liverec", events, streams, note)


def read_kuailive(folder: str | os.PathLike[str]) -> LiveDataset:
    """Read KuaiLive from its folder, or from `kuailive/` below `folder`.

    Of `click.csv` each row is a click at its time and a watch that ends `watch_live_time` later; a row of
    `negative.csv` is an impression, of `like.csv` a like, of `comment.csv` and `gift.csv` an event of that
    kind, whose value is the gift's price. `room.csv` gives the streams; rows of other rooms are left out. All
    but `click.csv` and `room.csv` may be missing. Qu et al. 2025, arXiv:2508.05633.

    Raises:
        EventsError: A file or a column is missing.
    """
    base = dataset_folder(folder, "kuailive", KUAILIVE_FILE)
    rooms = _read_columns(
        base,
        KUAILIVE_FILE,
        "live_id",
        "streamer_id",
        "start_timestamp",
        "end_timestamp",
        "live_content_category",
    )
    streams = rooms.select(
        stream_id="live_id",
        streamer_id="streamer_id",
        category="live_content_category",
        started_at=_milliseconds("start_timestamp"),
        ended_at=_milliseconds("end_timestamp"),
    ).unique("stream_id", keep="first", maintain_order=True)
    clicks = _events(base, "click", "watch_live_time")
    watched = pl.col("watch_live_time").cast(pl.Int64)
    watches = clicks.with_columns(
        event_id=pl.concat_str(pl.lit("watch"), "row", separator="-"),
        kind=pl.lit("watch"),
        value=(watched / 1000).cast(pl.Float32),
        at=pl.col("at") + pl.duration(milliseconds=watched),
    )
    parts = [clicks, watches]
    for file, kind in (("negative", "impression"), ("like", "like"), ("comment", "comment")):
        if _exists(join_uri(base, f"{file}.csv")):
            parts.append(_events(base, file).with_columns(kind=pl.lit(kind)))
    if _exists(join_uri(base, "gift.csv")):
        gifts = _events(base, "gift", "gift_price")
        parts.append(gifts.with_columns(value=pl.col("gift_price").cast(pl.Float32)))
    events = pl.concat(parts, how="diagonal").join(
        streams.select(video_id="stream_id"), on="video_id", how="semi"
    )
    return _dataset(
        "kuailive", events, streams, "KuaiLive, Kuaishou, 21 days of May 2025; times in milliseconds"
    )


LIVE_DATASETS: dict[str, LiveDatasetReader] = {"liverec": read_liverec, "kuailive": read_kuailive}
"""The readers by name."""


def _dataset(name: str, events: pl.DataFrame, streams: pl.DataFrame, note: str) -> LiveDataset:
    table = from_polars(events.with_columns(domain=pl.lit(name)).sort("at", "event_id"), EVENTS, name)
    empty = pl.lit([], pl.List(pl.String))
    known = from_polars(streams.with_columns(tags=empty, product_ids=empty).sort("stream_id"), STREAMS, name)
    return LiveDataset(name, table, known, note)


def _liverec_file(path: str) -> str:
    found = [uri for name in LIVEREC_FILES if _exists(uri := join_uri(path, name))]
    return found[0] if found else path


def _exists(uri: str) -> bool:
    filesystem, path = resolve(uri)
    return filesystem.get_file_info(path).is_file


def _without_overlaps(streams: pl.DataFrame) -> pl.DataFrame:
    """Return streams of which no streamer has two at a time; those that would be empty have no length."""
    following = pl.col("start").shift(-1).over("streamer_id")
    ordered = streams.sort("streamer_id", "start", "video_id")
    return ordered.select(
        "streamer_id",
        stream_id="video_id",
        started_at=_step_time("start"),
        ended_at=_time_of_step(pl.min_horizontal("stop", following)),
    )


def _step_time(column: str) -> pl.Expr:
    return _time_of_step(pl.col(column))


def _time_of_step(step: pl.Expr) -> pl.Expr:
    return (pl.lit(STEP_0) + pl.duration(seconds=step * STEP_S)).cast(POLARS_TIMESTAMP)


def _events(base: str, file: str, *more: str) -> pl.DataFrame:
    """Return the rows of a file of KuaiLive as events of the kind that it is named after."""
    rows = _read_columns(base, f"{file}.csv", "user_id", "live_id", "timestamp", *more).with_row_index("row")
    return rows.select(
        pl.concat_str(pl.lit(file), "row", separator="-").alias("event_id"),
        "row",
        "user_id",
        *more,
        video_id="live_id",
        kind=pl.lit(file),
        at=_milliseconds("timestamp"),
    )


def _milliseconds(column: str) -> pl.Expr:
    return epoch_time(pl.col(column).cast(pl.Int64) * 1000)


def _read_columns(base: str, file: str, *columns: str) -> pl.DataFrame:
    uri = join_uri(base, file)
    rows = read_frame(uri, pl.read_csv, infer_schema=False)
    absent = [name for name in columns if name not in rows.columns]
    if absent:
        raise EventsError(f"{uri}: no column {', '.join(absent)}", fix="give KuaiLive's files as published")
    return rows.select(columns)
