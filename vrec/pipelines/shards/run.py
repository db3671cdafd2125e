"""`vrec shard`: files of events to Parquet shards by shopper; unchanged files are not read again.

`shard_events` reads in the order of its stages: list → compare with the manifest → read → find echoes in old
shards → deduplicate → write → manifest.
"""

import contextlib
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vrec.config.events import EventsConfig
from vrec.core.errors import ConfigError, DataWarning, EventsError, OutputError
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.events.read import warn_of_missing_ids, warn_of_times
from vrec.events.shards.inputs import EventPart, InputFile, content_digest, list_inputs, plan_parts
from vrec.events.shards.manifest import SHARDS, EventShards, ShardFile, ShardInput
from vrec.events.shards.stages import ReadPart, ShardJob, UniqueEvents
from vrec.pipelines.output import lock_folder, open_output
from vrec.pipelines.shards.tasks import echo_call, merge_call, part_call, write_call
from vrec.pipelines.task_runner import BASE_BYTES, LocalTasks, Payload, TaskCall, TaskRunner

_log = logging.getLogger(__name__)

FILE_ROW_BYTES = 40
"""Bytes of an event in a file, by which its size is compared with `events.shards.local_events`."""
BUCKET_ROWS = 500_000
"""Rows that one worker deduplicates at once, up to MOST_BUCKETS of them."""
MOST_BUCKETS = 256
SHARD_ROWS = 1_000_000
"""Events of a shard for which a new table has as many shards as it needs, and at least LEAST_SHARDS."""
LEAST_SHARDS = 16


