"""Settings of the store in a SQLite file."""

from typing import Literal

from pydantic import Field

from vrec.events.config import EventKind
from vrec.profiles.stores.fold import FoldConfig


class SqliteConfig(FoldConfig):
    """Settings for the embedded store in a SQLite file."""

    kind: Literal["sqlite"] = "sqlite"
    """Store in one file, for one process that writes."""
    path: str = "vrec-store.db"
    """Database file on a local disk; its folder is created. `PATH-wal`, `-shm` and `.lock` lie beside it."""
    survive_power_loss: tuple[EventKind, ...] = ("purchase", "refund")
    """Kinds of events that are on the disk when they are acknowledged, with all events before them. Others
    may still be in the operating system's cache: they survive a crash of the process, not of the machine."""
    hot_profiles: int = Field(default=5_000, ge=1)
    """Number of profiles cached in memory, those used last; a long user profile takes about 50 kB."""
    group_events: int = Field(default=5_000, ge=1)
    """Number of events from which no more waiting calls join a commit."""
    busy_timeout_s: float = Field(default=5.0, ge=0)
    """Seconds to wait while another program, such as a backup, holds the database."""
