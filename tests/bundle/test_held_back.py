"""What is held back of copies and doctored videos."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tests.events.rows import interactions, videos
from vrec.bundle.catalog import FINGERPRINTS
from vrec.bundle.config import BundleConfig
from vrec.bundle.fingerprints import load_copy_index, save_fingerprints
from vrec.bundle.held_back import (
    content_findings,
    held_back,
    unwatched,
    with_first_dates,
    without_vectors,
)
from vrec.bundle.neighbors import VideoNeighbors
from vrec.core.errors import BundleError
from vrec.media.duplicates.fingerprint import encode_fingerprint

OLD, NEW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
MANIFEST = {
    "near_duplicates": [["a", "b"], ["c", "gone"]],
    "suspicious": {"d": "views disagree", "gone": "x"},
}


def catalog():
    table = videos(a=None, b=None, c=None, d=None)
    field = table.schema.field("published_at")
    dates = pa.array([NEW, OLD, None, NEW], field.type)
    return table.set_column(table.column_names.index("published_at"), field, dates)


def test_findings_are_of_videos_in_the_catalog():
    findings = content_findings(MANIFEST, catalog())
    assert findings == ({"a": "b"}, {"d": "views disagree"})
    assert content_findings({}, catalog()) == ({}, {})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), {}),
        (("copies",), {"a": "a copy of b"}),
        (("suspicious",), {"d": "views disagree"}),
        (("copies", "suspicious"), {"a": "a copy of b", "d": "views disagree"}),
    ],
)
def test_the_settings_say_what_is_held_back(settings, expected):
    assert held_back(content_findings(MANIFEST, catalog()), BundleConfig(hold_back=settings)) == expected


def test_a_copy_has_the_date_of_the_first_and_no_vector():
    dated = with_first_dates(catalog(), {"a": "b"})
    assert dated.column("published_at").to_pylist() == [OLD, OLD, None, NEW]
    assert dated.schema == catalog().schema
    embeddings = pa.table({"entity_id": ["a", "b"], "vector": [[1.0], [2.0]]})
    assert without_vectors(embeddings, {"a": "why"}).column("entity_id").to_pylist() == ["b"]
    assert without_vectors(embeddings, {"a": "", "b": ""}) is without_vectors(None, {"a": ""}) is None
    assert without_vectors(embeddings, {}) is embeddings


def test_only_unwatched_ones_are_no_neighbors_and_the_others_move_up():
    watched = interactions(("u", "a", 1, 0))
    assert unwatched(["a", "b"], watched) == ["b"]
    assert unwatched(["a"], None) == ["a"]
    places, scores = [[1, 2], [0, 2], [1, -1]], [[1, 0.5], [1, 0.5], [1, 0]]
    near = VideoNeighbors(("a", "b", "c"), np.array(places, np.int32), np.array(scores, np.float32))
    left = near.without(["b", "gone"])
    assert [left.find(name, 2) for name in "abc"] == [[("c", 0.5)], [("a", 1.0), ("c", 0.5)], []]
    assert near.without([]) is near


def moving(seed):
    cells = np.random.default_rng(seed).integers(0, 256, (20, 8, 8), np.uint8)
    return encode_fingerprint(cells.repeat(8, axis=1).repeat(8, axis=2))


def test_fingerprints_are_kept_of_the_videos_of_the_bundle_and_found_again(tmp_path):
    rows = pa.table({"video_id": ["a", "b", "gone"], "fingerprint": [moving(1), moving(2), moving(3)]})
    uri = str(tmp_path / FINGERPRINTS)
    save_fingerprints(uri, rows, pa.array(["a", "b"]))
    index = load_copy_index(uri)
    assert index.video_ids == ("a", "b")
    assert index.find(moving(2)).video_id == "b"
    assert index.find(moving(3)) is None


def test_a_damaged_fingerprint_is_named_when_the_bundle_is_made(tmp_path):
    rows = pa.table({"video_id": ["a"], "fingerprint": [b"nothing"]})
    with pytest.raises(BundleError, match="a: 7 bytes that are not a fingerprint"):
        save_fingerprints(str(tmp_path / "f"), rows, pa.array(["a"]))
