"""Moves of the running service to another bundle, as the console and the API start them."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder

MOVE = "bundle-move.json"
"""File in the data folder of a shop: the move that runs, or the one that ended last."""
MoveState = Literal["running", "done", "failed"]


class UnknownBundle(VrecError):
    """Name of a bundle that the shop cannot be moved to."""

    fix = "give the name of a bundle of GET /v1/bundles"


class UnreadableBundle(VrecError):
    """Folder without a readable bundle."""

    fix = "make the bundle again with `vrec bundle`, or name another one"


class MoveRuns(VrecError):
    """Move to a bundle while another move of the service runs."""

    fix = "read GET /v1/bundles until no move runs, and send the request again"


class CannotMove(VrecError):
    """Move of a service that does not run as `vrec serve` and `serve deploy` start it."""

    fix = "start it with `vrec serve` or `serve deploy`, or restart it with the other bundle"


@dataclass(frozen=True, slots=True)
class BundleMove:
    """Move to another bundle."""

    bundle: str
    """Name of the bundle."""
    state: MoveState
    started_at: int
    """µs since 1970."""
    ended_at: int | None = None
    """µs since 1970; None while it runs."""
    why: str | None = None
    """Reason why it failed."""


def read_move(data: str) -> BundleMove | None:
    """Return the move that a data folder records last; None if there is none."""
    try:
        return BundleMove(**json.loads(StorageFolder(data).read(MOVE)))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def write_move(data: str, move: BundleMove) -> None:
    """Record a move in a data folder; raises OutputError."""
    StorageFolder(data).write_json(MOVE, asdict(move))
