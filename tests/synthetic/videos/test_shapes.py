"""Shapes, layers and plans, against small cases worked out by hand."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog, videos_table
from vrec.synthetic.videos.audio import SAMPLE_RATE_HZ, synthesize_audio
from vrec.synthetic.videos.motion import ProductScene, SpriteLayer, SpritePose, composite_layer
from vrec.synthetic.videos.products import CATEGORY_BY_NAME, PRODUCT_CATEGORIES
from vrec.synthetic.videos.scene import render_frames
from vrec.synthetic.videos.shapes import (
    SIDE,
    DrawingCanvas,
    darken,
    glow,
    lighten,
    mirror_outline,
    mix,
    parse_points,
    spline,
    vertical_gradient,
    with_shadow,
)

RED = (200, 0, 0)


def test_colors_are_mixed_by_share():
    assert mix((0, 100, 200), (100, 0, 200), 0.25) == (25, 75, 200)
    assert lighten((55, 155, 255), 0.5) == (155, 205, 255)
    assert darken((112, 114, 124), 0.5) == (62, 64, 74)
    assert (mix(RED, (1, 2, 3), 0), mix(RED, (1, 2, 3), 1)) == (RED, (1, 2, 3))


def test_points_and_outlines():
    assert parse_points("9,66 8.5,50") == [(9.0, 66.0), (8.5, 50.0)]
    assert mirror_outline([(50, 0), (60, 10), (50, 20)]) == [(50, 0), (60, 10), (50, 20), (40, 10)]


def test_a_spline_passes_through_its_points():
    points = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]
    closed = spline(points, steps=4)
    assert len(closed) == 16
    assert closed[::4] == points
    opened = spline(points, closed=False, steps=4)
    assert len(opened) == 13
    assert opened[::4] == points
    # Catmull-Rom's midpoint is (-p0 + 9 p1 + 9 p2 - p3) / 16.
    assert opened[6] == pytest.approx(((0 + 90 + 90 - 0) / 16, (0 + 0 + 90 - 10) / 16))


def test_a_gradient_has_its_colors_at_both_ends():
    picture = np.asarray(vertical_gradient((3, 50), (0, 0, 0), (200, 100, 50)))
    assert picture.shape == (50, 3, 3)
    assert np.abs(picture[0].astype(int) - (0, 0, 0)).max() <= 2
    assert np.abs(picture[-1].astype(int) - (200, 100, 50)).max() <= 2
    assert (np.diff(picture[:, 0, 0].astype(int)) >= 0).all()


def test_shapes_lie_at_their_coordinates():
    canvas = DrawingCanvas()
    canvas.shape([(10, 20), (30, 20), (30, 60), (10, 60)], RED)
    alpha = np.asarray(canvas.image)[..., 3]
    rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (SIDE * 20 // 100, SIDE * 60 // 100)
    assert (columns[0], columns[-1]) == (SIDE * 10 // 100, SIDE * 30 // 100)
    round_canvas = DrawingCanvas()
    round_canvas.ellipse((50, 50), 20, 10, RED)
    round_canvas.slab((0, 80, 40, 100), 5, RED)
    area = (np.asarray(round_canvas.image)[..., 3] > 0).mean()
    assert area == pytest.approx(np.pi * 0.2 * 0.1 + 0.4 * 0.2 - (4 - np.pi) * 0.05**2, rel=0.02)


def test_a_shaded_shape_runs_from_its_top_to_its_bottom():
    canvas = DrawingCanvas()
    canvas.shape([(0, 0), (100, 0), (100, 100), (0, 100)], (0, 0, 0), (200, 200, 200))
    column = np.asarray(canvas.sprite(100))[:, 50, 0].astype(int)
    assert column[2] < 10
    assert column[-3] > 190


def test_a_glow_is_brightest_in_its_center_and_nothing_in_its_corners():
    alpha = np.asarray(glow(101, (1, 2, 3), 0.5))[..., 3]
    assert alpha[50, 50] == 127
    assert alpha[0, 0] == 0
    assert alpha[50, 0] == 0


def test_a_shadow_lies_where_it_is_shifted():
    sprite = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    sprite.paste((255, 0, 0, 255), (40, 40, 60, 60))
    shadow = np.asarray(with_shadow(sprite, (0.2, 0.0), 0.01, 0.5))
    assert tuple(shadow[50, 50]) == (255, 0, 0, 255)
    assert shadow[50, 70, 3] == pytest.approx(127, abs=2)
    assert shadow[50, 30, 3] == 0


def drawn(pose, size=(100, 60)):
    """Where a red 20 × 20 sprite lies in a black frame: the mean of its pixels' x and y, and their number."""
    frame = Image.new("RGB", size)
    sprite = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    composite_layer(frame, SpriteLayer(sprite, (0.5, 0.5), lambda t: pose), 0.0)
    weights = np.asarray(frame)[..., 0].astype(float) / 255
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    total = weights.sum()
    return (x * weights).sum() / total, (y * weights).sum() / total, total


def test_a_pose_places_its_pivot_in_shares_of_the_shorter_side():
    assert drawn(SpritePose()) == pytest.approx((50, 30, 400), abs=0.5)
    assert drawn(SpritePose(x=0.5, y=-0.25)) == pytest.approx((80, 15, 400), abs=0.5)
    assert drawn(SpritePose(scale_x=0.5))[2] == pytest.approx(200, rel=0.1)
    assert drawn(SpritePose(opacity=0.5))[2] == pytest.approx(200, rel=0.05)
    assert drawn(SpritePose(degrees=45))[2] == pytest.approx(400, rel=0.1)


