"""Doctored sounds and titles, for tests of encoders and of search."""

from collections.abc import Sequence

import numpy as np

from vrec.core.types import Waveform

ZERO_WIDTH = "\u200b\u2060\ufeff\u00ad\u200d"
"""Characters that are not seen."""
LOOK_ALIKE = str.maketrans("aceopxyABCEHKMOPTXijs", "асеорхуАВСЕНКМОРТХіјѕ")
"""Latin letters to the Cyrillic ones that look the same."""


def with_tone(sound: Waveform, *, hz: float = 440.0, level: float = 0.05, rate_hz: int = 16_000) -> Waveform:
    """Return (samples,) float32 sound with a pure tone of a level, of full scale; 50 or 60 Hz is a hum."""
    tone = level * np.sin(2 * np.pi * hz * np.arange(len(sound)) / rate_hz)
    return np.clip(sound + tone, -1, 1).astype(np.float32)


def stuffed_title(title: str, keywords: Sequence[str], times: int = 10) -> str:
    """Return a title with keywords repeated behind it."""
    return " ".join([title, *([" ".join(keywords)] * times)])


def hidden_title(title: str, seed: int = 0) -> str:
    """Return a title with characters that are not seen within its words, which then match no query."""
    rng = np.random.default_rng(seed)
    marks = list(ZERO_WIDTH)
    return "".join(letter + (str(rng.choice(marks)) if letter.isalnum() else "") for letter in title)


def look_alike_title(title: str) -> str:
    """Return a title in which Latin letters are Cyrillic ones that look the same."""
    return title.translate(LOOK_ALIKE)
