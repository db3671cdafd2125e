"""Lookup of one new video among those of a catalog."""

import numpy as np
import pytest

from tests.media.duplicates.clips import at_speed, padded, scene, with_box
from tests.media.duplicates.test_groups import thumbnails
from vrec.media.duplicates import candidates
from vrec.media.duplicates.fingerprint import encode_fingerprint
from vrec.media.duplicates.lookup import CopyIndex


def code(clip):
    return encode_fingerprint(thumbnails(clip))


@pytest.fixture(scope="module")
def catalog():
    return {f"v{seed}": code(scene(seed)) for seed in range(8)}


@pytest.mark.parametrize(
    ("alter", "is_mirrored"),
    [
        (lambda clip: clip, False),
        (lambda clip: clip[:, 10:-10, 14:-14], False),
        (lambda clip: padded(clip, 15, 20, 255), False),
        (lambda clip: with_box(clip, 6, 110, 30, 40), False),
        (lambda clip: at_speed(clip, 1.2), False),
        (lambda clip: clip[:, :, ::-1], True),
        (lambda clip: with_box(clip[:, 9:-5, ::-1][:, :, 8:-12], 4, 90, 24, 34), True),
    ],
    ids=["same", "crop", "border", "logo", "faster", "mirrored", "mirrored, cropped, logo"],
)
def test_a_copy_is_found_with_the_video_it_is_of(catalog, alter, is_mirrored):
    index = CopyIndex(list(catalog), list(catalog.values()))
    match = index.find(code(alter(scene(5))))
    assert (match.video_id, match.is_mirrored) == ("v5", is_mirrored)


def test_a_video_that_shows_more_than_the_stored_one_is_found(catalog):
    cropped = {**catalog, "v5": code(scene(5)[:, 10:-10, 14:-14])}
    assert CopyIndex(list(cropped), list(cropped.values())).find(code(scene(5))).video_id == "v5"


def test_other_videos_are_no_copies_even_of_the_same_place(catalog):
    index = CopyIndex(list(catalog), list(catalog.values()))
    assert [index.find(code(scene(seed))) for seed in range(20, 26)] == [None] * 6
    assert [index.find(code(scene(5, motion=m))) for m in range(1, 5)] == [None] * 4
    assert CopyIndex([], []).find(code(scene(1))) is None


def test_inverted_lists_find_the_same(catalog, monkeypatch):
    monkeypatch.setattr(candidates, "FLAT_VECTORS", 50)
    index = CopyIndex(list(catalog), list(catalog.values()))
    assert all(index.find(fingerprint).video_id == name for name, fingerprint in catalog.items())


def test_a_damaged_fingerprint_is_named():
    with pytest.raises(ValueError, match=r"b: .* not a fingerprint"):
        CopyIndex(["a", "b"], [code(scene(0)), b"\x01nothing"])
    with pytest.raises(ValueError, match="not a fingerprint"):
        CopyIndex(["a"], [code(scene(0))]).find(np.zeros(3, np.uint8).tobytes())
