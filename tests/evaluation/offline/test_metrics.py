"""The metrics against trec_eval (by ir-measures), against sums written out, and by what must always hold."""

import math
from itertools import combinations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from vrec.evaluation.offline import metrics
from vrec.evaluation.offline.metrics import ACCURACY, RankedHits, RankedLists


@st.composite
def judged(draw: st.DrawFn) -> RankedHits:
    depth = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=depth, max_size=depth), min_size=1, max_size=8))
    hits = np.array(rows)
    missed = draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows)))
    return RankedHits(hits, np.maximum(1, hits.sum(axis=1) + np.array(missed)))


@pytest.fixture(scope="module")
def drawn() -> tuple[RankedHits, list, list]:
    """200 users with lists of 0 to 30 of 60 videos, and the same as ir-measures takes it."""
    rng = np.random.default_rng(5)
    hits, relevant, qrels, run = [], [], [], []
    for user in range(200):
        truth = rng.choice(60, rng.integers(1, 25), replace=False)
        given_ = rng.permutation(60)[: rng.integers(0, 31)]
        row = np.zeros(30, bool)
        row[: len(given_)] = np.isin(given_, truth)
        hits.append(row)
        relevant.append(len(truth))
        qrels += [ir_measures.Qrel(f"u{user}", f"v{v}", 1) for v in truth]
        run += [ir_measures.ScoredDoc(f"u{user}", f"v{v}", -float(i)) for i, v in enumerate(given_)]
        # An empty list must be in the run, or the user would be left out of it.
        run += [] if len(given_) else [ir_measures.ScoredDoc(f"u{user}", "none", 0.0)]
    return RankedHits(np.array(hits), np.array(relevant)), qrels, run


@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_equal_to_trec_eval(drawn, k: int) -> None:
    mine, qrels, run = drawn
    names = {"recall": R @ k, "ndcg": nDCG @ k, "map": AP @ k, "mrr": RR @ k, "precision": P @ k}
    names["hit_rate"] = Success @ k
    found = {name: np.full(200, np.nan) for name in names}
    of = {str(measure): name for name, measure in names.items()}
    for value in ir_measures.iter_calc(names.values(), qrels, run):
        found[of[str(value.measure)]][int(value.query_id[1:])] = value.value
    # trec_eval divides AP by all relevant, ours by those that k ranks can hold.
    found["map"] *= mine.relevant / mine.ideal(k)
    assert set(found) == set(ACCURACY)
    for name, want in found.items():
        np.testing.assert_allclose(ACCURACY[name](mine, k), want, atol=1e-9, rtol=0, err_msg=name)


@settings(deadline=None)
@given(judged(), st.data())
def test_bounds_perfection_and_order(lists: RankedHits, data: st.DataObject) -> None:
    users, depth = lists.hits.shape
    k = data.draw(st.integers(1, depth))
    order = np.array(data.draw(st.permutations(range(users))))
    perfect = RankedHits(np.arange(depth) < lists.relevant[:, None], lists.relevant)
    for name, metric in ACCURACY.items():
        values = metric(lists, k)
        assert values.shape == (users,)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), name
        assert (values[~lists.hits[:, :k].any(axis=1)] == 0).all()
        np.testing.assert_array_equal(
            metric(RankedHits(lists.hits[order], lists.relevant[order]), k), values[order]
        )
        best = metric(perfect, k)
        assert (values <= best + 1e-12).all()
        if name not in ("recall", "precision"):
            np.testing.assert_allclose(best, 1)
    np.testing.assert_allclose(metrics.recall(perfect, k), lists.ideal(k) / lists.relevant)
    np.testing.assert_allclose(metrics.precision(perfect, k), lists.ideal(k) / k)


@settings(deadline=None)
@given(judged(), st.data())
def test_a_hit_moved_up_never_costs(lists: RankedHits, data: st.DataObject) -> None:
    rows, columns = np.nonzero(lists.hits)
    if not len(rows):
        return
    at = data.draw(st.integers(0, len(rows) - 1))
    row, low = rows[at], columns[at]
    high = data.draw(st.integers(0, int(low)))
    moved = lists.hits.copy()
    moved[row] = np.insert(np.delete(lists.hits[row], low), high, True)
    after = RankedHits(moved, lists.relevant)
    for k in range(1, lists.hits.shape[1] + 1):
        for name, metric in ACCURACY.items():
            assert metric(after, k)[row] >= metric(lists, k)[row] - 1e-12, name
    # NDCG sees the move wherever a place passed held no hit; a metric that ignores ranks would not.
    if not lists.hits[row, high : low + 1].all():
        assert metrics.ndcg(after, lists.hits.shape[1])[row] > metrics.ndcg(lists, lists.hits.shape[1])[row]


