"""Cuts between moments: any changes, any lengths, and pictures and sounds that change at a known time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.sound import align_sound, sound_spans
from vrec.media.moments.spans import BLOCK_S, block_limit, cut_spans, find_cuts, tick_indices
from vrec.media.moments.watcher import MomentWatcher

CONFIG = MomentSpansConfig()


@given(
    start=st.floats(0, 1e4),
    length=st.floats(0, BLOCK_S),
    cuts=st.lists(st.floats(0, BLOCK_S), max_size=80),
    per_minute=st.integers(4, 120),
    max_s=st.floats(1, 60),
)
def test_spans_cover_a_block_without_overlap_and_within_the_limit(start, length, cuts, per_minute, max_s):
    config = MomentSpansConfig(per_minute=per_minute, max_s=max_s)
    spans = cut_spans(start, start + length, [start + cut for cut in cuts], config)
    assert 1 <= len(spans) <= block_limit(config)
    assert spans[0, 0] == start
    assert spans[-1, 1] == start + length
    assert (spans[1:, 0] == spans[:-1, 1]).all()
    assert (spans[:, 1] >= spans[:, 0]).all()
    if len(spans) < block_limit(config):
        assert np.diff(spans, axis=1).max() <= max_s * 1.001 + 1e-9


def test_the_clearest_cuts_stay_where_there_are_too_many():
    config = MomentSpansConfig(per_minute=12)
    assert cut_spans(0, 15, [3.0, 9.0, 1.0, 2.0], config)[:, 0].tolist() == [0, 3, 9]


@given(changes=st.lists(st.floats(0, 200), max_size=120))
def test_a_cut_stands_out_from_its_surroundings(changes):
    changes = np.array(changes)
    cuts = find_cuts(changes, 10.0, CONFIG)
    reach = round(CONFIG.cut_window_s * CONFIG.ticks_per_s)
    assert len(set(cuts)) == len(cuts)
    assert [changes[cut] for cut in cuts] == sorted((changes[cut] for cut in cuts), reverse=True)
    for cut in cuts:
        assert cut >= 1
        assert changes[cut] >= 10.0
        around = [
            changes[t] for t in range(max(1, cut - reach), cut + reach + 1) if t != cut and t < len(changes)
        ]
        assert not around or changes[cut] >= CONFIG.cut_ratio * np.mean(around) - 1e-9


@given(steps=st.lists(st.floats(0.001, 3.0), max_size=200), up_to=st.floats(0.1, 300))
def test_ticks_are_frames_that_are_on_screen(steps, up_to):
    times = np.concatenate([[5.0], 5.0 + np.cumsum(steps)])
    config = MomentSpansConfig(up_to_s=up_to)
    ticks = tick_indices(times, config)
    assert ticks[0] == 0
    assert (np.diff(ticks) > 0).all()
    assert ticks[-1] < len(times)
    assert len(ticks) <= min(len(times), up_to * config.ticks_per_s + 1)


def picture(level: int) -> np.ndarray:
    return np.full((64, 64, 3), level, np.uint8)


@given(levels=st.lists(st.integers(0, 255), min_size=1, max_size=300), rate=st.sampled_from([1, 4, 25]))
def test_each_moment_has_one_of_its_own_frames(levels, rate):
    times = np.arange(len(levels)) / rate
    watcher = MomentWatcher(times, len(levels) / rate, CONFIG)
    for index in sorted(watcher.wanted):
        watcher.add(index, picture(levels[index]))
    spans, frames = watcher.finish()
    assert frames is not None
    assert len(spans) == len(frames)
    assert (spans[1:, 0] >= spans[:-1, 1] - 1e-9).all()
    assert spans[-1, 1] == pytest.approx(len(levels) / rate)
    for (start, end), frame in zip(spans, frames, strict=True):
        # The frame on screen when the moment starts counts as its own.
        inside = [
            v
            for t, v in zip(times, levels, strict=True)
            if start - 1 / rate - 1e-6 <= t < max(end, start + 1e-6)
        ]
        assert frame[0, 0, 0] in inside


def test_a_cut_lies_where_the_picture_changes_and_its_moment_shows_it():
    times = np.arange(10 * 25) / 25
    watcher = MomentWatcher(times, 10.0, CONFIG)
    for index in sorted(watcher.wanted):
        watcher.add(index, picture(200 if 3.0 <= times[index] < 4.5 else 30))
    spans, frames = watcher.finish()
    (row,) = [row for row, frame in enumerate(frames) if frame[0, 0, 0] == 200]
    # To within a tick: a frame that ends just after it is still on screen then.
    assert spans[row].tolist() == pytest.approx([3.0, 4.5], abs=0.25)


def test_frames_that_come_again_after_a_reset_count_once():
    times = np.arange(100) / 4
    watcher = MomentWatcher(times, 25.0, CONFIG)
    for index in sorted(watcher.wanted)[:70]:
        watcher.add(index, picture(9))
    watcher.reset()
    for index in sorted(watcher.wanted):
        watcher.add(index, picture(9))
    spans, _ = watcher.finish()
    assert spans[0, 0] == 0
    assert (np.diff(spans[:, 0]) > 0).all()


def test_without_processor_time_the_moments_end_early_and_say_where():
    times = np.arange(200) / 4
    watcher = MomentWatcher(times, 50.0, MomentSpansConfig(timeout_s=1e-9))
    for index in range(20):
        watcher.add(index, picture(index))
    assert watcher.expired
    spans, _ = watcher.finish()
    assert watcher.stopped_s == spans[-1, 1] == pytest.approx(5.0)


@settings(max_examples=25)
@given(seconds=st.floats(0, 70), seed=st.integers(0, 99), gaps=st.lists(st.floats(0, 70), max_size=6))
def test_sound_is_covered_within_the_limit(seconds, seed, gaps):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    for gap in gaps:
        samples[int(gap * 16_000) : int((gap + 1) * 16_000)] = 0
    spans = sound_spans(samples, CONFIG)
    assert len(spans) <= (seconds // BLOCK_S + 1) * block_limit(CONFIG)
    if len(samples):
        assert spans[0, 0] == 0
        assert spans[-1, 1] == pytest.approx(len(samples) / 16_000)
        assert np.allclose(spans[1:, 0], spans[:-1, 1])


@pytest.mark.parametrize("begins_s", [2.0, 5.5, 16.25])
def test_a_cut_lies_where_the_sound_changes(begins_s):
    times = np.arange(20 * 16_000) / 16_000
    low, high = np.sin(2 * np.pi * 220 * times), np.sin(2 * np.pi * 3000 * times)
    samples = np.where((times >= begins_s) & (times < begins_s + 1.5), high, low).astype(np.float32) / 3
    starts = sound_spans(samples, CONFIG)[:, 0]
    assert np.abs(starts - begins_s).min() <= 0.25
    assert np.abs(starts - begins_s - 1.5).min() <= 0.25


@given(offset=st.floats(-3, 3))
def test_sound_is_moved_to_the_clock_of_the_picture(offset):
    samples = np.zeros(16_000 * 4, np.float32)
    samples[16_000 * 3 + 5] = 1.0
    moved = align_sound(samples, offset)
    assert abs(int(np.argmax(moved)) - (16_000 * 3 + 5 + round(offset * 16_000))) <= 1
