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


def powered_gram(gram: NoisedGram, power: float) -> Floats:
    """Return a noised Gram matrix with a power of its eigenvalues, which its noise inflates least.

    Of an eigenvalue v above the edge of the noise the true one is estimated as θ = (v + √(v² − edge²)) / 2,
    and 1 − (edge / 2θ)² is the share of its eigenvector that is not noise (Benaych-Georges and Nadakuditi
    2011, "The eigenvalues and eigenvectors of finite, low rank perturbations"). The result has (θ / θ₁) to
    the power, times that share, in the place of v; with the power 1 it is `repaired_gram` over θ₁.

    Returns:
        (videos, videos) positive semidefinite matrix, float64; zeros if nothing stands out of the noise.
    """
    shrunk, vectors = repaired_factors(gram)
    values = (np.sqrt(shrunk**2 + noise_edge(gram) ** 2) + shrunk) / 2
    return (vectors * (values / values.max(initial=0.0)) ** power * (shrunk / values)) @ vectors.T


def noise_share(gram: NoisedGram) -> float:
    """Return the greatest eigenvalue that noise has over that of the noised matrix, at most 1."""
    edge = noise_edge(gram)
    return edge / max(float(np.linalg.eigvalsh(gram.counts)[-1]), edge)


def repaired_gram(gram: NoisedGram) -> Floats:
    """Return the (videos, videos) positive semidefinite matrix of `repaired_factors`."""
    values, vectors = repaired_factors(gram)
    return (vectors * values) @ vectors.T
