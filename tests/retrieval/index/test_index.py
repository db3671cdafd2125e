"""The faiss index beyond the battery: sequences of changes, near-ties, folders, mapping, growth."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.index.changes import apply_changes, changes_of, few_values
from vrec.core.errors import FitError, ModelError
from vrec.retrieval.index import exact_search as nearest
from vrec.retrieval.index import index as module
from vrec.retrieval.index.index import ExactIndex, FaissIndex, IndexConfig

LISTS = IndexConfig(exact_up_to=50, lists=12, probes=6, min_recall=0)
NAMES = [f"v{number}" for number in range(40)]
CHANGES = changes_of(NAMES)


def vectors_of(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def big(config: IndexConfig | None = None, count: int = 600) -> tuple[FaissIndex, np.ndarray]:
    index, vectors = FaissIndex(config), vectors_of(count)
    index.add([f"v{number}" for number in range(count)], vectors)
    return index, vectors


@settings(max_examples=60, deadline=None)
@given(CHANGES, st.integers(1, 45), st.sampled_from([1, 5, 100]), st.data())
def test_any_changes_leave_the_exact_answer(changes, k, exact_up_to, data):
    """Few values, so that many scores tie; with every list read, an approximate search is exact too."""
    index = FaissIndex(
        IndexConfig(exact_up_to=exact_up_to, lists=4, probes=4, rerank=40, retrain_growth=1.5, min_recall=0)
    )
    reference = ExactIndex()
    apply_changes(changes, index, reference, 3)
    queries = few_values(k, 4, 3)
    allowed = data.draw(st.none() | st.lists(st.sampled_from(NAMES)))
    assert index.search(queries, k, allowed) == reference.search(queries, k, allowed)


@pytest.mark.parametrize("allowed", [None, "all"])
def test_scores_nearer_than_rounding_are_told_apart(allowed):
    """Vectors that differ in the last bits: float32 products confuse their order, the answer must not."""
    rng = np.random.default_rng(3)
    base = rng.normal(size=64) * 100
    rows = (base + rng.normal(size=(3000, 64)) * 1e-5).astype(np.float32)
    names = [f"v{number:04}" for number in range(3000)]
    index, reference = FaissIndex(), ExactIndex()
    index.add(names, rows)
    reference.add(names, rows)
    queries = rng.normal(size=(5, 64)).astype(np.float32)
    only = names if allowed else None
    assert index.search(queries, 20, only) == reference.search(queries, 20, only)


def test_filter_beyond_one_block_is_exact(monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK_ROWS", 64)
    index, vectors = big(LISTS)
    reference = ExactIndex()
    reference.add([f"v{number}" for number in range(600)], vectors)
    queries = vectors_of(9, seed=1)
    for step, k in ((1, 10), (2, 3), (7, 500), (1, 600)):
        allowed = [f"v{number}" for number in range(0, 600, step)]
        assert index.search(queries, k, allowed) == reference.search(queries, k, allowed)


def test_search_is_exact_up_to_the_setting_and_approximate_beyond():
    exact, _ = big(IndexConfig(exact_up_to=600))
    lists, _ = big(IndexConfig(exact_up_to=599))
    assert exact._lists is None
    assert lists._lists.nlist == int(2 * 600**0.5)
    lists.remove([f"v{number}" for number in range(301)])
    assert lists._lists is None


def test_lists_are_learned_again_when_the_index_has_grown():
    index, _ = big(IndexConfig(exact_up_to=100, retrain_growth=2), count=150)
    index.add([f"w{number}" for number in range(150)], vectors_of(150, seed=1))
    assert (index._trained_on, index._lists.ntotal) == (150, 300)
    index.add(["one more"], vectors_of(1, seed=2))
    assert (index._trained_on, index._lists.ntotal) == (301, 301)


def test_lists_hold_each_vector_once_after_replacing_and_removing():
    index, _ = big(LISTS)
    index.add([f"v{number}" for number in range(100, 300)], vectors_of(200, seed=5))
    index.remove([f"v{number}" for number in range(0, 600, 5)])
    index.remove(["v599", "v1"])
    assert index._lists.ntotal == len(index) == 478
    lists = index._lists.invlists
    slots = [
        int(slot)
        for number in range(lists.nlist)
        for slot in nearest.faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number))
    ]
    assert sorted(slots) == list(range(478))


@given(st.integers(1, 700))
@settings(max_examples=10, deadline=None)
def test_lists_filled_by_blocks_are_those_filled_at_once(rows):
    at_once, vectors = big(LISTS)
    by_blocks = FaissIndex(LISTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FILL_ROWS", rows)
        by_blocks.add([f"v{n}" for n in range(len(vectors))], vectors)
    one, other = (faiss.serialize_index(index._lists) for index in (at_once, by_blocks))
    assert np.array_equal(one, other)


def test_same_seed_learns_the_same_lists():
    found = [big(LISTS)[0].search(vectors_of(20, seed=1), 10) for _ in range(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("config", [IndexConfig(), LISTS], ids=["exact", "lists"])
@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
def test_saved_and_loaded_answers_the_same(tmp_path: Path, config: IndexConfig, mmap: bool):
    index, _ = big(config)
    index.remove(["v3", "v599"])
    index.save(str(tmp_path / "index"))
    again = FaissIndex.load(str(tmp_path / "index"), mmap=mmap)
    queries = vectors_of(20, seed=1)
    assert again.config == config
    assert again.search(queries, 10) == index.search(queries, 10)
    allowed = [f"v{number}" for number in range(0, 600, 3)]
    assert again.search(queries, 10, allowed) == index.search(queries, 10, allowed)


def test_read_index_can_change_and_a_mapped_one_refuses(tmp_path: Path):
    index, _ = big(LISTS)
    index.save(str(tmp_path))
    again = FaissIndex.load(str(tmp_path))
    again.add(["new"], np.full((1, 8), 9, np.float32))
    again.remove(["v1"])
    assert again.search(np.ones((1, 8), np.float32), 1)[0] == [["new"]]
    mapped = FaissIndex.load(str(tmp_path), mmap=True)
    for change in (lambda: mapped.add(["new"], vectors_of(1)), lambda: mapped.remove(["v1"])):
        with pytest.raises(FitError, match="mapped"):
            change()
    assert isinstance(mapped._vectors, np.memmap)


def test_empty_index_can_be_saved(tmp_path: Path):
    FaissIndex().save(str(tmp_path))
    for mmap in (False, True):
        assert FaissIndex.load(str(tmp_path), mmap=mmap).search(vectors_of(1), 3) == ([[]], [[]])


def test_damaged_folder_is_refused(tmp_path: Path):
    index, _ = big(LISTS)
    index.save(str(tmp_path))
    path = next(tmp_path.glob("vectors-*.npy"))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="digest"):
        FaissIndex.load(str(tmp_path))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"kind": "als"}))
    with pytest.raises(ModelError, match="als"):
        FaissIndex.load(str(tmp_path))


def test_searches_side_by_side_answer_as_one():
    index, _ = big(LISTS)
    queries = vectors_of(200, seed=1)
    alone = [index.search(queries[row : row + 1], 5) for row in range(200)]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda row: index.search(queries[row : row + 1], 5), range(200)))
    assert beside == alone


def test_large_k_reads_more_lists():
    index, vectors = big(IndexConfig(exact_up_to=50, lists=20, probes=1, min_recall=0), count=2000)
    reference = ExactIndex()
    reference.add([f"v{number}" for number in range(2000)], vectors)
    queries = vectors_of(10, seed=1)
    found, true = index.search(queries, 50)[0], reference.search(queries, 50)[0]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, true, strict=True)]) >= 47


def test_absent_candidate_has_no_score():
    vectors = vectors_of(3)
    scores = nearest.rescore(vectors[:1], vectors, np.array([[2, -1, 0]]))
    assert scores[0, 1] == -np.inf
    assert np.allclose(scores[0, [0, 2]], vectors[[2, 0]] @ vectors[0])


def test_bytes_are_those_of_the_vectors_and_the_lists():
    """600 vectors of 8 float32; with lists 8 bytes of codes and 8 of a slot more for each."""
    assert FaissIndex().nbytes == 0
    exact, _ = big()
    assert exact.nbytes == 600 * 8 * 4
    lists, _ = big(LISTS)
    assert 600 * (8 * 4 + 16) < lists.nbytes < 600 * (8 * 4 + 16) + 12 * 8 * 4 + 1000
    assert (exact.dim, FaissIndex().dim) == (8, None)


def test_manifest_has_the_numbers_of_vectors_and_dimensions(tmp_path: Path):
    index, _ = big(LISTS)
    index.save(str(tmp_path))
    assert json.loads((tmp_path / "manifest.json").read_text())["data"] == {"vectors": 600, "dim": 8}


def test_settings_of_the_training_are_used():
    config = IndexConfig(exact_up_to=50, lists=7, training_per_list=40, seed=3)
    index, _ = big(config)
    assert (index._lists.nlist, index._lists.cp.max_points_per_centroid, index._lists.cp.seed) == (7, 40, 4)
    other, _ = big(config.model_copy(update={"seed": 4}))
    centroids = [one._lists.quantizer.reconstruct_n(0, 7) for one in (index, other)]
    assert not np.array_equal(*centroids)
    # No more lists than vectors.
    assert big(IndexConfig(exact_up_to=1, lists=1000), count=9)[0]._lists.nlist == 9


@pytest.mark.parametrize(("k", "probes"), [(1, 6), (100, 64), (150, 96), (600, 100)])
def test_lists_read_are_a_minimum_and_grow_with_k(k: int, probes: int, monkeypatch: pytest.MonkeyPatch):
    """Of 5,000 vectors in 100 lists, at least 32 a result: 64 lists for 100 results, and 6 by the setting."""
    index, _ = big(IndexConfig(exact_up_to=50, lists=100, probes=6, rerank=2, min_recall=0), count=5000)
    assert index._probes(k) == probes
    calls = []
    search = index._lists.search

    class Recorder:
        nlist = 100

        def search(self, queries, wanted, params):
            calls.append((wanted, params.nprobe))
            return search(queries, wanted, params=params)

    monkeypatch.setattr(index, "_lists", Recorder())
    index.search(vectors_of(1, seed=1), k)
    assert calls == [(2 * k + nearest.SPARE, probes)]


def test_lists_go_when_half_of_the_setting_is_left_and_no_earlier():
    """With 120 as the limit, 60 vectors keep their lists and 59 do not; exact again up to the limit."""
    index, _ = big(IndexConfig(exact_up_to=120, lists=4, probes=4), count=150)
    index.remove([f"v{number}" for number in range(90)])
    assert (len(index), index._lists.ntotal) == (60, 60)
    index.remove(["v149"])
    assert (index._lists, index._trained_on) == (None, 0)
    index.add([f"w{number}" for number in range(61)], vectors_of(61, seed=1))
    assert index._lists is None
    index.add(["one more"], vectors_of(1, seed=2))
    assert index._lists.ntotal == 121


def test_removing_unknown_ids_and_adding_nothing_change_nothing():
    index, vectors = big(LISTS)
    before = index.search(vectors[:5], 9)
    index.remove(["stranger", "other"])
    index.add([], np.empty((0, 8), np.float32))
    assert (len(index), index.search(vectors[:5], 9)) == (600, before)
    index.remove(["v3", "v3"])
    assert len(index) == 599


def test_exact_index_replaces_removes_and_breaks_ties_by_id():
    index = ExactIndex()
    index.add(["b", "a", "c"], np.array([[1, 0], [1, 0], [0, 2]], np.float32))
    assert index.search(np.array([[1, 1]]), 3) == ([["c", "a", "b"]], [[2.0, 1.0, 1.0]])
    index.add(["c"], np.array([[-1, 0]], np.float32))
    assert index.search(np.array([[1, 1]]), 9, ["c", "b", "unknown"]) == ([["b", "c"]], [[1.0, -1.0]])
    index.remove(["b", "unknown"])
    assert index.search(np.array([[1, 1]]), 1) == ([["a"]], [[1.0]])
