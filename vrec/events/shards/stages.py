"""Stages from files of events to shards: read and split by event id, deduplicate and split by user, write.

Each is a function from tables to tables, without Ray; `vrec.pipelines.shards` runs them.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.compute import pc
from vrec.core.errors import DataWarning, EventsError
from vrec.core.schema import EVENTS
from vrec.core.tables import StorageFolder
from vrec.core.uris import resolve
from vrec.events.config import EventReadConfig
from vrec.events.formats import load_columns
from vrec.events.interactions import to_micros
from vrec.events.polars_tables import from_polars, to_polars
from vrec.events.read import (
    EARLIEST,
    cast_columns,
    choose_columns,
    count_conflicts,
    drop_duplicates,
    with_event_ids,
    with_ids,
    without_future,
)
from vrec.events.shards.hashing import Hashes, bucket_of, shard_of, stable_hash
from vrec.events.shards.inputs import EventPart
from vrec.events.shards.manifest import SHARDS, ShardFile

SORT_ORDER = ("user_id", "at", "event_id")
"""Order of the rows of a shard."""


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Settings of a run, for its workers."""

    out: str
    shards: int
    buckets: int
    """Buckets of event ids, each of which one worker deduplicates."""
    read: EventReadConfig
    now: datetime
    mapping: Mapping[str, str] = field(default_factory=dict)
    own_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadPart:
    """Counts of a part that was read."""

    uri: str
    rows: int
    """Rows of the table."""
    missing: int
    """Rows left out, as they name no user or video."""
    early: int
    """Events before 2000."""
    span: tuple[datetime, datetime] | None
    """First and last time; None without events."""
    messages: tuple[str, ...] = ()
    """Texts of DataWarnings."""
    whole: bool = False
    """Whether the file has to be read whole, as the part alone does not tell how its values are meant. The
    part has no rows then."""


@dataclass(frozen=True, slots=True)
class UniqueEvents:
    """Counts of a bucket that was deduplicated."""

    rows: int
    """Before."""
    unique: int
    future: int
    """Unique events left out, as they lie in the future."""
    conflicts: tuple[int, str]
    sizes: tuple[int, ...]
    """(shards,) events of each."""


