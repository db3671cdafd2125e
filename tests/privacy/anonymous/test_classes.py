"""Rows that may be written, against a reference that goes through all pairs of rows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.privacy.anonymous import classes
from vrec.privacy.anonymous.classes import SensitiveCodes, anonymous_rows, combined_keys

MISSING = 3
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, MISSING)), max_size=24)


def reference(rows: list[tuple[int, int, int]], k: int, diversity: int, *, joined: bool) -> list[bool]:
    """Return whether each row may be written, one row at a time."""
    traces = {shopper: Counter(key for key, one, _ in rows if one == shopper) for _, shopper, _ in rows}

    def enough(key: int, shopper: int) -> bool:
        alike = [row for row in rows if row[0] == key]
        if joined:
            alike = [row for row in alike if traces[row[1]] == traces[shopper]]
        values = {value for _, _, value in alike if value != MISSING}
        return len({one for _, one, _ in alike}) >= k and (diversity == 1 or len(values) >= diversity)

    if joined:
        return [all(enough(key, shopper) for key in traces[shopper]) for _, shopper, _ in rows]
    return [enough(key, shopper) for key, shopper, _ in rows]


@given(rows=ROWS, k=st.integers(2, 4), diversity=st.integers(1, 3), joined=st.booleans())
def test_rows_are_those_of_the_reference(rows, k, diversity, joined):
    keys, shoppers, values = (np.array([row[n] for row in rows], np.int64) for n in range(3))
    sensitive = [SensitiveCodes(values, MISSING)]
    found = anonymous_rows(keys, shoppers, sensitive, k=k, diversity=diversity, joined=joined)
    assert found.tolist() == reference(rows, k, diversity, joined=joined)


def test_many_rows_of_one_shopper_are_one_shopper():
    keys, shoppers = np.zeros(9, np.int64), np.array([1] * 8 + [2])
    assert anonymous_rows(keys, shoppers, [], k=2, diversity=1, joined=False).all()
    assert not anonymous_rows(keys, shoppers, [], k=3, diversity=1, joined=False).any()
    # Who knows how many rows someone has tells the two apart.
    assert not anonymous_rows(keys, shoppers, [], k=2, diversity=1, joined=True).any()


@pytest.mark.parametrize("most", [classes._MOST_KEYS, 5])
def test_keys_are_equal_where_all_columns_are(monkeypatch, most):
    monkeypatch.setattr(classes, "_MOST_KEYS", most)
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, size, 60) for size in (2, 3, 4)]
    keys = combined_keys(columns, [2, 3, 4], 60)
    rows = list(zip(*columns, strict=True))
    assert len(set(keys.tolist())) == len(set(rows)) == len(set(zip(keys, rows, strict=True)))
    assert combined_keys([], [], 3).tolist() == [0, 0, 0]
