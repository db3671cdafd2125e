"""Single interactions held out inside a fit, by which settings given as `auto` are chosen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.interaction_matrix import Matrix, row_runs

MOST_HELD_OUT = 2000
"""Maximum number of interactions held out; more would make the choice slower and little more certain."""
HISTORY_SHARE, TOTAL_SHARE = 0.2, 0.1
"""Maximum shares of a history and of all interactions that are held out; of a history of two or more, one
interaction may always be."""
FEWEST_HELD_OUT = 20
"""With fewer held-out interactions, nothing is chosen by them."""
SEED = 0x5E7
DEPTH = 100
"""Places of a ranking that count."""
SCORES_PER_RUN = 1 << 17
"""Scores in memory at a time where they are computed run by run; each takes about 45 bytes."""


@dataclass(frozen=True)
class HeldOutPairs:
    """Interactions without a few, and those few."""

    kept: Matrix
    """(users, videos) float32 weights without the interactions held out."""
    users: npt.NDArray[np.int64]
    videos: npt.NDArray[np.int64]
    """(H,) rows and columns of the interactions held out, rows ascending."""

    @property
    def suffice(self) -> bool:
        """True if there are enough to choose by."""
        return len(self.users) >= FEWEST_HELD_OUT

    def first(self, count: int) -> "HeldOutPairs":
        """Return the first of the interactions held out; the others stay left out of `kept`."""
        return HeldOutPairs(self.kept, self.users[:count], self.videos[:count])

    def mean_gain(self, scores: Matrix) -> float:
        """Return the mean discounted gain, 1 / log2(1 + rank), of the held-out videos within 100 ranks.

        Args:
            scores: (H, videos) float32, one row for each interaction held out, 0 for no opinion. Videos of
                the history that is left are ignored; ties go by lower column. It may be overwritten.
        """
        return float(self._gains(scores, slice(None)).mean())

    def gains(self, scores: Matrix) -> npt.NDArray[np.float64]:
        """Return the (H,) gain of each interaction held out; see `mean_gain`."""
        return self._gains(scores, slice(None))

    def mean_gain_by_runs(self, score: Callable[[slice], Matrix], work: npt.NDArray[np.integer]) -> float:
        """Return `mean_gain` of scores that are computed for a run of the interactions held out at a time.

        Args:
            score: Function from a run to its rows of scores.
            work: (H,) greatest possible number of scores of each row.
        """
        ends = np.concatenate([[0], np.cumsum(work, dtype=np.int64)])
        taken = [slice(start, stop) for start, stop in row_runs(ends, SCORES_PER_RUN)]
        return float(np.concatenate([self._gains(score(run), run) for run in taken]).mean())

    def _gains(self, scores: Matrix, run: slice) -> npt.NDArray[np.float64]:
        """Return the gain of each interaction held out of a run, by its rows of scores."""
        scores.sort_indices()
        videos = self.kept.shape[1]
        lengths = np.diff(scores.indptr)
        users, held_out = self.users[run], self.videos[run]
        rows = np.arange(len(users))
        keys = np.repeat(rows * videos, lengths) + scores.indices
        seen = self.kept[users]
        places, known = _find(keys, np.repeat(rows * videos, np.diff(seen.indptr)) + seen.indices)
        scores.data[places[known]] = 0
        places, known = _find(keys, rows * videos + held_out)
        own = np.zeros(len(rows), np.float32)
        own[known] = scores.data[places[known]]
        target, column = np.repeat(own, lengths), np.repeat(held_out, lengths)
        better = (scores.data > target) | ((scores.data == target) & (scores.indices < column))
        counts = np.concatenate([[0], np.cumsum(better)])
        ranks = counts[scores.indptr[1:]] - counts[scores.indptr[:-1]] + 1
        return np.where((own > 0) & (ranks <= DEPTH), 1 / np.log2(1 + ranks), 0)


def hold_out_pairs(weights: Matrix) -> HeldOutPairs:
    """Hold some interactions out of (users, videos) weights, always the same ones of a matrix."""
    lengths = np.diff(weights.indptr)
    wanted = min(MOST_HELD_OUT, int(weights.nnz * TOTAL_SHARE))
    drawn = np.random.default_rng(SEED).choice(weights.nnz, min(4 * wanted, weights.nnz), replace=False)
    users = np.searchsorted(weights.indptr, drawn, side="right") - 1
    quota = np.where(lengths > 1, np.maximum(1, lengths * HISTORY_SHARE), 0).astype(np.int64)
    order = np.argsort(users, kind="stable")
    firsts = np.searchsorted(users[order], users[order])
    rank = np.empty(len(drawn), np.int64)
    rank[order] = np.arange(len(drawn)) - firsts
    taken = np.sort(drawn[rank < quota[users]][:wanted])
    mask = np.ones(weights.nnz, bool)
    mask[taken] = False
    indptr = weights.indptr - np.searchsorted(taken, weights.indptr)
    kept = sparse.csr_matrix((weights.data[mask], weights.indices[mask], indptr), shape=weights.shape)
    users = np.searchsorted(weights.indptr, taken, side="right") - 1
    return HeldOutPairs(kept, users, weights.indices[taken].astype(np.int64))


def _find(
    keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return (N,) places of wanted keys among ascending ones, and whether they are there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted
