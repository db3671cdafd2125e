"""Groups of shoppers who share rare videos, and who are much of the audience of what they share.

The densest block of a sparse log is one of taste, and a ring of twenty accounts with eight videos is hidden
in it (see `dense_blocks`). Groups are therefore looked for one by one, from each shopper who shares
unusually much with a few others, as in a search for bicliques from seeds (Beutel, Xu, Guruswami, Palow and
Faloutsos 2013, "CopyCatch", WWW): shoppers and videos are exchanged in turns, each kept if it has more in
common with the group than its own number of edges explains (Poisson, with the marginals of a graph that was
rewired at random). A group counts if its evidence exceeds the price of naming its members among all, so
that the number of possible groups is allowed for.

Shoppers of one taste share videos too. They choose a part of them, and others choose these as well: the
score is the share of the pairs that are filled times that of the audience that the group is.
"""

from dataclasses import dataclass
from math import lgamma

import numpy as np
from scipy import sparse

from vrec.robustness.watched import Floats, Ints

PARTNERS = 5
"""Shoppers, those who share most, with whom a group begins."""
MOST_SEEDS = 1500
"""Shoppers from whom groups are looked for, those who share most with their partners."""
MOST_AUDIENCE = 300
"""Shoppers of a video above which sharing it is no evidence; what they cost grows with its square."""
TURNS = 6
LEAST_PART = 0.25
"""Least share of the group that has a video of it, and of its videos that a shopper of it has."""
LEAST_MEMBERS, LEAST_VIDEOS, LEAST_SHARED = 4, 4, 2
LEAST_SURPLUS = 30.0
"""Evidence of a group above its price, nats. Chosen on the draws of `benchmarks/suspects.py --tune`."""
GROUP_UNITS, LEAST_STRENGTH = 15.0, 0.25
"""Score of a group that fills all of its pairs and is all of the audience, and strength that is no news."""
BLOCK_SHOPPERS = 512


@dataclass(frozen=True)
class CoordinatedGroup:
    """Shoppers with videos that they share more than their activity and the videos' popularity explain."""

    shoppers: Ints
    videos: Ints
    filled: float
    """Share of the pairs of its shoppers and videos that are choices, less that expected by chance."""
    exclusive: float
    """Mean share of the audience of its videos that the group is."""

    @property
    def score(self) -> float:
        """Suspicion of its shoppers."""
        strength = max(self.filled * self.exclusive - LEAST_STRENGTH, 0) / (1 - LEAST_STRENGTH)
        return GROUP_UNITS * strength


@dataclass(frozen=True)
class _Graph:
    watched: sparse.csr_matrix
    columns: sparse.csc_matrix
    lengths: Floats
    counts: Floats

    def share(self, shoppers: Ints) -> Floats:
        """Return (V,) numbers of some shoppers who chose each video."""
        return np.bincount(self.watched[shoppers].indices, minlength=len(self.counts)).astype(np.float64)

    def chosen(self, videos: Ints) -> Floats:
        """Return (S,) numbers of some videos that each shopper chose."""
        return np.bincount(self.columns[:, videos].indices, minlength=len(self.lengths)).astype(np.float64)


def group_scores(watched: sparse.csr_matrix) -> tuple[Floats, list[CoordinatedGroup]]:
    """Return the (S,) scores of being in a coordinated group, and the groups."""
    scores = np.zeros(watched.shape[0])
    groups = coordinated_groups(watched)
    for group in groups:
        scores[group.shoppers] = np.maximum(scores[group.shoppers], group.score)
    return scores, groups


def coordinated_groups(watched: sparse.csr_matrix) -> list[CoordinatedGroup]:
    """Return the groups of (S, V) shoppers by videos, a 1 for each choice; groups may overlap."""
    shoppers = watched.shape[0]
    if watched.nnz < LEAST_MEMBERS * LEAST_VIDEOS:
        return []
    lengths, counts = (np.bincount(at, minlength=size) for at, size in _edges(watched))
    columns = sparse.csc_matrix(watched)
    graph = _Graph(watched, columns, lengths.astype(np.float64), counts.astype(np.float64))
    partners, evidence = _partners(watched, counts)
    covered = np.zeros(shoppers, bool)
    found: dict[tuple[bytes, bytes], CoordinatedGroup] = {}
    seeds = np.argsort(-evidence, kind="stable")[: int((evidence > 0).sum())]
    tried = 0
    for seed in seeds:
        if covered[seed] or tried == MOST_SEEDS:
            continue
        tried += 1
        grown = _grow(graph, np.append(partners[seed][partners[seed] >= 0], seed))
        if grown is None:
            continue
        members, own = grown
        covered[members] = True
        if len(own) >= LEAST_VIDEOS:
            group, surplus = _judge(graph, members, own)
            if surplus >= LEAST_SURPLUS:
                found[members.tobytes(), own.tobytes()] = group
    return list(found.values())


