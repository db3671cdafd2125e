"""The battery under test: bugs planted around a sound index, each of which must be caught."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.contracts.caught import failed_checks
from vrec.core.errors import FitError
from vrec.retrieval.index.index import ExactIndex
from vrec.testing.indexes import CHECKS, make_points

POINTS = make_points(400)


class OffByOneK(ExactIndex):
    def search(self, queries, k, allowed=None):
        return super().search(queries, k + 1, allowed)


class OneTooFew(ExactIndex):
    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        return [row[: max(1, k - 1)] for row in ids], [row[: max(1, k - 1)] for row in scores]


class Ascending(ExactIndex):
    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        return [row[::-1] for row in ids], [row[::-1] for row in scores]


class UnstableTies(ExactIndex):
    """Equal scores by the order of adding."""

    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, len(POINTS.ids), allowed)
        place = {name: number for number, name in enumerate(self._rows)}
        rows = [
            sorted(zip(values, names, strict=True), key=lambda pair: (-pair[0], place[pair[1]]))[:k]
            for names, values in zip(ids, scores, strict=True)
        ]
        return [[name for _, name in row] for row in rows], [[value for value, _ in row] for row in rows]


class TiesSettledAfterTheCut(UnstableTies):
    """The right order among the k, of the wrong ones at their end."""

    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        rows = [
            sorted((-value, name) for name, value in zip(*both, strict=True))
            for both in zip(ids, scores, strict=True)
        ]
        return [[name for _, name in row] for row in rows], [[-value for value, _ in row] for row in rows]


class FilterAfterTheCut(ExactIndex):
    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k)
        if allowed is None:
            return ids, scores
        keep = set(allowed)
        kept = [
            [(n, v) for n, v in zip(*both, strict=True) if n in keep]
            for both in zip(ids, scores, strict=True)
        ]
        return [[n for n, _ in row] for row in kept], [[v for _, v in row] for row in kept]


class FilterIgnored(ExactIndex):
    def search(self, queries, k, allowed=None):
        return super().search(queries, k)


class EmptyFilterIsNoFilter(ExactIndex):
    def search(self, queries, k, allowed=None):
        return super().search(queries, k, allowed or None)


class RemovedStillFound(ExactIndex):
    def remove(self, ids):
        del ids


class RemovingStrangersFails(ExactIndex):
    def remove(self, ids):
        for name in ids:
            del self._rows[name]


class IntIds(ExactIndex):
    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        return [[int(name[1:]) for name in row] for row in ids], scores


class KeepsTheOldVector(ExactIndex):
    def add(self, ids, vectors):
        old = dict(self._rows)
        super().add(ids, vectors)
        self._rows.update(old)


class ReplacedByTheWrongRow(ExactIndex):
    """What is new in a batch takes the first rows, what is replaced the next ones."""

    def add(self, ids, vectors):
        if self._rows and len(ids) == len(vectors):
            ids = sorted(ids, key=lambda name: name in self._rows and name > "v3")
        super().add(ids, vectors)


class AddedTwice(ExactIndex):
    """A replaced vector is found under its old place too."""

    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        return [[row[0], *row][:k] for row in ids], [[row[0], *row][:k] for row in scores]


class Approximate(ExactIndex):
    """Every other vector is out of reach, unless a filter asks for it."""

    def search(self, queries, k, allowed=None):
        reach = sorted(self._rows)[: max(k, len(self._rows) // 2)] if allowed is None else allowed
        return super().search(queries, k, reach)


class Coarse(ExactIndex):
    """Scores of the rounded vectors."""

    def search(self, queries, k, allowed=None):
        ids, scores = super().search(queries, k, allowed)
        return ids, [[round(score, 1) for score in row] for row in scores]


class Cosine(ExactIndex):
    def search(self, queries, k, allowed=None):
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        return super().search(queries / lengths if len(queries) else queries, k, allowed)


class CutAtTheIndex(ExactIndex):
    def search(self, queries, k, allowed=None):
        if k > len(self._rows) > 0:
            raise FitError("k is larger than the index")
        return super().search(queries, k, allowed)


class CentredOnTheBatch(ExactIndex):
    def search(self, queries, k, allowed=None):
        shift = queries.mean(axis=0) * np.float32(0.01) if len(queries) > 1 else 0
        return super().search(queries - shift, k, allowed)


class LastBatchOnly(ExactIndex):
    def add(self, ids, vectors):
        super().add(ids, vectors)
        self._rows = {name: self._rows[name] for name in ids}


class FailsWhenEmpty(ExactIndex):
    def search(self, queries, k, allowed=None):
        assert self._rows
        return super().search(queries, k, allowed)


class KeepsTheCallersArray(ExactIndex):
    def add(self, ids, vectors):
        super().add(ids, vectors)
        self._rows.update(zip(ids, vectors, strict=True))


class TakesNaN(ExactIndex):
    def add(self, ids, vectors):
        super().add(ids, np.nan_to_num(vectors))


class NoSearch:
    def add(self, ids, vectors): ...

    def remove(self, ids): ...


BUGS: dict[Callable, str] = {
    OffByOneK: "check_shape",
    OneTooFew: "check_shape",
    Ascending: "check_best_first",
    UnstableTies: "check_ties_by_id",
    TiesSettledAfterTheCut: "check_ties_by_id",
    FilterAfterTheCut: "check_filter_is_exact",
    FilterIgnored: "check_filter_is_exact",
    EmptyFilterIsNoFilter: "check_filter_of_unknown_ids",
    RemovedStillFound: "check_removed_is_not_found",
    RemovingStrangersFails: "check_empty",
    IntIds: "check_shape",
    KeepsTheOldVector: "check_add_replaces",
    ReplacedByTheWrongRow: "check_add_replaces",
    AddedTwice: "check_shape",
    Approximate: "check_recall",
    Coarse: "check_scores_are_products",
    Cosine: "check_scores_are_products",
    CutAtTheIndex: "check_k_beyond_the_index",
    CentredOnTheBatch: "check_single_equals_batch",
    LastBatchOnly: "check_order_of_adding",
    FailsWhenEmpty: "check_empty",
    KeepsTheCallersArray: "check_keeps_its_own_vectors",
    TakesNaN: "check_bad_input_is_refused",
    NoSearch: "check_identity",
}


def caught_by(build: Callable, only: str | None = None) -> set[str]:
    return failed_checks(CHECKS, build, POINTS, only=only, errors=(KeyError, IndexError))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_caught(bug: Callable):
    assert caught_by(bug, only=BUGS[bug])


def test_every_check_catches_some_planted_bug():
    assert set(BUGS.values()) == {check.__name__ for check in CHECKS}


def test_sound_index_passes():
    assert caught_by(ExactIndex) == set()
