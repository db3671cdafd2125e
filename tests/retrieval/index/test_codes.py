"""Indexes that keep float16 or codes: what is kept, in how many bytes, and that changes do not spoil it."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.index.changes import apply_changes, changes_of, few_values
from vrec.core.errors import FitError, ModelError
from vrec.retrieval.index.config import (
    Float16StorageConfig,
    ProductQuantizerConfig,
    ScalarQuantizerConfig,
    StorageConfig,
)
from vrec.retrieval.index.index import ExactIndex, FaissIndex, IndexConfig

STORAGES: dict[str, StorageConfig] = {
    "float16": Float16StorageConfig(),
    "scalar-8": ScalarQuantizerConfig(learn_from=500),
    "scalar-4": ScalarQuantizerConfig(bits=4, learn_from=500),
    "product-2": ProductQuantizerConfig(dims=2, learn_from=500),
}
NAMES = [f"v{number:04}" for number in range(1200)]
FEW = NAMES[:40]
CHANGES = changes_of(FEW)


def vectors_of(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def filled(storage: StorageConfig, *, lists: bool = False, count: int = 1200, dim: int = 16) -> FaissIndex:
    up_to = 300 if lists else 5000
    index = FaissIndex(IndexConfig(exact_up_to=up_to, lists=10, probes=10, storage=storage))
    index.add(NAMES[:count], vectors_of(count, dim))
    return index


def kept_by(index: FaissIndex) -> tuple[ExactIndex, np.ndarray]:
    """An exact index of what an index keeps, and these vectors by slot."""
    assert index._codes is not None
    reference, rows = ExactIndex(), index._codes[:]
    reference.add(index._ids, rows)
    return reference, rows


@pytest.fixture(params=[(name, lists) for name in STORAGES for lists in (False, True)], ids=str)
def index(request: pytest.FixtureRequest) -> FaissIndex:
    name, lists = request.param
    return filled(STORAGES[name], lists=lists)


def test_float16_keeps_the_nearest_half():
    for lists in (False, True):
        _, rows = kept_by(filled(Float16StorageConfig(), lists=lists))
        assert np.array_equal(rows, rows.astype(np.float16))
        # Between two halves, faiss and NumPy take different ones.
        nearest = np.abs(vectors_of(1200).astype(np.float16) - vectors_of(1200))
        assert np.array_equal(np.abs(rows - vectors_of(1200)), nearest)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_scalar_codes_are_off_by_half_a_step_at_most(bits):
    rows = vectors_of(1200)
    _, kept = kept_by(filled(ScalarQuantizerConfig(bits=bits)))
    step = (rows.max(axis=0) - rows.min(axis=0)) / (2**bits - 1)
    assert (np.abs(kept - rows) <= step * 0.51).all()
    assert (np.abs(kept - rows).max(axis=0) > step * 0.4).all()


def test_product_codes_are_256_runs_and_each_run_has_the_nearest():
    rows = vectors_of(1200)
    _, kept = kept_by(filled(ProductQuantizerConfig(dims=2, learn_from=500)))
    for start in range(0, 16, 2):
        runs = np.unique(kept[:, start : start + 2], axis=0)
        assert 200 < len(runs) <= 256
        off = ((rows[:, None, start : start + 2] - runs) ** 2).sum(axis=2)
        mine = ((rows - kept)[:, start : start + 2] ** 2).sum(axis=1)
        assert np.allclose(off.min(axis=1), mine, atol=1e-5)


def test_answers_are_those_of_what_is_kept(index: FaissIndex):
    reference, _ = kept_by(index)
    queries = vectors_of(20, seed=1)
    assert index.search(queries, 10) == reference.search(queries, 10)
    for step in (1, 3, 100):
        assert index.search(queries, 10, NAMES[::step]) == reference.search(queries, 10, NAMES[::step])


def test_scores_nearer_than_rounding_are_told_apart():
    """Vectors that differ where queries hardly look: float32 products confuse their order."""
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(1, 64)).astype(np.float16) * np.float16(100), 1200, axis=0)
    rows[:, :8] += (rng.integers(0, 9, (1200, 8)) * 0.25).astype(np.float16)
    queries = rng.normal(size=(20, 64)).astype(np.float32)
    queries[:, :8] *= 1e-4
    index = FaissIndex(IndexConfig(storage=Float16StorageConfig()))
    index.add(NAMES, rows.astype(np.float32))
    reference, kept = kept_by(index)
    assert np.array_equal(kept, rows)
    assert index.search(queries, 20) == reference.search(queries, 20)


@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
def test_saved_and_loaded_is_the_same(tmp_path: Path, index: FaissIndex, mmap: bool):
    index.remove(NAMES[::7])
    index.save(str(tmp_path))
    again = FaissIndex.load(str(tmp_path), mmap=mmap)
    assert (again.config, again._ids) == (index.config, index._ids)
    assert mmap or again.nbytes == index.nbytes
    assert np.array_equal(kept_by(again)[1], kept_by(index)[1])
    queries = vectors_of(20, seed=1)
    assert again.search(queries, 10) == index.search(queries, 10)
    assert again.search(queries, 10, NAMES[:50]) == index.search(queries, 10, NAMES[:50])
    if mmap:
        with pytest.raises(FitError, match="mapped"):
            again.add(["new"], vectors_of(1))
        return
    for one in (again, index):
        one.add(["new", *NAMES[:9]], vectors_of(10, seed=4))
    assert np.array_equal(kept_by(again)[1], kept_by(index)[1])
    assert again.search(queries, 10) == index.search(queries, 10)


def test_no_float32_vectors_are_kept(tmp_path: Path):
    """Bytes of a vector without ids: 128 dimensions, with lists 16 more, and what codes and lists cost."""
    sizes = {}
    for name, storage in {"float32": IndexConfig().storage, **STORAGES}.items():
        for lists in (False, True):
            index = filled(storage, lists=lists, dim=128)
            index.save(str(tmp_path / f"{name}-{lists}"))
            on_disk = sum(
                path.stat().st_size
                for path in (tmp_path / f"{name}-{lists}").iterdir()
                if path.suffix in (".npy", ".faiss")
            )
            assert abs(on_disk - index.nbytes) < 200
            held = 0 if index._codes is None else index._vectors.nbytes
            assert held == 0
            sizes[name, lists] = index.nbytes
    fixed = {"float16": 0, "scalar-8": 128 * 8, "scalar-4": 128 * 8, "product-2": 256 * 128 * 4}
    for name, each in (("float16", 256), ("scalar-8", 128), ("scalar-4", 64), ("product-2", 64)):
        assert 0 <= sizes[name, False] - 1200 * each - fixed[name] < 500
        # Ten lists' centres.
        assert 0 <= sizes[name, True] - 1200 * (each + 16) - fixed[name] - 10 * 128 * 4 < 2000
    assert sizes["float32", False] > 3.9 * sizes["scalar-8", False]
    assert sizes["float32", True] > 4 * sizes["scalar-8", True]


def test_few_vectors_are_float16_until_codes_can_be_learned():
    for storage in (
        ScalarQuantizerConfig(bits=4, learn_from=500),
        ProductQuantizerConfig(dims=4, learn_from=500),
    ):
        for up_to in (100, 5000):
            index = FaissIndex(IndexConfig(exact_up_to=up_to, lists=10, probes=10, storage=storage))
            index.add(NAMES[:499], vectors_of(499))
            halves = vectors_of(499).astype(np.float16).astype(np.float32)
            assert np.array_equal(kept_by(index)[1], halves)
            index.add(["one more", NAMES[0]], vectors_of(2, seed=1))
            reference, rows = kept_by(index)
            assert np.isclose(rows[1:499], halves[1:]).all(axis=1).mean() < 0.1
            # The replaced vector is the new one, not the one before.
            apart = [np.linalg.norm(rows[0] - one) for one in (vectors_of(2, seed=1)[1], vectors_of(1)[0])]
            assert apart[0] < apart[1] / 2
            queries = vectors_of(9, seed=2)
            assert index.search(queries, 5) == reference.search(queries, 5)


def test_codes_stay_as_they_are_whatever_is_done_with_others(index: FaissIndex):
    """Lists learned anew, left again, vectors moved to other slots: no rounding comes on top."""
    before = dict(zip(index._ids, kept_by(index)[1], strict=True))
    index.add([f"w{number}" for number in range(3000)], vectors_of(3000, seed=5))
    index.remove([f"w{number}" for number in range(3000)])
    index.remove(NAMES[:1100])
    after = dict(zip(index._ids, kept_by(index)[1], strict=True))
    assert after.keys() == set(NAMES[1100:])
    assert all(np.array_equal(after[name], before[name]) for name in after)
    index.remove(NAMES)
    assert index.search(vectors_of(1), 3) == ([[]], [[]])
    index.add(NAMES, vectors_of(1200))
    again = dict(zip(index._ids, kept_by(index)[1], strict=True))
    assert all(np.array_equal(again[name], before[name]) for name in before)


@settings(max_examples=80, deadline=None)
@given(CHANGES, st.integers(1, 45), st.sampled_from([1, 5, 100]), st.sampled_from([*STORAGES]), st.data())
def test_any_changes_leave_the_exact_answer(changes, k, exact_up_to, name, data):
    """Few values, so that many scores tie; with every list read, an approximate search is exact too."""
    learned = filled(STORAGES[name], dim=4)._codes
    assert learned is not None
    index = FaissIndex(IndexConfig(exact_up_to=exact_up_to, lists=4, probes=4, storage=STORAGES[name]))
    assert index._codes is not None
    codes = faiss.clone_index(learned.index)
    codes.reset()
    index._codes.index, reference = codes, ExactIndex()
    encoder = learned.index
    apply_changes(changes, index, reference, 4, lambda rows: encoder.sa_decode(encoder.sa_encode(rows)))
    queries = few_values(k, 4, 4)
    allowed = data.draw(st.none() | st.lists(st.sampled_from(FEW)))
    assert index.search(queries, k, allowed) == reference.search(queries, k, allowed)


def test_what_cannot_be_kept_is_refused_and_changes_nothing():
    index = filled(Float16StorageConfig())
    before = index.search(vectors_of(3), 5)
    large = vectors_of(2)
    large[1, 3] = 70_000
    with pytest.raises(FitError, match="v0001") as error:
        index.add(["new", "v0001"], large)
    assert "float32" in str(error.value.fix)
    assert (len(index), index.search(vectors_of(3), 5)) == (1200, before)
    odd = FaissIndex(IndexConfig(storage=ProductQuantizerConfig(dims=3)))
    with pytest.raises(FitError, match="16 dimensions cannot be split into subvectors of 3"):
        odd.add(NAMES, vectors_of(1200))
    assert len(odd) == 0


def test_damaged_codes_are_refused_and_an_empty_index_can_be_saved(tmp_path: Path, index: FaissIndex):
    empty = FaissIndex(index.config)
    empty.save(str(tmp_path / "empty"))
    for mmap in (False, True):
        found = FaissIndex.load(str(tmp_path / "empty"), mmap=mmap)
        assert found.search(vectors_of(1), 3) == ([[]], [[]])
    index.save(str(tmp_path))
    path = next(tmp_path.glob("codes-*.faiss"))
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(ModelError, match="digest"):
        FaissIndex.load(str(tmp_path))
