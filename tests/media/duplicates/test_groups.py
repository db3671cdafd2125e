import random

import numpy as np
import pytest

from tests.media.duplicates.clips import scene
from vrec.media.duplicates import candidates
from vrec.media.duplicates.alignment import FingerprintPictures, align, is_copy
from vrec.media.duplicates.fingerprint import decode_fingerprint, encode_fingerprint
from vrec.media.duplicates.groups import FingerprintRow, near_duplicates
from vrec.media.duplicates.registration import register
from vrec.media.duplicates.windows import part_of


def thumbnails(clip):
    """Four gray frames per second of a clip, squashed to 64 × 64."""
    rows = np.linspace(0, clip.shape[1] - 1, 64).astype(int)
    columns = np.linspace(0, clip.shape[2] - 1, 64).astype(int)
    return clip[::4][:, rows][:, :, columns].mean(axis=-1).astype(np.uint8)


def drawn(count):
    """Fingerprints of moving noise, each of its own."""
    rng = np.random.default_rng(0)
    return [encode_fingerprint(walk(rng)) for _ in range(count)]


def walk(rng):
    cells = rng.integers(0, 255, (8, 6, 8, 8)).astype(float).cumsum(axis=1)[0] % 255
    return cells.astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def nudged(code, rng):
    pictures = decode_fingerprint(code).astype(int) + rng.integers(0, 2, (16, 16))
    return encode_fingerprint(
        (np.clip(pictures, 0, 63) * 4).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    )


@pytest.mark.parametrize("flat", [20_000, 100], ids=["flat", "inverted lists"])
def test_pairs_are_found_among_many_in_any_order(monkeypatch, flat):
    monkeypatch.setattr(candidates, "FLAT_VECTORS", flat)
    monkeypatch.setattr(candidates, "SHARD_VIDEOS", 170)
    monkeypatch.setattr(candidates, "BLOCK", 50)
    rng, codes = np.random.default_rng(1), drawn(400)
    rows = [FingerprintRow(f"v{i:03}", f"v{i}", code) for i, code in enumerate(codes)]
    rows += [FingerprintRow(f"w{i:03}", f"w{i}", nudged(codes[i], rng)) for i in range(0, 400, 10)]
    random.Random(2).shuffle(rows)
    assert near_duplicates(rows) == [[f"v{i:03}", f"w{i:03}"] for i in range(0, 400, 10)]


def test_a_crowd_of_copies_is_one_group():
    rng = np.random.default_rng(3)
    first, second = drawn(2)
    rows = [FingerprintRow(f"a{i}", f"a{i}", nudged(first, rng)) for i in range(150)]
    rows += [FingerprintRow(f"b{i}", f"b{i}", nudged(second, rng)) for i in range(20)]
    groups = near_duplicates(rows)
    assert [len(group) for group in groups] == [150, 20]


def test_equal_bytes_are_duplicates_even_without_a_fingerprint():
    rows = [FingerprintRow(name, content, None) for name, content in (("b", "x"), ("a", "x"), ("c", "y"))]
    assert near_duplicates(rows) == [["a", "b"]]
    assert near_duplicates([]) == near_duplicates(rows[:1]) == []


def test_a_damaged_fingerprint_is_named():
    with pytest.raises(ValueError, match=r"b: .* not a fingerprint"):
        near_duplicates([FingerprintRow("b", "b", b"\x01nothing")])


def test_the_order_of_two_videos_does_not_matter_to_their_likeness():
    one, other = (
        FingerprintPictures.of(decode_fingerprint(encode_fingerprint(thumbnails(scene(s))))) for s in (1, 2)
    )
    cropped = encode_fingerprint(thumbnails(scene(1)[:, 10:-10, 14:-14]))
    crop = FingerprintPictures.of(decode_fingerprint(cropped))
    assert is_copy(align(one, crop))
    for pair in ((one, other), (one, crop)):
        assert align(*pair) == pytest.approx(align(*pair[::-1]), abs=0.05)


def test_motion_tells_recordings_of_one_place_apart():
    same, another = scene(3), scene(3, motion=1)
    one, other = (
        FingerprintPictures.of(decode_fingerprint(encode_fingerprint(thumbnails(c)))) for c in (same, another)
    )
    found = align(one, other)
    assert found.look > 0.8
    assert found.motion < 0.5
    assert not is_copy(found)


def test_too_different_lengths_are_not_compared():
    long, short = (FingerprintPictures.of(np.ones((n, 16, 16), np.uint8)) for n in (20, 11))
    assert align(long, short) is align(short, long) is None


@pytest.mark.parametrize("rect", [(0.06, 0.97, 0.11, 0.93), (0.0, 0.83, 0.17, 1.0), (0.0, 1.0, 0.0, 1.0)])
def test_a_crop_is_put_in_its_place(rect):
    clip = scene(4)
    sides = (clip.shape[1],) * 2 + (clip.shape[2],) * 2
    top, bottom, left, right = (round(share * side) for share, side in zip(rect, sides, strict=True))
    one, crop = (
        FingerprintPictures.of(decode_fingerprint(encode_fingerprint(thumbnails(shown))))
        for shown in (clip, clip[:, top:bottom, left:right])
    )
    assert register(one.mean, crop.mean, (0.05, 0.95, 0.05, 0.95)) == pytest.approx(rect, abs=0.02)


def test_a_part_of_a_window_is_that_share_of_it():
    assert part_of((0.2, 0.6, 0.0, 0.5), (0.5, 1.0, 0.0, 0.4)) == pytest.approx((0.4, 0.6, 0.0, 0.2))