def read_part(job: ShardJob, part: EventPart) -> tuple[ReadPart, Hashes, list[pa.Table]]:
    """Read a part, and return its counts, the (N,) hashes of its event ids, and its EVENTS by bucket.

    Raises:
        SchemaError, EventsError: The file, which is read whole, cannot be used.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        try:
            raw = _load(job, part)
            cast = cast_columns(raw, part.uri, job.read, job.own_kinds)
            frame = with_event_ids(with_ids(cast, part.uri, job.read))
            if job.read.future == "refuse":
                without_future(frame, part.uri, job.read, job.now)
        except EventsError:
            # Read whole, the file may be good; else the message is of the file, with its row.
            if part.groups is None:
                raise
            return _again(job, part)
    messages = tuple(str(one.message) for one in caught if issubclass(one.category, DataWarning))
    if messages and part.groups is not None:
        return _again(job, part)
    at, span = frame["at"], None
    if frame.height:
        span = (at.min(), at.max())
    counts = ReadPart(
        part.uri,
        cast.height,
        cast.height - frame.height,
        int((at < EARLIEST).sum()),
        span,  # type: ignore[arg-type]  polars does not know the type of a column's least value
        messages,
    )
    hashes = stable_hash(frame["event_id"].to_arrow())
    events = from_polars(frame, EVENTS, f"events {part.uri}")
    return counts, hashes, split_table(events, bucket_of(hashes, job.buckets), job.buckets)


def _load(job: ShardJob, part: EventPart) -> pl.DataFrame:
    if part.groups is None:
        return load_columns(part.uri, lambda names: choose_columns(part.uri, names, job.mapping))
    filesystem, path = resolve(part.uri)
    with pq.ParquetFile(path, filesystem=filesystem) as parquet:
        columns = choose_columns(part.uri, parquet.schema_arrow.names, job.mapping)
        table = parquet.read_row_groups(list(part.groups), columns=sorted(set(columns.values())))
    return to_polars(table).select(pl.col(source).alias(name) for name, source in columns.items())


def _again(job: ShardJob, part: EventPart) -> tuple[ReadPart, Hashes, list[pa.Table]]:
    empty = EVENTS.arrow().empty_table()
    counts = ReadPart(part.uri, 0, 0, 0, None, whole=True)
    return counts, np.empty(0, np.uint64), [empty] * job.buckets


def split_table(table: pa.Table, place: npt.NDArray[np.int64], places: int) -> list[pa.Table]:
    """Return the rows of each place, in their order, given the (N,) places of the rows."""
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(places + 1))
    # Each is a copy: a slice would travel with the memory of all of them.
    return [table.take(pa.array(order[first:last])) for first, last in pairwise(bounds)]


def find_echoes(job: ShardJob, name: str, *new: Hashes) -> tuple[int, pa.Array, list[pa.Table]]:
    """Return the events of a shard whose ids may be among those of new events.

    Args:
        job: Settings.
        name: File of the shard.
        *new: Hashes of new events' ids.

    Returns:
        Their number, their ids, and EVENTS by bucket.
    """
    folder = StorageFolder(job.out)
    ids = folder.read_parquet(name, columns=["event_id"]).column("event_id").combine_chunks()
    hashes = stable_hash(ids)
    rows = np.flatnonzero(np.isin(hashes, np.concatenate(new)))
    taken = pa.array(rows)
    found = folder.read_parquet(name).take(taken) if len(rows) else EVENTS.arrow().empty_table()
    return len(rows), ids.take(taken), split_table(found, bucket_of(hashes[rows], job.buckets), job.buckets)


def merge_bucket(job: ShardJob, *tables: pa.Table) -> tuple[UniqueEvents, list[pa.Table]]:
    """Deduplicate the EVENTS of a bucket; return counts, and the events up to the present by shard."""
    frame = to_polars(pa.concat_tables(tables))
    unique = drop_duplicates(frame)
    past, future = unique, 0
    if job.read.future == "drop" and unique.height:
        is_future = unique["at"].dt.epoch("us") > _latest(job)
        past, future = unique.filter(~is_future), int(is_future.sum())
    events = from_polars(past, EVENTS, "shard")
    split = split_table(events, shard_of(events.column("user_id"), job.shards), job.shards)
    sizes = tuple(table.num_rows for table in split)
    return UniqueEvents(frame.height, unique.height, future, count_conflicts(frame), sizes), split


def _latest(job: ShardJob) -> int:
    return to_micros(job.now) + round(job.read.future_tolerance_s * 1e6)


def write_shard(
    job: ShardJob, number: int, old: str | None, gone: pa.Array | None, *tables: pa.Table
) -> ShardFile | None:
    """Write a shard with new EVENTS to a file named by its content, and return it; None for no events.

    Args:
        job: Settings.
        number: The shard.
        old: File of its events so far.
        gone: Ids of events of that file that are not in it any more; they may be among the new ones.
        *tables: New EVENTS of its users.
    """
    folder = StorageFolder(job.out)
    parts = list(tables)
    if old is not None:
        held = folder.read_parquet(old)
        if gone is not None and len(gone):
            held = held.filter(pc.invert(pc.is_in(held.column("event_id"), value_set=gone)))
        parts.append(held)
    frame = to_polars(pa.concat_tables(parts)).sort(SORT_ORDER)
    if not frame.height:
        return None
    sink = pa.BufferOutputStream()
    pq.write_table(from_polars(frame, EVENTS, "shard"), sink, compression="zstd")
    data = sink.getvalue()
    sha = hashlib.sha256(data).hexdigest()
    name = f"{SHARDS}/{number:05d}-{sha[:12]}.parquet"
    if not folder.exists(name):
        folder.write(name, data)
    at: Any = frame["at"].dt.epoch("us")
    kinds = tuple(frame["kind"].unique().sort().to_list())
    return ShardFile(number, name, frame.height, sha, kinds, at.min(), at.max())


def read_shard(out: str, file: ShardFile, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the EVENTS of a shard, or some of their columns, sorted by user, time and event id."""
    return StorageFolder(out).read_parquet(file.name, None if columns is None else [*columns])
