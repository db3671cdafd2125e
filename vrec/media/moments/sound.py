"""Moments of a video's sound: cuts where its spectrum changes."""

import numpy as np
import numpy.typing as npt

from vrec.core.types import Waveform
from vrec.media.audio import RATE_HZ
from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.spans import BLOCK_S, Spans, cut_spans, find_cuts

BANDS = 24
FLOOR_DB = -60.0
"""Loudness of a band, relative to full scale, below which it counts as silent."""


def align_sound(samples: Waveform, offset_s: float) -> Waveform:
    """Return samples of which the first is at the first frame, which is `offset_s` before the first given."""
    shift = round(offset_s * RATE_HZ)
    if shift >= 0:
        return np.concatenate([np.zeros(shift, np.float32), samples]) if shift else samples
    return samples[-shift:]


def sound_spans(samples: Waveform, config: MomentSpansConfig) -> Spans:
    """Return the moments of a sound, (N, 2) seconds; its end may be a moment of a fraction of a second.

    Args:
        samples: (samples,) float32 at 16 kHz from the first frame on.
        config: Cuts.
    """
    size = int(RATE_HZ / config.ticks_per_s)
    per_block = round(BLOCK_S * config.ticks_per_s)
    levels = band_levels(samples, size)
    end_s = len(samples) / RATE_HZ
    spans: list[Spans] = []
    for first in range(0, len(levels), per_block):
        block = levels[first : first + per_block]
        changes = np.sqrt(np.square(np.diff(block, axis=0, prepend=block[:1])).mean(axis=1))
        cuts = [
            (first + tick) / config.ticks_per_s for tick in find_cuts(changes, config.sound_change, config)
        ]
        start_s = first / config.ticks_per_s
        spans.append(cut_spans(start_s, min(end_s, start_s + BLOCK_S), cuts, config))
    return np.concatenate(spans) if spans else np.empty((0, 2))


def band_levels(samples: Waveform, size: int) -> npt.NDArray[np.float32]:
    """Return the loudness in decibels of bands of frequency in each tick, (T, BANDS) float32.

    Args:
        samples: (samples,) float32 at 16 kHz.
        size: Samples per tick; the last may have fewer.
    """
    count = -(-len(samples) // size)
    edges = np.unique(np.geomspace(2, size // 2 + 1, BANDS + 1).astype(int))
    window = np.hanning(size).astype(np.float32)
    levels = np.empty((count, len(edges) - 1), np.float32)
    # A minute at a time: the spectrum of an hour would take gigabytes.
    for start in range(0, count, 256):
        stop = min(start + 256, count)
        chunk = samples[start * size : stop * size]
        padded = np.pad(chunk, (0, (stop - start) * size - len(chunk))).reshape(-1, size)
        power = np.square(np.abs(np.fft.rfft(padded * window, axis=1))) / (size / 4) ** 2
        bands = np.add.reduceat(power, edges[:-1], axis=1)
        levels[start:stop] = np.maximum(10 * np.log10(bands + 1e-12), FLOOR_DB)
    return levels