def test_a_turn_is_about_the_pivot_and_a_lean_moves_the_top_right():
    def center(pivot, **pose):
        frame = Image.new("RGB", (100, 100))
        sprite = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
        composite_layer(frame, SpriteLayer(sprite, pivot, lambda t: SpritePose(**pose)), 0.0)
        rows, columns = np.nonzero(np.asarray(frame)[..., 0] > 128)
        return columns.mean(), rows.mean()

    assert center((0.5, 1.0)) == pytest.approx((49.5, 39.5), abs=1)
    assert center((0.5, 1.0), degrees=90) == pytest.approx((59.5, 49.5), abs=1), "clockwise on the screen"
    assert center((0.5, 1.0), lean=0.5)[0] == pytest.approx(54.5, abs=1)


def test_a_layer_outside_the_frame_draws_nothing():
    frame = Image.new("RGB", (50, 50))
    sprite = Image.new("RGBA", (10, 10), (255, 0, 0, 255))
    composite_layer(frame, SpriteLayer(sprite, (0.5, 0.5), lambda t: SpritePose(x=3.0)), 0.0)
    assert not np.asarray(frame).any()


def test_a_wave_has_its_tempo_rate_and_phase():
    scene = ProductScene(RED, 10, 0, 0, tempo=0.5, phase=np.pi / 2, rng=np.random.default_rng(0))
    assert scene.wave(0.0) == pytest.approx(1)
    assert scene.wave(1.0) == pytest.approx(-1)
    assert scene.wave(1.0, rate=2.0) == pytest.approx(1)
    assert scene.wave(0.0, shift=np.pi) == pytest.approx(-1)


def test_near_duplicates_are_smaller_and_coarser_copies():
    config = SyntheticVideosConfig(videos=16, near_duplicates=3, broken=0, width=320, height=200)
    plan = plan_catalog(config)
    originals = {video.video_id: video for video in plan[:16]}
    assert [video.size for video in plan[16:]] == [(240, 150), (160, 100), (200, 124)]
    for copy in plan[16:]:
        original = originals[copy.video_id.removesuffix("-repost")]
        assert copy.file == f"reposts/{copy.video_id}.mp4"
        assert (copy.seed, copy.drawn_size, copy.title) == (original.seed, (320, 200), original.title)
        assert copy.crf > original.crf
        assert copy.creator_id == "creator-repost"
    tiny = SyntheticVideosConfig(videos=1, near_duplicates=1, broken=0, width=64, height=64)
    assert plan_catalog(tiny)[1].size == (64, 64)


def test_a_plan_follows_its_settings():
    config = SyntheticVideosConfig(videos=24, seconds=2.5, fps=7, width=96, height=64)
    plan = plan_catalog(config)
    names = [category.category for category in PRODUCT_CATEGORIES]
    assert [video.category for video in plan[:24]] == names * 3
    assert [video.video_id for video in plan[:24:8]] == ["sneakers-01", "sneakers-02", "sneakers-03"]
    for video in plan[:24]:
        price = CATEGORY_BY_NAME[video.category].price
        assert 0.7 * price - 0.61 <= video.price <= 1.4 * price + 0.41
        assert round(video.price * 10) % 10 == 9, "prices end in .9"
        assert (video.seconds, video.fps, video.size) == (2.5, 7, (96, 64))
    assert plan_catalog(config) == plan


def test_a_table_s_rows_are_the_plan_s(tmp_path):
    plan = plan_catalog(SyntheticVideosConfig(videos=2, near_duplicates=0, broken=0, seconds=3.0))
    row = videos_table(plan, tmp_path).to_pylist()[1]
    assert row["uri"] == str(tmp_path / plan[1].file)
    assert (row["video_id"], row["category"], row["duration_s"]) == (plan[1].video_id, "mugs", 3.0)
    assert row["price"] == pytest.approx(plan[1].price)
    assert (row["tags"], row["title"], row["available"]) == (list(plan[1].tags), plan[1].title, True)


def test_sound_is_as_long_as_the_picture_faded_and_below_its_peak():
    for video in plan_catalog(SyntheticVideosConfig(videos=8, near_duplicates=0, broken=0, seconds=0.5)):
        wave = synthesize_audio(video)
        assert (len(wave), wave.dtype) == (round(0.5 * SAMPLE_RATE_HZ), np.float32)
        assert 0.6 < np.abs(wave).max() <= 0.8
        assert wave[0] == 0
        assert np.abs(wave[-20:]).max() < 0.05


def test_a_file_has_its_rates_and_streams_and_black_is_silent(tmp_path):
    config = SyntheticVideosConfig(
        videos=1, near_duplicates=0, broken=3, seconds=1.0, fps=6, width=64, height=80
    )
    plan = plan_catalog(config)
    for video in plan:
        draw_video(video, tmp_path)
    with av.open(str(tmp_path / plan[0].file)) as media:
        picture, sound = media.streams.video[0], media.streams.audio[0]
        assert (picture.width, picture.height, picture.frames) == (64, 80, 6)
        assert picture.average_rate == Fraction(6)
        assert (sound.rate, sound.codec_context.name) == (44_100, "aac")
    size = {video.damage: (tmp_path / video.file).stat().st_size for video in plan}
    assert size["truncated"] == int(size["none"] * 0.6)
    assert (tmp_path / plan[1].file).read_text(encoding="utf-8").startswith(plan[1].title)
    assert all(not np.asarray(picture).any() for picture in render_frames(plan[3]))
    with av.open(str(tmp_path / plan[3].file)) as media:
        assert max(np.abs(frame.to_ndarray()).max() for frame in media.decode(audio=0)) < 1e-3
