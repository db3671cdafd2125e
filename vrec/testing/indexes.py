"""Contract of `vrec.core.protocols.VectorIndex`, as checks that raise AssertionError.

`build` returns an empty index. The vectors lie in clusters, 64 of them are equal, and their ids are in
another order than their rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from vrec.core.errors import FitError
from vrec.core.protocols import VectorIndex
from vrec.core.types import Vectors

Build = Callable[[], VectorIndex]
CLOSE = 1e-5
RECALL = 0.95
"""Of an unfiltered search for 10, against exact search."""
TIED = 64


@dataclass(frozen=True)
class Points:
    """Ids, their vectors, and queries; the first `TIED` vectors are equal, as is the first query."""

    ids: list[str]
    vectors: Vectors
    queries: Vectors

    def nearest(self, query: int, k: int, among: Sequence[str] | None = None) -> list[str]:
        """The k nearest ids of one query, by hand."""
        scores = (self.vectors.astype(np.float64) @ self.queries[query].astype(np.float64)).astype(np.float32)
        wanted = set(self.ids if among is None else among)
        pairs = sorted((-score, name) for score, name in zip(scores.tolist(), self.ids, strict=True))
        return [name for _, name in pairs if name in wanted][:k]

    def product(self, query: int, name: str) -> float:
        """Return the inner product of a query and a vector."""
        return float(self.vectors[self.ids.index(name)] @ self.queries[query])


def make_points(count: int = 1200, dim: int = 16, seed: int = 0) -> Points:
    """Return clustered vectors with `TIED` equal ones, and queries near them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, dim))
    vectors = (centres[rng.integers(30, size=count)] + rng.normal(size=(count, dim)) * 0.5).astype(np.float32)
    # Long enough to be the nearest to itself, so that an approximate search must find the ties as well.
    vectors[:TIED] = vectors[0] * 3
    queries = (centres[rng.integers(30, size=24)] + rng.normal(size=(24, dim)) * 0.5).astype(np.float32)
    queries[0] = vectors[0]
    return Points([f"v{number}" for number in rng.permutation(count)], vectors, queries)


def filled(build: Build, points: Points) -> VectorIndex:
    """Return an index with all points."""
    index = build()
    index.add(points.ids, points.vectors)
    return index


def check_identity(build: Build, points: Points) -> None:
    """Implement the protocol."""
    del points
    assert isinstance(build(), VectorIndex)


def check_shape(build: Build, points: Points) -> None:
    """Return k distinct ids and scores per query."""
    for k in (1, 7, 100):
        ids, scores = filled(build, points).search(points.queries, k)
        assert [len(row) for row in ids] == [k] * len(points.queries)
        assert [len(row) for row in scores] == [k] * len(points.queries)
        for row in ids:
            assert all(type(name) is str for name in row)
            assert len(set(row)) == k


def check_scores_are_products(build: Build, points: Points) -> None:
    """Score by the inner product."""
    ids, scores = filled(build, points).search(points.queries, 10)
    for query, (names, values) in enumerate(zip(ids, scores, strict=True)):
        for name, value in zip(names, values, strict=True):
            assert abs(points.product(query, name) - value) < CLOSE * (1 + abs(value))


def check_best_first(build: Build, points: Points) -> None:
    """Return the best first."""
    _, scores = filled(build, points).search(points.queries, 50)
    for row in scores:
        assert row == sorted(row, reverse=True)


def check_ties_by_id(build: Build, points: Points) -> None:
    """Order ties by id, also where k cuts through a tie."""
    tied = sorted(points.ids[:TIED])
    for k in (1, 10, TIED - 1, TIED):
        ids, _ = filled(build, points).search(points.queries[:1], k, allowed=points.ids[:TIED])
        assert ids[0] == tied[:k]
        ids, scores = filled(build, points).search(points.queries[:1], k)
        pairs = [(-score, name) for score, name in zip(scores[0], ids[0], strict=True)]
        assert pairs == sorted(pairs)
        assert ids[0] == points.nearest(0, k)


def check_recall(build: Build, points: Points) -> None:
    """Find at least `RECALL` of the 10 nearest without a filter."""
    ids, _ = filled(build, points).search(points.queries, 10)
    found = [set(row) & set(points.nearest(query, 10)) for query, row in enumerate(ids)]
    assert sum(map(len, found)) >= RECALL * 10 * len(points.queries)


def check_k_beyond_the_index(build: Build, points: Points) -> None:
    """Return every vector when k is the size of the index or more."""
    count = len(points.ids)
    for k in (count, count + 1, 10 * count):
        ids, _ = filled(build, points).search(points.queries[:3], k)
        assert ids == [points.nearest(query, count) for query in range(3)]


def check_filter_is_exact(build: Build, points: Points) -> None:
    """Search exactly among allowed ids."""
    index = filled(build, points)
    for step in (1, 2, 3, 50, 400):
        allowed = points.ids[::step]
        for k in (1, 10):
            ids, _ = index.search(points.queries, k, allowed=allowed)
            assert ids == [points.nearest(query, k, allowed) for query in range(len(points.queries))]


def check_filter_of_unknown_ids(build: Build, points: Points) -> None:
    """Ignore unknown and repeated ids in a filter."""
    index = filled(build, points)
    nobody: list[list[str]] = [[] for _ in points.queries]
    assert index.search(points.queries, 5, allowed=[]) == (nobody, nobody)
    assert index.search(points.queries, 5, allowed=["stranger"]) == (nobody, nobody)
    some = [points.ids[3], "stranger", points.ids[3]]
    assert index.search(points.queries, 5, allowed=some)[0] == [[points.ids[3]]] * len(points.queries)


