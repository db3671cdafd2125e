"""Choice of the λ of EASE by leaving one user out, in closed form."""

import numpy as np
import numpy.typing as npt
from scipy import linalg

from vrec.retrieval.interaction_matrix import Matrix

RELATIVE_LAMBDAS = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
"""Values of λ that are tried, in units of the mean squared weight."""
USUAL_LAMBDA = 50.0
"""Value without enough users to choose by."""
MOST_VIDEOS = 1500
"""Videos on which λ is chosen, those with most interactions: time grows with their number's cube."""
MOST_USERS, FEWEST_USERS = 1000, 20
SEED = 0xEA5E
DEPTH = 100
"""Places of a ranking that count."""
BLOCK_USERS = 256


def choose_regularization(weights: Matrix) -> float:
    """Return the λ with which EASE ranks one interaction of a user best, fitted without that user.

    With P = (XᵀX + λI)⁻¹, the fit without user x has P + Px xᵀP / (1 − xᵀPx) in place of P (Sherman and
    Morrison 1950). One eigendecomposition of XᵀX therefore gives the rankings for every user and every λ.

    Args:
        weights: (users, videos) float32 weights, all above 0.
    """
    unit = float(np.mean(weights.data.astype(np.float64) ** 2))
    counts = np.bincount(weights.indices, minlength=weights.shape[1])
    videos = np.sort(np.argsort(-counts, kind="stable")[:MOST_VIDEOS])
    part = weights[:, videos].astype(np.float64) / np.sqrt(unit)
    rng = np.random.default_rng(SEED)
    users = np.flatnonzero(np.diff(part.indptr) > 1)
    if len(users) < FEWEST_USERS:
        return USUAL_LAMBDA * unit
    users = rng.permutation(users)[:MOST_USERS]
    offsets = (rng.random(len(users)) * np.diff(part.indptr)[users]).astype(np.int64)
    held_out = part.indices[part.indptr[users] + offsets]
    values, vectors = linalg.eigh((part.T @ part).toarray(), overwrite_a=True, check_finite=False)
    squares = vectors**2
    gains = np.zeros(len(RELATIVE_LAMBDAS))
    for start in range(0, len(users), BLOCK_USERS):
        block = slice(start, start + BLOCK_USERS)
        histories = part[users[block]].toarray()
        spectra = histories @ vectors, vectors[held_out[block]]
        for place, regularization in enumerate(RELATIVE_LAMBDAS):
            inverse = 1 / (np.maximum(values, 0) + regularization)
            product, column = ((spectrum * inverse) @ vectors.T for spectrum in spectra)
            scores = _scores(histories, product, column, squares @ inverse, held_out[block])
            gains[place] += _gains(scores, histories, held_out[block]).sum()
    return RELATIVE_LAMBDAS[int(np.argmax(gains))] * unit


def _scores(
    histories: npt.NDArray[np.float64],
    product: npt.NDArray[np.float64],
    column: npt.NDArray[np.float64],
    diagonal: npt.NDArray[np.float64],
    held_out: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return (N, videos) scores of fits that leave out the user, for histories that leave out one video.

    Args:
        histories: (N, videos) rows x of the users.
        product: (N, videos) Px.
        column: (N, videos) column of P of the video that is held out.
        diagonal: (videos,) diagonal of P.
        held_out: (N,) videos that are held out.
    """
    rows = np.arange(len(histories))
    weight = histories[rows, held_out][:, None]
    rest = product - weight * column
    leverage = np.einsum("uv,uv->u", histories, product)[:, None]
    # xᵀPh, where h is the history without the video that is held out.
    common = leverage - weight * product[rows, held_out][:, None]
    remainder = np.maximum(1 - leverage, np.finfo(np.float64).tiny)
    return -(rest + product * common / remainder) / (diagonal + product**2 / remainder)


def _gains(
    scores: npt.NDArray[np.float64], histories: npt.NDArray[np.float64], held_out: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    rows = np.arange(len(scores))
    target = scores[rows, held_out][:, None]
    ranks = 1 + ((scores > target) & (histories == 0)).sum(axis=1)
    return np.where(ranks <= DEPTH, 1 / np.log2(1 + ranks), 0)
