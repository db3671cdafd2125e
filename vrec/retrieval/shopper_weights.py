"""Weights of shoppers in a fit: what the interactions of each count, from 0 to 1."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.retrieval.interaction_matrix import IdVocabulary, Matrix

Weights = npt.NDArray[np.float64]


def check_shopper_weights(weights: pa.Table, *, fractions: bool, kind: str) -> pa.Table:
    """Return the columns `user_id` (string) and `weight` (float64) of a table of shoppers' weights.

    Args:
        weights: The table.
        fractions: Whether weights between 0 and 1 are allowed.
        kind: Name of the recommender, for error messages.

    Raises:
        FitError: A column is missing, a shopper is there twice, a weight is not in [0, 1], or it is a
        fraction
            and the recommender cannot count shoppers in part.
    """
    missing = [name for name in ("user_id", "weight") if name not in weights.column_names]
    if missing:
        raise FitError(
            f"weights of shoppers: no column {' or '.join(missing)}", fix="give columns user_id and weight"
        )
    users, values = weights["user_id"].cast(pa.string()), weights["weight"].cast(pa.float64())
    numbers = np.asarray(values.combine_chunks().fill_null(np.nan), np.float64)
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= 1)))
    if len(wrong):
        raise FitError(
            f"weights of shoppers: {len(wrong):,} of {len(numbers):,} are not in 0 to 1, such as "
            f"{numbers[wrong[0]]} of {users[int(wrong[0])].as_py()}",
            fix="give each shopper a weight from 0 to 1",
        )
    if len(pc.unique(users)) < len(users):
        raise FitError("weights of shoppers: a user_id is there twice", fix="give each shopper one row")
    partial = np.flatnonzero((numbers > 0) & (numbers < 1))
    if len(partial) and not fractions:
        raise FitError(
            f"{kind} counts a shopper in full or not at all, and {users[int(partial[0])].as_py()} has the "
            f"weight {numbers[partial[0]]}",
            fix="round the weights to 0 and 1, or fit popular, item_knn, ease or als",
        )
    return pa.table({"user_id": users, "weight": values})


def without_weightless(interactions: pa.Table, weights: pa.Table, kind: str) -> pa.Table:
    """Return INTERACTIONS without the shoppers of weight 0; raises FitError if nothing is left."""
    nothing = weights.filter(pc.equal(weights["weight"], 0.0))["user_id"]
    kept = interactions.filter(pc.invert(pc.is_in(interactions["user_id"], value_set=nothing)))
    if interactions.num_rows and not kept.num_rows:
        raise FitError(f"{kind}: every shopper has the weight 0", fix="give some shoppers a weight above 0")
    return kept


def weights_of(users: IdVocabulary, weights: pa.Table) -> Weights:
    """Return the (users,) weights of shoppers, 1 for those that the table lacks."""
    at = IdVocabulary(weights["user_id"].combine_chunks()).find(users.ids)
    values = np.append(np.asarray(weights["weight"], np.float64), 1.0)
    return values[at]


def scale_users(matrix: Matrix, factors: Weights | None) -> Matrix:
    """Return (users, videos) weights with each row multiplied by its factor; None changes nothing."""
    if factors is None:
        return matrix
    each = np.repeat(factors.astype(np.float32), np.diff(matrix.indptr))
    return sparse.csr_matrix((matrix.data * each, matrix.indices, matrix.indptr), matrix.shape)
