import os

import pyarrow as pa
import pytest

from vrec.core.errors import OutputError, SourceError
from vrec.core.tables import (
    StorageFolder,
    read_embeddings,
    read_failures,
    read_manifest,
    read_media,
    tables_digest,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = StorageFolder(str(tmp_path))
    folder.write("a/b.txt", b"first")

    def broken(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match=r"cannot write a/b.txt: no space left on device") as raised:
        folder.write("a/b.txt", b"second")
    assert "make room" in raised.value.fix
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


def test_files_are_sorted_and_folders_are_not_among_them(tmp_path):
    folder = StorageFolder(str(tmp_path))
    for name in ("b", "a", "sub/c"):
        folder.write(name, b"1")
    assert folder.files() == ["a", "b"]
    assert folder.files("sub") == ["c"]
    assert folder.files("absent") == []
    assert folder.exists("a")
    assert not folder.exists("sub")
    assert not folder.exists("absent")


def test_subfolders_are_listed_and_files_are_not(tmp_path):
    folder = StorageFolder(str(tmp_path))
    for name in ("old/x", "new/x", "file"):
        folder.write(name, b"1")
    assert folder.folders() == ["new", "old"]
    assert StorageFolder(str(tmp_path / "absent")).folders() == []


def test_a_check_leaves_nothing_behind_and_finds_what_cannot_be_written(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    StorageFolder(str(tmp_path / "a" / "b")).check_writable("below")
    StorageFolder(str(there)).check_writable()
    assert list(tmp_path.rglob("*")) == [there]
    (tmp_path / "file").write_text("x")
    file = tmp_path / "file"
    for below in ("", "below", "below/deep"):
        with pytest.raises(OutputError) as caught:
            StorageFolder(str(file)).check_writable(below)
        assert str(caught.value) == f"{file}: is a file, not a folder"
    for inside in (file / "x", file / "x" / "y"):
        with pytest.raises(OutputError) as caught:
            StorageFolder(str(inside)).check_writable()
        assert str(caught.value) == f"{inside}: cannot be made, since {file} is not a folder"
    with pytest.raises(OutputError, match=r"^/proc/vrec: cannot write there: "):
        StorageFolder("/proc/vrec").check_writable()


def test_json_is_readable_and_holds_no_nan(tmp_path):
    folder = StorageFolder(str(tmp_path))
    folder.write_json("x.json", {"b": "é", "a": [1.5]})
    assert folder.read("x.json").decode() == '{\n  "b": "é",\n  "a": [\n    1.5\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("y.json", {"a": float("nan")})
    assert not folder.exists("y.json")


def test_reading_an_absent_file_is_file_not_found_everywhere(tmp_path):
    for uri in (str(tmp_path), "memory://nowhere"):
        with pytest.raises(FileNotFoundError):
            StorageFolder(uri).read("absent")


def test_a_parquet_schema_is_that_of_its_table(tmp_path):
    table = pa.table({"x": pa.array([1], pa.int16())})
    StorageFolder(str(tmp_path)).write_parquet("t.parquet", table)
    assert StorageFolder(str(tmp_path)).parquet_schema("t.parquet").equals(table.schema)


@pytest.fixture
def embedded(tmp_path):
    """An embedding folder of two files per table, in no order."""
    folder = StorageFolder(str(tmp_path))
    files = {}
    for table, key, parts in (
        ("embeddings/frames", "entity_id", (["c", "a"], ["b"])),
        ("failures", "video_id", (["z", "x"], ["y", "x"])),
        ("media", "video_id", (["m"], ["l", "k"])),
    ):
        files[table] = []
        for number, ids in enumerate(parts):
            columns = {key: ids}
            if table == "failures":
                columns["uri"] = [f"u{9 - i - 2 * number}" for i in range(len(ids))]
            name = f"{table}/{number}.parquet"
            folder.write_parquet(name, pa.table(columns))
            files[table].append(name)
    folder.write_parquet("media/stray.parquet", pa.table({"video_id": ["not in the manifest"]}))
    folder.write_json("manifest.json", {"kind": "embeddings", "format": 1, "files": files})
    return str(tmp_path)


def test_tables_are_all_listed_files_and_sorted(embedded):
    assert read_embeddings(embedded, "frames")["entity_id"].to_pylist() == ["a", "b", "c"]
    assert read_embeddings(embedded, "audio") is None
    assert read_media(embedded)["video_id"].to_pylist() == ["k", "l", "m"]
    failures = read_failures(embedded).to_pylist()
    assert [(row["video_id"], row["uri"]) for row in failures] == [
        ("x", "u6"),
        ("x", "u8"),
        ("y", "u7"),
        ("z", "u9"),
    ]


@pytest.mark.parametrize("read", [read_media, read_failures])
def test_media_and_failures_of_no_run_say_what_to_do(tmp_path, read):
    with pytest.raises(SourceError, match=r"no manifest\.json there") as caught:
        read(str(tmp_path))
    assert "vrec embed" in caught.value.fix


def test_a_digest_is_of_rows_not_of_chunks():
    table = pa.table({"x": [1, 2, 3]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert tables_digest(table) == tables_digest(chunked) == tables_digest(None, table)
    assert tables_digest(table) != tables_digest(table.take([1, 0, 2]))
