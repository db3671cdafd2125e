"""Random changes of an index, applied to it and to an exact one."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from hypothesis import strategies as st

from vrec.core.types import Vectors
from vrec.retrieval.index.index import ExactIndex, FaissIndex

Change = tuple[bool, list[str], int]
"""Whether ids are added or removed, the ids, and the seed of the vectors."""


def changes_of(names: Sequence[str]) -> st.SearchStrategy[list[Change]]:
    ids = st.lists(st.sampled_from(names), max_size=15, unique=True)
    return st.lists(st.tuples(st.booleans(), ids, st.integers(0, 9)), max_size=8)


def few_values(seed: int, count: int, dim: int) -> Vectors:
    """(count, dim) float32 of -1, 0 and 1, so that many scores tie."""
    return np.random.default_rng(seed).integers(-1, 2, size=(count, dim)).astype(np.float32)


def apply_changes(
    changes: Iterable[Change],
    index: FaissIndex,
    reference: ExactIndex,
    dim: int,
    stored: Callable[[Vectors], Vectors] = lambda rows: rows,
) -> None:
    """Apply the changes to both; the reference takes vectors as the index has `stored` them."""
    for adding, names, seed in changes:
        if adding:
            rows = few_values(seed, len(names), dim)
            index.add(names, rows)
            reference.add(names, stored(rows))
        else:
            index.remove(names)
            reference.remove(names)
