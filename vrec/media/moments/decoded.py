"""Decoded moments of a video."""

from dataclasses import dataclass, field

import numpy as np

from vrec.core.types import Frames, Waveform
from vrec.media.audio import RATE_HZ
from vrec.media.moments.spans import Spans
from vrec.media.moments.subtitles import Cue


def no_spans() -> Spans:
    """Return the spans of no moment, (0, 2)."""
    return np.empty((0, 2), np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class DecodedMoments:
    """Moments of one video: pictures, sound and words, each with times of their own."""

    spans: Spans = field(default_factory=no_spans)
    """(N, 2) seconds of the moments of the picture."""
    frames: Frames | None = None
    """(N, S, S, 3) uint8 RGB: the most typical frame of each; None without any."""
    sound_spans: Spans = field(default_factory=no_spans)
    """(M, 2) seconds of the moments of the sound."""
    sound: Waveform | None = None
    """(samples,) float32 at 16 kHz from the first frame on; None without sound."""
    cues: tuple[Cue, ...] = ()
    """Subtitles."""

    def sound_of(self, number: int) -> Waveform:
        """Return the samples of a moment of the sound."""
        assert self.sound is not None
        start_s, end_s = self.sound_spans[number]
        return self.sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