def test_by_hand() -> None:
    lists = RankedHits(np.array([[False, True, True]]), np.array([4]))
    assert metrics.recall(lists, 3)[0] == pytest.approx(2 / 4)
    assert metrics.ndcg(lists, 3)[0] == pytest.approx(
        (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)
    )
    assert metrics.average_precision(lists, 3)[0] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert metrics.reciprocal_rank(lists, 3)[0] == pytest.approx(1 / 2)
    assert metrics.reciprocal_rank(lists, 1)[0] == 0


def test_what_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="no relevant video"):
        RankedHits(np.zeros((1, 2), bool), np.array([0]))
    with pytest.raises(ValueError, match="more hits"):
        RankedHits(np.ones((1, 2), bool), np.array([1]))
    with pytest.raises(ValueError, match="want"):
        RankedHits(np.ones((1, 2), bool), np.array([1, 1]))
    with pytest.raises(ValueError, match="down to rank 2"):
        metrics.ndcg(RankedHits(np.zeros((1, 2), bool), np.array([1])), 3)


def lists_of(rows: list[list[int]], videos: int) -> RankedLists:
    flat = [(user, video, rank) for user, row in enumerate(rows) for rank, video in enumerate(row, 1)]
    user, video, rank = np.array(flat, dtype=np.int64).reshape(-1, 3).T
    return RankedLists(len(rows), videos, user, video, rank)


@st.composite
def shown(draw: st.DrawFn) -> tuple[list[list[int]], int]:
    videos = draw(st.integers(1, 8))
    row = st.lists(st.integers(0, videos - 1), max_size=5, unique=True)
    return draw(st.lists(row, min_size=1, max_size=6)), videos


@settings(deadline=None)
@given(shown(), st.integers(1, 5))
def test_coverage_and_gini_as_defined(drawn: tuple[list[list[int]], int], k: int) -> None:
    rows, videos = drawn
    lists = lists_of(rows, videos).top(k)
    counts = [sum(v in row[:k] for row in rows) for v in range(videos)]
    assert metrics.coverage(lists) == pytest.approx(sum(c > 0 for c in counts) / videos)
    answered = sum(bool(row[:k]) for row in rows)
    if answered:
        assert metrics.top_share(lists) == pytest.approx(max(counts) / answered)
    else:
        assert math.isnan(metrics.top_share(lists))
    # Half the relative mean absolute difference, over all pairs.
    spread = sum(abs(a - b) for a in counts for b in counts)
    if sum(counts):
        assert metrics.gini(lists) == pytest.approx(spread / (2 * videos * sum(counts)))
    else:
        assert math.isnan(metrics.gini(lists))


def test_gini_at_its_ends() -> None:
    assert metrics.gini(lists_of([[0, 1], [2, 3]], 4)) == pytest.approx(0)
    assert metrics.gini(lists_of([[2], [2], [2]], 4)) == pytest.approx(1 - 1 / 4)


def test_novelty_and_popularity_rank() -> None:
    lists = lists_of([[0, 2], [], [1]], 3)
    watched_by = np.array([7, 3, 0])
    found = metrics.novelty(lists, watched_by, users=7)
    np.testing.assert_allclose(found, [(0 + 3) / 2, np.nan, 1])
    np.testing.assert_allclose(metrics.popularity_rank(lists, watched_by), [2, np.nan, 2])
    np.testing.assert_allclose(
        metrics.popularity_rank(lists, np.array([3, 3, 0])), [(1.5 + 3) / 2, np.nan, 1.5]
    )


@settings(deadline=None)
@given(shown(), st.integers(0, 2**32 - 1))
def test_diversity_as_defined(drawn: tuple[list[list[int]], int], seed: int) -> None:
    rows, videos = drawn
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(videos, 3))
    vectors[rng.random(videos) < 0.3] = np.nan
    found = metrics.diversity(lists_of(rows, videos), vectors)
    for row, value in zip(rows, found, strict=True):
        known = [vectors[v] / np.linalg.norm(vectors[v]) for v in row if not np.isnan(vectors[v]).any()]
        if len(known) < 2:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(1 - np.mean([a @ b for a, b in combinations(known, 2)]), abs=1e-9)


def test_diversity_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lists = lists_of([rng.permutation(20)[:5].tolist() for _ in range(30)], 20)
    vectors = rng.normal(size=(20, 4))
    whole = metrics.diversity(lists, vectors)
    monkeypatch.setattr(metrics, "_BLOCK_CELLS", 8)
    np.testing.assert_allclose(metrics.diversity(lists, vectors), whole)
