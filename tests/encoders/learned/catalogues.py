"""Drawn features with a planted truth: what moves, what is noise, and who watches what."""

from dataclasses import replace

import numpy as np

from vrec.encoders.learned.features import FeatureSet

NAMES = {"frames": "cnn@000000000000", "audio": "audio@000000000000", "text": "text@000000000000"}


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def feature_set(
    frames: np.ndarray, audio: np.ndarray | None = None, text: np.ndarray | None = None, has=None, names=None
) -> FeatureSet:
    """Features of (N, V, T, D) frames and of (N, D) vectors; `has` says by modality who lacks it."""
    count = len(frames)
    there = {m: np.ones(count, bool) for m in NAMES}
    there["frames"] &= frames.shape[3] > 0
    rest = {}
    for m, rows in (("audio", audio), ("text", text)):
        rest[m] = np.zeros((count, 0), np.float32) if rows is None else unit(rows)
        there[m] &= rows is not None
    for m, which in (has or {}).items():
        there[m] = there[m] & which
    lengths = np.where(there["frames"], frames.shape[2], 0).astype(np.int16)
    kept = (frames * there["frames"][:, None, None, None]).astype(np.float16)
    rest = {m: rows * there[m][:, None] for m, rows in rest.items()}
    ids = tuple(f"video-{i:05d}" for i in range(count))
    given = {m: name for m, name in (names or NAMES).items() if there[m].any()}
    return FeatureSet(ids, kept, lengths, rest["audio"], rest["text"], there, given)


def moving(count: int, *, seed: int, views: int = 2, length: int = 8, dim: int = 24) -> FeatureSet:
    """Clips of something that stands still and of a movement: of one direction in time, at a pace of its own.

    Frames are the subject, plus the same vector for all clips times a number that rises through the clip.
    """
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    subject = rng.normal(size=(count, 1, 1, dim))
    course = np.linspace(-1, 1, length)[None, None, :, None] * rng.uniform(0.5, 1.5, (count, 1, 1, 1))
    noise = 0.2 * rng.normal(size=(count, views, length, dim))
    return feature_set(subject + 2 * course * unit(world.normal(size=(1, dim)))[0] + noise)


def backwards(features: FeatureSet) -> FeatureSet:
    """The same clips from their last frame to their first; all are of full length."""
    return replace(features, frames=np.ascontiguousarray(features.frames[:, :, ::-1]))


def of_topics(
    count: int, *, seed: int, topics: int = 12, noise: float = 0.3, has=None, world_seed: int = 5
) -> tuple[FeatureSet, np.ndarray]:
    """Videos of which picture, sound and text each tell the topic and what is their own; (N,) topics."""
    rng, world = np.random.default_rng(seed), np.random.default_rng(world_seed)
    topic = rng.integers(0, topics, count)
    own = rng.normal(size=(count, 6))
    latent = np.concatenate([world.normal(size=(topics, 6))[topic], own], axis=1)
    maps = {m: world.normal(size=(12, width)) for m, width in (("frames", 24), ("audio", 10), ("text", 16))}
    found = {m: latent @ mix + noise * rng.normal(size=(count, mix.shape[1])) for m, mix in maps.items()}
    frames = found["frames"][:, None, None, :] + noise * rng.normal(size=(count, 2, 3, 24))
    return feature_set(frames, found["audio"], found["text"], has), topic
