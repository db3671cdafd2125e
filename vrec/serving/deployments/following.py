"""Health of a replica: whether the task that follows changes still runs."""

import asyncio
from typing import Any


def check_running(task: "asyncio.Task[Any] | None") -> None:
    """Raise RuntimeError if a task that should never end has ended; None has not begun."""
    if task is not None and task.done() and not task.cancelled():
        raise RuntimeError("changes are not followed any more")
