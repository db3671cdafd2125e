"""Copy of a service's log: EVENTS in files that are named by their cursors.

A file appears whole, and its name says where the next one begins, so a killed export goes on where it was.
Every few days the log is exported from its beginning into another folder, since events can be erased in the
service; that folder counts once its export has reached the end, and the one before is removed.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from vrec.core.schema import EVENTS
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.loop.errors import LoopError

LOG = "log"
"""Subfolder of the copies."""
WHOLE = "whole"
"""File that says that a copy reached the end of the log once; it holds the time of its beginning."""
_PART = re.compile(r"(\d{20})-(\d{20})\.parquet")

ExportPage = Callable[[int], tuple[pa.Table, int]]
"""Function that returns the next EVENTS after a cursor, and the cursor after them."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Position of a copy in the service's log."""

    copy: str
    """Name of the copy."""
    cursor: int
    """Cursor after its last event."""


class EventLog:
    """Copies of a log below a folder."""

    def __init__(self, folder: StorageFolder, now: Callable[[], float] = time.time) -> None:
        self._folder, self._now = folder, now

    def update(self, export: ExportPage, full_days: float) -> LogPosition:
        """Export what is new; return the position.

        Args:
            export: Function that exports a page.
            full_days: Age in days from which the copy is made again.

        Raises:
            LoopError: The files of the copy do not follow each other.
        """
        copies = self._copies()
        whole = [name for name in copies if self._begun(name) is not None]
        begun = self._begun(whole[-1]) if whole else None
        if begun is not None and self._now() - begun < full_days * 86_400:
            return self._export(whole[-1], export)
        # A copy that a killed run had begun goes on.
        unfinished = [name for name in copies if name > (whole[-1] if whole else "")]
        name = unfinished[-1] if unfinished else f"{int(copies[-1]) + 1 if copies else 1:06d}"
        started = self._now()
        position = self._export(name, export)
        self._folder.write(f"{LOG}/{name}/{WHOLE}", str(started).encode())
        for old in copies:
            if old != name:
                self._folder.remove_folder(f"{LOG}/{old}")
        return position

    def read(self, position: LogPosition) -> pa.Table:
        """Return EVENTS up to a position, in order of arrival."""
        tables = [
            self._folder.read_parquet(f"{LOG}/{position.copy}/{name}")
            for name, _, until in self._parts(position.copy)
            if until <= position.cursor
        ]
        return pa.concat_tables(tables) if tables else EVENTS.arrow().empty_table()

    def _export(self, copy: str, export: ExportPage) -> LogPosition:
        parts = self._parts(copy)
        cursor = parts[-1][2] if parts else 0
        while True:
            table, following = export(cursor)
            if not table.num_rows:
                return LogPosition(copy, cursor)
            self._folder.write_parquet(f"{LOG}/{copy}/{cursor:020d}-{following:020d}.parquet", table)
            cursor = following

    def _copies(self) -> list[str]:
        return [name for name in StorageFolder(join_uri(self._folder.uri, LOG)).folders() if name.isdigit()]

    def _begun(self, copy: str) -> float | None:
        try:
            return float(self._folder.read(f"{LOG}/{copy}/{WHOLE}"))
        except FileNotFoundError:
            return None

    def _parts(self, copy: str) -> list[tuple[str, int, int]]:
        """Return the name, begin and end of each file of a copy, in order."""
        found: list[tuple[str, int, int]] = []
        for name in self._folder.files(f"{LOG}/{copy}"):
            if match := _PART.fullmatch(name):
                found.append((name, int(match[1]), int(match[2])))
        begins = [0, *(until for _, _, until in found)]
        for (name, begin, _), wanted in zip(found, begins, strict=False):
            if begin != wanted:
                raise LoopError(
                    f"{join_uri(self._folder.uri, LOG, copy)}: {name} does not follow the file before it",
                    fix=f"remove the folder {LOG}/{copy}; the next run exports the log again",
                )
        return found
