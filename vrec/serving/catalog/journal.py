"""Journal of catalog edits while serving: one small file per edit in a shared folder, merged now and then."""

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock

import pyarrow as pa
import pyarrow.fs as pafs

from vrec.core.errors import OutputError, SourceError, os_error_reason
from vrec.core.pauses import pause_if_due
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.serving.catalog.clock import FIRST_STAMP, HybridClock, Stamp, wall_clock_us
from vrec.serving.catalog.registers import (
    BundleCut,
    JournalState,
    Registers,
    edit_registers,
    pack_state,
    unpack_state,
)
from vrec.serving.messages import CatalogEdit, JournalPosition

CHANGES = "changes"
SUFFIX = ".msgpack"
SETTLED_S = 2.0
"""Seconds after a folder's modification time was first seen during which the folder is listed again even if
the time is unchanged: two changes can fall on one tick of the filesystem's clock."""
MAX_LISTINGS = 10
"""Listings of one call; it ends before if two in a row are the same."""
MIN_MERGED_FILES = 64
"""Files from which they are merged; of many changed videos a quarter of their number, so that merging costs a
constant amount per edit."""


class CatalogJournal:
    """Journal of the edits below a data folder. Its state is the merge of the files present, in any order.

    An edit is durable when `append` returns. A file never changes: `compact` writes the merged state to a new
    one before it removes the files in it, so that a crash leaves what is in both, which merges to the same.
    Edits are ordered by a hybrid logical clock: one that was acknowledged before another is read before the
    other is written, and gets an earlier stamp. All methods are thread-safe.
    """

    def __init__(self, data: str, now: Callable[[], int] = wall_clock_us) -> None:
        """Build the journal below a data folder; `now` returns this machine's time in µs."""
        self._folder = StorageFolder(join_uri(data, CHANGES))
        self._clock, self._lock = HybridClock(now), RLock()
        self._files: dict[str, JournalState] = {}
        self._written: dict[str, JournalState] = {}
        """State that this process wrote last, by file name, until it has been merged."""
        self._state, self._revision = JournalState(), 0
        self.changes = 0
        """Number of changes of videos so far."""
        self._changed_at: dict[str, int] = {}
        """Revision of each video's last change."""
        self._modified: tuple[int, float] | None = None
        """Modification time of the folder (ns), and when it was first seen (monotonic, s)."""
        self._settled = False
        self._appended = 0
        self.damaged: dict[str, str] = {}
        """Reason why a file was skipped, by file name."""

    @property
    def revision(self) -> int:
        """Number that grows with every change of the state."""
        return self._revision

    @property
    def position(self) -> JournalPosition:
        """Position behind the last edit that this journal wrote."""
        return JournalPosition(self._clock.node, self._appended)

    def read(self, *, force: bool = False) -> None:
        """Read the edits of all processes that were durable before the call.

        A damaged file is skipped and named in `damaged`.

        Args:
            force: Whether to list the folder even if its modification time says that nothing changed.

        Raises:
            OutputError: The folder or a file cannot be read; the other files were read.
        """
        with self._lock, _storage_errors(self._folder.uri):
            if not force and self._unmodified():
                return
            error: OSError | SourceError | None = None
            for _ in range(MAX_LISTINGS):
                self._note_modification()
                found = self._list()
                # Again until nothing changes: a file that is merged meanwhile can be missing together with
                # the merged one, since a listing is not atomic.
                if found.keys() == self._files.keys() | self.damaged.keys():
                    return
                error = self._take(found)
            if error is not None:
                raise error

    def append(self, edit: CatalogEdit) -> Stamp:
        """Write an edit durably, after all edits read before; raises as `append_all`."""
        return self.append_all([edit])

    def append_all(self, edits: Sequence[CatalogEdit]) -> Stamp:
        """Write edits durably in one file, after all edits read before; of two of a field the later counts.

        Raises:
            SchemaError: A field is not a column of VIDEOS, or its value is of another type.
            OutputError: The file cannot be written.
        """
        with self._lock:
            state, stamp = JournalState(), FIRST_STAMP
            for edit in edits:
                stamp = self._clock.tick()
                state.merge(JournalState({edit.video_id: edit_registers(edit, stamp)}))
                pause_if_due()
            self._write(stamp, state)
            self._appended += 1
            self.read(force=True)
        return stamp

    def cut_of(self, version: str, made_at: int, has: Callable[[str], bool]) -> Stamp:
        """Return the edit up to which a bundle supersedes edits, and record it the first time.

        Edits after the record are later than the bundle, whatever the clocks say. Before that, they are
        compared by the time at which the storage received them.

        Args:
            version: The bundle's version.
            made_at: Time at which it was made, µs since 1970.
            has: Function that tells whether the bundle has a video.

        Raises:
            OutputError: The folder cannot be read or written.
        """
        with self._lock:
            if version not in self._state.cuts:
                self.read(force=True)
            if version not in self._state.cuts:
                stamp = self._clock.tick()
                contains = frozenset(filter(has, self._state.videos))
                cut = BundleCut(self._state.cut_before(made_at), stamp, contains)
                self._write(stamp, JournalState({}, {version: cut}))
                self.read(force=True)
            return self._state.cuts[version].cut

    def changed_since(self, revision: int) -> tuple[int, dict[str, Registers]]:
        """Return the revision, and the registers of the videos that changed after an earlier one."""
        with self._lock:
            if revision == self._revision:
                return revision, {}
            changed = [name for name, at in self._changed_at.items() if at > revision]
            return self._revision, {name: dict(self._state.videos.get(name, {})) for name in changed}

    def has_many_files(self) -> bool:
        """Return whether there were so many files when they were read last that they should be merged."""
        return len(self._files) >= self._most_files()

    def compact(self, versions: Collection[str], *, force: bool = False) -> bool:
        """Merge the files into one, without what none of these bundles needs, and tell whether it did.

        Any number of processes may do so at once, and be killed at any point.

        Args:
            versions: Versions of the bundle in service and of the one before.
            force: Whether to merge few files too.

        Raises:
            OutputError: The folder cannot be read or written.
        """
        with self._lock:
            self.read(force=True)
            merged = list(self._files)
            if len(merged) < 2 or not (force or len(merged) >= self._most_files()):
                return False
            stamp = max(self._state.stamps(), default=FIRST_STAMP)
            self._write(stamp, self._state.pruned(versions))
            with _storage_errors(self._folder.uri):
                for name in merged:
                    self._folder.remove(name)
            self.read(force=True)
            return True

    def _most_files(self) -> int:
        return max(MIN_MERGED_FILES, len(self._state.videos) // 4)

    def _write(self, stamp: Stamp, state: JournalState) -> None:
        name = f"{stamp.time:020d}-{stamp.ticks:08d}-{uuid.uuid4().hex}{SUFFIX}"
        self._folder.write(name, pack_state(state))
        self._written = {name: state}
        if self._folder.local and hasattr(os, "O_DIRECTORY"):
            with _storage_errors(self._folder.uri):
                # The name too must survive a loss of power, above all before merged files are removed.
                handle = os.open(self._folder.path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def _list(self) -> dict[str, int]:
        """Return the times (µs) at which the storage received the files by name."""
        selector = pafs.FileSelector(self._folder.path, allow_not_found=True)
        infos: Iterable[pafs.FileInfo] = self._folder.filesystem.get_file_info(selector)
        return {
            info.base_name: (info.mtime_ns or 0) // 1000
            for info in infos
            if info.type == pafs.FileType.File
            and info.base_name.endswith(SUFFIX)
            and not info.base_name.startswith(".")
        }

    def _take(self, found: Mapping[str, int]) -> OSError | SourceError | None:
        """Read the new ones of the files found and forget those that are gone; return an error of one."""
        new, error = JournalState(), None
        for name in found.keys() - self._files.keys() - self.damaged.keys():
            try:
                written = self._written.pop(name, None)
                self._files[name] = (
                    unpack_state(self._folder.read(name), found[name])
                    if written is None
                    else written.received(found[name])
                )
            except FileNotFoundError:
                continue  # merged meanwhile: the next listing has the merged file
            except (OSError, SourceError) as one:
                error = one
                continue
            except ValueError as why:
                self.damaged[name] = f"{join_uri(self._folder.uri, name)} is not a catalog change: {why}"
                continue
            new.merge(self._files[name])
        gone = self._files.keys() - found.keys()
        for name in gone:
            del self._files[name]
        self.damaged = {name: why for name, why in self.damaged.items() if name in found}
        for stamp in new.stamps():
            self._clock.observe(stamp)
        self._mark(self._rebuild() if gone else self._merge(new))
        return error

    def _merge(self, new: JournalState) -> set[str]:
        cuts = dict(self._state.cuts)
        changed = self._state.merge(new)
        return changed | self._moved_cuts(cuts)

    def _rebuild(self) -> set[str]:
        """Merge all files again, since a compaction may have dropped something."""
        before, self._state = self._state, JournalState()
        for state in self._files.values():
            self._state.merge(state)
        changed = {
            name
            for name in before.videos.keys() | self._state.videos.keys()
            if before.videos.get(name) != self._state.videos.get(name)
        }
        return changed | self._moved_cuts(before.cuts)

    def _moved_cuts(self, before: Mapping[str, BundleCut]) -> set[str]:
        """Return all videos if the cut of a bundle moved: any of them may look different over it."""
        cuts = self._state.cuts
        moved = any(version in cuts and cuts[version].cut != cut.cut for version, cut in before.items())
        return set(self._state.videos) if moved else set()

    def _mark(self, changed: Collection[str]) -> None:
        if changed:
            self._revision += 1
            self.changes += len(changed)
            self._changed_at |= dict.fromkeys(changed, self._revision)

    def _modification(self) -> int | None:
        """Return the modification time of the folder in ns; None for a bucket, which has to be listed."""
        if not self._folder.local:
            return None
        return self._folder.filesystem.get_file_info(self._folder.path).mtime_ns

    def _note_modification(self) -> None:
        modified, now = self._modification(), time.monotonic()
        if modified is None or self._modified is None or self._modified[0] != modified:
            self._modified = None if modified is None else (modified, now)
            self._settled = False
        else:
            # Only this process's own monotonic clock: the folder's and this machine's may differ.
            self._settled = now - self._modified[1] > SETTLED_S

    def _unmodified(self) -> bool:
        return self._settled and self._modified is not None and self._modification() == self._modified[0]


@contextmanager
def _storage_errors(uri: str) -> Iterator[None]:
    """Convert errors of the storage to OutputError."""
    try:
        yield
    except SourceError as error:
        raise OutputError(str(error), fix=error.fix) from error
    except (OSError, pa.ArrowException) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else str(error)
        raise OutputError(f"{uri}: {reason}") from error
