"""Search for rows that must be refused."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows that must be refused, for a message that counts them and names one."""

    count: int
    first: int


def find_bad_rows(bad: npt.NDArray[np.bool_] | np.bool_) -> BadRows | None:
    """Return the number of True in (N,) `bad` and the index of the first; None where there is none."""
    rows = np.flatnonzero(bad)
    return BadRows(len(rows), int(rows[0])) if len(rows) else None
