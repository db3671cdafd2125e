"""File that names the process with the embedded store open, so that others recognize the same store.

On another machine there may be another file at the same path, or none.
"""

from pathlib import Path

from vrec.profiles.stores.sqlite.store import SqliteConfig


def write_owner(config: SqliteConfig, owner: str) -> None:
    """Write the owner's id beside the store."""
    _owner_file(config).write_text(owner)


def is_owned_by(config: SqliteConfig, owner: str) -> bool:
    """Return whether the store at this process's path is the one that the owner has open."""
    file = _owner_file(config)
    return file.exists() and file.read_text() == owner


def _owner_file(config: SqliteConfig) -> Path:
    return Path(f"{config.path}.owner")
