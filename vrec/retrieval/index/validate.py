"""Validation of the arguments of an index, before anything changes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrec.core.checks import find_bad_rows
from vrec.core.errors import FitError
from vrec.core.types import Vectors


def checked_vectors(ids: Sequence[str], vectors: Vectors, dim: int | None) -> Vectors:
    """Return the (N, dim) vectors of N ids as contiguous float32; `dim` is the index's, None if it is empty.

    Raises:
        FitError: Ids are repeated or no strings, or vectors have another shape or are not finite.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != len(ids):
        raise FitError(f"index.add: {len(ids):,} ids with vectors of shape {rows.shape}", fix=_ROWS)
    not_a_string = next((name for name in ids if not isinstance(name, str)), None)
    if not_a_string is not None:
        kind = type(not_a_string).__name__
        raise FitError(f"index.add: id {not_a_string!r} is {kind}, want str", fix=_ROWS)
    if len(set(ids)) < len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        raise FitError(
            f"index.add: {len(ids) - len(set(ids)):,} ids are repeated, such as {repeated}", fix=_ROWS
        )
    if dim is not None and len(rows) and rows.shape[1] != dim:
        raise FitError(
            f"index.add: {len(rows):,} vectors have {rows.shape[1]} dimensions, such as that of {ids[0]}; "
            f"the index has {dim}",
            fix="add vectors of the same encoder, or build a new index",
        )
    if bad := find_bad_rows(~np.isfinite(rows).all(axis=1)):
        raise FitError(
            f"index.add: {bad.count:,} of {len(rows):,} vectors are not finite, such as that of "
            f"{ids[bad.first]}",
            fix="leave these ids out, or embed them again",
        )
    return rows


_ROWS = "give one string id and one row for each vector"


def checked_queries(queries: Vectors, k: int, dim: int | None) -> Vectors:
    """Return the (Q, dim) queries as contiguous float32; `dim` is the index's, None if it is empty.

    Raises:
        FitError: k is below 1, or queries have another shape or are not finite.
    """
    rows = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 1:
        raise FitError(f"index.search: k is {k}", fix="request at least 1 result")
    if rows.ndim != 2 or (dim is not None and len(rows) and rows.shape[1] != dim):
        raise FitError(
            f"index.search: queries of shape {rows.shape}, want (queries, {dim or 'dim'})",
            fix="query with vectors of the encoder whose vectors the index holds",
        )
    if bad := find_bad_rows(~np.isfinite(rows).all(axis=1)):
        raise FitError(
            f"index.search: {bad.count:,} of {len(rows):,} queries are not finite, such as row {bad.first}",
            fix="leave these queries out",
        )
    return rows
