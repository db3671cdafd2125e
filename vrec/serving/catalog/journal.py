"""Journal of catalog changes while serving: one small file per change, in a shared folder."""

import time
import uuid

import numpy as np
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.core.tables import StorageFolder
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.core.uris import join_uri
from vrec.serving.messages import CatalogChange

CHANGES = "changes"
SUFFIX = ".arrow"
SETTLED_S = 2.0
"""Seconds after its last modification during which a folder is listed again even if its modification time is
unchanged: two changes can fall on one tick of the filesystem's clock."""


class CatalogJournal:
    """Journal of the changes below a data folder. Every reader sees each change once.

    A change is durable when `write` returns: its file was flushed and renamed. Files are never modified.
    Of two changes of one video the later `at` counts, so writers' clocks should agree.
    """

    def __init__(self, data: str) -> None:
        self._folder = StorageFolder(join_uri(data, CHANGES))
        self._seen: set[str] = set()
        self._last_listing: tuple[int, float] | None = None
        """Modification time of the folder (ns) and time of the listing (s), both since 1970."""
        self.damaged: dict[str, str] = {}
        """Reason why a file was skipped, by file name."""

    def write(self, change: CatalogChange) -> None:
        """Write a change durably.

        Raises:
            SchemaError: The row does not match VIDEOS.
            OutputError: The file cannot be written.
        """
        name = f"{change.at:020d}-{uuid.uuid4().hex}{SUFFIX}"
        sink = pa.BufferOutputStream()
        table = _to_table(change)
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._folder.write(name, sink.getvalue())

    def read_new(self) -> list[CatalogChange]:
        """Return the changes since the last call (the first call: all changes), ascending by time.

        A damaged file is skipped and named in `damaged`.
        """
        modified = self._modified_ns()
        if modified is not None and self._last_listing is not None:
            before, listed_at = self._last_listing
            if modified == before and listed_at - modified / 1e9 > SETTLED_S:
                return []
        # The clock is read first, so that a change written while the folder is listed is found next time.
        now = time.time()
        names = [n for n in self._folder.files() if n.endswith(SUFFIX) and n not in self._seen]
        changes = [change for name in names if (change := self._read(name))]
        self._seen.update(names)
        self._last_listing = None if modified is None else (modified, now)
        return sorted(changes, key=lambda change: change.at)

    def _modified_ns(self) -> int | None:
        """Return the modification time of the folder in ns, or None for a bucket, which has to be listed."""
        if not self._folder.local:
            return None
        info = self._folder.filesystem.get_file_info(self._folder.path)
        return info.mtime_ns

    def _read(self, name: str) -> CatalogChange | None:
        try:
            with pa.ipc.open_file(pa.BufferReader(self._folder.read(name))) as reader:
                return _from_table(reader.read_all())
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            self.damaged[name] = f"{join_uri(self._folder.uri, name)} is not a catalog change: {error}"
            return None


def _to_table(change: CatalogChange) -> pa.Table:
    row = (
        VIDEOS.arrow().empty_table() if change.row is None else conform(change.row, VIDEOS, stage="catalogue")
    )
    schema = row.schema.with_metadata(
        {"video_id": change.video_id, "at": str(change.at)}
        | {f"encoder:{modality}": name for modality, name in change.encoders.items()}
        | {
            f"vector:{modality}": vector.astype(np.float32).tobytes()
            for modality, vector in change.vectors.items()
        }
    )
    return row.cast(schema)


def _from_table(table: pa.Table) -> CatalogChange:
    metadata = table.schema.metadata or {}
    vectors: dict[Modality, Vectors] = {}
    encoders: dict[Modality, str] = {}
    for modality in MODALITIES:
        if (raw := metadata.get(f"vector:{modality}".encode())) is not None:
            vectors[modality] = np.frombuffer(raw, np.float32).reshape(1, -1)
        if (name := metadata.get(f"encoder:{modality}".encode())) is not None:
            encoders[modality] = name.decode()
    row = table.replace_schema_metadata(None) if table.num_rows else None
    return CatalogChange(metadata[b"video_id"].decode(), int(metadata[b"at"]), row, vectors, encoders)
