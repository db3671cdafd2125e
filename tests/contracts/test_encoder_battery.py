"""The battery under test: bugs planted around a real encoder, each of which must be caught."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig, audible
from vrec.testing.encoders import CHECKS

Bug = Callable[[AudioEncoder, Sequence[Clip]], Vectors]


class Broken:
    """A real encoder whose `encode` goes through a planted bug."""

    modality: Modality = "audio"

    def __init__(self, bug: Bug, name: str | None = None):
        self.sound = AudioEncoder(AudioEncoderConfig())
        self.dim = self.sound.dim
        self.name = name or self.sound.name
        self.bug = bug

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        return self.bug(self.sound, clips)


def order_reversed(encoder, clips):
    return encoder.encode(clips)[::-1].copy()


def order_by_id(encoder, clips):
    return encoder.encode(sorted(clips, key=lambda clip: clip.video_id))


def last_row_lost(encoder, clips):
    return encoder.encode(clips)[:-1]


def one_row_for_equal_clips(encoder, clips):
    seen = {clip.video_id: clip for clip in clips}
    return encoder.encode(list(seen.values()))


def not_unit(encoder, clips):
    return encoder.encode(clips) * np.float32(1.01)


def float64(encoder, clips):
    return encoder.encode(clips).astype(np.float64)


def batch_centred(encoder, clips):
    rows = encoder.encode(clips)
    if len(rows) < 2:
        return rows
    rows = rows - rows.mean(axis=0) * np.float32(0.1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def odd_batches_differ(encoder, clips):
    rows = encoder.encode(clips)
    return rows if len(rows) % 2 == 0 or len(rows) == 1 else np.roll(rows, 1, axis=1)


def zeros_for_absent(encoder, clips):
    rows = np.zeros((len(clips), encoder.dim), dtype=np.float32)
    for row, clip in zip(rows, clips, strict=True):
        if audible(clip.audio):
            row[:] = encoder.encode([clip])[0]
    return rows


def absent_left_out(encoder, clips):
    return encoder.encode([clip for clip in clips if audible(clip.audio)])


def nan_in_a_row(encoder, clips):
    rows = encoder.encode(clips)
    rows[-1:, 0] = np.nan
    return rows


def all_the_same(encoder, clips):
    return np.repeat(encoder.encode(clips[:1]), len(clips), axis=0) if clips else encoder.encode(clips)


def none_for_no_clips(encoder, clips):
    return encoder.encode(clips) if clips else np.zeros((0, 0), dtype=np.float32)


def noisy(encoder, clips):
    rows = encoder.encode(clips) + np.random.default_rng().normal(0, 1e-3, (len(clips), encoder.dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scales_in_place(encoder, clips):
    rows = encoder.encode(clips)
    for clip in clips:
        clip.audio[...] *= np.float32(0.5)
    return rows


def reads_the_id(encoder, clips):
    rows = encoder.encode(clips)
    for row, clip in zip(rows, clips, strict=True):
        row[:] = np.roll(row, len(clip.video_id))
    return rows


BUGS: dict[Bug, str] = {
    order_reversed: "check_single_equals_batch",
    order_by_id: "check_order",
    last_row_lost: "check_shape",
    one_row_for_equal_clips: "check_batch_is_irrelevant",
    not_unit: "check_unit",
    float64: "check_shape",
    batch_centred: "check_single_equals_batch",
    odd_batches_differ: "check_batch_is_irrelevant",
    zeros_for_absent: "check_absent_is_refused",
    absent_left_out: "check_absent_is_refused",
    nan_in_a_row: "check_shape",
    all_the_same: "check_tells_clips_apart",
    none_for_no_clips: "check_empty_batch",
    noisy: "check_repeatable",
    scales_in_place: "check_leaves_clips_alone",
    reads_the_id: "check_ids_are_irrelevant",
}


def caught_by(broken: Broken, clips: Sequence[Clip], only: str | None = None) -> set[str]:
    caught = set()
    for check in CHECKS:
        if only in (None, check.__name__):
            try:
                check(broken, [Clip(c.video_id, audio=c.audio[:6400].copy()) for c in clips])
            except (AssertionError, ValueError, pytest.fail.Exception):
                caught.add(check.__name__)
    return caught


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_caught(bug: Bug, clips: list[Clip]):
    assert caught_by(Broken(bug), clips, only=BUGS[bug])


def test_scaling_in_place_is_caught_on_read_only_arrays(clips: list[Clip]):
    assert caught_by(Broken(scales_in_place), clips, only="check_read_only_input")


def test_name_without_a_digest_is_caught(clips: list[Clip]):
    plain = Broken(lambda encoder, batch: encoder.encode(batch), name="audio")
    assert caught_by(plain, clips) == {"check_identity"}


def test_every_check_catches_some_planted_bug():
    catching = {*BUGS.values(), "check_identity", "check_read_only_input"}
    assert catching == {check.__name__ for check in CHECKS}


def test_sound_encoder_passes(clips: list[Clip]):
    assert caught_by(Broken(lambda encoder, batch: encoder.encode(batch)), clips) == set()
