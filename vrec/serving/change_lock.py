"""One change of the running service at a time: the name of a Ray actor, which only one can have."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import ray

from vrec.core.errors import ServeError

LOCK, NAMESPACE = "vrec-bundle-move", "vrec"
"""Name of the actor that changes the service, or for which a command does."""
WAIT_S = 300.0
"""Seconds that a command waits for the end of another change. A move takes as long as its replicas."""
POLL_S = 0.2
"""Seconds between two looks whether the other change has ended."""
SILENT_S = 1.0
"""Seconds of waiting after which standard error says what for."""


class ChangeLock:
    """Ray actor that holds the name while a command changes the service, and ends with the command."""


@contextlib.contextmanager
def only_change(wait_s: float = WAIT_S) -> Iterator[None]:
    """Let no move to another bundle run, and none begin, inside the `with`.

    Args:
        wait_s: Seconds to wait for the end of a change that runs.

    Raises:
        ServeError: The other change runs longer.
    """
    begun, is_told = time.monotonic(), False
    while (lock := _acquire()) is None:
        waited_s = time.monotonic() - begun
        if waited_s >= wait_s:
            raise ServeError(
                f"the service is being moved to another bundle, and was not done in {wait_s:g} s",
                fix="read GET /v1/bundles until no move runs, and run the command again",
            )
        if waited_s >= SILENT_S and not is_told:
            is_told = True
            text = f"another move of the service runs: waiting for its end, {wait_s:g} s at most"
            print(text, file=sys.stderr, flush=True)
        time.sleep(POLL_S)
    try:
        yield
    finally:
        ray.kill(lock)


def is_changing() -> bool:
    """Return whether a move to another bundle, or a command, changes the service."""
    if not ray.is_initialized():
        return False
    try:
        ray.get_actor(LOCK, namespace=NAMESPACE)
    except ValueError:
        return False
    return True


def _acquire() -> Any:
    """Return an actor with the name; None if another has it."""
    try:
        return ray.remote(ChangeLock).options(name=LOCK, namespace=NAMESPACE, num_cpus=0).remote()
    except ValueError:
        return None
