import json

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.artifact import ModelArtifact, artifact_kind, blob_path, read_artifact, write_artifact
from vrec.core.errors import ModelError

ARTIFACT = ModelArtifact(
    kind="als",
    config={"factors": 3},
    arrays={"b": np.arange(4, dtype=np.float32), "a": np.eye(2, dtype=np.int64)},
    tables={"users": pa.table({"user_id": ["u", "v"]}), "videos": pa.table({"video_id": ["x"]})},
    blobs={"index.bin": b"\x00\x01", "notes": b"plain"},
    data={"rows": 7},
    metrics={"ndcg@10": 0.25},
)


@pytest.fixture
def folder(tmp_path):
    write_artifact(str(tmp_path / "model"), ARTIFACT)
    return tmp_path / "model"


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_artifact_comes_back_equal(folder):
    got = read_artifact(str(folder), "als")
    assert (got.kind, got.config, got.data, got.metrics) == (
        "als",
        {"factors": 3},
        {"rows": 7},
        {"ndcg@10": 0.25},
    )
    assert sorted(got.arrays) == ["a", "b"]
    for name, array in ARTIFACT.arrays.items():
        assert got.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(got.arrays[name], array)
    assert got.tables.keys() == {"users", "videos"}
    assert got.tables["users"].equals(ARTIFACT.tables["users"])
    assert got.tables["videos"].equals(ARTIFACT.tables["videos"])
    assert got.blobs == ARTIFACT.blobs
    assert artifact_kind(str(folder)) == "als"


def test_an_artifact_without_anything_has_only_a_manifest(tmp_path):
    write_artifact(str(tmp_path), ModelArtifact("popular", {}))
    assert files(tmp_path) == ["manifest.json"]
    got = read_artifact(str(tmp_path))
    assert (got.arrays, got.tables, got.blobs) == ({}, {}, {})


def test_without_blobs_only_they_are_left_out(folder):
    got = read_artifact(str(folder), blobs=False)
    assert got.blobs == {}
    assert sorted(got.arrays) == ["a", "b"]
    assert sorted(got.tables) == ["users", "videos"]
    # A blob is not even opened: a damaged one does not matter.
    next(folder.glob("index-*.bin")).unlink()
    assert read_artifact(str(folder), blobs=False).blobs == {}


def test_equal_artifacts_have_equal_files_whatever_the_order_of_arrays(folder, tmp_path):
    reordered = ModelArtifact(**{**_fields(), "arrays": dict(reversed(ARTIFACT.arrays.items()))})
    write_artifact(str(tmp_path / "again"), reordered)
    assert files(tmp_path / "again") == files(folder)


def test_writing_again_removes_old_files_of_artifacts_and_nothing_else(folder):
    (folder / "README-mine.txt").write_text("kept")
    (folder / "a-zzzzzzzzzzzz.npz").write_text("kept: twelve letters that are no digest")
    unchanged = next(folder.glob("users-*.parquet"))
    before = unchanged.stat().st_mtime_ns
    write_artifact(
        str(folder),
        ModelArtifact("als", {}, arrays={"b": np.zeros(2)}, tables={"users": ARTIFACT.tables["users"]}),
    )
    assert unchanged.stat().st_mtime_ns == before, "equal content is not written again"
    names = files(folder)
    assert len(names) == 5
    assert {"README-mine.txt", "a-zzzzzzzzzzzz.npz", "manifest.json", unchanged.name} < set(names)
    np.testing.assert_array_equal(read_artifact(str(folder)).arrays["b"], [0, 0])


def test_arrays_of_objects_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"als\.names holds Python objects"):
        write_artifact(str(tmp_path), ModelArtifact("als", {}, arrays={"names": np.array(["a", None])}))
    assert files(tmp_path) == []


@pytest.mark.parametrize("pattern", ["arrays-*.npz", "users-*.parquet", "index-*.bin", "notes-*"])
def test_missing_and_changed_files_are_named(folder, pattern):
    path = next(folder.glob(pattern))
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    with pytest.raises(ModelError, match=f"{path.name} is not what was written"):
        read_artifact(str(folder))
    path.unlink()
    with pytest.raises(ModelError, match=f"{path.name} is missing"):
        read_artifact(str(folder))


def test_another_kind_is_refused_and_none_accepts_any(folder):
    with pytest.raises(ModelError, match="is of kind als, not ease"):
        read_artifact(str(folder), "ease")
    assert read_artifact(str(folder), None).kind == "als"


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"no manifest\.json there") as caught:
        artifact_kind(str(tmp_path))
    assert "vrec fit --out" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"kind": "embeddings"}, "of kind embeddings"),
        ({"files": {"arrays.npz": 7}}, "of kind als"),
        ({"files": ["arrays.npz"]}, "is not a model's"),
        ({"kind": None}, "is not a model's"),
    ],
)
def test_a_manifest_of_something_else_is_refused(folder, change, message):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    with pytest.raises(ModelError, match=message):
        read_artifact(str(folder))


@pytest.mark.parametrize("text", ["", "[1]", "{}", '"als"'])
def test_a_manifest_that_is_no_json_mapping_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match="is not a model's"):
        artifact_kind(str(folder))


def test_a_blob_s_path_is_local_or_none(folder):
    path = blob_path(str(folder), "index.bin")
    assert path is not None
    with open(path, "rb") as file:
        assert file.read() == b"\x00\x01"
    with pytest.raises(ModelError, match=r"has no other\.bin"):
        blob_path(str(folder), "other.bin")
    write_artifact("memory://bucket/model", ARTIFACT)
    assert blob_path("memory://bucket/model", "index.bin") is None
    assert read_artifact("memory://bucket/model").blobs == ARTIFACT.blobs


def _fields():
    return {name: getattr(ARTIFACT, name) for name in ModelArtifact.__dataclass_fields__}
