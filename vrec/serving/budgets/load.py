"""Requests that run in a process, and what gives way when there are too many."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

CheapReason = Literal["budget", "load"]
"""Reason why a list has popular videos: its caller's CPU time, or all requests together."""

_CHEAP: ContextVar[CheapReason | None] = ContextVar("cheap-lists", default=None)


def cheap_reason() -> CheapReason | None:
    """Return why the lists of the present request are to have popular videos; None if they are ranked."""
    return _CHEAP.get()


@contextmanager
def lists_made_cheap(reason: CheapReason | None) -> Iterator[None]:
    """Have popular videos in the lists of the request within the `with`, unless `reason` is None."""
    token = _CHEAP.set(reason)
    try:
        yield
    finally:
        _CHEAP.reset(token)


class RunningRequests:
    """Requests that run, without events, and among them those for lists by caller."""

    def __init__(self, lists_at_once: int, requests_at_once: int) -> None:
        """Take the limits of `BudgetsConfig`."""
        self._most_lists, self._most = lists_at_once, requests_at_once
        self.running, self.lists = 0, Counter[str]()

    @property
    def is_full(self) -> bool:
        """True if no further request may begin."""
        return self.running >= self._most

    def gives_way(self, caller: str) -> bool:
        """Return whether the next list of a caller is to have popular videos.

        Up to twice the limit, callers with more than an equal share of it do.
        """
        running = self.lists.total()
        if running < self._most_lists:
            return False
        callers = len(self.lists) + (caller not in self.lists)
        return running >= 2 * self._most_lists or self.lists[caller] >= self._most_lists / callers

    @contextmanager
    def run(self, caller: str, *, is_list: bool) -> Iterator[None]:
        """Count a request within the `with`; `is_list` for one whose list is ranked."""
        self.running += 1
        self.lists[caller] += is_list
        try:
            yield
        finally:
            self.running -= 1
            self.lists[caller] -= is_list
            if not self.lists[caller]:
                del self.lists[caller]
