"""From parts to the finished table: Parquet files of a bounded size, then the manifest that lists them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import DuplicateVideoId
from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA, conform
from vrec.core.tables import StorageFolder
from vrec.core.types import MODALITIES, Modality
from vrec.pipelines.embed.checkpoints import PARTS

Files = dict[str, list[str]]
"""The finished table's files by table: media, failures, embeddings/frames, …"""


@dataclass(slots=True)
class TableCompaction:
    """One run's move from parts to files. Old files are left alone until the manifest has moved on."""

    folder: StorageFolder
    uris: pa.Table
    """`video_id` and `uri` of the catalogue as it is now: a file that moved is not decoded again for it."""
    names: Mapping[Modality, str]
    rows_per_file: int
    generation: int
    files: Files = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add_existing(self, old: Files, video_ids: pa.Array) -> None:
        """Takes over the old files' rows of these videos; a file whose rows all stay is not rewritten."""
        for table, names in old.items():
            for name in names:
                rows = self._stale(table, name, video_ids)
                if rows is None:
                    self.files.setdefault(table, []).append(name)
                elif rows.num_rows:
                    self._write(table, rows)

    def _stale(self, table: str, name: str, video_ids: pa.Array) -> pa.Table | None:
        """What to write in a file's stead, or None where it can stay as it is."""
        if table.startswith("embeddings/"):
            stays = pc.is_in(self.folder.read_parquet(name, ["entity_id"])[0], value_set=video_ids)
            return None if _all(stays) else self.folder.read_parquet(name).filter(stays)
        rows = self.folder.read_parquet(name)
        stays = pc.is_in(rows["video_id"], value_set=video_ids)
        if table == "failures":
            # A duplicate's row bears the id of the video that was kept; each run finds it anew.
            stays = pc.and_(stays, pc.not_equal(rows["error"], DuplicateVideoId.__name__))
        moved = self._moved(rows.filter(stays))
        return None if _all(stays) and moved.equals(rows) and rows.num_rows else moved

    def _moved(self, rows: pa.Table) -> pa.Table:
        place = pc.index_in(rows["video_id"], value_set=self.uris["video_id"])
        index = rows.column_names.index("uri")
        return rows.set_column(index, rows.schema.field(index), self.uris["uri"].take(place))

    def add(self, parts: Iterable[pa.Table]) -> None:
        """Writes PART tables as files of at most `rows_per_file` videos."""
        for part in _chunk_parts(parts, self.rows_per_file):
            rows = self._moved(part)
            good = rows.filter(pc.is_null(rows["error"]))
            self._write("media", conform(rows.select(MEDIA.arrow().names), MEDIA, stage="embed"))
            self.add_failures(rows.filter(pc.is_valid(rows["error"])).select(FAILURES.arrow().names))
            for modality in MODALITIES:
                table = embedding_rows(good, modality, self.names.get(modality, ""))
                if table is not None:
                    self._write(f"embeddings/{modality}", table)

    def add_failures(self, rows: pa.Table) -> None:
        """Writes FAILURES rows, where there are any."""
        if rows.num_rows:
            self._write("failures", conform(rows, FAILURES, stage="embed"))

    def finish(self) -> Files:
        """The files of the new table; a table without rows still has one file, so that readers find it."""
        for table, schema in (("media", MEDIA), ("failures", FAILURES)):
            if not self.files.get(table):
                self._write(table, schema.arrow().empty_table())
        return self.files

    def _write(self, table: str, rows: pa.Table) -> None:
        number = self._counts.get(table, 0)
        self._counts[table] = number + 1
        stem = f"{table}-" if table.startswith("embeddings/") else f"{table}/part-"
        name = f"{stem}{self.generation:04d}-{number:05d}.parquet"
        self.folder.write_parquet(name, rows)
        self.files.setdefault(table, []).append(name)


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())


def _chunk_parts(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += part.num_rows
        if rows >= size:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def embedding_rows(good: pa.Table, modality: Modality, encoder: str) -> pa.Table | None:
    """EMBEDDINGS rows of one modality from PART rows; None where no video of them has that modality."""
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
    """The PART tables named, each cut down to the ids given, or whole where that is None."""
    for name, ids in sorted(chosen.items()):
        part = folder.read_arrow(name)
        yield part if ids is None else part.filter(pc.is_in(part["video_id"], value_set=pa.array(ids)))


def remove_unlisted_files(folder: StorageFolder, files: Files) -> None:
    """Removes parts and every table file that the manifest does not list (any more)."""
    listed = {name for names in files.values() for name in names}
    for sub in ("embeddings", "media", "failures"):
        for file in folder.files(sub):
            if f"{sub}/{file}" not in listed and file.endswith(".parquet"):
                folder.remove(f"{sub}/{file}")
    for file in folder.files(PARTS):
        folder.remove(f"{PARTS}/{file}")
    if folder.local:
        with contextlib.suppress(OSError):
            Path(folder.path_of(PARTS)).rmdir()
