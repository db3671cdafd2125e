"""Metrics of ranked lists: how many of the right videos they hold, how high, and what else they show.

Accuracy is counted for each user, (U,) float64, so that a mean can carry an interval and two models
can be compared user by user. A user without a list counts as zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK_CELLS = 4_000_000
"""Users × dimensions summed at once: 32 MB of float64."""


@dataclass(frozen=True, slots=True)
class RankedHits:
    """Ranked lists held against the truth, one row a user."""

    hits: npt.NDArray[np.bool_]
    """(U, depth): whether the video at rank column + 1 is relevant; False beyond a list's end."""
    relevant: Ints
    """(U,): how many videos are relevant to the user, in the list or not; all ≥ 1."""

    def __post_init__(self) -> None:
        """Raises ValueError where shapes differ, nothing is relevant to a user, or hits exceed what is."""
        if self.hits.ndim != 2 or self.relevant.shape != self.hits.shape[:1]:
            raise ValueError(
                f"hits are {self.hits.shape}, relevant {self.relevant.shape}: want (U, depth), (U,)"
            )
        if len(self.relevant) and self.relevant.min() < 1:
            raise ValueError("a user has no relevant video: leave them out")
        if (self.hits.sum(axis=1) > self.relevant).any():
            raise ValueError("a list has more hits than the user has relevant videos")

    def top(self, k: int) -> npt.NDArray[np.bool_]:
        """The hits (U, k) in the first k ranks; raises ValueError unless 1 ≤ k ≤ depth."""
        if not 1 <= k <= self.hits.shape[1]:
            raise ValueError(f"k is {k}; the lists were judged down to rank {self.hits.shape[1]}")
        return self.hits[:, :k]

    def ideal(self, k: int) -> Ints:
        """The most hits (U,) that k ranks can hold: min(k, relevant)."""
        return np.minimum(k, self.relevant)


def recall(hits: RankedHits, k: int) -> Floats:
    """Recall@k (U,): hits in the first k ranks / relevant videos.

    A user with more than k relevant videos cannot reach 1. Liang et al. (2018) divide by
    min(k, relevant) instead, which gives higher figures.
    """
    return np.count_nonzero(hits.top(k), axis=1) / hits.relevant


def precision(hits: RankedHits, k: int) -> Floats:
    """Precision@k (U,): hits in the first k ranks / k, for short lists too."""
    return np.mean(hits.top(k), axis=1)


def hit_rate(hits: RankedHits, k: int) -> Floats:
    """HitRate@k (U,): 1 where the first k ranks hold a relevant video, else 0."""
    return np.where(hits.top(k).any(axis=1), 1.0, 0.0)


def ndcg(hits: RankedHits, k: int) -> Floats:
    """NDCG@k (U,): a hit at rank r gains 1 / log2(r + 1); the sum over that of the best order.

    The best order has its min(k, relevant) hits at the top (Järvelin and Kekäläinen, 2002, with
    gains of 0 and 1).
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    # Not a matrix product, whose last bit can depend on where in the matrix a user's row lies.
    gained = np.where(hits.top(k), discount, 0.0).sum(axis=1)
    return gained / np.cumsum(discount)[hits.ideal(k) - 1]


def average_precision(hits: RankedHits, k: int) -> Floats:
    """AP@k (U,): the precision at each hit's rank, summed, / min(k, relevant); its mean is MAP@k.

    trec_eval divides by all relevant videos instead, which is lower where there are more than k.
    """
    top = hits.top(k)
    at_rank = np.cumsum(top, axis=1) / np.arange(1, k + 1)
    return (at_rank * top).sum(axis=1) / hits.ideal(k)


def reciprocal_rank(hits: RankedHits, k: int) -> Floats:
    """RR@k (U,): 1 / the rank of the first hit, 0 where the first k ranks have none; its mean is MRR@k."""
    top = hits.top(k)
    return np.where(top.any(axis=1), 1 / (1 + top.argmax(axis=1)), 0.0)


ACCURACY: Mapping[str, Callable[[RankedHits, int], Floats]] = {
    "ndcg": ndcg,
    "recall": recall,
    "hit_rate": hit_rate,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "precision": precision,
}
"""The accuracy metrics by the names that reports and settings use."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """Ranked lists in flat form: row i says that `user[i]` is shown `video[i]` at `rank[i]`."""

    users: int
    """How many users there are, with or without a list."""
    videos: int
    """How many videos the catalogue has."""
    user: Ints
    """(N,) in [0, users)."""
    video: Ints
    """(N,) in [0, videos)."""
    rank: Ints
    """(N,) from 1."""

    def top(self, k: int) -> "RankedLists":
        """The same lists down to rank k."""
        keep = self.rank <= k
        return RankedLists(self.users, self.videos, self.user[keep], self.video[keep], self.rank[keep])

    def mean(self, values: Floats) -> Floats:
        """The mean (U,) of (N,) values over each user's rows; NaN for users without rows."""
        total = np.bincount(self.user, weights=values, minlength=self.users)
        count = np.bincount(self.user, minlength=self.users)
        return np.divide(total, count, out=np.full(self.users, np.nan), where=count > 0)


