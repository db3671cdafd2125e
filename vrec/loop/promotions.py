"""History of promotions and roll backs in a folder of bundles, whose last entry is the bundle in service."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from vrec.bundle.summary import read_summary
from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.loop.errors import LoopError
from vrec.loop.lock import hold_lock

PROMOTIONS = "promotions.json"
"""File in the folder of the bundles."""
FORMAT = 1
LEASE_S, WAIT_S = 30.0, 10.0
"""Lease of the lock in object stores, and the longest wait for it on local disks: it is held for a moment."""

PromotionKind = Literal["promotion", "rollback"]


@dataclass(frozen=True, slots=True)
class PromotionEntry:
    """Change of the bundle in service."""

    kind: PromotionKind
    bundle: str
    """Name of the bundle that came into service."""
    version: str
    previous: str | None
    """Name of the bundle before; None for the first one, or one from elsewhere."""
    at: int
    """µs since 1970."""
    by: str
    """Run of the loop, or `command`."""
    why: str


class PromotionHistory:
    """History in a folder of bundles, with a lock of its own: a command may act while a loop watches."""

    def __init__(self, uri: str) -> None:
        self._folder = StorageFolder(uri)

    def entries(self) -> list[PromotionEntry]:
        """Return all entries, the oldest first; raises OutputError for a file that is not of this version."""
        try:
            found = json.loads(self._folder.read(PROMOTIONS))
            if found["format"] != FORMAT:
                raise ValueError(found["format"])
            return [PromotionEntry(**entry) for entry in found["entries"]]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, TypeError, KeyError):
            raise OutputError(
                f"{join_uri(self._folder.uri, PROMOTIONS)} is not this version's history of promotions",
                fix="move the file away; the next promotion begins a new one",
            ) from None

    @property
    def current(self) -> PromotionEntry | None:
        """Last entry, whose bundle is in service; None before the first one."""
        entries = self.entries()
        return entries[-1] if entries else None

    def add(
        self, kind: PromotionKind, bundle: str, previous: str | None, *, by: str, why: str
    ) -> PromotionEntry:
        """Add an entry, unless the last one is the same change by the same run.

        Raises:
            LoopError: There is no such bundle.
            LoopRuns: Another process changes the history, and does not end.
        """
        with hold_lock(self._folder, LEASE_S, WAIT_S):
            return self._add(kind, bundle, previous, by=by, why=why)

    def _add(
        self, kind: PromotionKind, bundle: str, previous: str | None, *, by: str, why: str
    ) -> PromotionEntry:
        entries = self.entries()
        if entries and (entries[-1].kind, entries[-1].bundle, entries[-1].by) == (kind, bundle, by):
            return entries[-1]
        version = bundle_version_of(self._folder.uri, bundle)
        entry = PromotionEntry(kind, bundle, version, previous, time.time_ns() // 1000, by, why)
        content = {"format": FORMAT, "entries": [asdict(one) for one in [*entries, entry]]}
        self._folder.write_json(PROMOTIONS, content)
        return entry


def rolled_back(entries: Sequence[PromotionEntry]) -> frozenset[str]:
    """Return the bundles that were rolled back and not promoted by a command since."""
    found: set[str] = set()
    for before, entry in zip([None, *entries], entries, strict=False):
        if entry.kind == "rollback" and before is not None and before.bundle != entry.bundle:
            found.add(before.bundle)
        elif entry.kind == "promotion":
            found.discard(entry.bundle)
    return frozenset(found)


def rollback_target(entries: Sequence[PromotionEntry]) -> str:
    """Return the bundle before the one in service: what it replaced, or what a roll back came before.

    Raises:
        LoopError: There is none.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.kind == "rollback" and entry.bundle in stack:
            del stack[stack.index(entry.bundle) + 1 :]
        else:
            if not stack and entry.previous is not None:
                stack.append(entry.previous)
            stack = [name for name in stack if name != entry.bundle]
            stack.append(entry.bundle)
    if len(stack) < 2:
        raise LoopError(
            "there is no bundle before the one in service", fix="promote one with `vrec bundles promote`"
        )
    return stack[-2]


def bundle_version_of(bundles: str, name: str) -> str:
    """Return the version of a bundle below a folder; raises LoopError if it is no readable bundle."""
    found = read_summary(bundles, name)
    if found.version is None:
        raise LoopError(
            f"{name} is no readable bundle: {found.problem}",
            fix="give a name of `vrec bundles list`",
        )
    return found.version
