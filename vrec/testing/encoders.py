"""Contract of `vrec.core.protocols.Encoder`, as checks that raise AssertionError.

`clips` are at least four different clips that have the encoder's modality.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from vrec.core.protocols import Encoder
from vrec.core.types import Clip

CLOSE = 1e-5
"""Largest difference of one entry between two encodings of one clip."""


def check_shape(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Return finite float32 vectors of shape (clips, dim)."""
    vectors = encoder.encode(clips)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(clips), encoder.dim)
    assert np.isfinite(vectors).all()


def check_unit(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Return unit vectors."""
    assert np.abs(np.linalg.norm(encoder.encode(clips), axis=1) - 1).max() < CLOSE


def check_tells_clips_apart(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Give different clips different vectors."""
    vectors = encoder.encode(clips)
    cosines = vectors @ vectors.T
    assert (cosines - np.eye(len(clips))).max() < 1 - CLOSE


def check_order(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """A batch in another order gives the same rows in that order."""
    forward = encoder.encode(clips)
    backward = encoder.encode(clips[::-1])
    assert np.abs(forward - backward[::-1]).max() < CLOSE


def check_single_equals_batch(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Encode a clip alone as in a batch."""
    together = encoder.encode(clips)
    for row, clip in zip(together, clips, strict=True):
        alone = encoder.encode([clip])
        assert len(alone) == 1
        assert np.abs(alone[0] - row).max() < CLOSE


def check_batch_is_irrelevant(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """The same clip twice in one batch, and a batch cut in two, change nothing."""
    together = encoder.encode(clips)
    doubled = encoder.encode([*clips, clips[0]])
    assert len(doubled) == len(clips) + 1
    assert np.abs(doubled[:-1] - together).max() < CLOSE
    assert np.abs(doubled[-1] - together[0]).max() < CLOSE
    half = len(clips) // 2
    halves = np.concatenate([encoder.encode(clips[:half]), encoder.encode(clips[half:])])
    assert np.abs(halves - together).max() < CLOSE


def check_repeatable(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Encode the same clips to the same vectors."""
    assert np.abs(encoder.encode(clips) - encoder.encode(clips)).max() < CLOSE


def check_leaves_clips_alone(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Leave the clips' arrays unchanged."""
    before = [
        (None if c.frames is None else c.frames.copy(), None if c.audio is None else c.audio.copy())
        for c in clips
    ]
    encoder.encode(clips)
    for clip, (frames, audio) in zip(clips, before, strict=True):
        assert frames is None or (clip.frames is not None and np.array_equal(frames, clip.frames))
        assert audio is None or (clip.audio is not None and np.array_equal(audio, clip.audio))


def check_read_only_input(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Arrays that come out of an object store are read-only."""
    frozen = []
    for clip in clips:
        frames = None if clip.frames is None else clip.frames.copy()
        audio = None if clip.audio is None else clip.audio.copy()
        for array in (frames, audio):
            if array is not None:
                array.setflags(write=False)
        frozen.append(replace(clip, frames=frames, audio=audio))
    assert np.abs(encoder.encode(frozen) - encoder.encode(clips)).max() < CLOSE


def check_empty_batch(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Return a (0, dim) float32 array for no clips."""
    del clips
    nothing = encoder.encode([])
    assert nothing.shape == (0, encoder.dim)
    assert nothing.dtype == np.float32


def check_absent_is_refused(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """A clip without the modality is an error, in any place of a batch: never a row of zeros."""
    absent = Clip("without-anything")
    for batch in ([absent], [*clips, absent], [absent, *clips]):
        with pytest.raises(ValueError, match="without-anything"):
            encoder.encode(batch)


def check_ids_are_irrelevant(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Ignore the clips' ids."""
    renamed = [replace(clip, video_id=f"another-{i}") for i, clip in enumerate(clips)]
    assert np.abs(encoder.encode(renamed) - encoder.encode(clips)).max() < CLOSE


def check_identity(encoder: Encoder, clips: Sequence[Clip]) -> None:
    """Have a name `kind@digest`, with 12 hexadecimal digits, and a known modality."""
    del clips
    assert isinstance(encoder, Encoder)
    kind, at, digest = encoder.name.partition("@")
    assert kind
    assert at
    assert len(digest) == 12
    assert set(digest) <= set("0123456789abcdef")
    assert encoder.modality in {"frames", "audio", "text"}


CHECKS: tuple[Callable[[Encoder, Sequence[Clip]], None], ...] = (
    check_identity,
    check_shape,
    check_unit,
    check_tells_clips_apart,
    check_order,
    check_single_equals_batch,
    check_batch_is_irrelevant,
    check_repeatable,
    check_leaves_clips_alone,
    check_read_only_input,
    check_empty_batch,
    check_absent_is_refused,
    check_ids_are_irrelevant,
)
