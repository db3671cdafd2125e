"""Neighbours against a brute-force reference that shares no code with them."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vrec.evaluation.reports.gallery import neighbors
from vrec.evaluation.reports.gallery.neighbors import (
    center_and_normalize,
    map_2d,
    nearest_neighbors,
    one_nn_accuracy,
    spread_points,
)

# Small whole numbers: many vectors coincide or point the same way, so that ties are the rule.
VECTORS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 24), st.integers(1, 4)),
    elements=st.integers(-2, 2).map(float),
)


def reference(vectors: np.ndarray, k: int, center: bool) -> tuple[list[list[int]], list[list[float]]]:
    rows = [list(map(float, row)) for row in vectors]
    if center and len(rows) > 1:
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        rows = [[x - m for x, m in zip(row, mean, strict=True)] for row in rows]

    def cosine(a: list[float], b: list[float]) -> float:
        lengths = [sum(x * x for x in v) ** 0.5 for v in (a, b)]
        return (
            sum(x * y for x, y in zip(a, b, strict=True)) / np.prod(lengths) if min(lengths) > 1e-9 else 0.0
        )

    ids, scores = [], []
    for i, row in enumerate(rows):
        # A prime number of steps: no simple fraction lies halfway between two.
        found = sorted((-round(cosine(row, other) * 999_983), j) for j, other in enumerate(rows) if j != i)[
            :k
        ]
        ids.append([j for _, j in found])
        scores.append([-s / 999_983 for s, _ in found])
    return ids, scores


@given(VECTORS, st.integers(1, 30), st.booleans(), st.sampled_from([1, 700, 2**26]))
@settings(deadline=None, max_examples=75)
def test_nearest_is_brute_force_with_ties_to_the_lower_row(
    vectors: np.ndarray, k: int, center: bool, block_bytes: int
) -> None:
    with mock.patch.object(neighbors, "_BLOCK_BYTES", block_bytes):
        ids, scores = nearest_neighbors(vectors, k, center)
    want_ids, want_scores = reference(vectors, k, center)
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32
    assert ids.tolist() == want_ids
    np.testing.assert_allclose(scores, np.array(want_scores).reshape(scores.shape), atol=2e-6)


def test_blocks_give_what_one_product_gives() -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    vectors[200:] = vectors[:100]
    whole = nearest_neighbors(vectors, 7, True)
    with mock.patch.object(neighbors, "_BLOCK_BYTES", 8 * 300 * 11):
        blocked = nearest_neighbors(vectors, 7, True)
    assert np.array_equal(whole[0], blocked[0])
    assert np.array_equal(whole[1], blocked[1])


@given(VECTORS.filter(lambda v: len(v) > 1), st.data(), st.booleans())
@settings(deadline=None)
def test_one_nn_is_what_the_nearest_rows_say(vectors: np.ndarray, data: st.DataObject, center: bool) -> None:
    labels = data.draw(st.lists(st.sampled_from("ab"), min_size=len(vectors), max_size=len(vectors)))
    ids, _ = nearest_neighbors(vectors, 1, center)
    want = np.mean([labels[i] == labels[j] for i, j in enumerate(ids[:, 0])])
    assert one_nn_accuracy(vectors, labels, center=center) == pytest.approx(want)


def test_groups_forbid_a_neighbour_from_the_same_group() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.1, 1]], dtype=np.float32)
    labels = ["x", "x", "y", "x"]
    assert one_nn_accuracy(vectors, labels, center=False) == 0.5
    # Rows 0 and 1 are copies: each must look further, to row 3.
    assert one_nn_accuracy(vectors, labels, ["a", "a", "b", "c"], center=False) == 0.5
    assert one_nn_accuracy(vectors, ["x", "x", "y", "y"], ["a", "a", "b", "c"], center=False) == 0.5
    assert np.isnan(one_nn_accuracy(vectors, labels, ["a"] * 4, center=False))


def test_centring_parts_what_a_common_direction_hides() -> None:
    rng = np.random.default_rng(1)
    offset = np.zeros(8)
    offset[0] = 50
    vectors = rng.standard_normal((40, 8)) * 0.3 + offset
    vectors[:20, 1] += 2
    _, raw = nearest_neighbors(vectors.astype(np.float32), 39, False)
    _, centred = nearest_neighbors(vectors.astype(np.float32), 39, True)
    assert raw.min() > 0.99
    assert centred.min() < 0


@pytest.mark.parametrize("rows", [np.zeros(3), np.full((2, 2), np.nan), np.full((2, 2), np.inf)])
def test_bad_vectors_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vectors"):
        center_and_normalize(rows.astype(np.float32), center=True)


def test_bad_k_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        nearest_neighbors(np.eye(3, dtype=np.float32), 0, True)
    with pytest.raises(ValueError, match="2 labels"):
        one_nn_accuracy(np.eye(3, dtype=np.float32), ["a", "b"], center=True)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 40])
@pytest.mark.parametrize("dim", [1, 2, 30])
def test_map_has_a_finite_point_for_each_row(count: int, dim: int) -> None:
    vectors = np.random.default_rng(3).standard_normal((count, dim)).astype(np.float32)
    points = map_2d(vectors)
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    assert np.abs(points).max(initial=0) <= 1 + 1e-6
    assert np.array_equal(points, map_2d(vectors))


def test_map_of_equal_vectors_is_finite() -> None:
    assert np.isfinite(map_2d(np.ones((20, 5), dtype=np.float32))).all()


def test_map_keeps_planted_groups_together() -> None:
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((4, 32)) * 4
    vectors = np.concatenate([c + rng.standard_normal((15, 32)) for c in centres]).astype(np.float32)
    points = map_2d(vectors)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(60)
    group = np.arange(60) // 15
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95


@given(st.integers(0, 2**20), st.integers(2, 40), st.booleans())
@settings(deadline=None, max_examples=40)
def test_spread_parts_points_and_leaves_lonely_ones(seed: int, count: int, same: bool) -> None:
    rng = np.random.default_rng(seed)
    points = np.zeros((count, 2)) if same else rng.uniform(-5, 5, (count, 2))
    points = np.concatenate([points, [[500.0, 500.0]]])
    moved = spread_points(points, 10.0)
    distance = np.linalg.norm(moved[:, None] - moved[None], axis=2) + 99 * np.eye(count + 1)
    assert distance.min() > 5
    assert np.abs(moved[-1] - 500).max() < 0.1
