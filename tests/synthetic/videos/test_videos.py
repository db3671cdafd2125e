"""The drawn catalogue: planted classes, real files, sound that is there, damage that is what it says."""

import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vrec.core.errors import BlackVideo, VideoError
from vrec.core.schema import VIDEOS, conform
from vrec.media.decode import MediaConfig, decode
from vrec.media.duplicates.groups import FingerprintRow, near_duplicates
from vrec.synthetic.videos import (
    SyntheticVideo,
    SyntheticVideosConfig,
    draw_video,
    plan_catalog,
    videos_table,
)
from vrec.synthetic.videos.audio import SAMPLE_RATE_HZ, synthesize_audio
from vrec.synthetic.videos.scene import render_frames

SMALL = SyntheticVideosConfig(
    videos=8, near_duplicates=1, broken=3, seconds=1.0, fps=8, width=160, height=128
)


@pytest.fixture(scope="module")
def plan() -> list[SyntheticVideo]:
    return plan_catalog(SMALL)


@pytest.fixture(scope="module")
def folder(plan: list[SyntheticVideo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("drawn")
    for drawn in plan:
        draw_video(drawn, where)
    return where


def test_default_catalogue_has_eight_of_each_class_and_no_colour_that_gives_a_class_away() -> None:
    plan = plan_catalog(SyntheticVideosConfig())
    good = [d for d in plan if d.damage == "none" and d.size == d.drawn_size]
    assert Counter(d.category for d in good) == dict.fromkeys({d.category for d in good}, 8)
    assert len({d.category for d in good}) == 8
    for category in {d.category for d in good}:
        assert len({d.color for d in good if d.category == category}) == 8
    assert {d.language for d in good} == {"zh", "en"}
    assert {d.kind for d in good} == {"product", "clip", "live"}
    assert [d.damage for d in plan if d.damage != "none"] == ["text", "truncated", "black"]


@pytest.mark.parametrize("videos", [1, 3, 8, 200])
def test_ids_and_files_are_unique_at_every_size(videos: int) -> None:
    plan = plan_catalog(SyntheticVideosConfig(videos=videos, near_duplicates=12, broken=9))
    assert len(plan) == videos + 21
    assert len({d.video_id for d in plan}) == len(plan)
    assert len({d.file for d in plan}) == len(plan)


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        drawn = plan_catalog(SMALL.model_copy(update={"seed": seed}))[0]
        draw_video(drawn, tmp_path / name)
        digests.append(hashlib.sha256((tmp_path / name / drawn.file).read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_videos_table_conforms_and_points_at_the_files(plan: list[SyntheticVideo], folder: Path) -> None:
    table = conform(videos_table(plan, folder), VIDEOS, stage="test")
    assert table.num_rows == len(plan)
    assert all(Path(uri).is_file() for uri in table.column("uri").to_pylist())
    assert table.column("category").null_count == 0


def test_good_clips_decode_with_moving_picture_and_sound(plan: list[SyntheticVideo], folder: Path) -> None:
    for drawn in plan:
        if drawn.damage != "none":
            continue
        got = decode(folder / drawn.file, MediaConfig())
        assert (got.width, got.height) == drawn.size
        assert got.duration_s == pytest.approx(drawn.seconds, abs=0.15)
        change = np.abs(got.frames[0].astype(float) - got.frames[-1]).mean()
        assert change > 1.0, f"{drawn.video_id} does not move"
        assert got.audio is not None, drawn.video_id
        assert float(np.sqrt(np.mean(got.audio**2))) > 0.01, f"{drawn.video_id} is silent"


def test_decoded_sound_is_the_sound_that_was_planted(plan: list[SyntheticVideo], folder: Path) -> None:
    """Its spectrum, in sixty bands, is nearest to its own plan's among all the plans'."""
    good = [d for d in plan if d.damage == "none" and d.size == d.drawn_size]
    planted = np.stack([_spectrum(synthesize_audio(d), SAMPLE_RATE_HZ) for d in good])
    for number, drawn in enumerate(good):
        heard = decode(folder / drawn.file, MediaConfig()).audio
        assert heard is not None
        assert int(np.argmax(planted @ _spectrum(heard, 16_000))) == number


def test_broken_ones_fail_and_say_why(plan: list[SyntheticVideo], folder: Path) -> None:
    for drawn in plan:
        if drawn.damage == "none":
            continue
        kind = BlackVideo if drawn.damage == "black" else VideoError
        with pytest.raises(kind) as caught:
            decode(folder / drawn.file, MediaConfig())
        assert str(caught.value)


def test_a_repost_is_told_as_a_copy_and_nothing_else_is(plan: list[SyntheticVideo], folder: Path) -> None:
    good = [d for d in plan if d.damage == "none"]
    made = [decode(folder / d.file, MediaConfig(fingerprint=True)).fingerprint for d in good]
    rows = [FingerprintRow(d.video_id, d.video_id, code) for d, code in zip(good, made, strict=True)]
    assert near_duplicates(rows) == [["sneakers-01", "sneakers-01-repost"]]


def test_a_scene_has_its_frames_at_its_size(plan: list[SyntheticVideo]) -> None:
    repost = next(d for d in plan if d.video_id.endswith("repost"))
    pictures = list(render_frames(repost))
    assert len(pictures) == 8
    assert {p.size for p in pictures} == {repost.size} != {repost.drawn_size}


def _spectrum(wave: np.ndarray, rate: int) -> np.ndarray:
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    edges = np.geomspace(40, 7_000, 61)
    bands = np.array([power[(hertz >= a) & (hertz < b)].sum() for a, b in itertools.pairwise(edges)])
    level = np.sqrt(bands)
    return level / np.linalg.norm(level)
