"""Changes of the catalogue while it is served: one small file each, in a folder that all nodes reach."""

import time
import uuid

import numpy as np
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.core.tables import StorageFolder, join_uri
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.serving.messages import CatalogChange

CHANGES = "changes"
ENDING = ".arrow"
SETTLED_S = 2.0
"""A folder that was touched this lately is listed again even if its time has not moved since: two changes can
fall on one tick of the filesystem's clock."""


class CatalogJournal:
    """The changes below a data folder, of which every reader sees all, each of them once.

    A change is durable when `write` returns: its file was flushed and renamed. Files are never changed.
    Of two changes of one video the later `at` counts, so writers' clocks should agree.
    """

    def __init__(self, data: str) -> None:
        self._folder = StorageFolder(join_uri(data, CHANGES))
        self._seen: set[str] = set()
        self._listed_at: tuple[int, float] | None = None
        self.damaged: dict[str, str] = {}
        """Why files were passed over, by their name."""

    def write(self, change: CatalogChange) -> None:
        """Returns when the change is durable; raises SchemaError, and OutputError where it cannot be kept."""
        name = f"{change.at:020d}-{uuid.uuid4().hex}{ENDING}"
        sink = pa.BufferOutputStream()
        table = _to_table(change)
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._folder.write(name, sink.getvalue())

    def read_new(self) -> list[CatalogChange]:
        """The changes that came since the last call, in the order of their times; all at the first.

        A file that is no change is passed over, and named in `damaged`.
        """
        touched = self._touched()
        if touched is not None and self._listed_at is not None:
            before, listed_at = self._listed_at
            if touched == before and listed_at - touched / 1e9 > SETTLED_S:
                return []
        # The clock is read first: what comes while the folder is listed is looked for again.
        now = time.time()
        names = [n for n in self._folder.files() if n.endswith(ENDING) and n not in self._seen]
        found = [change for name in names if (change := self._read(name))]
        self._seen.update(names)
        self._listed_at = None if touched is None else (touched, now)
        return sorted(found, key=lambda change: change.at)

    def _touched(self) -> int | None:
        """When the folder's list of files last changed, in ns; None where only listing can tell."""
        if not self._folder.local:
            return None
        info = self._folder.filesystem.get_file_info(self._folder.path)
        return info.mtime_ns

    def _read(self, name: str) -> CatalogChange | None:
        try:
            with pa.ipc.open_file(pa.BufferReader(self._folder.read(name))) as reader:
                return _from_table(reader.read_all())
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            self.damaged[name] = f"{self._folder.uri}/{name} is no change of a catalogue: {error}"
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
    said = table.schema.metadata or {}
    vectors: dict[Modality, Vectors] = {}
    encoders: dict[Modality, str] = {}
    for modality in MODALITIES:
        if (raw := said.get(f"vector:{modality}".encode())) is not None:
            vectors[modality] = np.frombuffer(raw, np.float32).reshape(1, -1)
        if (name := said.get(f"encoder:{modality}".encode())) is not None:
            encoders[modality] = name.decode()
    row = table.replace_schema_metadata(None) if table.num_rows else None
    return CatalogChange(said[b"video_id"].decode(), int(said[b"at"]), row, vectors, encoders)
