"""Bundle in service together with the catalog edits since, as one deployment follows them."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic, ParamSpec, Protocol, Self, TypeVar

from vrec.bundle.catalog import BundleCatalog
from vrec.core.errors import OutputError
from vrec.core.pauses import with_pauses
from vrec.serving.bundle_swap import BundleCheck, ServedBundle
from vrec.serving.catalog.clock import Stamp, wall_clock_us
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.catalog.registers import Registers
from vrec.serving.catalog.resolve import resolve_videos
from vrec.serving.messages import CatalogChange, CatalogEdit, JournalPosition

logger = logging.getLogger("ray.serve")


class Changeable(Protocol):
    """Immutable state made of a bundle, which changes of the catalog turn into another."""

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another state after these changes, each of which replaces the one of its video before."""
        ...


T = TypeVar("T", bound=Changeable)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FollowedState(Generic[T]):
    """State with the edits up to a revision of the journal."""

    value: T
    bundle: BundleCatalog
    revision: int


class LiveCatalog(Generic[T]):
    """State of the bundle in service with the edits since.

    Edits are followed while another bundle is loaded, so that none waits for it. An edit that cannot be
    applied is named in the log and leaves all others in force.
    """

    def __init__(
        self,
        data: str,
        load: Callable[[str], tuple[BundleCatalog, T]],
        *,
        remembers: bool = False,
        check: BundleCheck | None = None,
        now: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Build it without a bundle.

        Args:
            data: The data folder of the service.
            load: Function that loads and checks the bundle in a folder; see `ServedBundle`.
            remembers: Whether to write SERVED after a good bundle; see `ServedBundle`.
            check: Function that raises for a bundle that is not accepted; see `ServedBundle`.
            now: Function that returns this machine's time, µs since 1970.
        """
        self.journal = CatalogJournal(data, now)
        self._load_bundle = load
        self.served: ServedBundle[FollowedState[T]] = ServedBundle(
            data, self._load, remembers=remembers, check=check
        )
        self.acknowledged: JournalPosition | None = None
        """Position behind the last edit of this process that was acknowledged; None for none."""
        self._following = asyncio.Lock()
        self._reached: dict[str, tuple[int, int]] = {}
        """Position reached in the edits of each process that wrote any, and the revision that has them."""
        self._waiting = 0
        """Number of calls that wait for edits to be applied."""

    @property
    def value(self) -> T | None:
        """The state; None before the first bundle."""
        return None if self.served.loaded is None else self.served.loaded.value

    async def move(self, uri: str) -> bool:
        """Put the bundle in a folder in service; see `ServedBundle.swap_to`."""
        moved = await self.served.swap_to(uri)
        if self._following.locked():
            # The edit that holds the lock is applied to the new state before it is acknowledged.
            async with self._following:
                await self._apply()
        elif self.served.loaded is not None:
            # Without an await, so that no request sees the new state without the latest edits.
            self.served.loaded = self._catch_up(self.served.loaded)
        return moved

    async def follow(self, *, force: bool = False) -> None:
        """Apply the edits that were durable before the call.

        Raises:
            OutputError: The journal cannot be read; the edits that could be read are applied.
        """
        async with self._following:
            await self._follow(force)

    async def reach(self, position: JournalPosition | None) -> None:
        """Apply the edits up to a position that another process has reached; raises OutputError."""
        if position is None:
            return
        loaded, (edits, revision) = self.served.loaded, self._reached.get(position.node, (0, 0))
        # Edits after the position may be read, but not yet applied: nobody waits for those.
        if position.edits <= edits and (loaded is None or loaded.revision >= revision):
            return
        with self._urgently():
            async with self._following:
                if position.edits <= self._reached.get(position.node, (0, 0))[0]:
                    await self._apply()
                else:
                    await self._follow(True)
                    self._note_reached(position)

    async def edit(self, edit: CatalogEdit, check: Callable[[T | None], None]) -> None:
        """Write an edit durably and apply it; see `edit_all`.

        Args:
            edit: The edit.
            check: Function that raises if the state before forbids the edit.
        """

        def choose(state: T | None) -> Sequence[CatalogEdit]:
            check(state)
            return [edit]

        await self.edit_all(choose, urgent=True)

    async def edit_all(
        self, choose: Callable[[T | None], Sequence[CatalogEdit]], *, more: bool = False, urgent: bool = False
    ) -> None:
        """Write edits durably together, after all that were acknowledged before, and apply them.

        Args:
            choose: Function that returns the edits for the state before them, or raises if it forbids any.
            more: Whether others of the same request follow, before which none is acknowledged.
            urgent: Whether to apply them without pauses for other work of the process.

        Raises:
            SchemaError: A field is not a column of VIDEOS, or its value is of another type.
            OutputError: The journal cannot be read or written.
        """
        with self._urgently() if urgent else nullcontext():
            await self._edit_all(choose, more)

    async def _edit_all(self, choose: Callable[[T | None], Sequence[CatalogEdit]], more: bool) -> None:
        async with self._following:
            await self._follow(True)
            if edits := choose(self.value):
                await self._in_thread(self.journal.append_all, edits)
                await self._apply()
            if not more and self.journal.position.edits:
                self.acknowledged = self.journal.position
                self._note_reached(self.acknowledged)

    async def update(self, change: Callable[[T], T]) -> None:
        """Replace the state by what a function makes of it, which must not take edits from it.

        If another bundle comes meanwhile, the state of that one stays as it is.
        """
        async with self._following:
            before = self.served.loaded
            if before is not None:
                value = await asyncio.to_thread(change, before.value)
                if self.served.loaded is before:
                    self.served.loaded = FollowedState(value, before.bundle, before.revision)

    async def compact(self, *, force: bool = False) -> bool:
        """Merge the journal's files if there are many; see `CatalogJournal.compact`."""
        if not (force or self.journal.has_many_files()):
            return False
        async with self._following:
            return await self._in_thread(self._compact, force)

    def _note_reached(self, position: JournalPosition) -> None:
        loaded = self.served.loaded
        self._reached[position.node] = (position.edits, 0 if loaded is None else loaded.revision)

    @contextmanager
    def _urgently(self) -> Iterator[None]:
        """Let no work on edits pause during the `with`."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do work in a thread, with pauses unless somebody waits for it."""

        def do() -> R:
            with with_pauses(lambda: self._waiting > 0):
                return work(*args, **kwargs)

        return await asyncio.to_thread(do)

    async def _follow(self, force: bool) -> None:
        try:
            await self._in_thread(self.journal.read, force=force)
        finally:
            await self._apply()

    async def _apply(self) -> None:
        while (before := self.served.loaded) is not None and before.revision != self.journal.revision:
            after = await self._in_thread(self._catch_up, before)
            # Another bundle may have come meanwhile: then once more, over that one.
            if self.served.loaded is before:
                self.served.loaded = after

    def _load(self, uri: str) -> tuple[BundleCatalog, FollowedState[T]]:
        bundle, value = self._load_bundle(uri)
        try:
            self.journal.read(force=True)
        except OutputError as error:
            logger.warning("cannot read all catalog changes", extra={"why": str(error)[:300]})
        return bundle, self._catch_up(FollowedState(value, bundle, 0))

    def _catch_up(self, state: FollowedState[T]) -> FollowedState[T]:
        bundle = state.bundle
        revision, changed = self.journal.changed_since(state.revision)
        cut = self.journal.cut_of(bundle.version, bundle.made_at, bundle.has)
        changed = {name: registers for name, registers in changed.items() if bundle.owns(name)}
        return FollowedState(_with_each(state.value, _resolve_each(changed, bundle, cut)), bundle, revision)

    def _compact(self, force: bool) -> bool:
        bundle, last = self.served.bundle, self.served.last_good()
        if bundle is None:
            return False
        versions = {bundle.version, *(last[name] for name in ("version", "previous") if last.get(name))}
        return self.journal.compact(versions, force=force)


def _resolve_each(changed: Mapping[str, Registers], bundle: BundleCatalog, cut: Stamp) -> list[CatalogChange]:
    """Resolve videos together; if one of them cannot be, each half alone, down to the single video."""
    try:
        return resolve_videos(changed, bundle, cut)
    except Exception as error:  # whatever is wrong with a row, the others stand
        names = list(changed)
        if len(names) == 1:
            _log_refused(names[0], error)
            return []
        middle = len(names) // 2
        halves = ({name: changed[name] for name in part} for part in (names[:middle], names[middle:]))
        return [change for half in halves for change in _resolve_each(half, bundle, cut)]


def _with_each(value: T, changes: Sequence[CatalogChange]) -> T:
    """Apply changes together; if one of them is refused, each half alone, down to the single change."""
    if not changes:
        return value
    try:
        return value.with_changes(changes)
    except Exception as error:  # whatever is wrong with a row, the others stand
        if len(changes) == 1:
            _log_refused(changes[0].video_id, error)
            return value
        middle = len(changes) // 2
        return _with_each(_with_each(value, changes[:middle]), changes[middle:])


def _log_refused(video_id: str, error: Exception) -> None:
    extra: Mapping[str, str] = {"video_id": video_id, "why": f"{type(error).__name__}: {error}"[:300]}
    logger.error("a catalog change cannot be applied and is left out", extra=dict(extra))
