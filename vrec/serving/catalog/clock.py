"""Hybrid logical clock that orders catalog changes of several processes."""

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple


class Stamp(NamedTuple):
    """Place of a change in the order of all changes; stamps compare as tuples."""

    time: int
    """The largest clock reading that its writer knew of, µs since 1970."""
    ticks: int
    """Number of changes before it with the same `time`."""
    node: str
    """Process that wrote it, which orders concurrent changes."""


FIRST_STAMP = Stamp(0, 0, "")
"""A stamp before all others."""


def wall_clock_us() -> int:
    """Return this machine's time in µs since 1970."""
    return time.time_ns() // 1000


class HybridClock:
    """Hybrid logical clock (Kulkarni et al. 2014, Logical Physical Clocks).

    A stamp is later than every stamp observed before, whatever the machine's clock says; where clocks agree,
    stamps are close to the time.
    """

    def __init__(self, now: Callable[[], int] = wall_clock_us) -> None:
        """Build a clock over a function that returns the machine's time in µs."""
        self.node = uuid.uuid4().hex[:12]
        """Name of this clock's process, new at every start."""
        self._now, self._last = now, (0, 0)

    def observe(self, stamp: Stamp) -> None:
        """Make all stamps from now on later than this one."""
        self._last = max(self._last, (stamp.time, stamp.ticks))

    def tick(self) -> Stamp:
        """Return a new stamp."""
        now, (latest, ticks) = self._now(), self._last
        self._last = (now, 0) if now > latest else (latest, ticks + 1)
        return Stamp(*self._last, self.node)
