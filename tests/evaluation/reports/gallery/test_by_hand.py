"""A catalog of a few videos with holes: no category, no vector, no poster; and every setting's effect."""

import numpy as np
import pyarrow as pa
import pytest

from tests.evaluation.reports.gallery.conftest import embeddings_table, failures_table, media_table
from vrec.core.schema import VIDEOS
from vrec.evaluation.reports.gallery.build import build_gallery, select_cards
from vrec.evaluation.reports.gallery.neighbors import center_and_normalize, spread_points
from vrec.evaluation.reports.gallery.page import render_gallery
from vrec.evaluation.reports.gallery.report import GalleryConfig
from vrec.evaluation.reports.rendering import page_environment

IDS = ["a", "b", "c", "d"]
VECTORS = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.8]])


def videos_table(rows):
    filled = {
        "uri": "u", "kind": "clip", "product_ids": [], "creator_id": "c", "domain": "shop", "tags": [],
        "available": True, "duration_s": 60.0,
    }  # fmt: skip
    return pa.Table.from_pylist([{**filled, **row} for row in rows], schema=VIDEOS.arrow())


def built(config=None, **other):
    parts = {
        "videos": videos_table(
            [
                {"video_id": "a", "category": "x", "title": "First"},
                {"video_id": "a", "category": "y", "title": "Second"},
                {"video_id": "b", "category": "x", "title": ""},
                {"video_id": "c", "category": None},
                {"video_id": "unembedded", "category": "x"},
            ]
        ),
        "embeddings": {"fused": embeddings_table(IDS, "fused", VECTORS)},
        "media": media_table(["a"], 3.5),
        "failures": failures_table([]),
        "manifest": {},
        "posters": {},
    }
    return build_gallery(**{**parts, **other}, config=config or GalleryConfig(center=False))


def test_a_messy_catalog():
    report = built()
    by_id = {v.video_id: v for v in report.videos}
    assert [v.title for v in report.videos] == ["First", "b", "c", "d"]
    assert [by_id[v].category for v in IDS] == ["x", "x", None, None]
    assert [by_id[v].duration_s for v in IDS] == [3.5, 60.0, 60.0, None]
    assert report.categories == [("x", 2)]
    assert report.agreement is not None
    assert (report.agreement.videos, report.agreement.chance) == (2, 1.0)
    assert report.agreement.by_modality == {"fused": 1.0}
    assert [report.videos[i].video_id for i, _ in by_id["a"].neighbors["fused"]] == ["b", "d", "c"]
    assert by_id["a"].neighbors["fused"][1][1] == pytest.approx(0.1 / np.hypot(0.1, 0.8))


def test_chance_is_drawn_without_replacement():
    rows = [{"video_id": v, "category": c} for v, c in zip(IDS, "xxxy", strict=True)]
    agreement = built(videos=videos_table(rows)).agreement
    assert agreement is not None
    assert agreement.chance == pytest.approx(3 / 4 * 2 / 3)


def test_the_most_frequent_category_comes_first_ties_by_name():
    rows = [{"video_id": v, "category": c} for v, c in zip(IDS, ["z", "b", "a", "b"], strict=True)]
    assert built(videos=videos_table(rows)).categories == [("b", 2), ("a", 1), ("z", 1)]


def test_settings_of_the_gallery():
    assert len(built(GalleryConfig(neighbours=2)).videos[0].neighbors["fused"]) == 2
    centered = built(GalleryConfig(center=True)).videos[0].neighbors["fused"]
    assert centered[-1][1] < 0 < built().videos[0].neighbors["fused"][-1][1] + 1e-9
    assert built(GalleryConfig(shown=4)).shown == 4
    sample = built(GalleryConfig(shown=3, neighbours=1))
    assert sample.shown == 3
    assert len(sample.videos) in {3, 4}


def test_agreement_heeds_the_centering():
    # At 34, −14, 39 and 59 degrees: without centering a and c are each other's nearest.
    vectors = np.array([[2.2, 1.5], [1.6, -0.4], [3.8, 3.1], [1.7, 2.8]])
    rows = [{"video_id": v, "category": c} for v, c in zip(IDS, "xxyy", strict=True)]
    tables = {"fused": embeddings_table(IDS, "fused", vectors)}
    plain, centered = (
        built(GalleryConfig(center=center), embeddings=tables, videos=videos_table(rows)).agreement
        for center in (False, True)
    )
    assert plain is not None
    assert centered is not None
    assert (plain.by_modality["fused"], centered.by_modality["fused"]) == (0.5, 1.0)


def test_one_video_and_none():
    tables = {"fused": embeddings_table(["a"], "fused", VECTORS[:1])}
    report = built(embeddings=tables)
    assert report.videos[0].neighbors == {"fused": []}
    assert report.videos[0].xy == (0, 0)
    assert report.agreement is None
    assert "<article" in render_gallery(report)
    assert select_cards({}, GalleryConfig()) == []


def test_a_modality_is_offered_in_the_page_s_order_and_may_lack_videos():
    tables = {
        "text": embeddings_table(["b", "a"], "text", VECTORS[:2]),
        "frames": embeddings_table(IDS, "frames", VECTORS),
        "audio": embeddings_table([], "audio", np.empty((0, 2))),
    }
    report = built(embeddings=tables)
    assert report.modalities == ["frames", "text"]
    assert [sorted(v.neighbors) for v in report.videos[1:3]] == [["frames", "text"], ["frames"]]
    assert select_cards(tables, GalleryConfig()) == IDS


def test_a_group_of_one_is_no_duplicate_and_unembedded_copies_are_listed():
    report = built(manifest={"near_duplicates": [["a"], ["b", "gone"], "ab"]})
    assert [[report.videos[i].video_id for i in group] for group in report.near_duplicates] == [["b", "gone"]]
    assert report.videos[-1].xy is None


def test_the_manifest_s_counts_go_before_the_tables():
    report = built(manifest={"counts": {"videos": 9, "embedded": 7, "failed": 2}})
    assert (report.total, report.embedded, report.failed) == (9, 7, 2)
    assert built().total == 4


def test_the_eleventh_category_is_gray():
    ids = [f"v{i:02}" for i in range(12)]
    tables = {"fused": embeddings_table(ids, "fused", np.random.default_rng(0).normal(size=(12, 3)))}
    rows = [{"video_id": v, "category": f"c{i:02}"} for i, v in enumerate(ids)]
    html = render_gallery(built(embeddings=tables, videos=videos_table(rows)))
    assert [f'class="card h{hue}"' in html for hue in (0, 9, 10, 11)] == [True, True, True, False]
    assert "2 more" in html


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "0:04"), (61.6, "1:02"), (750, "12:30"), (3723, "1:02:03")]
)
def test_durations_read_as_in_a_player(seconds, text):
    html = render_gallery(built(media=media_table(["a"], seconds)))
    assert html.count(f"<span>{text}</span>") == 1
    assert "clock" not in page_environment().filters


def test_zero_rows_stay_zero_and_a_single_row_is_not_centered():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert center_and_normalize(rows, center=False).tolist() == [[0.6, 0.8], [0, 0]]
    assert center_and_normalize(rows[:1], center=True).tolist() == [[0.6, 0.8]]


def test_points_far_enough_apart_hardly_move():
    points = np.array([[0.0, 0], [10, 0]])
    assert np.abs(spread_points(points, 5.0) - points).max() < 0.01
    moved = spread_points(points, 20.0)
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(20, abs=0.5)
