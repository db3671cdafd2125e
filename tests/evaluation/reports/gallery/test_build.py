"""The report's data: who is near whom, what the figures say, and what is shown of a big catalogue."""

import numpy as np
import pyarrow as pa
import pytest

from tests.evaluation.reports.gallery.conftest import Run, embeddings_table, failures_table, media_table
from vrec.core.errors import SchemaError
from vrec.evaluation.reports.gallery.build import select_cards
from vrec.evaluation.reports.gallery.neighbors import nearest_neighbors
from vrec.evaluation.reports.gallery.report import GalleryConfig


def test_cards_name_the_nearest_by_each_modality(run: Run) -> None:
    report = run.report()
    assert report.modalities == ["fused", "frames", "audio"]
    for modality, table in run.embeddings.items():
        ids = table.column("entity_id").to_pylist()
        vectors = np.array(table.column("vector").to_pylist(), dtype=np.float32)
        near, scores = nearest_neighbors(vectors, 5, True)
        for video in report.videos:
            if video.video_id not in ids:
                assert modality not in video.neighbors
                continue
            row = ids.index(video.video_id)
            assert [report.videos[i].video_id for i, _ in video.neighbors[modality]] == [
                ids[j] for j in near[row]
            ]
            assert [s for _, s in video.neighbors[modality]] == pytest.approx(scores[row].tolist())


def test_a_repost_is_its_originals_nearest_but_does_not_vouch_for_it(run: Run) -> None:
    report = run.report()
    by_id = {video.video_id: video for video in report.videos}
    nearest_one = by_id["sneakers-01"].neighbors["frames"][0][0]
    assert report.videos[nearest_one].video_id == "sneakers-01-repost"
    assert [[report.videos[i].video_id for i in group] for group in report.near_duplicates] == [
        ["sneakers-01", "sneakers-01-repost"]
    ]
    # Were copies to vouch for each other, a catalogue of two copies would agree with itself.
    pair = embeddings_table(["sneakers-01", "sneakers-01-repost"], "frames", np.eye(2))
    assert run.report(embeddings={"frames": pair}).agreement is None


def test_agreement_is_far_above_chance_on_the_planted_classes(run: Run) -> None:
    agreement = run.report().agreement
    assert agreement is not None
    assert agreement.videos == 25
    assert agreement.chance == pytest.approx((4 * 3 + 7 * 3 * 2) / (25 * 24))
    assert agreement.by_modality["frames"] > 0.6
    assert agreement.by_modality["audio"] > 0.6


def test_without_a_table_the_page_goes_by_ids_and_has_no_categories(run: Run) -> None:
    report = run.report(videos=None)
    assert {v.title for v in report.videos} == {v.video_id for v in report.videos}
    assert report.categories == []
    assert report.agreement is None
    assert report.videos[0].duration_s == 1.0


def test_every_key_of_the_manifest_is_optional(run: Run) -> None:
    report = run.report(manifest={})
    assert (report.total, report.embedded, report.failed) == (26, 25, 1)
    assert report.near_duplicates == []


def test_failures_say_how_to_mend_them(run: Run) -> None:
    report = run.report(failures=failures_table([("a", "BlackVideo", "dark"), ("b", "NoSuchError", "odd")]))
    assert "refuse_black" in report.failures[0].fix
    assert report.failures[1].fix


def test_nothing_embedded_is_a_report_too(run: Run) -> None:
    report = run.report(embeddings={}, media=media_table([], 1), posters={}, manifest={})
    assert (report.total, report.embedded, report.shown) == (1, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "shown"), [(10, 500), (500, 500), (501, 500), (2_000, 120), (7, 1)])
def test_a_big_catalogue_is_sampled_evenly_with_its_look_alikes(run: Run, count: int, shown: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((count, 8))
    ids = [f"{i:05d}" for i in range(count)]
    config = GalleryConfig(shown=shown)
    tables = {"fused": embeddings_table(ids, "fused", vectors)}
    chosen = select_cards(tables, config)
    assert len(chosen) == len(set(chosen)) == min(count, shown)
    report = run.report(
        config, videos=None, embeddings=tables, media=media_table([], 1), posters={}, manifest={}
    )
    assert [v.video_id for v in report.videos[: report.shown]] == chosen
    on_page = set(chosen)
    complete = [
        v
        for v in report.videos[: report.shown]
        if all(report.videos[i].video_id in on_page for i, _ in v.neighbors["fused"])
    ]
    assert len(complete) >= min(count, shown) // (config.neighbours + 1)
    for video in report.videos[report.shown :]:
        assert video.xy is None
        assert not video.neighbors


def test_wrong_tables_are_named(run: Run) -> None:
    with pytest.raises(SchemaError, match="missing entity_id"):
        run.report(embeddings={"fused": pa.table({"vector": [[1.0]]})})
