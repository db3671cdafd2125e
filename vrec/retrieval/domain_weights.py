"""Similarities between the videos of two domains, and what another domain's histories weigh in a target."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.retrieval.base import BLOCK_CELLS
from vrec.retrieval.held_out_pairs import HeldOutPairs, hold_out_pairs
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.models.item_knn import similar_videos
from vrec.retrieval.row_statistics import RowMoments, RowWeighting
from vrec.retrieval.similarity import (
    BlockMapper,
    SimilarityFormula,
    SimilarityTask,
    map_in_threads,
    nearest_rows,
    row_blocks,
    score_product,
    stack_nearest,
    weight_range,
)
from vrec.retrieval.topk import Scores, mask_zero_scores
from vrec.retrieval.validation import CUTOFF, ndcg

WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01, 3.0)
"""Weights above 0 tried for each domain; the first are preferred among equals."""
POPULARITIES = (1.0, 0.3, 0.1, 0.03, 0.0, 3.0)
"""Weights of popularity tried for users without a history in the target; the first are preferred."""
MOST_HIDDEN, FEWEST_HIDDEN = 1000, 20
"""Maximum number of users whose history in the target is hidden to choose by, and the number below which
nothing is chosen."""
SEED = 0xC0D

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lead:
    """Mean lead of a domain's histories over doing without them, on held-out interactions."""

    mean: float
    """Mean paired difference of the gain."""
    error: float
    """Its standard error."""

    @classmethod
    def of(cls, differences: Floats) -> "Lead":
        """Return the lead of (N,) paired differences, N ≥ 2."""
        return cls(float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5))

    @property
    def pays(self) -> bool:
        """True where the lead exceeds its standard error."""
        return self.mean > self.error

    @property
    def costs(self) -> bool:
        """True where the histories are worse than none by more than the standard error."""
        return self.mean < -self.error


@dataclass(frozen=True, slots=True)
class DomainWeight:
    """Weight of a domain's histories in the target, and what it was chosen by."""

    weight: float
    """Weight relative to a watch in the target; 0 if the domain's histories do not pay."""
    held_out: Lead | None = None
    """Lead with the best weight for users with both histories, some of whose interactions are held out (gain
    within 100 places); None with too few to tell."""
    newcomers: Lead | None = None
    """Lead over the popular list for users whose history in the target is hidden (NDCG@10); likewise."""

    @classmethod
    def chosen(cls, best: float, held_out: Lead | None, newcomers: Lead | None) -> "DomainWeight":
        """Return the best weight, or 0 unless it pays for users with a history or newcomers and costs none.

        Without any lead to tell by, it is the best weight.
        """
        leads = [lead for lead in (held_out, newcomers) if lead is not None]
        pays = any(lead.pays for lead in leads) and not any(lead.costs for lead in leads)
        pays = pays or not leads
        return cls(best if pays else 0.0, held_out, newcomers)


