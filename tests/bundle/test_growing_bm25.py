"""The index that grows against one that is built anew."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.catalog.small import video
from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.growing_bm25 import GrowingBm25
from vrec.core.schema import VIDEOS

WORDS = ["mug", "red", "blue", "茶杯", "茶", "the", "a-b", ""]
VIDEO = st.tuples(st.integers(0, 9), st.lists(st.sampled_from(WORDS), max_size=5))
VIDEOS_OF_A_STEP = st.lists(VIDEO, max_size=6, unique_by=lambda video: video[0])
STEPS = st.lists(st.tuples(VIDEOS_OF_A_STEP, st.sets(st.integers(0, 9), max_size=3)), max_size=12)
QUERY = st.lists(st.sampled_from([*WORDS, "c"]), min_size=1, max_size=3)


def table(videos):
    """VIDEOS of (number, words)."""
    rows = [video(f"v{number}", title=" ".join(words), tags=words[:1]) for number, words in videos]
    return pa.Table.from_pylist(rows, schema=VIDEOS.arrow())


@settings(deadline=None, max_examples=150)
@given(STEPS, QUERY, st.integers(1, 12))
def test_it_finds_what_an_index_of_the_same_videos_finds(steps, query, k):
    index, present, earlier = GrowingBm25(), {}, []
    text = " ".join(query)
    for videos, gone in steps:
        changed = {number for number, _ in videos}
        index = index.with_videos(table(videos) if videos else None, [f"v{n}" for n in gone - changed])
        present = {n: words for n, words in present.items() if n not in gone} | dict(videos)
        earlier.append((index, index.search(text, k)))
        assert len(index) == len(present)
        if not present:
            assert index.search(text, k) == []
            continue
        whole = Bm25Index.from_videos(table(present.items()))
        assert dict(index.search(text, 20)) == pytest.approx(dict(whole.search(text, 20)), rel=1e-5)
        expected, found = whole.search(text, k), index.search(text, k)
        # Ties that rounding alone decides may be in either order.
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-5)
    for one, before in earlier:
        assert one.search(text, k) == before