def exposure(lists: RankedLists) -> Ints:
    """How many users are shown each video of the catalogue: (videos,)."""
    return np.bincount(lists.video, minlength=lists.videos)


def coverage(lists: RankedLists) -> float:
    """The share in [0, 1] of the catalogue's videos that at least one user is shown."""
    return float(np.count_nonzero(exposure(lists)) / lists.videos) if lists.videos else 0.0


def gini(lists: RankedLists) -> float:
    """The Gini coefficient of exposure over the whole catalogue, videos that nobody is shown included.

    0 where every video is shown to as many users, 1 − 1/videos where all see one and the same; NaN
    where nothing is shown.
    """
    shown = np.sort(exposure(lists)).astype(np.float64)
    total, count = shown.sum(), len(shown)
    if not total:
        return float("nan")
    return float((2 * np.arange(1, count + 1) - count - 1) @ shown / (count * total))


def novelty(lists: RankedLists, watched_by: Ints, users: int) -> Floats:
    """Mean bits of surprise (U,) of each list: −log2 of the share of `users` who watched the video in train.

    `watched_by` (videos,) counts them. The share is (count + 1) / (users + 1): a video that nobody
    watched has log2(users + 1) bits, one that all watched none. NaN for users without a list.
    Zhou et al. (2010); Vargas and Castells (2011).
    """
    bits = -np.log2((watched_by + 1) / (users + 1))
    return lists.mean(bits[lists.video])


def popularity_rank(lists: RankedLists, watched_by: Ints) -> Floats:
    """The mean (U,) of the popularity ranks of each list's videos: 1 is the most watched of the catalogue.

    Videos watched by as many users share their mean rank. NaN for users without a list.
    """
    # Takes a second to import, which every command would pay.
    from scipy.stats import rankdata

    return lists.mean(rankdata(-watched_by, method="average")[lists.video])


def diversity(lists: RankedLists, vectors: npt.NDArray[np.floating]) -> Floats:
    """Intra-list diversity (U,): 1 − the mean cosine of all pairs of a list's videos, in [0, 2].

    `vectors` is (videos, D), a row of zeros or NaN for a video without a vector, which is passed over.
    NaN for lists with fewer than two videos that have one. Ziegler et al. (2005).
    """
    rows = np.nan_to_num(np.asarray(vectors, dtype=np.float64))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)
    known = norms[lists.video, 0] > 1e-12
    user, video = lists.user[known], lists.video[known]
    count = np.bincount(user, minlength=lists.users)
    shape = (lists.users, lists.videos)
    of_user = sparse.csr_matrix((np.ones(len(user)), (user, video)), shape=shape)
    # The cosines of all ordered pairs, i with itself too, add up to the squared length of the sum.
    squared = np.empty(lists.users)
    step = max(1, _BLOCK_CELLS // max(1, unit.shape[1]))
    for start in range(0, lists.users, step):
        total = of_user[start : start + step] @ unit
        squared[start : start + step] = np.einsum("ud,ud->u", total, total)
    pairs = count * (count - 1)
    cosine = np.divide(squared - count, pairs, out=np.full(lists.users, np.nan), where=pairs > 0)
    return np.clip(1 - cosine, 0, 2)
