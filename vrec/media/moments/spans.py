"""Cuts between moments: where the change from one tick to the next stands out from those around it."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vrec.media.moments.config import MomentSpansConfig

BLOCK_S = 15.0
"""Seconds that are cut by themselves: bounds what a decoder keeps, and the moments in any part of a video."""

Times = npt.NDArray[np.float64]
Spans = npt.NDArray[np.float64]
"""(N, 2) float64: start and end of each moment in seconds from the first frame, rising, without overlap."""


def block_limit(config: MomentSpansConfig) -> int:
    """Return the most moments of one block."""
    return max(1, int(config.per_minute * BLOCK_S / 60))


def find_cuts(changes: npt.NDArray[np.floating], least: float, config: MomentSpansConfig) -> list[int]:
    """Return the ticks before which there is a cut, the clearest first.

    A cut is the largest change of its surroundings, at least `least`, and at least `cut_ratio` times their
    mean without it (the adaptive detector of PySceneDetect).

    Args:
        changes: (T,) change from the tick before to each tick; that of the first does not count.
        least: Least change at a cut.
        config: Ratio and surroundings.
    """
    reach = max(1, round(config.cut_window_s * config.ticks_per_s))
    cuts: list[tuple[float, int]] = []
    for tick in range(1, len(changes)):
        around = np.concatenate([changes[max(1, tick - reach) : tick], changes[tick + 1 : tick + 1 + reach]])
        change = float(changes[tick])
        # Of two equal neighbors the first is the cut.
        beside = changes[max(1, tick - 1) : tick], changes[tick + 1 : tick + 2]
        is_peak = (beside[0] < change).all() and (beside[1] <= change).all()
        if (
            change >= least
            and is_peak
            and change >= config.cut_ratio * float(around.mean() if len(around) else 0)
        ):
            cuts.append((-change, tick))
    return [tick for _, tick in sorted(cuts)]


def cut_spans(start_s: float, end_s: float, cuts_s: Sequence[float], config: MomentSpansConfig) -> Spans:
    """Divide a block at its cuts, and what is longer than `max_s` evenly, into at most its limit of moments.

    Args:
        start_s: Start of the block in seconds.
        end_s: Its end; not before the start.
        cuts_s: Times of the cuts inside, the clearest first.
        config: Longest moment, and number of moments.
    """
    limit = block_limit(config)
    inside = [time for time in cuts_s if start_s < time < end_s]
    edges = [start_s, *sorted(dict.fromkeys(inside[: limit - 1])), end_s]
    parts = [1] * (len(edges) - 1)
    lengths = np.diff(edges)
    while sum(parts) < limit:
        pieces = [length / count for length, count in zip(lengths, parts, strict=True)]
        longest = int(np.argmax(pieces))
        # Times are rounded in files: four seconds are not longer than four seconds.
        if pieces[longest] <= config.max_s * (1 + 1e-6):
            break
        parts[longest] += 1
    starts: list[float] = []
    for edge, length, count in zip(edges, lengths, parts, strict=False):
        starts += [edge + length * part / count for part in range(count)]
    return np.stack([np.array(starts), np.array([*starts[1:], end_s])], axis=1)


def tick_indices(times_s: Times, config: MomentSpansConfig) -> npt.NDArray[np.int64]:
    """Return the frame on screen at each tick, (T,) int64, rising.

    Args:
        times_s: (N,) time of every frame in seconds, rising; N ≥ 1.
        config: Ticks per second, and the seconds that are cut.
    """
    length_s = min(float(times_s[-1] - times_s[0]), config.up_to_s)
    ticks = np.arange(math.floor(length_s * config.ticks_per_s + 1e-6) + 1) / config.ticks_per_s
    return np.unique(np.searchsorted(times_s - times_s[0], ticks + 1e-3, side="right") - 1).astype(np.int64)
