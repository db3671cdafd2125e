"""Repair of noised Gram matrices; it sees the noised matrix alone, and so costs no privacy."""

from math import sqrt

import numpy as np
import numpy.typing as npt

from vrec.privacy.mechanisms import NoisedGram

Floats = npt.NDArray[np.float64]


def noise_edge(gram: NoisedGram) -> float:
    """Return the greatest eigenvalue that the noise alone would have, by Wigner's semicircle law."""
    return 2 * gram.noise * sqrt(len(gram.counts))


def repaired_factors(gram: NoisedGram) -> tuple[Floats, Floats]:
    """Return the eigenvalues of a noised Gram matrix that stand out of the noise, and their eigenvectors.

    The eigenvalue v becomes √(v² − edge²), which minimizes the expected squared error of symmetric noise, and
    those below the edge become 0 (Gavish and Donoho 2017, "Optimal shrinkage of singular values"). The
    result is positive semidefinite.

    Returns:
        (R,) eigenvalues above 0, the greatest first, and (videos, R) eigenvectors, both float64. R may be 0.
    """
    values, vectors = np.linalg.eigh(gram.counts)
    edge = noise_edge(gram)
    kept = np.flatnonzero(values > edge)[::-1]
    return np.sqrt(values[kept] ** 2 - edge**2), vectors[:, kept]


def repaired_gram(gram: NoisedGram) -> Floats:
    """Return the (videos, videos) positive semidefinite matrix of `repaired_factors`."""
    values, vectors = repaired_factors(gram)
    return (vectors * values) @ vectors.T
