import os

import pyarrow as pa
import pytest

from vrec.core.errors import OutputError, SourceError
from vrec.core.tables import StorageFolder, absolute_uri, join_uri, read_embeddings, read_manifest, resolve


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = StorageFolder(str(tmp_path))
    folder.write("a/b.txt", b"first")

    def broken(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match=r"cannot write a/b.txt: no space left on device"):
        folder.write("a/b.txt", b"second")
    assert folder.read("a/b.txt") == b"first"
    assert folder.files("a") == ["b.txt"], "no temporary file is left behind"


def test_parquet_and_arrow_files_come_back_equal(tmp_path):
    folder = StorageFolder(str(tmp_path))
    table = pa.table({"x": pa.array([1, None]), "v": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))})
    folder.write_parquet("t.parquet", table)
    folder.write_arrow("t.arrow", table)
    assert folder.read_parquet("t.parquet").equals(table)
    assert folder.read_arrow("t.arrow").equals(table)
    assert folder.read_parquet("t.parquet", ["x"]).column_names == ["x"]


def test_a_folder_can_be_a_uri(tmp_path):
    folder = StorageFolder(tmp_path.as_uri())
    folder.write("x/y", b"1")
    assert (tmp_path / "x" / "y").read_bytes() == b"1"


def test_fsspec_schemes_reach_fsspec():
    folder = StorageFolder("memory://bucket/out")
    folder.write("x/y", b"1")
    assert folder.read("x/y") == b"1"
    assert folder.files("x") == ["y"]
    folder.remove("x/y")
    folder.remove("x/y")
    assert not folder.exists("x/y")


def test_an_unknown_scheme_is_named():
    with pytest.raises(SourceError, match="gopher://"):
        resolve("gopher://host/videos")


def test_join_keeps_a_uris_query():
    assert join_uri("s3://b/v?endpoint_override=x", "a.mp4") == "s3://b/v/a.mp4?endpoint_override=x"
    assert join_uri("/data", "a", "b.mp4") == "/data/a/b.mp4"


def test_paths_become_absolute_but_not_in_a_submitted_jobs_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("a/b") == StorageFolder("a/b").uri == str(tmp_path / "a/b")
    assert absolute_uri("s3://b/c") == "s3://b/c"
    copy = tmp_path / "runtime_resources/working_dir_files/_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert absolute_uri("/a") == "/a"
    with pytest.raises(SourceError, match="relative path in a submitted job"):
        absolute_uri("out")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "other", "format": 1}', '{"kind": "embeddings", "format": 99}']
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match=r"is not one of|is of kind"):
        read_manifest(str(tmp_path))


def test_reading_where_nothing_was_embedded_says_what_to_do(tmp_path):
    assert read_manifest(str(tmp_path)) is None
    with pytest.raises(SourceError) as caught:
        read_embeddings(str(tmp_path), "fused")
    assert "vrec embed" in caught.value.fix
