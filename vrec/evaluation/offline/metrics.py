"""Metrics of ranked lists: accuracy, catalog coverage, novelty, popularity and diversity.

Accuracy is computed per user, (U,) float64, so that a mean can have an interval and two models can be
compared user by user. A user without a list counts as zero.
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
    """Relevance of the ranked videos, a row per user."""

    hits: npt.NDArray[np.bool_]
    """(U, depth): True where the video at rank column + 1 is relevant; False beyond a list's end."""
    relevant: Ints
    """(U,): number of videos relevant to the user, in the list or not; all ≥ 1."""

    def __post_init__(self) -> None:
        """Raise ValueError if shapes differ, a user has no relevant video, or hits exceed relevant videos."""
        if self.hits.ndim != 2 or self.relevant.shape != self.hits.shape[:1]:
            raise ValueError(
                f"hits are {self.hits.shape}, relevant {self.relevant.shape}: want (U, depth), (U,)"
            )
        if len(self.relevant) and self.relevant.min() < 1:
            raise ValueError("a user has no relevant video: leave such users out")
        if (self.hits.sum(axis=1) > self.relevant).any():
            raise ValueError("a list has more hits than the user has relevant videos")

    def top(self, k: int) -> npt.NDArray[np.bool_]:
        """Return the hits (U, k) in the first k ranks; raise ValueError unless 1 ≤ k ≤ depth."""
        if not 1 <= k <= self.hits.shape[1]:
            raise ValueError(f"k is {k}; the lists were scored down to rank {self.hits.shape[1]}")
        return self.hits[:, :k]

    def ideal(self, k: int) -> Ints:
        """Return the largest possible number of hits (U,) in k ranks: min(k, relevant)."""
        return np.minimum(k, self.relevant)


def recall(hits: RankedHits, k: int) -> Floats:
    """Return Recall@k (U,): hits in the first k ranks / relevant videos.

    A user with more than k relevant videos cannot reach 1. Liang et al. (2018) divide by min(k, relevant)
    instead, which gives higher values.
    """
    return np.count_nonzero(hits.top(k), axis=1) / hits.relevant


def precision(hits: RankedHits, k: int) -> Floats:
    """Return Precision@k (U,): hits in the first k ranks / k, for short lists too."""
    return np.mean(hits.top(k), axis=1)


def hit_rate(hits: RankedHits, k: int) -> Floats:
    """Return HitRate@k (U,): 1 where the first k ranks hold a relevant video, else 0."""
    return np.where(hits.top(k).any(axis=1), 1.0, 0.0)


def ndcg(hits: RankedHits, k: int) -> Floats:
    """Return NDCG@k (U,): the sum of 1 / log2(rank + 1) over hits, divided by that of the ideal order.

    The ideal order has min(k, relevant) hits at the top (Järvelin and Kekäläinen, 2002, with binary gains).
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    # Not a matrix product, whose last bit can depend on the position of a user's row in the matrix.
    dcg = np.where(hits.top(k), discount, 0.0).sum(axis=1)
    return dcg / np.cumsum(discount)[hits.ideal(k) - 1]


def average_precision(hits: RankedHits, k: int) -> Floats:
    """Return AP@k (U,): the sum of the precisions at the ranks of hits / min(k, relevant).

    Its mean is MAP@k. trec_eval divides by all relevant videos instead, which is lower where there are more
    than k.
    """
    top = hits.top(k)
    precisions = np.cumsum(top, axis=1) / np.arange(1, k + 1)
    return (precisions * top).sum(axis=1) / hits.ideal(k)


def reciprocal_rank(hits: RankedHits, k: int) -> Floats:
    """Return RR@k (U,): 1 / the rank of the first hit, 0 without a hit in k ranks; its mean is MRR@k."""
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
"""Accuracy metrics by the names used in reports and settings."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """Ranked lists in flat form: row i recommends `video[i]` to `user[i]` at `rank[i]`."""

    users: int
    """Number of users, with or without a list."""
    videos: int
    """Number of videos in the catalog."""
    user: Ints
    """(N,) in [0, users)."""
    video: Ints
    """(N,) in [0, videos)."""
    rank: Ints
    """(N,) from 1."""

    def top(self, k: int) -> "RankedLists":
        """Return the lists cut at rank k."""
        keep = self.rank <= k
        return RankedLists(self.users, self.videos, self.user[keep], self.video[keep], self.rank[keep])

    def mean(self, values: Floats) -> Floats:
        """Return the mean (U,) of (N,) values over each user's rows; NaN for users without rows."""
        total = np.bincount(self.user, weights=values, minlength=self.users)
        count = np.bincount(self.user, minlength=self.users)
        return np.divide(total, count, out=np.full(self.users, np.nan), where=count > 0)


