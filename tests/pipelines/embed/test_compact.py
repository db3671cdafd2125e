"""Parts to files and back, without Ray."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.schema import FAILURES, MEDIA
from vrec.core.tables import MANIFEST, TABLE_FORMAT, StorageFolder, read_embeddings, read_failures, read_media
from vrec.pipelines.embed.checkpoints import (
    PARTS,
    REFS,
    build_part,
    keep_last_per_key,
    part_name,
    previous_state,
)
from vrec.pipelines.embed.compact import TableCompaction, remove_unlisted_files, select_parts, update_uris
from vrec.pipelines.embed.plan import EmbedPlan

NAMES = {"frames": "cnn@1", "audio": "logmel@1", "text": "use@1", "fused": "concat@1"}


URIS = pa.table({"video_id": list("abcd"), "uri": [f"/{i}" for i in "abcd"]})


def row(video_id, *, error=None, **more):
    facts = {"video_id": video_id, "uri": f"/{video_id}", "content_hash": f"h-{video_id}", "text_hash": ""}
    facts |= {
        "recipe": "r",
        "frames": 0 if error else 8,
        "has_audio": False,
        "decode_s": 0.1,
        "encode_s": 0.1,
    }
    if error:
        facts |= {"error": error, "stage": "decode", "message": "why", "at": datetime.now(UTC)}
    return facts | more


def vectors(seed, *, audio=True):
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.normal(size=4).astype(np.float32),
        "audio": rng.normal(size=3).astype(np.float32) if audio else None,
        "fused": rng.normal(size=7).astype(np.float32),
    }


def write_part(folder, rows, vecs):
    name = part_name("r", [r["video_id"] for r in rows])
    folder.write_arrow(name, build_part(rows, vecs))
    return name


def finish(folder, work):
    files = work.finish()
    folder.write_json(
        MANIFEST,
        {"kind": "embeddings", "format": TABLE_FORMAT, "generation": work.generation, "files": files},
    )
    remove_unlisted_files(folder, files)
    return files


def test_parts_become_tables_value_for_value(tmp_path):
    folder = StorageFolder(str(tmp_path))
    vecs = [vectors(0), vectors(1, audio=False), {}]
    name = write_part(folder, [row("a"), row("b"), row("c", error="BlackVideo")], vecs)
    work = TableCompaction(folder, URIS, NAMES, 8192, 1)
    work.add(select_parts(folder, {name: None}))
    finish(folder, work)
    out = str(tmp_path)
    frames, audio = read_embeddings(out, "frames"), read_embeddings(out, "audio")
    assert frames["entity_id"].to_pylist() == ["a", "b"]
    assert frames["encoder"].to_pylist() == ["cnn@1", "cnn@1"]
    np.testing.assert_array_equal(frames["vector"].to_pylist()[1], vecs[1]["frames"])
    assert audio["entity_id"].to_pylist() == ["a"]
    np.testing.assert_array_equal(audio["vector"].to_pylist()[0], vecs[0]["audio"])
    assert read_embeddings(out, "text") is None
    assert read_failures(out).select(["video_id", "error"]).to_pylist() == [
        {"video_id": "c", "error": "BlackVideo"}
    ]
    assert read_media(out)["video_id"].to_pylist() == ["a", "b", "c"]
    assert not (tmp_path / PARTS).exists()


def test_a_later_run_rewrites_only_files_that_lost_a_row(tmp_path):
    folder = StorageFolder(str(tmp_path))
    work = TableCompaction(folder, URIS, NAMES, rows_per_file=2, generation=1)
    names = [write_part(folder, [row(i) for i in pair], [vectors(0), vectors(1)]) for pair in ("ab", "cd")]
    work.add(select_parts(folder, dict.fromkeys(names)))
    first = finish(folder, work)
    assert [len(first[t]) for t in ("media", "embeddings/frames")] == [2, 2]

    again = TableCompaction(folder, URIS, NAMES, 2, 2)
    again.add_existing(first, pa.array(["a", "b", "d"]))
    again.add(select_parts(folder, {write_part(folder, [row("c")], [vectors(9)]): None}))
    second = finish(folder, again)
    assert len(set(first["media"]) & set(second["media"])) == 1, "the untouched file is the same file"
    assert read_media(str(tmp_path))["video_id"].to_pylist() == ["a", "b", "c", "d"]
    got = read_embeddings(str(tmp_path), "frames")
    assert got["entity_id"].to_pylist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(got["vector"].to_pylist()[2], vectors(9)["frames"])
    on_disk = {f"media/{f}" for f in folder.files("media")}
    assert on_disk == set(second["media"]), "nothing that the manifest does not list stays"


def test_a_duplicates_row_is_not_kept_from_run_to_run(tmp_path):
    folder = StorageFolder(str(tmp_path))
    name = write_part(folder, [row("a"), row("b", error="TooShort")], [vectors(0), {}])
    work = TableCompaction(folder, URIS, NAMES, 10, 1)
    work.add(select_parts(folder, {name: None}))
    duplicate = {"video_id": "a", "uri": "/2", "stage": "read", "error": "DuplicateVideoId", "message": "x"}
    work.add_failures(pa.Table.from_pylist([duplicate | {"at": datetime.now(UTC)}], FAILURES.arrow()))
    files = finish(folder, work)
    assert read_failures(str(tmp_path))["error"].to_pylist() == ["DuplicateVideoId", "TooShort"]
    again = TableCompaction(folder, URIS, NAMES, 10, 2)
    again.add_existing(files, pa.array(["a", "b"]))
    finish(folder, again)
    assert read_failures(str(tmp_path))["error"].to_pylist() == ["TooShort"]


def test_a_video_that_moved_keeps_its_vectors_and_gets_its_new_uri(tmp_path):
    folder = StorageFolder(str(tmp_path))
    work = TableCompaction(folder, URIS, NAMES, 10, 1)
    rows, vecs = [row("a"), row("b", error="TooShort")], [vectors(0), {}]
    work.add(select_parts(folder, {write_part(folder, rows, vecs): None}))
    first = finish(folder, work)
    moved = pa.table({"video_id": ["a", "b", "c"], "uri": ["/new/a", "/new/b", "/new/c"]})
    again = TableCompaction(folder, moved, NAMES, 10, 2)
    again.add_existing(first, pa.array(["a", "b"]))
    again.add(select_parts(folder, {write_part(folder, [row("c")], [vectors(1)]): None}))
    second = finish(folder, again)
    assert read_media(str(tmp_path))["uri"].to_pylist() == ["/new/a", "/new/b", "/new/c"]
    assert read_failures(str(tmp_path))["uri"].to_pylist() == ["/new/b"]
    assert set(first["embeddings/frames"]) <= set(second["embeddings/frames"])


def test_a_killed_compaction_leaves_the_old_table_readable(tmp_path):
    folder = StorageFolder(str(tmp_path))
    work = TableCompaction(folder, URIS, NAMES, 10, 1)
    work.add(select_parts(folder, {write_part(folder, [row("a")], [vectors(0)]): None}))
    finish(folder, work)
    before = read_media(str(tmp_path))
    part = write_part(folder, [row("b")], [vectors(1)])
    TableCompaction(folder, URIS, NAMES, 10, 2).add(
        select_parts(folder, {part: None})
    )  # and killed before the manifest
    assert read_media(str(tmp_path)).equals(before)
    state = previous_state(folder, [])
    assert state["video_id"].to_pylist() == ["b"], "the part is still there to resume from"


def test_a_damaged_part_costs_its_videos_a_second_run_and_no_more(tmp_path):
    folder = StorageFolder(str(tmp_path))
    write_part(folder, [row("a")], [vectors(0)])
    folder.write(f"{PARTS}/torn.arrow", b"ARROW1\0\0 and then the power went")
    assert previous_state(folder, [])["video_id"].to_pylist() == ["a"]
    assert len(folder.files(PARTS)) == 1


@pytest.mark.parametrize("shuffled", [["b", "a"], ["a", "b"]])
def test_a_parts_name_depends_on_what_is_in_it_alone(shuffled):
    assert part_name("r", shuffled) == part_name("r", ["a", "b"])
    assert part_name("r", ["a", "b"]) != part_name("q", ["a", "b"])
    assert part_name("r", ["a", "b"]) != part_name("r", ["a"])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99))))
def test_last_of_each_is_what_a_dict_would_keep(pairs):
    table = pa.table(
        {"k": pa.array([k for k, _ in pairs], pa.string()), "v": pa.array([v for _, v in pairs], pa.int64())}
    )
    got = keep_last_per_key(table, "k")
    assert dict(zip(got["k"].to_pylist(), got["v"].to_pylist(), strict=True)) == dict(pairs)


@pytest.mark.parametrize(("rows_per_file", "sizes"), [(1, [2, 2]), (2, [2, 2]), (3, [4]), (9, [4])])
def test_a_file_ends_with_the_part_that_reaches_its_size(tmp_path, rows_per_file, sizes):
    folder = StorageFolder(str(tmp_path))
    names = [write_part(folder, [row(i) for i in pair], [vectors(0), vectors(1)]) for pair in ("ab", "cd")]
    work = TableCompaction(folder, URIS, NAMES, rows_per_file, generation=3)
    work.add(select_parts(folder, dict.fromkeys(names)))
    files = work.finish()
    assert [folder.read_parquet(name).num_rows for name in files["media"]] == sizes
    assert files["media"] == [f"media/part-0003-{i:05d}.parquet" for i in range(len(sizes))]
    assert files["embeddings/audio"] == [f"embeddings/audio-0003-{i:05d}.parquet" for i in range(len(sizes))]
    assert [folder.read_parquet(name).num_rows for name in files["failures"]] == [0]


def test_a_run_takes_reused_rows_from_old_files_and_the_rest_from_parts(tmp_path):
    """Of a part only the reused ids count; what the old files have of a video that has a part does not."""
    folder = StorageFolder(str(tmp_path))
    work = TableCompaction(folder, URIS, NAMES, 10, 1)
    work.add(select_parts(folder, {write_part(folder, [row("a"), row("b")], [vectors(0), vectors(1)]): None}))
    old = finish(folder, work)
    part = write_part(folder, [row("b", content_hash="new"), row("c")], [vectors(2), vectors(3)])
    reused = pa.table({"video_id": ["a", "b"], "origin": ["", part]})
    empty = FAILURES.arrow().empty_table()
    plan = EmbedPlan(3, REFS.empty_table(), reused, empty, parts={part: ["b"]})
    again = TableCompaction(folder, URIS, NAMES, 10, 2)
    again.run(plan, old)
    finish(folder, again)
    media = read_media(str(tmp_path))
    assert dict(zip(media["video_id"].to_pylist(), media["content_hash"].to_pylist(), strict=True)) == {
        "a": "h-a",
        "b": "new",
    }
    frames = read_embeddings(str(tmp_path), "frames")
    np.testing.assert_array_equal(frames["vector"].to_pylist()[1], vectors(2)["frames"])


def test_a_finished_table_loses_to_a_part_of_the_same_video(tmp_path):
    folder = StorageFolder(str(tmp_path))
    table = pa.Table.from_pylist([row("a", content_hash="old"), row("b")], schema=MEDIA.arrow())
    folder.write_parquet("media/1.parquet", table)
    part = write_part(folder, [row("a", content_hash="new")], [vectors(0)])
    state = previous_state(folder, ["media/1.parquet"]).to_pylist()
    assert {r["video_id"]: (r["content_hash"], r["origin"]) for r in state} == {
        "a": ("new", part),
        "b": ("h-b", ""),
    }
    assert previous_state(StorageFolder(str(tmp_path / "empty")), []).num_rows == 0


def test_vectors_are_kept_as_float32_and_a_missing_one_as_null():
    part = build_part([row("a"), row("b")], [{"frames": np.array([1.0, 0.1])}, {"frames": None}])
    assert part["vector_frames"].to_pylist() == [[1.0, float(np.float32(0.1))], None]
    assert part["vector_audio"].to_pylist() == [None, None]


def test_uris_are_those_of_the_catalog_and_null_for_a_video_that_left_it():
    rows = pa.table({"video_id": ["b", "x", "a"], "uri": ["/old", "/x", "/a"], "n": [1, 2, 3]})
    found = update_uris(rows, pa.table({"video_id": ["a", "b"], "uri": ["/a", "/new"]}))
    assert found.to_pylist() == [
        {"video_id": "b", "uri": "/new", "n": 1},
        {"video_id": "x", "uri": None, "n": 2},
        {"video_id": "a", "uri": "/a", "n": 3},
    ]


def test_only_tables_that_are_not_listed_are_removed(tmp_path):
    folder = StorageFolder(str(tmp_path))
    table = pa.table({"x": [1]})
    for name in ("media/a.parquet", "media/b.parquet", "embeddings/f.parquet", "other/c.parquet"):
        folder.write_parquet(name, table)
    folder.write("media/notes.txt", b"mine")
    write_part(folder, [row("a")], [vectors(0)])
    remove_unlisted_files(folder, {"media": ["media/a.parquet"]})
    assert folder.files("media") == ["a.parquet", "notes.txt"]
    assert folder.files("embeddings") == []
    assert folder.files("other") == ["c.parquet"]
    assert not (tmp_path / PARTS).exists()
