"""Sampling, quality, fingerprints, sound, log-mel and augmentation, without files."""

import random

import numpy as np
import pytest
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import numbered, tone, write_video
from vrec.core.errors import BlackVideo, FrozenVideo, TooShort
from vrec.media.audio import AudioConfig
from vrec.media.augment import AugmentConfig, augment
from vrec.media.decode import MediaConfig, decode
from vrec.media.fingerprint import MAX_DISTANCE, hamming_distance, near_duplicates
from vrec.media.frame_sampling import FrameSamplingConfig, sample_indices
from vrec.media.mel import MelConfig, log_mel
from vrec.media.quality import QualityConfig, check_length, check_picture

STILL = AugmentConfig(
    min_area=1, max_stretch=1, flip=0, rotate_deg=0, scale=0, brightness=0, contrast=0, saturation=0, hue=0
)

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


def noise(seed: int, frames: int = 8) -> np.ndarray:
    """Smooth random pictures that move."""
    small = np.random.default_rng(seed).integers(0, 255, (frames, 7, 7, 3), np.uint8)
    return small.repeat(32, axis=1).repeat(32, axis=2)


def test_quality_names_black_flat_and_frozen_and_passes_the_rest():
    black = np.random.default_rng(0).integers(0, 18, (8, 224, 224, 3), np.uint8)
    with pytest.raises(BlackVideo, match="black"):
        check_picture(QualityConfig(), black)
    with pytest.raises(BlackVideo, match="flat"):
        check_picture(QualityConfig(), np.full((8, 224, 224, 3), 130, np.uint8))
    frozen = noise(0)[:1].repeat(8, axis=0)
    with pytest.raises(FrozenVideo):
        check_picture(QualityConfig(), frozen)
    check_picture(QualityConfig(), frozen[:1])
    check_picture(QualityConfig(refuse_frozen=False), frozen)
    check_picture(QualityConfig(refuse_black=False), black[:1])
    cursor = frozen.copy()
    cursor[5, 100:112, 60:72] = 255 - cursor[5, 100:112, 60:72]
    check_picture(QualityConfig(), cursor)
    spot = black.copy()
    spot[3, 40:80, 40:80] = 200
    check_picture(QualityConfig(), spot)
    with pytest.raises(TooShort, match=r"0\.50 s; at least 1 s"):
        check_length(QualityConfig(min_duration_s=1), 12, 0.5)


def test_the_hash_survives_a_poorer_encoding_and_tells_videos_apart(tmp_path):
    pictures = [noise(i // 6, 1)[0] for i in range(48)]
    plain = MediaConfig(audio=AudioConfig(enabled=False))
    good = decode(write_video(tmp_path / "a.mp4", pictures, options={"crf": "18"}), plain)
    small = [picture[::2, ::2].copy() for picture in pictures]
    poor = decode(
        write_video(tmp_path / "b.webm", small, codec="libvpx-vp9", options={"crf": "45", "b": "0"}), plain
    )
    other = decode(write_video(tmp_path / "c.mp4", pictures[::-1]), plain)
    assert hamming_distance(good.phash, poor.phash) <= MAX_DISTANCE
    assert hamming_distance(good.phash, other.phash) > 2 * MAX_DISTANCE


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_near_duplicates_are_found_whatever_the_order(order):
    hashes = {f"v{i}": np.random.default_rng(i).bytes(32).hex() for i in range(300)}
    for i in range(0, 60, 3):
        bits = int(hashes[f"v{i}"], 16)
        for bit in random.Random(i).sample(range(256), 8):
            bits ^= 1 << bit
        hashes[f"v{i + 1}"] = f"{bits:064x}"
    hashes["w"] = hashes["v200"]
    items = list(hashes.items())
    order.shuffle(items)
    want = sorted([sorted([f"v{i}", f"v{i + 1}"]) for i in range(0, 60, 3)] + [["v200", "w"]])
    assert near_duplicates([i for i, _ in items], [h for _, h in items]) == want


def test_near_duplicates_stay_quick_in_a_crowd_and_refuse_nonsense():
    crowd = [f"{i:064x}" for i in range(5_000)]
    assert len(near_duplicates([str(i) for i in range(5_000)], crowd)) == 1
    assert near_duplicates([], []) == []
    with pytest.raises(ValueError, match="hex digits"):
        near_duplicates(["a"], ["ff"])


def test_near_duplicates_of_the_chair_are_found_and_nothing_else(shared_data):
    names = [f"neardup_chair_0{i}.mp4" for i in (2, 3, 4, 5)] + [
        "animal_01.mp4",
        "cycling_01.mp4",
        "animal_08.mp4",
    ]
    plain = MediaConfig(audio=AudioConfig(enabled=False), decode={"decoder": "pyav"})
    hashes = [decode(shared_data / "videos" / name, plain).phash for name in names]
    assert near_duplicates(names, hashes) == [names[:4]]


def test_sound_is_the_tone_that_was_played_and_no_longer_than_asked(tmp_path):
    pictures = [numbered(i) for i in range(50)]
    path = write_video(tmp_path / "t.mp4", pictures, tone_s=2.0)
    whole = decode(path, MediaConfig()).audio
    assert whole.dtype == np.float32
    assert np.abs(whole).max() <= 1
    spectrum = np.abs(np.fft.rfft(whole[4_000:20_000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert np.sqrt((whole[4_000:20_000] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    short = decode(path, MediaConfig(audio=AudioConfig(max_s=0.5))).audio
    assert len(short) == 8_000
    assert (short == whole[:8_000]).all()


def test_log_mel_agrees_with_torchaudio_and_ignores_loudness():
    audio = tone(1.0, 16_000) + np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)
    got = log_mel(audio, MelConfig())
    assert got.shape == (64, 101)
    assert (got.mean(), got.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert got == pytest.approx(log_mel(audio * np.float32(0.01), MelConfig()), abs=1e-3)
    banks = torchaudio.functional.melscale_fbanks(257, 20, 8_000, 64, 16_000)
    assert abs(int(got.mean(axis=1).argmax()) - int(banks[round(440 / 16_000 * 512)].argmax())) <= 1


def test_log_mel_of_silence_is_zero_and_of_nonsense_an_error():
    assert (log_mel(np.zeros(16_000, np.float32), MelConfig()) == 0).all()
    assert np.isfinite(log_mel(np.ones(3, np.float32), MelConfig())).all()
    for bad in (np.empty(0, np.float32), np.full(9, np.nan, np.float32), np.zeros((2, 9), np.float32)):
        with pytest.raises(ValueError, match="audio has"):
            log_mel(bad, MelConfig())


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_augmenting_is_the_same_for_all_frames_and_under_one_seed(seed):
    clip = noise(1, 1)[:, ::3, ::3].repeat(3, axis=0)
    before = clip.copy()
    got = augment(clip, AugmentConfig(), seed)
    assert (got.shape, got.dtype) == (clip.shape, np.uint8)
    assert (got == got[:1]).all()
    assert (got == augment(clip, AugmentConfig(), seed)).all()
    assert (clip == before).all()


def test_each_change_can_be_had_alone():
    clip = noise(2, 2)
    assert (augment(clip, STILL, 5) == clip).all()
    flipped = augment(clip, STILL.model_copy(update={"flip": 1.0}), 5)
    assert (flipped == clip[:, :, ::-1]).all()
    for name, value in {
        "min_area": 0.5,
        "rotate_deg": 30,
        "scale": 0.3,
        "brightness": 0.5,
        "hue": 0.3,
    }.items():
        changed = augment(clip, STILL.model_copy(update={name: value}), 5)
        assert (changed != clip).mean() > 0.1, name