def exposure(lists: RankedLists) -> Ints:
    """Return the number of users that each video of the catalog is recommended to: (videos,)."""
    return np.bincount(lists.video, minlength=lists.videos)


def coverage(lists: RankedLists) -> float:
    """Return the share in [0, 1] of the catalog that is recommended to at least one user."""
    return float(np.count_nonzero(exposure(lists)) / lists.videos) if lists.videos else 0.0


def top_share(lists: RankedLists) -> float:
    """Return the share in [0, 1] of the lists that hold the most shown video; NaN without lists."""
    answered = len(np.unique(lists.user))
    return float(exposure(lists).max() / answered) if answered else float("nan")


def gini(lists: RankedLists) -> float:
    """Return the Gini coefficient of exposure over the whole catalog, including videos without exposure.

    0 where all videos are recommended equally often, 1 − 1/videos where only one is; NaN without lists.
    """
    shown = np.sort(exposure(lists)).astype(np.float64)
    total, count = shown.sum(), len(shown)
    if not total:
        return float("nan")
    return float((2 * np.arange(1, count + 1) - count - 1) @ shown / (count * total))


def novelty(lists: RankedLists, watched_by: Ints, users: int) -> Floats:
    """Return the mean self-information (U,) of each list, in bits.

    A video has −log2((count + 1) / (users + 1)) bits: log2(users + 1) if nobody watched it, 0 if all did.
    Zhou et al. (2010); Vargas and Castells (2011).

    Args:
        lists: Lists of U users.
        watched_by: (videos,) number of users who watched each video in train.
        users: Number of users in train.

    Returns:
        (U,) bits; NaN for users without a list.
    """
    bits = -np.log2((watched_by + 1) / (users + 1))
    return lists.mean(bits[lists.video])


def popularity_rank(lists: RankedLists, watched_by: Ints) -> Floats:
    """Return the mean popularity rank (U,) of each list's videos; 1 is the most watched of the catalog.

    Videos watched by equally many users share their mean rank. NaN for users without a list.
    """
    # Importing it takes a second, which every command would pay.
    from scipy.stats import rankdata

    return lists.mean(rankdata(-watched_by, method="average")[lists.video])


def diversity(lists: RankedLists, vectors: npt.NDArray[np.floating]) -> Floats:
    """Return intra-list diversity (U,): 1 − the mean cosine of all pairs of a list (Ziegler et al. 2005).

    Args:
        lists: Lists of U users.
        vectors: (videos, D); a row of zeros or NaN for a video without a vector, which is left out.

    Returns:
        (U,) in [0, 2]; NaN for lists with fewer than two videos that have a vector.
    """
    rows = np.nan_to_num(np.asarray(vectors, dtype=np.float64))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)
    known = norms[lists.video, 0] > 1e-12
    user, video = lists.user[known], lists.video[known]
    count = np.bincount(user, minlength=lists.users)
    shape = (lists.users, lists.videos)
    membership = sparse.csr_matrix((np.ones(len(user)), (user, video)), shape=shape)
    # The cosines of all ordered pairs, i with itself too, add up to the squared length of the sum.
    squared = np.empty(lists.users)
    step = max(1, _BLOCK_CELLS // max(1, unit.shape[1]))
    for start in range(0, lists.users, step):
        total = membership[start : start + step] @ unit
        squared[start : start + step] = np.einsum("ud,ud->u", total, total)
    pairs = count * (count - 1)
    cosine = np.divide(squared - count, pairs, out=np.full(lists.users, np.nan), where=pairs > 0)
    return np.clip(1 - cosine, 0, 2)
