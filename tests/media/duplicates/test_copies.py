"""Copies are found whatever was done to them, and nothing else is: decoded videos, from end to end."""

import numpy as np
import pytest

from tests.films import write_video
from tests.media.duplicates.clips import ALTERED, RATE, padded, scene
from vrec.core.errors import VideoError
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig, decode
from vrec.media.decode_process import DecodeProcess
from vrec.media.duplicates.fingerprint import encode_fingerprint
from vrec.media.duplicates.groups import FingerprintRow, near_duplicates
from vrec.media.quality import QualityConfig

MEDIA = MediaConfig(
    audio=AudioConfig(enabled=False), quality=QualityConfig(refuse_frozen=False), fingerprint=True
)


def made(folder, name, clip, crf="23"):
    path = write_video(
        folder / f"{name}.mp4", list(clip), rate=RATE, options={"crf": crf, "preset": "ultrafast"}
    )
    return FingerprintRow(name, name, decode(path, MEDIA).fingerprint)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Two clips, each with its row."""
    folder = tmp_path_factory.mktemp("originals")
    clips = [scene(seed) for seed in (0, 1)]
    return [(clip, made(folder, "a", clip)) for clip in clips]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Other videos: of other places, and of the same place as the first."""
    folder = tmp_path_factory.mktemp("others")
    rows = [made(folder, f"other-{seed}", scene(seed)) for seed in range(10, 16)]
    return [*rows, *(made(folder, f"same-place-{m}", scene(0, motion=m)) for m in range(1, 4))]


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_copy_is_found_and_nothing_else(tmp_path, originals, others, kind):
    for seed, (clip, original) in enumerate(originals):
        copy = made(tmp_path, "b", ALTERED[kind](clip), "32")
        assert near_duplicates([*others, copy, original]) == [["a", "b"]], seed


def test_short_excerpts_are_no_copies(tmp_path):
    clip = scene(2, seconds=10)
    rows = [made(tmp_path, "a", clip), made(tmp_path, "b", clip[: 4 * RATE])]
    assert near_duplicates(rows) == []


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 1.9])
def test_short_clips_are_told_apart_from_others_of_their_place(tmp_path, seconds):
    first = scene(3, seconds=seconds)
    rows = [made(tmp_path, "a", first), made(tmp_path, "b", padded(first, 20, 0, 0), "30")]
    rows += [made(tmp_path, f"m{m}", scene(3, motion=m, seconds=seconds)) for m in range(1, 5)]
    assert near_duplicates(rows) == [["a", "b"]]


def test_still_videos_are_copies_only_where_their_pictures_are_equal(tmp_path):
    still = scene(4)[:1].repeat(40, axis=0)
    other = scene(4, motion=1)[:1].repeat(40, axis=0)
    rows = [
        made(tmp_path, "a", still),
        made(tmp_path, "b", padded(still, 20, 0, 0)),
        made(tmp_path, "c", other),
    ]
    assert near_duplicates(rows) == [["a", "b"]]


def test_black_and_even_videos_are_no_copies_of_each_other():
    rows = []
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 2, (20, 64, 64), np.uint8)
        rows.append(
            FingerprintRow(str(number), str(number), encode_fingerprint(noise + np.uint8(number // 2 * 60)))
        )
    assert near_duplicates(rows) == []


def test_long_videos_with_one_beginning_share_a_fingerprint_of_16_seconds(tmp_path):
    intro = scene(5, seconds=5)
    rows = [made(tmp_path, n, np.concatenate([intro, scene(s, seconds=15)])) for n, s in (("a", 6), ("b", 7))]
    assert near_duplicates(rows) == []


@pytest.mark.slow
def test_of_the_real_clips_the_labelled_copies_are_found_and_no_other_pair(shared_data):
    """All ten pairs of five re-encodings with bars, colors and logos, and none of 3,560 other pairs."""
    paths = sorted(p for p in (shared_data / "videos").iterdir() if p.suffix != ".csv")
    rows = []
    with DecodeProcess(MEDIA) as process:
        for path, video in zip(paths, process.decode_many([str(p) for p in paths]), strict=True):
            assert not isinstance(video, VideoError), path
            rows.append(FingerprintRow(path.stem, path.stem, video.fingerprint))
    assert near_duplicates(rows) == [[f"neardup_chair_0{number}" for number in range(1, 6)]]
