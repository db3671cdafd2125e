"""The index of moments against plain NumPy: any videos, any filter."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.bundle.moments import CatalogMoments, index_moments
from vrec.core.errors import BundleError
from vrec.core.moments import MOMENTS
from vrec.encoders.moments.vectors import quantize_rows
from vrec.encoders.vectors import unit_rows
from vrec.retrieval.index import moments as index_module
from vrec.retrieval.index.moments import MomentIndex

DIM = 6


def table(videos: list[int], seed: int = 0, encoder: str = "cnn@1", texts=None) -> pa.Table:
    """MOMENTS with as many rows of each video as the list says, shuffled."""
    owners = [f"v{place:02d}" for place, count in enumerate(videos) for _ in range(count)]
    rng = np.random.default_rng(seed)
    count = len(owners)
    codes, scales = quantize_rows(unit_rows(rng.normal(size=(count, DIM))))
    starts = np.concatenate([np.arange(n) for n in videos]).astype(np.float32)
    columns = [
        pa.array(owners),
        pa.array(["frames"] * count),
        pa.array([encoder] * count),
        pa.array(starts),
        pa.array(starts + 1),
        pa.array(texts or [None] * count, pa.string()),
        pa.array(scales),
        pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), DIM),
    ]
    made = pa.Table.from_arrays(columns, schema=MOMENTS.arrow(DIM))
    return made.take(rng.permutation(count))


@given(
    videos=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    seed=st.integers(0, 999),
    k=st.integers(1, 30),
    per_video=st.integers(1, 4),
    queries=st.integers(1, 3),
    block=st.sampled_from([1, 7, 4096]),
    data=st.data(),
)
def test_search_is_exact_under_any_filter(videos, seed, k, per_video, queries, block, data):
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(videos), max_size=len(videos))))
    index = MomentIndex.from_table(table(videos, seed))
    asked = unit_rows(np.random.default_rng(seed + 1).normal(size=(queries, DIM)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "BLOCK_ROWS", block)
        found = index.search(asked, k, allowed, per_video)
    exact = (index.vectors(np.arange(len(index))) @ asked.T).max(axis=1)
    taken, wanted = {}, []
    for row in sorted(range(len(index)), key=lambda row: (-exact[row], row)):
        owner = index.owners[row]
        if allowed[owner] and taken.get(owner, 0) < per_video and len(wanted) < k:
            taken[owner] = taken.get(owner, 0) + 1
            wanted.append(row)
    assert len(found) == len(wanted)
    np.testing.assert_allclose([score for _, score in found], exact[wanted], atol=1e-5)
    assert all(allowed[index.owners[row]] for row, _ in found)


def test_rows_of_a_video_are_in_the_order_of_time():
    index = MomentIndex.from_table(table([3, 5, 2]))
    assert index.ids == ("v00", "v01", "v02")
    for name, count in zip(index.ids, (3, 5, 2), strict=True):
        rows = index.rows_of(name)
        assert index.spans[rows, 0].tolist() == list(range(count))
        assert {index.ids[owner] for owner in index.owners[rows]} == {name}
    assert len(index.rows_of("other")) == 0


def test_what_is_saved_is_loaded(tmp_path):
    words = table([1, 2], encoder="text@1", texts=["a", "拉链", "c"])
    made = CatalogMoments(
        {"frames": MomentIndex.from_table(table([2, 3])), "text": MomentIndex.from_table(words)}
    )
    made.save(str(tmp_path / "m"))
    loaded = CatalogMoments.load(str(tmp_path / "m"))
    assert len(loaded) == len(made) == 8
    for modality, index in made.indexes.items():
        other = loaded.indexes[modality]
        assert (other.encoder, other.ids, other.texts) == (index.encoder, index.ids, index.texts)
        for name in ("bounds", "spans", "codes", "scales"):
            assert np.array_equal(getattr(other, name), getattr(index, name))


def test_only_the_bundles_videos_are_indexed():
    found = index_moments(
        {"frames": table([2, 3]), "audio": None}, pa.array(["v01", "x"]), {"frames": "cnn@1"}
    )
    assert found.indexes["frames"].ids == ("v01",)
    assert index_moments({"frames": table([2])}, pa.array(["x"]), {"frames": "cnn@1"}) is None


def test_moments_that_do_not_belong_are_refused():
    ids = pa.array(["v00"])
    with pytest.raises(BundleError, match=r"frames moments are of cnn@1.*those of cnn@2"):
        index_moments({"frames": table([2])}, ids, {"frames": "cnn@2"})
    bad = table([2]).set_column(6, MOMENTS.arrow(DIM).field("scale"), pa.array([1.0, np.nan], pa.float32()))
    with pytest.raises(BundleError, match="moments of v00 have times or scales"):
        index_moments({"frames": bad}, ids, {"frames": "cnn@1"})
