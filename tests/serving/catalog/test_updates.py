"""Which of several changes of a video counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.catalog.test_journal import change, row
from vrec.serving.catalog.updates import latest_changes
from vrec.serving.messages import CatalogChange


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=8))
def test_the_latest_of_each_video_counts_and_the_first_of_equal_times(pairs):
    changes = [CatalogChange(video, at, None) for video, at in pairs]
    found = latest_changes({}, changes)
    assert set(found) == {video for video, _ in pairs}
    for video, one in found.items():
        own = [c for c in changes if c.video_id == video]
        assert one.at == max(c.at for c in own)
        assert one is next(c for c in own if c.at == one.at)


def test_a_row_without_vectors_has_those_of_the_change_before_it():
    vector = np.array([[0.6, 0.8]], np.float32)
    first = change("v", 1, vectors={"fused": vector}, encoders={"fused": "fused@1"})
    later = CatalogChange("v", 2, row("v", title="new"))
    found = latest_changes({}, [later, first])["v"]
    assert found.row.column("title").to_pylist() == ["new"]
    assert found.vectors == first.vectors
    assert found.encoders == first.encoders
    gone = latest_changes({}, [first, CatalogChange("v", 2, None), CatalogChange("v", 3, row("v"))])["v"]
    assert gone.vectors == {}
