"""Recall over sizes, numbers of clusters and storages: lists are learned, the loss is measured exactly."""

import numpy as np
import pytest

from vrec.retrieval.index.config import Float16StorageConfig, Float32StorageConfig, ScalarQuantizerConfig
from vrec.retrieval.index.index import FaissIndex, IndexConfig

DIM, QUERIES, K = 32, 200, 10
STORAGES = {
    "float32": Float32StorageConfig(),
    "float16": Float16StorageConfig(),
    "scalar": ScalarQuantizerConfig(),
}


def drawn(count: int, clusters: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((clusters, DIM)) * (clusters > 1)
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(clusters, size=count)] + rng.standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(count: int, clusters: int, **options) -> FaissIndex:
    index = FaissIndex(IndexConfig(exact_up_to=1000, **options))
    index.add([str(n) for n in range(count)], drawn(count, clusters, 1))
    return index


def recall(index: FaissIndex, clusters: int) -> float:
    queries = drawn(QUERIES, clusters, 2)
    found = index.search(queries, K)[0]
    true = index.search(queries, K, allowed=[str(n) for n in range(len(index))])[0]
    return sum(len(set(a) & set(b)) for a, b in zip(found, true, strict=True)) / (QUERIES * K)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("clusters", [1, 10, 100, 1000])
@pytest.mark.parametrize("count", [2000, 20_000])
def test_recall_is_what_was_asked_for_at_any_size_and_number_of_clusters(count, clusters, storage):
    index = filled(count, clusters, probes=4, storage=STORAGES[storage])
    assert recall(index, clusters) >= 0.98


def test_few_lists_would_not_do_and_are_taken_where_they_do():
    few = filled(20_000, 100, probes=4, min_recall=0)
    assert recall(few, 100) < 0.98
    assert few._probes(K) == 5  # 32 vectors per result
    more = filled(20_000, 100, probes=4)
    assert 4 < more._probes(K) < 0.25 * more._lists.nlist
    half = filled(20_000, 100, probes=4, min_recall=0.95)
    assert few._probes(K) < half._probes(K) < more._probes(K)
    assert recall(half, 100) == pytest.approx(0.96, abs=0.03)
    assert filled(20_000, 100, probes=40)._probes(K) == max(40, more._probes(K))


def test_vectors_without_clusters_are_searched_exactly():
    index = filled(20_000, 1)
    assert index._exact_is_faster
    assert recall(index, 1) == 1
    assert not filled(20_000, 1, min_recall=0)._exact_is_faster


@pytest.mark.parametrize("storage", STORAGES)
def test_learned_lists_are_kept_on_disk(tmp_path, storage):
    index = filled(5000, 100, probes=2, storage=STORAGES[storage])
    index.save(str(tmp_path))
    for mmap in (False, True):
        loaded = FaissIndex.load(str(tmp_path), mmap=mmap)
        assert loaded._probes(K) == index._probes(K) > 2
        queries = drawn(20, 100, 3)
        assert loaded.search(queries, K) == index.search(queries, K)


def test_twins_and_few_vectors_can_be_learned_from():
    index = FaissIndex(IndexConfig(exact_up_to=1, probes=1))
    index.add(["a", "b", "c"], np.ones((3, 4), np.float32))
    assert index.search(np.ones((1, 4), np.float32), 2)[0] == [["a", "b"]]
