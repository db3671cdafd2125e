"""A bundle on disk: what comes back of it, what is refused, and the smoke requests that it must answer."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import CONFIG, write_shop_bundle
from tests.serving.recommend.engines import engine_of, query_of, shoppers
from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.config import BundleConfig
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import check_smoke_answers, smoke_request_videos
from vrec.bundle.write import write_bundle
from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.profiles.update import ProfilesConfig


@pytest.fixture(scope="module")
def bundle(shop_bundle) -> ServingBundle:
    return ServingBundle.load(shop_bundle.uri)


@pytest.fixture
def copied(shop_bundle, tmp_path) -> Path:
    """A copy of the bundle that may be damaged."""
    return shutil.copytree(shop_bundle.uri, tmp_path / "copy")


@pytest.fixture(scope="module")
def another(shop_bundle, tmp_path_factory) -> Path:
    """A bundle of the same shop without its most popular video."""
    parts = shop_bundle.parts
    folder = tmp_path_factory.mktemp("another") / "bundle"
    best = ServingBundle.load(shop_bundle.uri).popular[0]
    videos = parts.videos.filter(pc.not_equal(parts.videos.column("video_id"), best))
    write_bundle(str(folder), replace(parts, videos=videos), CONFIG)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_written_comes_back(shop_bundle, bundle):
    parts, videos = shop_bundle.parts, bundle.videos
    ids = sorted(parts.videos.column("video_id").to_pylist())
    assert videos.equals(parts.videos.sort_by("video_id").combine_chunks())
    assert bundle.content.embeddings.sort_by("entity_id").equals(parts.fused.sort_by("entity_id"))
    assert bundle.texts.num_rows == len(ids) - 1
    assert (bundle.version, bundle.encoder, bundle.embed) == (shop_bundle.version, "simulated", None)
    assert bundle.profiles == parts.profiles
    assert len(bundle.index) == len(ids)
    expected = VideoNeighbors.from_recommender(parts.recommender, ids, 20)
    assert np.array_equal(bundle.neighbors.indices, expected.indices)
    assert np.array_equal(bundle.neighbors.scores, expected.scores)
    assert bundle.neighbors.ids == tuple(ids)
    title = videos.column("title")[0].as_py() or videos.column("creator_id")[0].as_py()
    assert bundle.text_index.search(title, 3)
    assert set(ids) <= set(bundle.ranker.catalog.rows)
    bundle.check()


def test_the_popular_come_by_how_many_watched_them(shop_bundle, bundle):
    rows = shop_bundle.parts.interactions
    watched = rows.group_by("video_id").aggregate([("user_id", "count_distinct")])
    counts = dict(
        zip(*(watched.column(n).to_pylist() for n in ("video_id", "user_id_count_distinct")), strict=True)
    )
    expected = sorted(counts, key=lambda video: (-counts[video], video))[:30]
    assert bundle.popular == tuple(expected)


def test_the_version_says_what_is_in_it_and_not_when_it_was_made(shop_bundle, tmp_path, another):
    again = write_shop_bundle(tmp_path / "again")
    assert again.version == shop_bundle.version
    assert ServingBundle.load(str(another)).version != shop_bundle.version
    mixed = replace(shop_bundle.parts, videos=shop_bundle.parts.videos.take(np.arange(100)[::-1]))
    assert write_bundle(str(tmp_path / "mixed"), mixed, CONFIG) == shop_bundle.version
    other = replace(shop_bundle.parts, profiles=ProfilesConfig(remember=9))
    assert write_bundle(str(tmp_path / "other"), other, CONFIG) != shop_bundle.version


def test_any_flipped_byte_of_any_file_is_refused(copied):
    for path in files(copied):
        if path == copied / "manifest.json":
            continue
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(
                BundleError, match=r"is not what was written|is not what the bundle"
            ) as caught:
                ServingBundle.load(str(copied))
            assert path.name in str(caught.value) or path.parent.name in str(caught.value)
        path.write_bytes(whole)
    ServingBundle.load(str(copied)).check()


def test_any_missing_file_is_refused_by_name(copied):
    for path in files(copied):
        path.rename(copied / "away")
        with pytest.raises(BundleError, match=rf"{path.name}(:| is missing| there)"):
            ServingBundle.load(str(copied))
        (copied / "away").rename(path)
    ServingBundle.load(str(copied))


def test_a_manifest_of_another_bundle_is_refused(copied, another):
    mine = (copied / "manifest.json").read_bytes()
    shutil.copy(another / "manifest.json", copied / "manifest.json")
    with pytest.raises(BundleError, match="is missing"):
        ServingBundle.load(str(copied))
    (copied / "manifest.json").write_bytes(mine)
    for part in ("ranker", "index"):
        shutil.move(copied / part, copied / "kept")
        shutil.copytree(another / part, copied / part)
        with pytest.raises(BundleError, match=f"/{part} is not what the bundle was written with"):
            ServingBundle.load(str(copied))
        shutil.rmtree(copied / part)
        shutil.move(copied / "kept", copied / part)
    ServingBundle.load(str(copied))


def test_half_a_bundle_is_none_and_the_next_writer_completes_it(copied, shop_bundle):
    (copied / "manifest.json").unlink()
    for path in files(copied)[::3]:
        path.unlink()
    with pytest.raises(BundleError, match="missing or incomplete"):
        ServingBundle.load(str(copied))
    assert write_bundle(str(copied), shop_bundle.parts, CONFIG) == shop_bundle.version
    ServingBundle.load(str(copied)).check()


def test_what_is_there_already_is_never_changed(copied, shop_bundle):
    before = {path: path.read_bytes() for path in files(copied)}
    with pytest.raises(BundleError, match="already"):
        write_bundle(str(copied), shop_bundle.parts, BundleConfig())
    assert {path: path.read_bytes() for path in files(copied)} == before


def test_other_versions_and_other_folders_are_refused(copied, tmp_path):
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())

    def written(**changes) -> str:
        path.write_text(json.dumps(manifest | changes))
        return str(copied)

    with pytest.raises(BundleError, match="format 9; this vrec reads format 3"):
        ServingBundle.load(written(data=manifest["data"] | {"format": 9}))
    with pytest.raises(BundleError, match="kind item_knn, not a bundle"):
        ServingBundle.load(written(kind="item_knn"))
    with pytest.raises(BundleError, match="another version of vrec"):
        ServingBundle.load(written(files={k: v for k, v in manifest["files"].items() if k != "about.json"}))
    with pytest.raises(BundleError, match="another version of vrec"):
        ServingBundle.load(written(data={"format": 3}))
    for text in ("{", "[]", "null", '{"kind": "bundle"}', '{"kind": "bundle", "data": 3}'):
        path.write_text(text)
        with pytest.raises(BundleError, match=r"manifest\.json is not the manifest of a bundle"):
            ServingBundle.load(str(copied))
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"no manifest\.json") as caught:
        ServingBundle.load(nowhere)
    assert str(caught.value).count(nowhere) == 1


def test_a_smoke_request_that_is_answered_otherwise_is_named(bundle):
    kept = bundle.smoke_answers
    rows = kept.to_pylist()
    asked = {row["ask"] for row in rows}
    assert asked == {"p_click", "watch_s", "p_conv", "spread", "index", "search"}
    for kind in asked:
        place = next(n for n, row in enumerate(rows) if row["ask"] == kind)
        value = rows[place]["value"]
        named = f"{kind} of smoke request {rows[place]['of']} differs from when the bundle was made"
        for new in (value * 1.01 + 0.01, float("nan")):
            changed = [*rows[:place], rows[place] | {"value": new}, *rows[place + 1 :]]
            other = replace(bundle, smoke_answers=pa.Table.from_pylist(changed, schema=kept.schema))
            with pytest.raises(BundleError, match=named):
                other.check()
        near = [*rows[:place], rows[place] | {"value": value * (1 + 1e-5)}, *rows[place + 1 :]]
        replace(bundle, smoke_answers=pa.Table.from_pylist(near, schema=kept.schema)).check()
        fewer = kept.filter(np.arange(len(rows)) != place)
        with pytest.raises(BundleError, match="differs from when the bundle was made"):
            replace(bundle, smoke_answers=fewer).check()


def test_a_part_that_answers_otherwise_is_found(bundle, another):
    other = ServingBundle.load(str(another))
    with pytest.raises(BundleError, match="index of smoke request"):
        replace(bundle, index=other.index).check()
    with pytest.raises(BundleError, match="of smoke request"):
        replace(bundle, neighbors=other.neighbors).check()
    with pytest.raises(BundleError, match="search of smoke request"):
        replace(bundle, text_index=Bm25Index.from_videos(bundle.videos.slice(50))).check()


def test_answers_that_are_not_finite_are_refused(bundle):
    wrong = pc.if_else(pc.equal(bundle.smoke_answers.column("ask"), "watch_s"), float("inf"), 0.5)
    table = bundle.smoke_answers.set_column(4, "value", wrong.cast(pa.float32()))
    with pytest.raises(BundleError, match=r"watch_s of smoke request .* is not finite"):
        check_smoke_answers(table, table, "here")


def test_equal_values_may_change_places(bundle):
    def answers(*pairs):
        rows = [
            {"ask": "index", "of": "v", "place": place, "video_id": video, "value": value}
            for place, (video, value) in enumerate(pairs)
        ]
        return pa.Table.from_pylist(rows, schema=bundle.smoke_answers.schema)

    kept = answers(("a", 0.9), ("b", 0.5), ("c", 0.5))
    check_smoke_answers(kept, answers(("a", 0.9), ("c", 0.5), ("b", 0.5)), "here")
    check_smoke_answers(kept, answers(("a", 0.9), ("b", 0.5), ("d", 0.5)), "here")
    for other in (
        answers(("b", 0.9), ("a", 0.5), ("c", 0.5)),
        answers(("d", 0.9), ("b", 0.5), ("c", 0.5)),
        answers(("b", 0.5), ("c", 0.5), ("d", 0.5)),
    ):
        with pytest.raises(BundleError, match="index of smoke request v"):
            check_smoke_answers(kept, other, "here")


def test_smoke_requests_are_spread_over_the_catalogue():
    ids = [f"v{n}" for n in range(10)]
    assert smoke_request_videos(ids, 3) == ("v0", "v4", "v9")
    assert smoke_request_videos(ids, 50) == tuple(ids)
    assert smoke_request_videos(ids[:1], 16) == ("v0",)


@pytest.mark.parametrize(
    ("options", "smaller"), [(["kind=float16"], 1.9), (["kind=scalar", "bits=8", "learn_from=20"], 2.5)]
)
def test_an_operator_says_how_the_index_keeps_vectors(shop_bundle, bundle, tmp_path, options, smaller):
    """The settings reach the index, its files and who loads it; smoke requests are answered from these."""
    told = load_settings(overrides=[f"bundle.index.storage.{option}" for option in options]).bundle.index
    folder = str(tmp_path / "bundle")
    version = write_bundle(folder, shop_bundle.parts, CONFIG.model_copy(update={"index": told}))
    found = ServingBundle.load(folder)
    found.check()
    assert found.index.config.storage == told.storage
    assert version != shop_bundle.version
    assert found.index.nbytes * smaller < bundle.index.nbytes
    assert not list(Path(folder).rglob("vectors-*.npy"))
    stock, before = engine_of(found), engine_of(bundle)
    for user in shoppers()[:10]:
        answers = [one.recommend(query_of(), user) for one in (stock, before)]
        assert len(answers[0].items) == len(answers[1].items) == 10
        assert len({item.video_id for item in answers[0].items} & {i.video_id for i in answers[1].items}) >= 7


def test_a_process_that_ends_right_after_reading_a_bundle_is_not_aborted(shop_bundle):
    """As a refused `vrec serve` is: threads that read Parquet from Python's memory aborted four in five."""
    code = "import sys; from vrec.bundle.catalog import BundleCatalog; BundleCatalog.load(sys.argv[1])"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, shop_bundle.uri], check=True)
