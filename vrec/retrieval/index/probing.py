"""Number of inverted lists that a recall needs, measured on stored vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np

from vrec.core.types import Vectors
from vrec.retrieval.index.config import IndexConfig
from vrec.retrieval.index.exact_search import RowIndices

MEASURED_K = 10
"""Nearest vectors of each sampled one that must be found."""
SAMPLED_QUERIES = 1000
MARGIN = 0.01
"""Recall added to the wanted one: for the error of the measurement, and the loss of 8-bit codes."""


def required_probes(
    quantizer: Any,
    vectors: Callable[[RowIndices], Vectors],
    nearest: Callable[[Vectors, int], RowIndices],
    count: int,
    config: IndexConfig,
) -> int:
    """Return the fewest lists that hold the wanted share of the nearest vectors of sampled ones.

    A sampled vector's lists are searched in the order of the quantizer; a neighbor is found once the list
    that it is in has been searched.

    Args:
        quantizer: faiss index of the lists' centroids.
        vectors: Function from rows to their stored vectors.
        nearest: Exact search: from (Q, dim) queries and k to (Q, k) rows.
        count: Number of stored vectors.
        config: Wanted share of the `MEASURED_K` nearest, of which 0 needs one list, and the seed.
    """
    lists = quantizer.ntotal
    if config.min_recall <= 0 or count < 2:
        return 1
    rows = np.random.default_rng(config.seed).permutation(count)[:SAMPLED_QUERIES]
    queries = vectors(rows)
    near = nearest(queries, min(count, MEASURED_K + 1))
    # The vector itself is not one of its neighbors; where a tie hides it, the last result is dropped instead.
    own = near == rows[:, None]
    own[~own.any(axis=1), -1] = True
    near = near[~own].reshape(len(rows), -1)
    order = quantizer.search(queries, lists)[1]
    position = np.empty_like(order)
    np.put_along_axis(position, order, np.arange(lists)[None], axis=1)
    owner = quantizer.search(vectors(near.ravel()), 1)[1].reshape(near.shape)
    needed = np.sort(np.take_along_axis(position, owner, axis=1).ravel()) + 1
    wanted = min(1.0, config.min_recall + MARGIN)
    return int(needed[min(len(needed), int(np.ceil(wanted * len(needed)))) - 1])
