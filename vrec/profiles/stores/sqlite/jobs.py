"""Jobs of the writer thread of the SQLite store."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vrec.core.types import ApplyResult
from vrec.profiles.stores.cache import ProfileKey
from vrec.profiles.stores.codec import EventRow


@dataclass(slots=True)
class PendingAppend:
    """Events of calls that come together, waiting for the writer thread."""

    rows: list[EventRow]
    keys: list[bytes]
    sizes: Sequence[int]
    """Number of events of each call."""
    future: Future[list[ApplyResult]] = field(default_factory=Future)


@dataclass(slots=True)
class Erasure:
    """Erasure of one user, waiting for the writer thread."""

    user_id: str
    future: Future[int] = field(default_factory=Future)


@dataclass(slots=True)
class WriterTask:
    """Other work that the writer thread does between commits."""

    run: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)

    def settle(self) -> None:
        """Run it, and give its result or error to the waiting caller."""
        try:
            self.future.set_result(self.run())
        except BaseException as error:  # any error must reach the waiting caller
            self.future.set_exception(error)


Job: TypeAlias = PendingAppend | Erasure | WriterTask


def profile_keys(group: list[PendingAppend], owners: Mapping[str, str]) -> set[ProfileKey]:
    """Return the users, with their accounts as owners, and the videos of the calls' events."""
    rows = [row for call in group for row in call.rows]
    keys: set[ProfileKey] = {("user", owners.get(row[1], row[1])) for row in rows}
    keys.update(("video", row[2]) for row in rows)
    return keys
