import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.reranking.shop import catalog_of
from vrec.ranking.reranking.diversity import (
    CandidateSimilarity,
    CandidateSimilarityConfig,
    DppConfig,
    MmrConfig,
    NoDiversityConfig,
    build_penalty,
)


def drawn(seed, n, dim=4, blanks=0.3):
    """A catalog of `n` videos, some without a vector or a category, and what they are worth."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "video_id": f"v{i}",
            "creator_id": "" if rng.random() < 0.2 else f"c{rng.integers(3)}",
            "category": None if rng.random() < 0.3 else f"k{rng.integers(3)}",
        }
        for i in range(n)
    ]
    vectors = {f"v{i}": rng.normal(size=dim) for i in range(n) if rng.random() >= blanks}
    return catalog_of(rows, vectors or None), rng.normal(size=n)


def greedy(config, catalog, relevance, slots):
    places = np.arange(len(relevance))
    penalty = build_penalty(config, catalog, places, relevance, slots)
    chosen, scores = [], []
    for _ in range(slots):
        score = relevance - penalty.costs()
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
        scores.append(score)
        penalty.choose(chosen[-1])
    return chosen, scores


def matrix_of(catalog, config):
    places = np.arange(len(catalog.video_ids))
    likeness = CandidateSimilarity.from_catalog(catalog, places, config)
    return np.stack([likeness.row(int(i)) for i in places])


def test_likeness_by_hand():
    rows = [
        {"video_id": "a", "creator_id": "ann", "category": "mugs"},
        {"video_id": "b", "creator_id": "ann", "category": "pans"},
        {"video_id": "c", "creator_id": "bob", "category": "mugs"},
        {"video_id": "d", "creator_id": "bob", "category": "mugs"},
        {"video_id": "e", "creator_id": "bob", "category": None},
    ]
    catalog = catalog_of(rows, {"a": [1, 0], "b": [0, 1]})
    expected = [
        [1, 0.5, 0.5, 0.5, 0.5],
        [0.5, 1, 0.5, 0.5, 0.5],
        [0.5, 0.5, 1, 1, 0.75],
        [0.5, 0.5, 1, 1, 0.75],
        [0.5, 0.5, 0.75, 0.75, 1],
    ]
    np.testing.assert_allclose(matrix_of(catalog, CandidateSimilarityConfig()), expected, atol=1e-6)
    both = matrix_of(catalog, CandidateSimilarityConfig(creator=1.0, category=2.0))
    assert both[0, 1] == pytest.approx((0.5 + 1) / 4)
    assert both[0, 2] == pytest.approx((0.5 + 2) / 4)


@given(st.integers(0, 10**6), st.integers(1, 9), st.floats(0, 3), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_likeness_is_a_kernel(seed, n, creator, category):
    catalog, _ = drawn(seed, n)
    matrix = matrix_of(catalog, CandidateSimilarityConfig(creator=creator, category=category))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    assert matrix.min() >= -1e-9
    assert np.linalg.eigvalsh(matrix).min() > -1e-6


def test_mmr_by_hand():
    # b is almost a; c is at right angles to both. Worth is 3, 2.9, 1.
    catalog = catalog_of([{"video_id": v} for v in "abc"], {"a": [1, 0], "b": [0.96, 0.28], "c": [0, 1]})
    worth = np.array([3.0, 2.9, 1.0])
    unit = worth.std()
    chosen, scores = greedy(MmrConfig(relevance=0.1), catalog, worth, 3)
    assert chosen == [0, 2, 1]
    # Likeness is (1 + cosine) / 2, its weight (1 − λ) / λ = 9 standard deviations.
    np.testing.assert_allclose(scores[1][1:], [2.9 - 9 * unit * 0.98, 1.0 - 9 * unit * 0.5], rtol=1e-6)
    # b is now compared with a, to which it is most alike, and not with c.
    assert scores[2][1] == pytest.approx(2.9 - 9 * unit * 0.98)
    assert greedy(MmrConfig(relevance=0.95), catalog, worth, 3)[0] == [0, 1, 2]


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0.05, 0.95), st.floats(0.01, 1))
@settings(max_examples=80, deadline=None)
def test_mmr_chooses_as_its_formula_says(seed, n, share, creator):
    catalog, worth = drawn(seed, n)
    config = MmrConfig(relevance=share, likeness=CandidateSimilarityConfig(creator=creator))
    matrix, chosen = matrix_of(catalog, config.likeness), greedy(config, catalog, worth, n)[0]
    for slot in range(1, n):
        before, left = chosen[:slot], [i for i in range(n) if i not in chosen[:slot]]
        value = {i: share * worth[i] / worth.std() - (1 - share) * matrix[i, before].max() for i in left}
        assert value[chosen[slot]] >= max(value.values()) - 1e-9


@given(st.integers(0, 10**6), st.integers(2, 8), st.floats(0.05, 0.95), st.floats(0.001, 1))
@settings(max_examples=80, deadline=None)
def test_dpp_costs_are_ratios_of_determinants(seed, n, share, jitter):
    catalog, worth = drawn(seed, n)
    config = DppConfig(relevance=share, jitter=jitter)
    kernel = (matrix_of(catalog, config.likeness) + jitter * np.eye(n)) / (1 + jitter)
    chosen, scores = greedy(config, catalog, worth, n)

    def log_det(rows):
        return np.linalg.slogdet(kernel[np.ix_(rows, rows)])[1] if rows else 0.0

    for slot in range(n):
        before, left = chosen[:slot], [i for i in range(n) if i not in chosen[:slot]]
        gain = np.array([log_det([*before, i]) - log_det(before) for i in left])
        np.testing.assert_allclose(
            scores[slot][left], worth[left] + (1 - share) / share * worth.std() * gain, rtol=1e-3, atol=1e-4
        )


def test_dpp_finds_the_likeliest_list_where_greedy_can():
    # Two clusters and one loner: the best three of all subsets by determinant, by brute force.
    from itertools import combinations

    vectors = {"a": [1, 0, 0], "b": [0.99, 0.14, 0], "c": [0, 1, 0], "d": [0.1, 0.99, 0.05], "e": [0, 0, 1]}
    catalog, worth = catalog_of([{"video_id": v} for v in vectors], vectors), np.ones(5)
    config = DppConfig(relevance=0.5)
    kernel = (matrix_of(catalog, config.likeness) + config.jitter * np.eye(5)) / (1 + config.jitter)
    chosen = greedy(config, catalog, worth, 3)[0]
    best = max(np.linalg.det(kernel[np.ix_(s, s)]) for s in combinations(range(5), 3))
    assert np.linalg.det(kernel[np.ix_(chosen, chosen)]) >= 0.98 * best


@pytest.mark.parametrize("config", [MmrConfig(), DppConfig()])
def test_where_all_are_worth_the_same_likeness_decides(config):
    catalog = catalog_of([{"video_id": v} for v in "abc"], {"a": [1, 0], "b": [1, 0], "c": [0, 1]})
    assert greedy(config, catalog, np.full(3, 0.1), 3)[0] == [0, 2, 1]


@pytest.mark.parametrize("config", [NoDiversityConfig(), MmrConfig(relevance=1), DppConfig(relevance=1)])
def test_off_is_the_order_by_worth(config):
    catalog, worth = drawn(3, 8)
    assert greedy(config, catalog, worth, 8)[0] == np.argsort(-worth).tolist()


def test_copies_cost_what_jitter_says_and_stay_finite():
    catalog = catalog_of([{"video_id": v} for v in "abcd"], {v: [1.0, 0.0] for v in "abcd"})
    config = DppConfig(relevance=0.5, jitter=0.01)
    penalty = build_penalty(config, catalog, np.arange(4), np.zeros(4), 4)
    penalty.choose(0)
    kernel = np.array([[1, 1 / 1.01], [1 / 1.01, 1]])
    np.testing.assert_allclose(penalty.costs()[1:], -np.log(np.linalg.det(kernel)), rtol=1e-4)
    for one in (1, 2):
        penalty.choose(one)
    assert np.isfinite(penalty.costs()).all()
    assert penalty.costs()[3] <= np.log(1 + 1 / 0.01) + 1e-6


def test_the_dpp_s_first_cost_by_hand():
    # cos(a, b) = 0.6, so that their similarity is 0.8, and 0.8 / 1.25 with jitter.
    catalog = catalog_of([{"video_id": v} for v in "ab"], {"a": [1.0, 0.0], "b": [0.6, 0.8]})
    relevance = np.array([2.0, 1.0])
    penalty = build_penalty(DppConfig(relevance=0.2, jitter=0.25), catalog, np.arange(2), relevance, 2)
    assert not penalty.costs().any()
    penalty.choose(0)
    # The weight is (1 − θ) / θ = 4 standard deviations of ½.
    assert penalty.costs()[1] == pytest.approx(-4 * 0.5 * np.log(1 - 0.64**2), rel=1e-5)


@pytest.mark.parametrize("config", [MmrConfig(), DppConfig(), NoDiversityConfig()])
def test_one_candidate_and_none(config):
    catalog = catalog_of([{"video_id": "a", "category": None}])
    for rows in (np.zeros(1, int), np.zeros(0, int)):
        penalty = build_penalty(config, catalog, rows, np.ones(len(rows)), len(rows))
        assert penalty.costs().tolist() == [0] * len(rows)
        if len(rows):
            penalty.choose(0)
            assert np.isfinite(penalty.costs()).all()


def test_penalties_are_of_the_candidates_rows():
    catalog = catalog_of(
        [{"video_id": v} for v in "abc"], {"a": [0.0, 1.0], "b": [1.0, 0.0], "c": [1.0, 0.0]}
    )
    penalty = build_penalty(MmrConfig(relevance=0.5), catalog, np.array([2, 0, 1]), np.array([3.0, 2, 1]), 3)
    penalty.choose(0)
    unit = np.array([3.0, 2, 1]).std()
    np.testing.assert_allclose(penalty.costs(), [unit, 0.5 * unit, unit], rtol=1e-6)
