"""Audio of synthetic videos: one kind of sound per class, with another tune in each video."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vrec.synthetic.videos.plan import SyntheticVideo

SAMPLE_RATE_HZ = 44_100
"""Samples per second."""

AudioSamples = npt.NDArray[np.float64]


def synthesize_audio(video: SyntheticVideo) -> npt.NDArray[np.float32]:
    """Return the video's audio, (samples,) float32 mono at 44.1 kHz within ±0.8, as long as its picture."""
    rng = np.random.default_rng((video.seed, 2))
    t = np.arange(round(video.seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    wave = _GENERATORS[video.category](t, rng)
    fade = np.minimum(1, np.minimum(t, video.seconds - t) / 0.03)
    peak = max(float(np.abs(wave).max()), 1e-9)
    return (0.8 * wave / peak * fade).astype(np.float32)


def _note(semitones: float) -> float:
    return 440.0 * 2 ** (semitones / 12)


def _tone(t: AudioSamples, hertz: float, partials: int = 1) -> AudioSamples:
    out = np.zeros_like(t)
    for n in range(1, partials + 1):
        out += np.sin(2 * np.pi * hertz * n * t) / n**1.5
    return out


def _elapsed(t: AudioSamples, period: float, delay: float = 0.0) -> AudioSamples:
    """Return the seconds since the last beat; beats come every `period` seconds."""
    return np.mod(t - delay, period)


def _noise(t: AudioSamples, rng: np.random.Generator, low: float, high: float) -> AudioSamples:
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    hertz = np.fft.rfftfreq(len(t), 1 / SAMPLE_RATE_HZ)
    band = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), len(t))
    return band / max(float(np.abs(band).max()), 1e-9)


def _beat(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return a drum beat: kicks with a hi-hat between them."""
    period = 60 / rng.uniform(110, 150)
    kick, hat = _elapsed(t, period), _elapsed(t, period, period / 2)
    boom = np.sin(2 * np.pi * (48 * kick + 9 * (1 - np.exp(-kick * 30)))) * np.exp(-kick * 9)
    return boom + 0.35 * _noise(t, rng, 6_000, 12_000) * np.exp(-hat * 45)


def _chord(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return a sustained chord."""
    root = rng.uniform(-24, -15)
    steps = (0, 4, 7, 11) if rng.random() < 0.5 else (0, 3, 7, 10)
    swell = 0.75 + 0.25 * np.sin(2 * np.pi * rng.uniform(0.3, 0.6) * t)
    return sum((_tone(t, _note(root + s), 3) for s in steps), np.zeros_like(t)) * swell


def _hum(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return a mains-like hum with distant crickets."""
    pitch = rng.uniform(48, 64)
    chirp = np.maximum(0, np.sin(2 * np.pi * rng.uniform(1.5, 2.5) * t)) ** 8
    crickets = np.sin(2 * np.pi * rng.uniform(4_200, 4_900) * t) * np.sin(2 * np.pi * 32 * t) * chirp
    return _tone(t, pitch, 8) + 0.25 * crickets


def _melody(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return a plucked melody on a five-note scale."""
    period = rng.uniform(0.22, 0.32)
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16])
    tune = scale[rng.integers(0, len(scale), int(t[-1] / period) + 2)] + rng.uniform(-5, 3)
    hertz = 440.0 * 2 ** (tune[(t / period).astype(int)] / 12)
    elapsed = _elapsed(t, period)
    return sum(
        (np.sin(2 * np.pi * hertz * n * elapsed) / n**2 for n in (1, 2, 3)), np.zeros_like(t)
    ) * np.exp(-elapsed * 7)


def _bass(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return a wobbling sawtooth bass line."""
    period = rng.uniform(0.24, 0.34)
    steps = np.array([0, 0, 7, 10, 12, 10, 7, 3])
    line = np.roll(steps, int(rng.integers(8)))[(t / period).astype(int) % 8] + rng.uniform(-36, -30)
    elapsed = _elapsed(t, period)
    hertz = 440.0 * 2 ** (line / 12)
    saw = sum((np.sin(2 * np.pi * hertz * n * elapsed) / n for n in range(1, 14)), np.zeros_like(t))
    return saw * (0.6 + 0.4 * np.sin(2 * np.pi * t / period * 2)) * np.exp(-elapsed * 2)


def _birds(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return birdsong: rising chirps over faint wind."""
    out = 0.05 * _noise(t, rng, 200, 1_200)
    for _ in range(max(3, int(t[-1] * 3.5))):
        start, length = rng.uniform(0, max(t[-1] - 0.2, 0.01)), rng.uniform(0.06, 0.16)
        low, rise = rng.uniform(2_000, 3_000), rng.uniform(800, 2_200)
        chirp = (t >= start) & (t < start + length)
        x = t[chirp] - start
        out[chirp] += np.sin(2 * np.pi * (low * x + rise * x**2 / (2 * length))) * np.sin(np.pi * x / length)
    return out


def _steps(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return footsteps on gravel over broadband noise."""
    period = rng.uniform(0.42, 0.6)
    left, right = _elapsed(t, period * 2), _elapsed(t, period * 2, period)
    gravel = _noise(t, rng, 500, 4_500)
    return gravel * (np.exp(-left * 16) + 0.8 * np.exp(-right * 20) + 0.12)


def _ticks(t: AudioSamples, rng: np.random.Generator) -> AudioSamples:
    """Return the ticking of a clock."""
    period = 1 / rng.uniform(4, 6)
    tick, tock = _elapsed(t, period * 2), _elapsed(t, period * 2, period)
    pitch = rng.uniform(2_600, 3_400)
    ring = np.sin(2 * np.pi * pitch * tick) * np.exp(-tick * 260)
    return ring + 0.7 * np.sin(2 * np.pi * pitch * 0.72 * tock) * np.exp(-tock * 240)


_GENERATORS: dict[str, Callable[[AudioSamples, np.random.Generator], AudioSamples]] = {
    "sneakers": _beat,
    "mugs": _chord,
    "lamps": _hum,
    "dresses": _melody,
    "headphones": _bass,
    "plants": _birds,
    "backpacks": _steps,
    "watches": _ticks,
}
