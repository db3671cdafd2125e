"""How far a job is: a bar with rate and time left on a terminal, a plain line now and then in a log."""

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

_LINE_EVERY_S = 10.0


class JobProgress:
    """Shows videos done of a total; use in a `with` block."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label, self._total = label, total
        self._stream = stream or sys.stderr
        self._start = self._last = time.monotonic()
        self._done = self._failed = 0
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
            self._say(f"{self._label}: {self._total:,} videos")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None and self._done:
            self._say(self._line())

    def advance(self, videos: int, failed: int) -> None:
        """Counts finished videos, `failed` of them failed."""
        self._done += videos
        self._failed += failed
        if self._bar:
            self._bar.update(
                self._task,
                completed=self._done,
                rate=f"{self._rate():.1f} videos/s",
                failed=f"[red]{self._failed} failed" if self._failed else "",
            )
        elif time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            self._say(self._line())

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-9)

    def _line(self) -> str:
        left_s = (self._total - self._done) / max(self._rate(), 1e-9)
        failed = f", {self._failed:,} failed" if self._failed else ""
        eta = f", {left_s:,.0f} s left" if self._done < self._total else ""
        return f"{self._label}: {self._done:,} of {self._total:,} ({self._rate():.1f} videos/s{eta}{failed})"

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
