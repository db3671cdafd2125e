"""Measures of how a shopper's videos go together, as ranks among shoppers with about as many videos."""

import numpy as np
from scipy import sparse

from vrec.robustness.watched import Floats

LENGTH_BINS = 5
"""Groups of shoppers by their number of videos, within which they are ranked."""
TWINS = 5
"""Most similar shoppers that the likeness to others is averaged over."""
COMPARED_SHOPPERS = 4000
"""Shoppers, drawn at random, with whom each shopper is compared."""
BLOCK_SHOPPERS = 512
SEED = 20


def shopper_ranks(watched: sparse.csr_matrix) -> Floats:
    """Return the (S, 4) ranks of (S, V) shoppers in 0 to 1, equal ones with equal ranks.

    The measures are the coherence of a shopper's videos, the mean and the deviation of the logarithms of
    their numbers of shoppers, and the likeness to the most similar other shoppers.
    """
    lengths = np.diff(watched.indptr).astype(np.float64)
    counts = np.bincount(watched.indices, minlength=watched.shape[1]).astype(np.float64)
    mean, deviation = _popularity(watched, lengths, counts)
    measures = (_coherence(watched, lengths, counts), mean, deviation, _likeness(watched, counts))
    return np.stack([_ranks_by_length(measure, lengths) for measure in measures], axis=1)


def _coherence(watched: sparse.csr_matrix, lengths: Floats, counts: Floats) -> Floats:
    """Return (S,) how much more often a shopper's videos are watched together by others than by chance.

    With n the counts of the videos and d the lengths of the shoppers, two videos i and j are watched together
    g = Σ 1/d times over the shoppers of both, and n_i n_j / Σ d times by chance. The coherence is the mean of
    (g − 1/d_u − chance) / √(n_i n_j) over the pairs of videos of shopper u.
    """
    safe = np.maximum(lengths, 1)
    together = sparse.csr_matrix(watched.T @ sparse.diags(1 / safe) @ watched)
    together.setdiag(0)
    scaled = sparse.csr_matrix(watched @ sparse.diags(1 / np.sqrt(np.maximum(counts, 1))))
    found = np.empty(len(lengths))
    for start in range(0, len(lengths), BLOCK_SHOPPERS):
        rows = scaled[start : start + BLOCK_SHOPPERS]
        found[start : start + BLOCK_SHOPPERS] = _row_sums((rows @ together).multiply(rows))
    found -= (_row_sums(scaled) ** 2 - _row_sums(scaled.multiply(scaled))) / safe
    roots = sparse.csr_matrix(watched @ sparse.diags(np.sqrt(counts)))
    found -= (_row_sums(roots) ** 2 - _row_sums(roots.multiply(roots))) / max(lengths.sum(), 1)
    return found / np.maximum(lengths * (lengths - 1), 1)


def _popularity(watched: sparse.csr_matrix, lengths: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return the (S,) means and standard deviations of the log counts of a shopper's videos."""
    logs, safe = np.log1p(counts), np.maximum(lengths, 1)
    mean = (watched @ logs) / safe
    return mean, np.sqrt(np.maximum((watched @ logs**2) / safe - mean**2, 0))


def _likeness(watched: sparse.csr_matrix, counts: Floats) -> Floats:
    """Return (S,) mean cosines with the most similar shoppers; much watched videos count less.

    The weight of a video is 1 / ln(count + 5), as in FRAUDAR (Hooi et al. 2016, "FRAUDAR: bounding graph
    fraud in the face of camouflage", KDD).
    """
    weighted = sparse.csr_matrix(watched @ sparse.diags(1 / np.log(counts + 5)))
    norms = np.sqrt(_row_sums(weighted.multiply(weighted)))
    unit = sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-12)) @ weighted)
    shoppers = watched.shape[0]
    drawn = np.random.default_rng(SEED).permutation(shoppers)[:COMPARED_SHOPPERS]
    others, place = unit[drawn].T.tocsr(), np.full(shoppers, -1)
    place[drawn] = np.arange(len(drawn))
    twins = min(TWINS, max(len(drawn) - 1, 1))
    found = np.empty(shoppers)
    for start in range(0, shoppers, BLOCK_SHOPPERS):
        cosines = (unit[start : start + BLOCK_SHOPPERS] @ others).toarray()
        own = place[start : start + BLOCK_SHOPPERS]
        cosines[np.flatnonzero(own >= 0), own[own >= 0]] = 0
        found[start : start + BLOCK_SHOPPERS] = np.partition(cosines, -twins, axis=1)[:, -twins:].mean(axis=1)
    return found


def _ranks_by_length(values: Floats, lengths: Floats) -> Floats:
    ranks = np.empty(len(values))
    for part in np.array_split(np.argsort(lengths, kind="stable"), LENGTH_BINS):
        if len(part):
            # Rounded, so that sums of the same terms in another order have one rank.
            own = np.round(values[part], 9)
            ordered = np.sort(own)
            below, up_to = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
            ranks[part] = (below + up_to) / (2 * len(part))
    return ranks


def _row_sums(matrix: sparse.csr_matrix) -> Floats:
    return np.asarray(matrix.sum(axis=1), np.float64).ravel()
