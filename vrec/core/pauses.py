"""Pauses of work in a thread, so that the process goes on answering requests meanwhile.

A thread that computes for long in Python makes every other one wait for the interpreter's lock, again and
again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WORK_S = 0.003
"""Seconds after which a pause is due, by the clock: a thread that waits for a core may hold the lock."""
REST_SHARE = 3.0
"""Length of a pause, as a multiple of the work before it: the thread takes a quarter of a core."""
MAX_REST_S = 0.5
"""Maximum length of a pause."""


class WorkPauses:
    """Pauses of one piece of work."""

    def __init__(self, is_urgent: Callable[[], bool]) -> None:
        """Begin; there are no pauses while `is_urgent` returns true, since somebody waits for the work."""
        self._is_urgent, self._begun = is_urgent, time.perf_counter()

    def pause_if_due(self) -> None:
        """Sleep if the work since the last pause took long enough."""
        worked_s = time.perf_counter() - self._begun
        if worked_s < WORK_S:
            return
        if not self._is_urgent():
            time.sleep(min(MAX_REST_S, REST_SHARE * worked_s))
        self._begun = time.perf_counter()


_CURRENT: ContextVar[WorkPauses | None] = ContextVar("vrec_work_pauses", default=None)


@contextmanager
def with_pauses(is_urgent: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let the work inside the `with` pause at each `pause_if_due`, in this thread."""
    token = _CURRENT.set(WorkPauses(is_urgent))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def pause_if_due() -> None:
    """Pause if this work is one with pauses, and one is due; call it outside event loops, every few ms."""
    if (pauses := _CURRENT.get()) is not None:
        pauses.pause_if_due()
