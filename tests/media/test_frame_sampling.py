import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.media.frame_sampling import FrameSamplingConfig, sample_indices

gaps = st.lists(st.floats(0.001, 5), min_size=1, max_size=80)
configs = st.builds(
    FrameSamplingConfig,
    strategy=st.sampled_from(["uniform", "segment", "keyframes"]),
    frames=st.integers(1, 20),
    seed=st.none() | st.integers(0, 99),
)


@given(gaps, configs, st.sets(st.integers(0, 79)))
def test_sampling_gives_rising_indices_and_as_many_as_there_are(steps, config, keys):
    times_s = np.cumsum(steps)
    keys = {0} | {k for k in keys if k < len(steps)}
    got = sample_indices(config, times_s, sorted(keys))
    assert len(got) == min(config.frames, len(steps))
    assert (np.diff(got) > 0).all()
    assert got[0] >= 0
    assert got[-1] < len(steps)
    assert (got == sample_indices(config, times_s, sorted(keys))).all()
    if config.strategy == "keyframes" and len(keys) >= config.frames < len(steps):
        assert set(got.tolist()) <= keys


@given(st.integers(20, 400), st.integers(1, 16), st.integers(0, 9))
def test_each_segment_gives_one_frame(count, frames, seed):
    times_s = np.arange(count) / 25
    got = sample_indices(FrameSamplingConfig(strategy="segment", frames=frames, seed=seed), times_s, ())
    assert (np.floor((got + 1e-9) * frames / count) <= np.arange(frames)).all()
    assert (np.ceil((got + 1) * frames / count) > np.arange(frames)).all()


def test_uniform_takes_middles_and_segments_vary_with_the_seed():
    times_s = np.arange(80) / 25
    assert sample_indices(FrameSamplingConfig(), times_s, ()).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert sample_indices(FrameSamplingConfig(strategy="segment"), times_s, ()).tolist() == [
        5,
        15,
        25,
        35,
        45,
        55,
        65,
        75,
    ]
    draws = {
        tuple(sample_indices(FrameSamplingConfig(strategy="segment", seed=s), times_s, ())) for s in range(20)
    }
    assert len(draws) == 20
    # Two keyframes say too little of eight frames' worth: exact frames instead.
    assert sample_indices(FrameSamplingConfig(strategy="keyframes"), times_s, (0, 40)).tolist()[0] == 5
    with pytest.raises(ValueError, match="no frames"):
        sample_indices(FrameSamplingConfig(), np.empty(0), ())


def indices(times_s, keyframes=(), **settings):
    got = sample_indices(FrameSamplingConfig(**settings), np.array(times_s, float), keyframes)
    assert got.dtype == np.int64
    return got.tolist()


def test_a_span_s_middle_is_of_time_and_includes_the_last_frame_s_own_time():
    # Six frames last 6 s: the thirds' middles are 1, 3 and 5 s.
    assert indices([0, 1, 2, 3, 4, 5], frames=3) == [1, 3, 5]
    assert indices([10, 11, 12, 13, 14, 15], frames=3) == [1, 3, 5], "the start does not matter"
    # A frame is on screen until the next one: at 3 s of 6 s it is the frame of 0.5 s.
    assert indices([0, 0.5, 4, 4.5, 4.8], frames=1) == [1]


def test_one_long_frame_is_taken_once_and_its_neighbors_fill_in():
    assert indices([0, 100, 101, 102], frames=3) == [0, 1, 3]
    assert indices([0, 1, 2, 100], frames=3) == [1, 2, 3]


def test_few_frames_are_all_taken_whatever_the_strategy():
    for strategy in ("uniform", "segment", "keyframes"):
        assert indices([0, 1, 2], (0,), frames=3, strategy=strategy, seed=1) == [0, 1, 2]
        assert indices([0], (0,), frames=8, strategy=strategy) == [0]


def test_keyframes_are_sampled_among_themselves_in_any_order_and_once():
    times_s = np.arange(100) / 25
    keys = (90, 0, 10, 20, 30, 40, 50, 60, 70, 80, 0)
    assert indices(times_s, keys, frames=5, strategy="keyframes") == [10, 30, 50, 70, 90]
    # Exactly as many as are wanted are all taken.
    assert indices(times_s, (0, 50, 99), frames=3, strategy="keyframes") == [0, 50, 99]
    assert indices(times_s, (0, 50), frames=3, strategy="keyframes") == [16, 50, 83]
