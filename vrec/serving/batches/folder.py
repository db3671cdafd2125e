"""Files of batches in a folder that every node reaches: what was asked, how far it is, and the result."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri

BATCHES = "batches"
"""Subfolder of the data folder."""
LOST_AFTER_S = 120.0
"""Seconds without a sign of life after which the worker of a running batch counts as lost."""

BatchStateName = Literal["queued", "running", "done", "failed", "cancelled"]


class UnknownBatch(VrecError):
    """Id of a batch that does not exist."""

    fix = "give the id of a response of POST /v1/batches; results are kept for serve.batches.keep_hours"


class BatchNotDone(VrecError):
    """Result of a batch that has none."""

    fix = "read GET /v1/batches/{batch_id} until its state is done"


class TooManyBatches(VrecError):
    """Batch beyond the number of unfinished ones."""

    fix = "wait until a batch is done, or cancel one by DELETE /v1/batches/{batch_id}"


@dataclass(frozen=True, slots=True)
class BatchState:
    """State of a batch."""

    batch_id: str
    created_at: int
    """µs since 1970."""
    state: BatchStateName = "queued"
    users: int | None = None
    """Number of shoppers; None until they are known."""
    done: int = 0
    """Number of shoppers whose lists are made."""
    at: int = 0
    """Last sign of life of the worker, µs since 1970."""
    why: str | None = None
    """Reason why it failed."""


class BatchFolder:
    """Files of batches below a data folder. A result appears whole or not at all.

    A batch has up to four files: its creation, the worker's progress, a mark of its cancellation, and the
    result. Only one process writes each, so that none overwrites what another one says.
    """

    def __init__(self, data: str) -> None:
        """Build it below the data folder of the service."""
        self._folder = StorageFolder(join_uri(data, BATCHES))

    def create(self, now: int) -> BatchState:
        """Record a new batch; raises OutputError."""
        # Names in the order of time tell which ones are old without reading them.
        made = BatchState(f"{now // 1_000_000:010x}-{uuid.uuid4().hex[:12]}", now)
        self._folder.write_json(f"{made.batch_id}.json", {"created_at": made.created_at})
        return made

    def state(self, batch_id: str, now: int | None = None) -> BatchState:
        """Return the state of a batch; raises UnknownBatch."""
        created = self._read(f"{batch_id}.json")
        if created is None:
            raise UnknownBatch(f"there is no batch {batch_id}")
        state = BatchState(batch_id, created["created_at"])
        if (progress := self._read(f"{batch_id}.progress.json")) is not None:
            state = replace(state, **progress)
        if self.is_cancelled(batch_id):
            return replace(state, state="cancelled", why=None)
        now = time.time_ns() // 1000 if now is None else now
        if state.state == "running" and now - state.at > LOST_AFTER_S * 1e6:
            return replace(state, state="failed", why="its worker was lost: send the batch again")
        return state

    def report(self, state: BatchState) -> None:
        """Record the progress of a batch's worker; raises OutputError."""
        values = {name: value for name, value in asdict(state).items() if name not in _GIVEN}
        self._folder.write_json(f"{state.batch_id}.progress.json", values)

    def cancel(self, batch_id: str) -> BatchState:
        """Mark a batch as cancelled and remove its result; return its state before; raises UnknownBatch."""
        before = self.state(batch_id)
        self._folder.write(f"{batch_id}.cancelled", b"")
        self._folder.remove(f"{batch_id}.parquet")
        return before

    def is_cancelled(self, batch_id: str) -> bool:
        """Return whether a batch is cancelled, or gone."""
        return self._folder.exists(f"{batch_id}.cancelled") or not self._folder.exists(f"{batch_id}.json")

    def publish(self, batch_id: str, parquet: pa.Buffer) -> bool:
        """Write the result of a batch, unless it is cancelled, and return whether it is there."""
        if self.is_cancelled(batch_id):
            return False
        self._folder.write(f"{batch_id}.parquet", parquet)
        if self.is_cancelled(batch_id):
            # It was cancelled while the result was written.
            self._folder.remove(f"{batch_id}.parquet")
            return False
        return True

    def open_result(self, batch_id: str) -> tuple[pa.NativeFile, int]:
        """Return the result as a stream, and its size in bytes; raises UnknownBatch or BatchNotDone."""
        state = self.state(batch_id)
        if state.state != "done":
            raise BatchNotDone(f"the batch {batch_id} has no result: it is {state.state}")
        path = self._folder.path_of(f"{batch_id}.parquet")
        size = self._folder.filesystem.get_file_info(path).size or 0
        return self._folder.filesystem.open_input_stream(path, compression=None), size

    def unfinished(self) -> int:
        """Return the number of batches that are queued or running."""
        return sum(self.state(name).state in ("queued", "running") for name in self._ids())

    def remove_older(self, than: int) -> None:
        """Remove all files of the batches created before a time, µs since 1970."""
        for name in self._folder.files():
            created, _, _ = name.partition("-")
            if _is_hex(created) and int(created, 16) < than // 1_000_000:
                self._folder.remove(name)

    def _ids(self) -> list[str]:
        names = self._folder.files()
        return [n.removesuffix(".json") for n in names if n.endswith(".json") and n.count(".") == 1]

    def _read(self, name: str) -> Mapping[str, Any] | None:
        try:
            return json.loads(self._folder.read(name))
        except (FileNotFoundError, NotADirectoryError):
            return None


_GIVEN = ("batch_id", "created_at")


def _is_hex(text: str) -> bool:
    return bool(text) and all(letter in "0123456789abcdef" for letter in text)
