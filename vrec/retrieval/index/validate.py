"""What an index is given, checked before anything changes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrec.core.errors import FitError
from vrec.core.types import Vectors


def checked_vectors(ids: Sequence[str], vectors: Vectors, dim: int | None) -> Vectors:
    """The (N, dim) vectors as contiguous float32; raises FitError naming what is wrong, and an id."""
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    if found.ndim != 2 or len(found) != len(ids):
        raise FitError(f"index.add: {len(ids):,} ids with vectors of shape {found.shape}", fix=_ROWS)
    strange = next((name for name in ids if not isinstance(name, str)), None)
    if strange is not None:
        raise FitError(f"index.add: id {strange!r} is {type(strange).__name__}, want str", fix=_ROWS)
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise FitError(f"index.add: {len(ids) - len(set(ids)):,} ids come twice, such as {twice}", fix=_ROWS)
    if dim is not None and len(found) and found.shape[1] != dim:
        raise FitError(
            f"index.add: {len(found):,} vectors have {found.shape[1]} dimensions, such as that of {ids[0]}; "
            f"the index has {dim}",
            fix="add vectors of the same encoder, or build the index anew",
        )
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise FitError(
            f"index.add: {len(bad):,} of {len(found):,} vectors are not finite, such as that of "
            f"{ids[int(bad[0])]}",
            fix="leave these ids out, or embed them again",
        )
    return found


_ROWS = "give one id, a string, and one row for each vector"


def checked_queries(queries: Vectors, k: int, dim: int | None) -> Vectors:
    """The (Q, dim) queries as contiguous float32; raises FitError for k < 1, another dim or NaN."""
    found = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 1:
        raise FitError(f"index.search: k is {k}", fix="ask for at least 1")
    if found.ndim != 2 or (dim is not None and len(found) and found.shape[1] != dim):
        raise FitError(
            f"index.search: queries of shape {found.shape}, want (queries, {dim or 'dim'})",
            fix="ask with vectors of the encoder that the index was filled from",
        )
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise FitError(
            f"index.search: {len(bad):,} of {len(found):,} queries are not finite, such as row {bad[0]}",
            fix="leave these queries out",
        )
    return found
