"""Search of levels, against trying all of them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import PrivacyError
from vrec.privacy.anonymous.levels import LevelCodes, hidden_level
from vrec.privacy.anonymous.search import AnonymityProblem, search_levels

NAMES = ("a", "b", "c")


def problem_of(seed: int, k: int, *, joined: bool) -> AnonymityProblem:
    """Return three columns of 8 values in levels of 8, 4 and 2 labels and a hidden one."""
    rng = np.random.default_rng(seed)
    rows = 12 if joined else 60
    columns = {}
    for name in NAMES:
        codes = rng.binomial(7, rng.uniform(0.1, 0.9), rows)
        levels = [
            LevelCodes(str(n), np.arange(8) // n, tuple(str(x) for x in range(8 // n))) for n in (1, 2, 4)
        ]
        columns[name] = (codes, [*levels, hidden_level(8)])
    shoppers = np.arange(12) if joined else rng.integers(0, 12, rows)
    return AnonymityProblem(columns, shoppers, {}, k, 1, joined)


def entropy(problem: AnonymityProblem, levels: dict[str, LevelCodes]) -> float:
    total = 0.0
    for name, level in levels.items():
        _, counts = np.unique(level.codes[problem.columns[name][0]], return_counts=True)
        shares = counts / counts.sum()
        total -= float((shares * np.log2(shares)).sum())
    return total


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(2, 6),
    bound=st.sampled_from([0.0, 0.1, 0.4]),
    joined=st.booleans(),
)
def test_the_levels_are_the_best_of_all(seed, k, bound, joined):
    problem = problem_of(seed, k, joined=joined)
    serving = []
    for choice in product(*(levels for _, levels in problem.columns.values())):
        levels = dict(zip(NAMES, choice, strict=True))
        if 1 - problem.rows(levels).mean() <= bound:
            serving.append(entropy(problem, levels))
    found = search_levels(problem, bound)
    assert 1 - problem.rows(found).mean() <= bound
    assert entropy(problem, found) == pytest.approx(max(serving))


def test_a_bound_that_nothing_meets_names_the_costliest_column():
    codes = np.arange(6)
    ids = [LevelCodes("value", codes, tuple("abcdef"))]
    halves = [LevelCodes("value", codes // 3, ("x", "y"))]
    problem = AnonymityProblem(
        {"a": (codes, ids), "b": (codes, halves)}, np.arange(6), {}, 3, 1, joined=False
    )
    with pytest.raises(PrivacyError, match=r"leave out 100.0%; without a, which costs most, 100.0% of"):
        search_levels(problem, 0.05)
    few = AnonymityProblem({"a": (codes, ids)}, np.arange(6), {}, 7, 1, joined=False)
    with pytest.raises(PrivacyError, match="no column alone is the reason"):
        search_levels(few, 0.05)
