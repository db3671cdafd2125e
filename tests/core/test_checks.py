"""The search for rows that must be refused."""

import numpy as np
import pytest

from vrec.core.checks import BadRows, find_bad_rows


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ([], None),
        ([False], None),
        ([True], BadRows(1, 0)),
        ([False, True, False, True], BadRows(2, 1)),
        ([False] * 999 + [True], BadRows(1, 999)),
    ],
)
def test_bad_rows_are_counted_and_the_first_is_named(bad, found):
    assert find_bad_rows(np.array(bad, np.bool_)) == found