def check_removed_is_not_found(build: Build, points: Points) -> None:
    """Forget removed ids, and accept them again."""
    index = filled(build, points)
    gone, kept = points.ids[::3], [name for number, name in enumerate(points.ids) if number % 3]
    index.remove([*gone, "stranger", gone[0]])
    ids, _ = index.search(points.queries, len(points.ids))
    assert ids == [points.nearest(query, len(kept), kept) for query in range(len(points.queries))]
    ids, _ = index.search(points.queries, 10)
    assert not {name for row in ids for name in row} & set(gone)
    ids, _ = index.search(points.queries[:1], 10, allowed=gone)
    assert ids == [[]]
    index.remove(gone)
    index.add(gone, points.vectors[::3])
    ids, _ = index.search(points.queries, 10, allowed=points.ids)
    assert ids == [points.nearest(query, 10) for query in range(len(points.queries))]


def check_add_replaces(build: Build, points: Points) -> None:
    """Replace the vector of an id that is added again."""
    index = filled(build, points)
    # Each vector moves to the next id; once that is done the ids answer as if added so from the start.
    moved = Points([*points.ids[1:], points.ids[0]], points.vectors, points.queries)
    half = len(points.ids) // 2
    index.add(moved.ids[:half], moved.vectors[:half])
    index.add(moved.ids[half:], moved.vectors[half:])
    ids, scores = index.search(points.queries, 10)
    for query, (names, values) in enumerate(zip(ids, scores, strict=True)):
        for name, value in zip(names, values, strict=True):
            assert abs(moved.product(query, name) - value) < CLOSE * (1 + abs(value))
    ids, _ = index.search(points.queries, 10, allowed=points.ids)
    assert ids == [moved.nearest(query, 10) for query in range(len(points.queries))]
    ids, _ = index.search(points.queries[:1], 10 * len(points.ids))
    assert sorted(ids[0]) == sorted(points.ids)


def check_order_of_adding(build: Build, points: Points) -> None:
    """The same vectors in another order and in parts give the same exact answers."""
    index = build()
    for start in range(0, len(points.ids), 250):
        part = slice(start, start + 250)
        index.add(points.ids[::-1][part], points.vectors[::-1][part])
    ids, _ = index.search(points.queries, 10, allowed=points.ids)
    assert ids == [points.nearest(query, 10) for query in range(len(points.queries))]


def check_single_equals_batch(build: Build, points: Points) -> None:
    """Answer a query alone as in a batch."""
    index = filled(build, points)
    together = index.search(points.queries, 10)
    for query in range(len(points.queries)):
        alone = index.search(points.queries[query : query + 1], 10)
        assert (alone[0][0], alone[1][0]) == (together[0][query], together[1][query])


def check_empty(build: Build, points: Points) -> None:
    """Answer an empty index and an empty batch of queries."""
    index = build()
    index.remove(["stranger"])
    nobody: list[list[str]] = [[] for _ in points.queries]
    assert index.search(points.queries, 3) == (nobody, nobody)
    index.add(points.ids, points.vectors)
    assert index.search(points.queries[:0], 3) == ([], [])
    index.remove(points.ids)
    assert index.search(points.queries, 3) == (nobody, nobody)
    index.add(points.ids, points.vectors)
    assert index.search(points.queries[:1], 1, allowed=points.ids)[0] == [points.nearest(0, 1)]


def check_keeps_its_own_vectors(build: Build, points: Points) -> None:
    """Read-only arrays will do, and what the caller does with them later changes nothing."""
    mine, queries = points.vectors.copy(), points.queries.copy()
    queries.setflags(write=False)
    index = build()
    index.add(points.ids, mine)
    before = index.search(queries, 10)
    mine[:] = 0
    assert index.search(queries, 10) == before


def check_bad_input_is_refused(build: Build, points: Points) -> None:
    """Refuse wrong shapes, NaN, repeated ids and k < 1, and stay unchanged."""
    index = filled(build, points)
    before = index.search(points.queries, 5)
    holed = points.vectors[:3].copy()
    holed[1, 2] = np.nan
    bad_adds = [
        (points.ids[:3], points.vectors[:3, :-1], points.ids[0]),
        (points.ids[:3], holed, points.ids[1]),
        (["x", "y"], points.vectors[:3], "2"),
        (["x", "x", "y"], points.vectors[:3], "x"),
        ([7, 8, 9], points.vectors[:3], "7"),
    ]
    for ids, vectors, named in bad_adds:
        with pytest.raises(FitError, match=named):
            index.add(ids, vectors)
    for queries, k in ((points.queries, 0), (points.queries[:, :-1], 3), (holed, 3)):
        with pytest.raises(FitError):
            index.search(queries, k)
    assert index.search(points.queries, 5) == before


CHECKS: tuple[Callable[[Build, Points], None], ...] = (
    check_identity,
    check_shape,
    check_scores_are_products,
    check_best_first,
    check_ties_by_id,
    check_recall,
    check_k_beyond_the_index,
    check_filter_is_exact,
    check_filter_of_unknown_ids,
    check_removed_is_not_found,
    check_add_replaces,
    check_order_of_adding,
    check_single_equals_batch,
    check_empty,
    check_keeps_its_own_vectors,
    check_bad_input_is_refused,
)
