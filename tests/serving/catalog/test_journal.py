"""The journal of catalogue changes: durable, complete, each change once."""

import os
import time

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import SchemaError
from vrec.core.schema import VIDEOS
from vrec.serving.catalog.journal import SETTLED_S, CatalogJournal
from vrec.serving.messages import CatalogChange


def row(video_id, title="t", available=True):
    return pa.Table.from_pylist(
        [
            {
                "video_id": video_id,
                "uri": f"/{video_id}.mp4",
                "kind": "clip",
                "product_ids": [],
                "creator_id": "c",
                "domain": "d",
                "tags": ["a"],
                "title": title,
                "available": available,
            }
        ],
        schema=VIDEOS.arrow(),
    )


def change(video_id, at, **more):
    return CatalogChange(video_id, at, row(video_id), **more)


def test_a_change_is_read_as_it_was_written_by_another_journal_and_once(tmp_path):
    vector = np.array([[0.6, 0.8]], np.float32)
    CatalogJournal(str(tmp_path)).write(
        change("v", 5, vectors={"fused": vector}, encoders={"fused": "fused@1"})
    )
    reader = CatalogJournal(str(tmp_path))
    (found,) = reader.read_new()
    assert (found.video_id, found.at, found.encoders) == ("v", 5, {"fused": "fused@1"})
    assert found.row.equals(row("v"))
    assert found.vectors["fused"].tobytes() == vector.tobytes()
    assert reader.read_new() == []


def test_a_removal_has_no_row(tmp_path):
    CatalogJournal(str(tmp_path)).write(CatalogChange("v", 5, None))
    (found,) = CatalogJournal(str(tmp_path)).read_new()
    assert (found.video_id, found.row) == ("v", None)


def test_changes_that_come_in_quick_succession_are_all_seen(tmp_path):
    reader, writer, seen = CatalogJournal(str(tmp_path)), CatalogJournal(str(tmp_path)), []
    for at in range(40):
        writer.write(change(f"v{at}", at))
        seen += [c.at for c in reader.read_new()]
    seen += [c.at for c in reader.read_new()]
    assert seen == list(range(40))


def test_changes_come_by_time_whenever_they_were_written(tmp_path):
    for at in (3, 1, 2):
        CatalogJournal(str(tmp_path)).write(change("v", at))
    assert [c.at for c in CatalogJournal(str(tmp_path)).read_new()] == [1, 2, 3]


def test_what_is_no_change_is_named_and_costs_no_other(tmp_path):
    journal = CatalogJournal(str(tmp_path))
    journal.write(change("v", 1))
    (tmp_path / "changes" / "x.arrow").write_bytes(b"half")
    assert [c.video_id for c in journal.read_new()] == ["v"]
    assert "x.arrow is not a catalog change" in journal.damaged["x.arrow"]


def test_a_temporary_file_is_passed_over(tmp_path):
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes" / ".x.arrow.123").write_bytes(b"half")
    assert CatalogJournal(str(tmp_path)).read_new() == []


def test_a_row_that_is_not_videos_is_refused(tmp_path):
    with pytest.raises(SchemaError):
        CatalogJournal(str(tmp_path)).write(CatalogChange("v", 1, pa.table({"video_id": ["v"]})))


def test_a_folder_that_was_not_touched_for_a_while_is_not_listed_again(tmp_path, monkeypatch):
    journal = CatalogJournal(str(tmp_path))
    journal.write(change("v", 1))
    assert len(journal.read_new()) == 1
    folder, listed = tmp_path / "changes", []
    files = type(journal._folder).files
    monkeypatch.setattr(type(journal._folder), "files", lambda self: listed.append(1) or files(self))
    # Within two seconds of the last change, another one may have come in the same tick.
    journal.read_new()
    assert len(listed) == 1
    past = time.time() - SETTLED_S - 1
    os.utime(folder, (past, past))
    journal.read_new()
    journal.read_new()
    assert len(listed) == 2
    journal.write(change("w", 2))
    assert [one.video_id for one in journal.read_new()] == ["w"]


def test_file_names_sort_by_time_and_a_file_of_another_kind_is_ignored(tmp_path):
    journal = CatalogJournal(str(tmp_path))
    for at in (10, 9, 2_000_000_000_000_000):
        journal.write(change("v", at))
    (tmp_path / "changes" / "notes.txt").write_text("x")
    names = sorted(file.name for file in (tmp_path / "changes").iterdir())
    assert [int(name.split("-")[0]) for name in names[:3]] == [9, 10, 2_000_000_000_000_000]
    assert len(journal.read_new()) == 3
    assert journal.damaged == {}


def test_each_modality_keeps_its_own_vector_and_encoder(tmp_path):
    vectors = {"fused": np.ones((1, 3), np.float32), "text": np.zeros((1, 2), np.float64)}
    CatalogJournal(str(tmp_path)).write(
        change("v", 1, vectors=vectors, encoders={"fused": "f@1", "text": "t@1"})
    )
    (found,) = CatalogJournal(str(tmp_path)).read_new()
    assert found.encoders == {"fused": "f@1", "text": "t@1"}
    assert {name: (v.shape, v.dtype) for name, v in found.vectors.items()} == {
        "fused": ((1, 3), np.float32),
        "text": ((1, 2), np.float32),
    }