class DomainChooser:
    """Choice of the weights of domains and of popularity, by what is held out of the target."""

    def __init__(
        self,
        own: Matrix,
        parts: Mapping[str, Matrix],
        formula: SimilarityFormula,
        map_blocks: BlockMapper = map_in_threads,
    ) -> None:
        """Hide the target's history of some users.

        Args:
            own: (users, N) float32 weights in the target, each row with one.
            parts: (users, M) float32 weights in each other domain, each with one.
            formula: Settings of the similarity.
            map_blocks: How blocks of similarities are computed.
        """
        self._own, self._parts, self._formula, self._map_blocks = own, parts, formula, map_blocks
        both = np.flatnonzero(_has_entries(parts, own.shape[0]))
        hidden = np.random.default_rng(SEED).permutation(both)[: min(MOST_HIDDEN, len(both) // 2)]
        kept = own.copy()
        kept.data[np.isin(np.repeat(np.arange(own.shape[0]), np.diff(own.indptr)), hidden)] = 0
        kept.eliminate_zeros()
        self._hidden = hidden if len(hidden) >= FEWEST_HIDDEN and kept.nnz else hidden[:0]
        self._popularity = np.bincount(kept.indices, minlength=own.shape[1]).astype(np.float32)
        names = parts if len(self._hidden) else ()
        self._near = {name: near_across(parts[name], kept, formula, map_blocks) for name in names}

    def weights(self) -> dict[str, DomainWeight]:
        """Return the weight of each domain, chosen one by one, those with the most entries first."""
        held = hold_out_pairs(self._own)
        both = _has_entries(self._parts, self._own.shape[0])[held.users]
        held = HeldOutPairs(held.kept, held.users[both], held.videos[both])
        chosen: dict[str, DomainWeight] = {}
        scores = None
        if held.suffice:
            scores = held.kept[held.users] @ similar_videos(held.kept, self._formula, self._map_blocks)
        for name in sorted(self._parts, key=lambda name: -self._parts[name].nnz):
            best, lead = WEIGHTS[0], None
            if scores is not None:
                part = self._parts[name]
                more = part[held.users] @ near_across(part, held.kept, self._formula, self._map_blocks)
                gains = {w: held.gains((scores + more * np.float32(w)).tocsr()) for w in (*WEIGHTS, 0.0)}
                best = max(WEIGHTS, key=lambda weight: gains[weight].mean())
                lead = Lead.of(gains[best] - gains[0.0])
                chosen[name] = DomainWeight.chosen(best, lead, self._newcomer_lead(name))
                scores = scores + more * np.float32(chosen[name].weight)
            else:
                chosen[name] = DomainWeight.chosen(best, None, self._newcomer_lead(name))
        return {name: chosen[name] for name in self._parts}

    def newcomer_popularity(self, weights: Mapping[str, float]) -> float:
        """Return the weight of popularity for users without a history in the target.

        Args:
            weights: Weight of each domain.
        """
        gains, _ = self._newcomer_gains({name: weight for name, weight in weights.items() if weight})
        return POPULARITIES[0] if not len(gains) else POPULARITIES[int(gains.mean(axis=0).argmax())]

    def _newcomer_lead(self, name: str) -> Lead | None:
        """Return the lead of a domain's lists, with popularity, over the popular list for hidden users."""
        gains, popular = self._newcomer_gains({name: 1.0})
        if len(popular) < FEWEST_HIDDEN:
            return None
        return Lead.of(gains[:, gains.mean(axis=0).argmax()] - popular)

    def _newcomer_gains(self, weights: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Return the NDCG@10 of hidden users with scores, by weight of popularity and for popularity alone.

        Args:
            weights: Weights above 0 of the domains that count.

        Returns:
            (H, len(POPULARITIES)) and (H,); H is 0 if no users are hidden, or none of them has a score.
        """
        rows: list[Floats] = []
        alone: list[Floats] = []
        size = max(1, BLOCK_CELLS // self._own.shape[1])
        for start in range(0, len(self._hidden) if weights else 0, size):
            users = self._hidden[start : start + size]
            scores = sum(
                (
                    np.float32(w) * score_product(self._parts[n][users], self._near[n])
                    for n, w in weights.items()
                ),
                np.zeros((len(users), self._own.shape[1]), np.float32),
            )
            users, scores = users[scores.any(axis=1)], scores[scores.any(axis=1)]
            if not len(users):
                continue
            relevant = self._own[users]
            mixed = [
                ndcg(with_popularity(scores.copy(), self._popularity, weight), relevant, CUTOFF)
                for weight in POPULARITIES
            ]
            rows.append(np.stack(mixed, axis=1))
            alone.append(ndcg(np.tile(self._popularity, (len(users), 1)), relevant, CUTOFF))
        if not rows:
            return np.zeros((0, len(POPULARITIES))), np.zeros(0)
        return np.concatenate(rows), np.concatenate(alone)


def with_popularity(scores: Scores, popularity: npt.NDArray[np.float32], weight: float) -> Scores:
    """Return scores relative to each row's highest, plus popularity relative to the highest; 0 is no opinion.

    Args:
        scores: (B, videos) float32, at least 0, with one above 0 in each row; overwritten.
        popularity: (videos,) float32, with one above 0.
        weight: Weight of the popularity.
    """
    scores /= scores.max(axis=1, keepdims=True)
    scores += np.float32(weight / popularity.max()) * popularity
    return mask_zero_scores(scores)


def near_across(
    other: Matrix, own: Matrix, formula: SimilarityFormula, map_blocks: BlockMapper = map_in_threads
) -> Matrix:
    """Return the similarities of each video of another domain to its nearest videos of the target.

    Args:
        other: (users, M) float32 weights in the other domain.
        own: (users, N) float32 weights in the target, of the same users.
        formula: Settings of the similarity.
        map_blocks: How the blocks of rows are computed.

    Returns:
        (M, N) sparse float32 with the `neighbours` greatest similarities per row.
    """
    left, right = (_weighted(weights, formula) for weights in (other, own))
    keys = np.arange(left.shape[0] + right.shape[0])
    columns = right.T.tocsr()
    task = SimilarityTask(
        left,
        columns,
        RowMoments.from_rows(left, formula.similarity),
        RowMoments.from_rows(right, formula.similarity),
        formula,
        # No video is its own neighbor here.
        keys[right.shape[0] :],
        keys[: right.shape[0]],
        weight_range(columns),
    )
    blocks = map_blocks(nearest_rows, task, row_blocks(left.shape[0]))
    return stack_nearest(blocks, (left.shape[0], right.shape[0]), formula.neighbours)


def _weighted(weights: Matrix, formula: SimilarityFormula) -> Matrix:
    """Return the (videos, users) weighted rows of (users, videos) weights."""
    rows = weights.T.tocsr()
    return RowWeighting.fit(rows, formula.weighting).apply(rows)


def _has_entries(parts: Mapping[str, Matrix], users: int) -> npt.NDArray[np.bool_]:
    """Return the (users,) whether a user has an entry in any of the matrices."""
    return sum((np.diff(part.indptr) for part in parts.values()), np.zeros(users, np.int64)) > 0
