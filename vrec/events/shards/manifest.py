"""Manifest of a folder of event shards: inputs and files with their fingerprints, and counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Self

from vrec.core.sharded_table import EVENT_SHARDS, SHARDS_FORMAT, shard_manifest
from vrec.core.tables import MANIFEST, StorageFolder

SHARDS = "shards"
"""Subfolder of the Parquet files."""


@dataclass(frozen=True, slots=True)
class ShardInput:
    """File of events that was read."""

    uri: str
    """With credentials masked."""
    size: int
    modified: str
    """Time of the last change, by which, with the size, a file counts as unchanged without being read."""
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardFile:
    """Parquet file of one shard, sorted by user, time and event id. An empty shard has none."""

    number: int
    name: str
    rows: int
    sha256: str
    kinds: tuple[str, ...]
    """Kinds of its events, ascending."""
    first: int
    """Time of the first event, µs since 1970."""
    last: int


@dataclass(frozen=True, slots=True)
class EventShards:
    """Contents of a manifest."""

    shards: int
    settings: Mapping[str, Any]
    """Names of columns and settings of reading, which a later run must share."""
    inputs: tuple[ShardInput, ...] = ()
    files: tuple[ShardFile, ...] = ()
    """By number."""
    duplicates: int = 0
    """Rows left out because another has the same event_id."""
    future: int = 0
    """Events left out because they lay in the future when they were read."""
    conflicts: tuple[int, str] = field(default=(0, ""))
    """As in `ReadEvents`, summed over the runs."""

    @property
    def rows(self) -> int:
        """Number of events."""
        return sum(file.rows for file in self.files)

    def file_of(self, number: int) -> ShardFile | None:
        """Return the file of a shard, None for an empty one."""
        return next((file for file in self.files if file.number == number), None)

    @classmethod
    def load(cls, folder: StorageFolder) -> Self | None:
        """Read the manifest of a folder; None where it has none of this kind.

        Raises:
            EventsError: It is of another format.
        """
        raw = shard_manifest(folder.filesystem, folder.path)
        if raw is None:
            return None
        files = tuple(ShardFile(**file | {"kinds": tuple(file["kinds"])}) for file in raw["files"])
        inputs = tuple(ShardInput(**one) for one in raw["inputs"])
        count, example = raw["conflicts"]
        counts = {name: raw[name] for name in ("shards", "settings", "duplicates", "future")}
        return cls(inputs=inputs, files=files, conflicts=(count, example), **counts)

    def save(self, folder: StorageFolder) -> None:
        """Write the manifest, last of all files; raises OutputError."""
        head = {"kind": EVENT_SHARDS, "format": SHARDS_FORMAT, "vrec": version("vrec"), "rows": self.rows}
        folder.write_json(MANIFEST, head | asdict(self))


def open_shards(uri: str) -> EventShards | None:
    """Return the manifest of a folder of shards at a path or URI; None for any other table.

    None also where nothing can be read there: what reads the table then says why.

    Raises:
        EventsError: It is of another format.
    """
    try:
        return EventShards.load(StorageFolder(uri))
    except OSError:
        return None
