"""Compaction of parts into the finished table: Parquet files of a bounded size."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import DuplicateVideoId, UnlistedVideo
from vrec.core.masking import mask_credentials
from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA, conform
from vrec.core.tables import StorageFolder
from vrec.core.types import MODALITIES, Modality
from vrec.pipelines.embed.checkpoints import PARTS, remove_parts
from vrec.pipelines.embed.moments import moment_rows
from vrec.pipelines.embed.plan import EmbedPlan

Files = dict[str, list[str]]
"""Files of the finished table, by table: media, failures, embeddings/frames, …"""
_VECTOR_TABLES = ("embeddings/", "moments/")
"""Prefixes of the tables with a file, or several, per modality."""
_LISTING_ERRORS = pa.array([kind.__name__ for kind in (DuplicateVideoId, UnlistedVideo)])


@dataclass(slots=True)
class TableCompaction:
    """Compaction of one run. Old files stay until a new manifest no longer lists them."""

    folder: StorageFolder
    uris: pa.Table
    """`video_id` and `uri` of the current catalog: a file that moved is not decoded again."""
    encoders: Mapping[Modality, str]
    """Encoder names."""
    rows_per_file: int
    """A file ends with the part with which it reaches this number of videos."""
    generation: int
    """Number of the run, which is part of its files' names."""
    moment_encoders: Mapping[Modality, str] = field(default_factory=dict)
    """Encoder names of moments."""
    files: Files = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def run(self, plan: EmbedPlan, old: Files) -> Files:
        """Write the table of a plan and return its files: reused rows of `old`, parts, duplicates."""
        self.add_existing(old, plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], "")))
        self.add(select_parts(self.folder, plan.parts))
        self.add_failures(plan.duplicates)
        return self.finish()

    def add_existing(self, old: Files, video_ids: pa.Array) -> None:
        """Add the old files' rows of these videos; a file whose rows all stay is not rewritten."""
        for table, names in old.items():
            for name in names:
                rows = self._rewritten_rows(table, name, video_ids)
                if rows is None:
                    self.files.setdefault(table, []).append(name)
                elif rows.num_rows:
                    self._write(table, rows)

    def _rewritten_rows(self, table: str, name: str, video_ids: pa.Array) -> pa.Table | None:
        """Return the rows that must replace a file, or None where the file can stay as it is."""
        if table.startswith(_VECTOR_TABLES):
            key = "entity_id" if table.startswith("embeddings/") else "video_id"
            stays = pc.is_in(self.folder.read_parquet(name, [key])[0], value_set=video_ids)
            return None if _all(stays) else self.folder.read_parquet(name).filter(stays)
        rows = self.folder.read_parquet(name)
        stays = pc.is_in(rows["video_id"], value_set=video_ids)
        if table == "failures":
            # Such a row may have the id of a video that was kept, and each run lists the catalog again.
            listing = pc.is_in(rows["error"], value_set=_LISTING_ERRORS)
            stays = pc.and_(stays, pc.invert(listing))
        current = update_uris(rows.filter(stays), self.uris)
        return None if _all(stays) and current.equals(rows) and rows.num_rows else current

    def add(self, parts: Iterable[pa.Table]) -> None:
        """Write PART tables, joined until a file has at least `rows_per_file` videos."""
        for part in _chunk_parts(parts, self.rows_per_file):
            rows = update_uris(part, self.uris)
            good = rows.filter(pc.is_null(rows["error"]))
            self._write("media", conform(rows.select(MEDIA.arrow().names), MEDIA, stage="embed"))
            self.add_failures(rows.filter(pc.is_valid(rows["error"])).select(FAILURES.arrow().names))
            for modality in MODALITIES:
                table = embedding_rows(good, modality, self.encoders.get(modality, ""))
                if table is not None:
                    self._write(f"embeddings/{modality}", table)
            for modality, encoder in self.moment_encoders.items():
                table = moment_rows(good, modality, encoder)
                if table is not None:
                    self._write(f"moments/{modality}", table)

    def add_failures(self, rows: pa.Table) -> None:
        """Write FAILURES rows, if there are any."""
        if rows.num_rows:
            self._write("failures", conform(rows, FAILURES, stage="embed"))

    def finish(self) -> Files:
        """Return the files of the new table; media and failures have a file even without rows."""
        for table, schema in (("media", MEDIA), ("failures", FAILURES)):
            if not self.files.get(table):
                self._write(table, schema.arrow().empty_table())
        return self.files

    def _write(self, table: str, rows: pa.Table) -> None:
        number = self._counts.get(table, 0)
        self._counts[table] = number + 1
        stem = f"{table}-" if table.startswith(_VECTOR_TABLES) else f"{table}/part-"
        name = f"{stem}{self.generation:04d}-{number:05d}.parquet"
        self.folder.write_parquet(name, rows)
        self.files.setdefault(table, []).append(name)


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())


def _chunk_parts(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    pending: list[pa.Table] = []
    rows = 0
    for part in parts:
        pending.append(part)
        rows += part.num_rows
        if rows >= size:
            yield pa.concat_tables(pending)
            pending, rows = [], 0
    if pending:
        yield pa.concat_tables(pending)


def update_uris(rows: pa.Table, refs: pa.Table) -> pa.Table:
    """Return rows with `video_id` and `uri` after replacing each URI by that of `refs`, null without one.

    Credentials inside the URIs are masked.
    """
    matches = pc.index_in(rows["video_id"], value_set=refs["video_id"])
    column = rows.column_names.index("uri")
    uris = [None if uri is None else mask_credentials(uri) for uri in refs["uri"].take(matches).to_pylist()]
    field = rows.schema.field(column)
    return rows.set_column(column, field, pa.array(uris, field.type))


def embedding_rows(good: pa.Table, modality: Modality, encoder: str) -> pa.Table | None:
    """Return EMBEDDINGS rows of one modality from PART rows, None where no video has that modality."""
    column = good[f"vector_{modality}"].combine_chunks()
    present = good.filter(pc.is_valid(column))
    if not present.num_rows:
        return None
    vectors = pc.drop_null(column)
    dim = len(vectors[0])
    columns = [
        present["video_id"],
        pa.repeat(pa.scalar(str(modality)), present.num_rows),
        pa.repeat(pa.scalar(encoder), present.num_rows),
        present["content_hash"],
        pa.FixedSizeListArray.from_arrays(vectors.flatten(), dim),
    ]
    return conform(pa.Table.from_arrays(columns, schema=EMBEDDINGS.arrow(dim)), EMBEDDINGS, stage="embed")


def select_parts(folder: StorageFolder, chosen: Mapping[str, Sequence[str] | None]) -> Iterator[pa.Table]:
    """Yield PART tables by name, each with only the given ids, or whole where these are None."""
    for name, ids in sorted(chosen.items()):
        part = folder.read_arrow(name)
        yield part if ids is None else part.filter(pc.is_in(part["video_id"], value_set=pa.array(ids)))


def remove_unlisted_files(folder: StorageFolder, files: Files) -> None:
    """Remove all parts, and every table file that is not among `files`."""
    listed = {name for names in files.values() for name in names}
    for sub in ("embeddings", "moments", "media", "failures"):
        for file in folder.files(sub):
            if f"{sub}/{file}" not in listed and file.endswith(".parquet"):
                folder.remove(f"{sub}/{file}")
    remove_parts(folder)
    if folder.local:
        with contextlib.suppress(OSError):
            Path(folder.path_of(PARTS)).rmdir()
