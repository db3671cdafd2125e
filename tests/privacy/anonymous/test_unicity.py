"""Unicity against brute force, and the intervals of draws."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.privacy.anonymous import unicity
from vrec.privacy.anonymous.unicity import UnicityTable

ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=30)


def brute_force(rows: list[tuple[int, int]], known: int) -> float:
    """Return the unicity by going through all shoppers for each set of known events."""
    traces: dict[int, set[int]] = {}
    for event, shopper in rows:
        traces.setdefault(shopper, set()).add(event)
    shares = []
    for trace in traces.values():
        sets = list(combinations(sorted(trace), min(known, len(trace))))
        alone = [sum(other >= set(one) for other in traces.values()) == 1 for one in sets]
        shares.append(sum(alone) / len(sets))
    return sum(shares) / len(shares) if shares else 0.0


def table_of(rows: list[tuple[int, int]]) -> UnicityTable:
    events, shoppers = (np.array([row[n] for row in rows], np.int64) for n in (0, 1))
    return UnicityTable(events, shoppers)


@given(rows=ROWS, known=st.integers(1, 4))
def test_small_tables_are_measured_exactly(rows, known):
    found = table_of(rows).measure(known, 100, np.random.default_rng(0))
    assert found.share == pytest.approx(brute_force(rows, known))
    assert found.exact
    assert found.low == found.share == found.high


def test_draws_cover_the_exact_share(monkeypatch):
    rng = np.random.default_rng(1)
    rows = list(zip(rng.integers(0, 12, 150).tolist(), rng.integers(0, 25, 150).tolist(), strict=True))
    exact = [brute_force(rows, known) for known in (1, 2, 3, 4)]
    assert 0 < exact[1] < exact[2] < 1
    monkeypatch.setattr(unicity, "MAX_SETS", 0)
    table, missed = table_of(rows), 0
    for seed in range(20):
        for known, share in zip((1, 2, 3, 4), exact, strict=True):
            found = table.measure(known, 200, np.random.default_rng([seed, known]))
            assert not found.exact
            missed += not found.low <= share <= found.high
    # Of 80 intervals of 95 %, more than 10 miss with a chance below 0.3 %.
    assert missed <= 10


def test_a_share_of_none_or_all_has_an_interval_too(monkeypatch):
    monkeypatch.setattr(unicity, "MAX_SETS", 0)
    rng = np.random.default_rng(0)
    none = table_of([(0, 0), (0, 1)]).measure(1, 100, rng)
    every = table_of([(0, 0), (1, 1)]).measure(1, 100, rng)
    assert (none.share, none.low, every.share, every.high) == (0, 0, 1, 1)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert every.low == pytest.approx(0.025 ** (1 / 100))
