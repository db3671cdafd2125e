"""Lists of bundles: from the manifests alone, the newest first, with the reason where there is none."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.bundle.summary import BundleSummary, list_bundles, read_summary, summary_in_service
from vrec.core.tables import MANIFEST

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def manifest(shop_bundle):
    with open(f"{shop_bundle.uri}/{MANIFEST}", encoding="utf-8") as file:
        return json.load(file)


def write(folder, name, content):
    (folder / name).mkdir(parents=True)
    (folder / name / MANIFEST).write_text(content if isinstance(content, str) else json.dumps(content))


def test_bundles_are_listed_from_their_manifests_the_newest_first(tmp_path, shop_bundle, manifest):
    for name, made_at in (("old", 1), ("new", 3), ("middle", 2)):
        write(tmp_path, name, manifest | {"data": manifest["data"] | {"made_at": made_at}})
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").write_text("x")
    write(tmp_path, "ranker", manifest | {"kind": "ranker"})
    found = list_bundles(str(tmp_path))
    assert [one.name for one in found] == ["new", "middle", "old", "empty", "ranker"]
    videos = shop_bundle.parts.videos.num_rows
    assert {(one.version, one.videos) for one in found[:3]} == {(shop_bundle.version, videos)}
    assert found[0].encoder == shop_bundle.parts.fused.column("encoder")[0].as_py()
    assert all(one.problem is None for one in found[:3])
    assert found[3] == BundleSummary(
        "empty", f"{tmp_path}/empty", problem=f"no {MANIFEST} there, so the bundle is missing or incomplete"
    )
    assert found[4].problem == "ranker is of kind ranker, not a bundle"
    assert all(str(tmp_path) not in (one.problem or "") for one in found)
    # All three have one version: where the service has its bundle tells which one it is.
    for place, wanted in (("old", "old"), ("old/", "old"), ("elsewhere", "new")):
        one = summary_in_service(found, f"{tmp_path}/{place}", shop_bundle.version)
        assert one.name == wanted
    assert summary_in_service(found, f"{tmp_path}/old", "other") is None
    assert list_bundles(str(tmp_path / "none")) == []


def test_a_manifest_of_before_says_neither_videos_nor_encoder(tmp_path, manifest):
    data = {name: value for name, value in manifest["data"].items() if name not in ("videos", "encoder")}
    write(tmp_path, "a", manifest | {"data": data})
    (found,) = list_bundles(str(tmp_path))
    assert (found.videos, found.encoder, found.problem) == (None, None, None)


def test_figures_are_flat_and_finite(tmp_path, manifest):
    metrics = {"ranker": {"test": {"auc": 0.7, "lift": [1]}, "bad": float("nan"), "on": True}, "odd": 3}
    write(tmp_path, "a", manifest | {"metrics": metrics})
    assert read_summary(str(tmp_path), "a").metrics == {"ranker": {"test.auc": 0.7}}


@given(content=st.text(max_size=20) | JSON.map(json.dumps), where=st.none() | st.integers(0, 3), value=JSON)
def test_any_manifest_is_a_summary_or_a_problem(tmp_path_factory, shop_bundle, content, where, value):
    folder = tmp_path_factory.mktemp("any")
    if where is not None:
        with open(f"{shop_bundle.uri}/{MANIFEST}", encoding="utf-8") as file:
            whole = json.load(file)
        holder, key = [(whole, "data"), (whole["data"], "made_at"), (whole, "metrics"), (whole, "files")][
            where
        ]
        holder[key] = value
        content = json.dumps(whole)
    write(folder, "a", content)
    (found,) = list_bundles(str(folder))
    assert (found.problem is None) == (found.version is not None)
    shutil.rmtree(folder)
