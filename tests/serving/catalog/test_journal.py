"""The journal of catalogue changes: durable, complete, each change once."""

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import SchemaError
from vrec.core.schema import VIDEOS
from vrec.serving.catalog.journal import CatalogJournal
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
