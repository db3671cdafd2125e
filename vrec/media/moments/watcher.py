"""Watcher of a video's frames as they are decoded: cuts them into moments and keeps one frame of each."""

import time

import numpy as np
import numpy.typing as npt

from vrec.core.types import Frames
from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.spans import BLOCK_S, Spans, Times, cut_spans, find_cuts, tick_indices

CELLS = 16
"""Cells per side of the pictures that are compared."""


class MomentWatcher:
    """Watcher that takes frames in the order of their times, and keeps at most a block of them."""

    def __init__(self, times_s: Times, end_s: float, config: MomentSpansConfig) -> None:
        """Choose the frames to watch.

        Args:
            times_s: (N,) time of every frame in seconds, rising; N ≥ 1.
            end_s: Seconds from the first frame to the end of the last.
            config: Cuts, and the CPU time that may be spent.
        """
        self._times_s, self._config = times_s - times_s[0], config
        self._end_s = min(max(end_s, float(self._times_s[-1])), config.up_to_s)
        self.wanted = frozenset(tick_indices(times_s, config).tolist())
        """Indices of the frames to watch."""
        self._begun_s = time.process_time()
        self.reset()

    def reset(self) -> None:
        """Forget the frames that came: they come again."""
        self._spans: list[Spans] = []
        self._kept: list[npt.NDArray[np.uint8]] = []
        self._pictures: list[npt.NDArray[np.uint8]] = []
        self._ticks_s: list[float] = []
        self.stopped_s: float | None = None
        """Seconds up to which the video was watched, if there was no CPU time for all of it."""

    @property
    def expired(self) -> bool:
        """True once the CPU time is spent and no more frames should come."""
        return time.process_time() - self._begun_s > self._config.timeout_s

    def add(self, index: int, picture: npt.NDArray[np.uint8]) -> None:
        """Take the next frame, (S, S, 3) uint8; one that is not wanted is left out."""
        if index not in self.wanted:
            return
        at_s = float(self._times_s[index])
        if self._ticks_s and at_s // BLOCK_S > self._ticks_s[0] // BLOCK_S:
            self._close_block((self._ticks_s[0] // BLOCK_S + 1) * BLOCK_S)
        self._ticks_s.append(at_s)
        self._pictures.append(picture)

    def finish(self) -> tuple[Spans, Frames | None]:
        """Return the moments, (N, 2), and a frame of each, (N, S, S, 3); none of a video without frames."""
        if self._ticks_s:
            last_s = self._ticks_s[-1] + 1 / self._config.ticks_per_s
            if self.expired and last_s < self._end_s:
                self.stopped_s = last_s
            self._close_block(self._end_s if self.stopped_s is None else last_s)
        if not self._kept:
            return np.empty((0, 2)), None
        return np.concatenate(self._spans), np.stack(self._kept)

    def _close_block(self, end_s: float) -> None:
        ticks_s, pictures = np.array(self._ticks_s), self._pictures
        self._ticks_s, self._pictures = [], []
        cells = np.stack([picture_cells(picture) for picture in pictures])
        changes = np.sqrt(np.square(np.diff(cells, axis=0, prepend=cells[:1])).mean(axis=(1, 2, 3)))
        # What was lost before the first frame is not shown as a moment of its own.
        start_s = float(ticks_s[0])
        cuts = find_cuts(changes, self._config.cut_change, self._config)
        spans = cut_spans(start_s, max(end_s, start_s), ticks_s[cuts].tolist(), self._config)
        self._spans.append(spans)
        self._kept += [pictures[tick] for tick in _typical_ticks(spans, ticks_s, cells)]


def picture_cells(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the mean color of a picture's cells, (CELLS, CELLS, 3) float32 from 0 to 255."""
    side = picture.shape[0] // CELLS
    cropped = picture[: CELLS * side, : CELLS * side]
    return cropped.reshape(CELLS, side, CELLS, side, 3).mean(axis=(1, 3), dtype=np.float32)


def _typical_ticks(spans: Spans, ticks_s: Times, cells: npt.NDArray[np.float32]) -> list[int]:
    """Return the tick of each moment whose picture is closest to the mean of its pictures."""
    chosen: list[int] = []
    for start_s, end_s in spans:
        inside = np.flatnonzero((ticks_s >= start_s - 1e-6) & (ticks_s < end_s - 1e-6))
        if not len(inside):
            # Of a long frame: the one on screen when the moment starts.
            inside = np.array([max(0, int(np.searchsorted(ticks_s, start_s + 1e-6, side="right")) - 1)])
        distances = np.square(cells[inside] - cells[inside].mean(axis=0)).sum(axis=(1, 2, 3))
        chosen.append(int(inside[np.argmin(distances)]))
    return chosen