def _edges(watched: sparse.csr_matrix) -> tuple[tuple[Ints, int], tuple[Ints, int]]:
    """Return the shopper of each choice with their number, and the same of the video."""
    shoppers, videos = watched.shape
    rows = np.repeat(np.arange(shoppers), np.diff(watched.indptr))
    return (rows, shoppers), (watched.indices.astype(np.int64), videos)


def _partners(watched: sparse.csr_matrix, counts: Ints) -> tuple[Ints, Floats]:
    """Return (S, PARTNERS) shoppers who share most with each, −1 for none, and the (S,) mean evidence.

    Each video that both chose counts as the logarithm of 1 / λ, with λ = d d′ n² / E² the number of times
    that shoppers of d and d′ choices share a video of n shoppers by chance, of E choices in all. So popular
    videos as camouflage neither add to the evidence nor hide that of rare ones.
    """
    shared = np.flatnonzero((counts >= 2) & (counts <= MOST_AUDIENCE))
    part = sparse.csr_matrix(watched[:, shared])
    own = np.log(np.maximum(np.bincount(_edges(watched)[0][0], minlength=watched.shape[0]), 1))
    rarity = 2 * np.log(watched.nnz / counts[shared])
    partners = np.full((watched.shape[0], PARTNERS), -1)
    evidence = np.zeros(watched.shape[0])
    others = sparse.csr_matrix(part.T)
    weighted = sparse.csr_matrix(part @ sparse.diags(rarity))
    for start in range(0, watched.shape[0], BLOCK_SHOPPERS):
        # The same structure twice, so that the entries of both are in one order.
        together = _sorted(part[start : start + BLOCK_SHOPPERS] @ others)
        information = _sorted(weighted[start : start + BLOCK_SHOPPERS] @ others)
        rows = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr)) + start
        surprise = information.data - together.data * (own[rows] + own[together.indices])
        surprise[rows == together.indices] = 0
        order = np.lexsort((together.indices, -surprise, rows))
        place = np.arange(len(rows)) - together.indptr[rows[order] - start]
        best = order[(place < PARTNERS) & (surprise[order] > 0)]
        partners[rows[best], place[(place < PARTNERS) & (surprise[order] > 0)]] = together.indices[best]
        np.add.at(evidence, rows[best], surprise[best] / PARTNERS)
    return partners, evidence


def _sorted(product: sparse.csr_matrix) -> sparse.csr_matrix:
    product.sort_indices()
    return product


def _grow(graph: _Graph, members: Ints) -> tuple[Ints, Ints] | None:
    """Return the shoppers and videos that exchanging them in turns ends with; None if they vanish."""
    shoppers, videos = graph.watched.shape
    edges, own = graph.watched.nnz, np.empty(0, np.int64)
    for _ in range(TURNS):
        of_videos = graph.share(members)
        gains = _deviance(of_videos, graph.lengths[members].sum() * graph.counts / edges)
        least = max(LEAST_SHARED + 1, LEAST_PART * len(members))
        kept = np.flatnonzero((gains > np.log(videos)) & (of_videos >= least))
        if len(kept) <= LEAST_SHARED:
            return None
        of_shoppers = graph.chosen(kept)
        gains = _deviance(of_shoppers, graph.lengths * graph.counts[kept].sum() / edges)
        least = max(LEAST_SHARED, LEAST_PART * len(kept))
        joined = np.flatnonzero((gains > np.log(shoppers)) & (of_shoppers >= least))
        if len(joined) < LEAST_MEMBERS:
            return None
        same = np.array_equal(joined, members) and np.array_equal(kept, own)
        members, own = joined, kept
        if same:
            break
    return members, own


def _judge(graph: _Graph, members: Ints, own: Ints) -> tuple[CoordinatedGroup, float]:
    """Return a group, and its evidence above the price of naming its members, nats."""
    within = graph.share(members)[own]
    expected = float(graph.lengths[members].sum() * graph.counts[own].sum() / graph.watched.nnz)
    filled = (float(within.sum()) - expected) / (len(members) * len(own))
    exclusive = float((within / graph.counts[own]).mean())
    shoppers, videos = graph.watched.shape
    price = _log_choose(shoppers, len(members)) + _log_choose(videos, len(own))
    surplus = float(_deviance(np.array([within.sum()]), np.array([expected]))[0]) - price
    return CoordinatedGroup(members, own, filled, exclusive), surplus


def _deviance(observed: Floats, expected: Floats) -> Floats:
    """Return k ln(k / λ) − k + λ where k > λ, else 0."""
    found = np.zeros(len(observed))
    more = observed > expected
    k, chance = observed[more], expected[more]
    found[more] = k * np.log(k / np.maximum(chance, 1e-12)) - k + chance
    return found


def _log_choose(of: int, number: int) -> float:
    return lgamma(of + 1) - lgamma(number + 1) - lgamma(of - number + 1)
