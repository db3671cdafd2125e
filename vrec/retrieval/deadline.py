"""Moment by which a fit must end, checked between its steps."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from vrec.core.errors import FitTimeout

T = TypeVar("T")
TimeCheck = Callable[[], None]
"""Function that raises FitTimeout where a fit has no time left."""


def check_deadline(deadline: float | None, name: str) -> None:
    """Check that a moment of `time.monotonic` has not come; None never does.

    Raises:
        FitTimeout: It has; the message begins with `name`.
    """
    if deadline is not None and time.monotonic() >= deadline:
        raise FitTimeout(f"{name}: the time ran out")


def no_limit() -> None:
    """Check nothing: there is no deadline."""


def checked(steps: Iterable[T], check: TimeCheck) -> Iterator[T]:
    """Yield the steps of a fit, with a check after each."""
    for step in steps:
        check()
        yield step
