"""Progress of a job: a bar with rate and time left on a terminal, a line every few seconds in a log."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 10.0
"""Least seconds between two lines of a log."""


class JobProgress:
    """Progress of videos towards a total, shown inside a `with` block."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label, self._total = label, total
        self._stream = stream or sys.stderr
        self._last = time.monotonic()
        self._done = self._failed = 0
        self._first: tuple[float, int] | None = None
        self._bar: Progress | None = None
        if self._stream.isatty():
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failed]}"),
                console=Console(file=self._stream),
                transient=True,
            )
            self._task = self._bar.add_task(label, total=total, rate="", failed="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        else:
            self._print(f"{self._label}: {self._total:,} videos")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None and self._done:
            self._print(self._line())

    def advance(self, videos: int, failed: int) -> None:
        """Count finished videos, of which `failed` failed."""
        self._done += videos
        self._failed += failed
        self._first = self._first or (time.monotonic(), self._done)
        if self._bar:
            rate = self._rate()
            self._bar.update(
                self._task,
                completed=self._done,
                rate=f"{rate:.1f} videos/s" if rate else "",
                failed=f"[red]{self._failed} failed" if self._failed else "",
            )
        elif time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            self._print(self._line())

    def _rate(self) -> float | None:
        # Since the first batch: before it workers start up, which happens only once.
        since, before = self._first or (0.0, 0)
        if self._done == before:
            return None
        return (self._done - before) / max(time.monotonic() - since, 1e-9)

    def _line(self) -> str:
        rate, left = self._rate(), self._total - self._done
        notes = [f"{rate:.1f} videos/s"] if rate else []
        if rate and left:
            notes.append(f"{left / rate:,.0f} s left")
        if self._failed:
            notes.append(f"{self._failed:,} failed")
        more = f" ({', '.join(notes)})" if notes else ""
        return f"{self._label}: {self._done:,} of {self._total:,}{more}"

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