def shard_events(
    events: Sequence[str],
    out: str,
    config: EventsConfig,
    *,
    mapping: Mapping[str, str] | None = None,
    address: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Write the events of some files into the folder `out` as shards, and return a summary.

    A table of an earlier run is added to: unchanged files are not read, and only the shards of shoppers with
    new events are written. The manifest is written last, so that a reader, and the next run after one that
    was killed, see the old table or the new one.

    Args:
        events: Paths or URIs of files, and of folders of files.
        out: The folder.
        config: Reading of events; `events.shards`.
        mapping: The files' columns by those of EVENTS, where the names differ.
        address: The Ray cluster, as `connect_cluster` takes it.
        now: The present; the clock's by default.

    Raises:
        EventsError, SchemaError: A file cannot be used, or has changed and others are missing.
        ConfigError: The table was written with other settings.
        OutputError, ClusterError: The job cannot run.
    """
    begun, now = time.perf_counter(), now or datetime.now(UTC)
    folder = open_output(out, SHARDS)
    files = list_inputs(events)
    with lock_folder(folder), contextlib.ExitStack() as stack:
        tasks = _runner(sum(file.size for file in files), config, address, stack)
        previous, fresh, unchanged = _compare(folder, files, config, dict(mapping or {}), tasks)
        if previous.files and not fresh:
            return _summary(folder, previous, begun, unchanged=len(unchanged))
        parts = [part for file in fresh for part in plan_parts(file, mapping or {})]
        rows = sum(part.rows for part in parts)
        if not previous.shards:
            shards = config.shards.count or max(LEAST_SHARDS, 1 << (rows // SHARD_ROWS).bit_length())
            previous = replace(previous, shards=shards)
        job = ShardJob(
            folder.uri,
            previous.shards,
            min(MOST_BUCKETS, 1 + rows // BUCKET_ROWS),
            config.read,
            now,
            mapping or {},
            tuple(config.interest.own_kinds),
        )
        table, written = _Sharding(job, tasks, previous).add(parts)
        if not table.rows:
            raise EventsError(f"{', '.join(events)}: every event lies in the future")
        table = replace(table, inputs=(*unchanged, *_fingerprints(fresh, tasks)))
        table.save(folder)
        _remove_stale(folder, table)
        return _summary(folder, table, begun, unchanged=len(unchanged), read=len(fresh), written=written)


def _runner(size: int, config: EventsConfig, address: str | None, stack: contextlib.ExitStack) -> TaskRunner:
    """Return where the tasks run: in this process for small inputs where no cluster is named."""
    if address is None and size <= config.shards.local_events * FILE_ROW_BYTES:
        return LocalTasks()
    # Imported here: Ray takes longer to import and to start than a small table.
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.ray_tasks import RayTasks

    stack.enter_context(connect_cluster(address))
    stack.enter_context(unwrap_ray_errors())
    return RayTasks()


def _compare(
    folder: StorageFolder,
    files: Sequence[InputFile],
    config: EventsConfig,
    mapping: dict[str, str],
    tasks: TaskRunner,
) -> tuple[EventShards, list[InputFile], list[ShardInput]]:
    """Return the table to add to, the files to read, and the inputs that stay as they are."""
    # Those that decide what a row is read as; the others only refuse rows.
    settings = config.read.model_dump(mode="json", include={"kind", "domain", "missing_ids"}) | {
        "map": mapping
    }
    previous = EventShards.load(folder)
    if previous is None:
        if folder.exists(MANIFEST):
            raise OutputError(f"{folder.uri}: its {MANIFEST} is not of shards", fix="give another --out")
        return EventShards(0, settings), list(files), []
    known = {one.uri: one for one in previous.inputs}
    same = {file.name: known[file.name] for file in files if _looks_unchanged(file, known)}
    # A file that was copied or touched has another time and the same content.
    suspects = [file for file in files if file.name in known and file.name not in same]
    for file, now in zip(suspects, _fingerprints(suspects, tasks), strict=True):
        if now.sha256 == known[file.name].sha256:
            same[file.name] = now
    changed = [file.name for file in suspects if file.name not in same]
    count = config.shards.count or previous.shards
    reasons = [f"{name} has changed" for name in changed]
    if settings != previous.settings:
        reasons.append("events are to be read with other settings")
    if count != previous.shards:
        reasons.append(f"it has {previous.shards} shards and not {count}")
    if not reasons:
        stays = [same.get(one.uri, one) for one in previous.inputs]
        return previous, [file for file in files if file.name not in known], stays
    if lost := sorted(known.keys() - {file.name for file in files}):
        raise ConfigError(
            f"{folder.uri}: {reasons[0]}, and it cannot be written again without {lost[0]}",
            fix="give --events all files that it was made from, or another --out",
        )
    _log.info("the table is written again: %s", reasons[0])
    return EventShards(0, settings), list(files), []


def _looks_unchanged(file: InputFile, known: Mapping[str, ShardInput]) -> bool:
    one = known.get(file.name)
    return one is not None and bool(file.modified) and (one.size, one.modified) == (file.size, file.modified)


def _fingerprints(files: Sequence[InputFile], tasks: TaskRunner) -> list[ShardInput]:
    calls = [TaskCall(content_digest, (file.uri,), BASE_BYTES) for file in files]
    digests = [digest for digest, _ in tasks.run(calls)]
    return [ShardInput(f.name, f.size, f.modified, sha) for f, sha in zip(files, digests, strict=True)]


@dataclass(frozen=True, slots=True)
class _Sharding:
    """One run that adds parts of files to a table."""

    job: ShardJob
    tasks: TaskRunner
    previous: EventShards

    def add(self, parts: Sequence[EventPart]) -> tuple[EventShards, int]:
        """Return the table with the events of parts added, and the number of shards written."""
        hashes, by_bucket = self._read(parts)
        gone = self._echoes(hashes, by_bucket)
        merged = self.tasks.run([merge_call(self.job, tables) for tables in by_bucket])
        counts: list[UniqueEvents] = [one for one, _ in merged]
        files = self._write(counts, [payloads for _, payloads in merged], gone)
        written = sum(file not in self.previous.files for file in files)
        before = self.previous
        conflicts = [before.conflicts, *(one.conflicts for one in counts)]
        example = min((example for _, example in conflicts if example), default="")
        table = replace(
            before,
            files=tuple(files),
            duplicates=before.duplicates + sum(one.rows - one.unique for one in counts),
            future=before.future + sum(one.future for one in counts),
            conflicts=(sum(count for count, _ in conflicts), example),
        )
        return table, written

    def _read(self, parts: Sequence[EventPart]) -> tuple[list[Payload], list[list[tuple[int, Payload]]]]:
        """Return the hashes of each part, and its rows with their number by bucket."""
        done = list(zip(parts, self.tasks.run([part_call(self.job, part) for part in parts]), strict=True))
        # A file of which one part does not tell how its values are meant is read whole.
        whole = {part.uri: 0 for part, (counts, _) in done if counts.whole}
        for part in parts:
            if part.uri in whole:
                whole[part.uri] += part.rows
        again = [EventPart(uri, rows) for uri, rows in whole.items()]
        done = [one for one in done if one[0].uri not in whole]
        done += zip(again, self.tasks.run([part_call(self.job, part) for part in again]), strict=True)
        _warn([counts for _, (counts, _) in done])
        payloads = [(counts.rows - counts.missing, refs) for _, (counts, refs) in done]
        by_bucket = [
            [(-(-rows // self.job.buckets), refs[1 + bucket]) for rows, refs in payloads]
            for bucket in range(self.job.buckets)
        ]
        return [refs[0] for _, refs in payloads], by_bucket

    def _echoes(
        self, hashes: Sequence[Payload], by_bucket: list[list[tuple[int, Payload]]]
    ) -> dict[int, Payload]:
        """Add the old events with ids of new ones to the buckets; return their ids by shard."""
        files = self.previous.files
        gone: dict[int, Payload] = {}
        found = self.tasks.run([echo_call(self.job, file, hashes) for file in files])
        for file, (count, (ids, *tables)) in zip(files, found, strict=True):
            if count:
                gone[file.number] = ids
                for bucket, table in zip(by_bucket, tables, strict=True):
                    bucket.append((-(-count // self.job.buckets), table))
        return gone

    def _write(
        self, counts: Sequence[UniqueEvents], tables: Sequence[Sequence[Payload]], gone: Mapping[int, Payload]
    ) -> list[ShardFile]:
        """Write the shards with other events than before, and return all files by number."""
        files = {file.number: file for file in self.previous.files}
        new = {shard: sum(one.sizes[shard] for one in counts) for shard in range(self.job.shards)}
        touched = [shard for shard, rows in new.items() if rows or shard in gone]
        calls = [
            write_call(
                self.job, shard, files.get(shard), gone.get(shard), (new[shard], [t[shard] for t in tables])
            )
            for shard in touched
        ]
        for shard, (file, _) in zip(touched, self.tasks.run(calls), strict=True):
            files.pop(shard, None)
            if file is not None:
                files[shard] = file
        return [files[number] for number in sorted(files)]


def _warn(parts: Sequence[ReadPart]) -> None:
    """Give the DataWarnings of files as `read_events` gives them."""
    by_file: dict[str, list[ReadPart]] = {}
    for part in parts:
        by_file.setdefault(part.uri, []).append(part)
    for uri, counts in by_file.items():
        for message in dict.fromkeys(message for one in counts for message in one.messages):
            warnings.warn(message, DataWarning, stacklevel=2)
        rows, missing = sum(one.rows for one in counts), sum(one.missing for one in counts)
        warn_of_missing_ids(missing, rows, uri)
        if spans := [one.span for one in counts if one.span is not None]:
            span = min(first for first, _ in spans), max(last for _, last in spans)
            warn_of_times(sum(one.early for one in counts), rows - missing, span, uri)


def _remove_stale(folder: StorageFolder, table: EventShards) -> None:
    listed = {file.name for file in table.files}
    for name in folder.files(SHARDS):
        if f"{SHARDS}/{name}" not in listed:
            folder.remove(f"{SHARDS}/{name}")


def _summary(
    folder: StorageFolder,
    table: EventShards,
    begun: float,
    *,
    unchanged: int,
    read: int = 0,
    written: int = 0,
) -> dict[str, Any]:
    return {
        "out": folder.uri,
        "events": table.rows,
        "duplicates": table.duplicates,
        "future": table.future,
        "shards": table.shards,
        "shards_written": written,
        "files_read": read,
        "files_unchanged": unchanged,
        "seconds": round(time.perf_counter() - begun, 3),
    }
