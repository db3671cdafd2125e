import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import noise
from vrec.media.augment import augment
from vrec.media.augment_config import AugmentConfig

STILL = AugmentConfig(
    min_area=1, max_stretch=1, flip=0, rotate_deg=0, scale=0, brightness=0, contrast=0, saturation=0, hue=0
)


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


def one(**change):
    return STILL.model_copy(update=change)


def test_every_setting_changes_the_clip():
    clip = noise(3, 1)
    for name, value in {
        "min_area": 0.3,
        "max_stretch": 3.0,
        "flip": 1.0,
        "rotate_deg": 90,
        "scale": 0.5,
        "brightness": 0.9,
        "contrast": 0.9,
        "saturation": 0.9,
        "hue": 0.5,
    }.items():
        changes = [(augment(clip, one(**{name: value}), seed) != clip).mean() for seed in range(4)]
        assert max(changes) > 0.05, name


def test_a_flip_has_its_chance():
    clip = noise(4, 1)[:, :64, :64]
    flips = sum((augment(clip, one(flip=0.25), seed) != clip).any() for seed in range(200))
    assert 25 < flips < 75


def test_brightness_stays_within_its_share():
    clip = np.full((1, 32, 32, 3), 100, np.uint8)
    levels = [int(augment(clip, one(brightness=0.2), seed).mean()) for seed in range(100)]
    assert (min(levels) >= 80, max(levels) <= 120) == (True, True)
    assert max(levels) - min(levels) > 25


def test_saturation_and_hue_leave_gray_alone():
    gray = noise(5, 1)[..., :1].repeat(3, axis=3)
    changed = augment(gray, one(saturation=0.9, hue=0.5), 3)
    assert np.abs(changed.astype(int) - gray).max() <= 1


def test_switching_one_change_off_leaves_the_others():
    clip = noise(6, 1)
    both = augment(clip, one(flip=1.0, brightness=0.5), 7)
    assert (both == augment(clip, one(brightness=0.5), 7)[:, :, ::-1]).all()


def test_a_crop_keeps_at_least_its_area():
    """Of a ramp from left to right, the range that is left is the share of the width."""
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[None, None, :, None], (1, 256, 1, 3))
    for seed in range(30):
        got = augment(ramp, one(min_area=0.64), seed).astype(int)
        assert got.max() - got.min() >= 0.8 * 255 - 4
    assert min(np.ptp(augment(ramp, one(min_area=0.64), seed).astype(int)) for seed in range(30)) < 240


def test_uncovered_corners_are_black():
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    turned = augment(white, one(rotate_deg=45.0), 1)
    assert turned[0, 0, 0].max() == 0
    assert turned[0, 32, 32].min() == 255
