"""Item-based neighborhood model of one domain that also learns from what its shoppers watch in others."""

from collections.abc import Collection, Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import BLOCK_CELLS
from vrec.retrieval.config import CrossDomainConfig
from vrec.retrieval.held_out_pairs import HeldOutPairs, hold_out_pairs
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix, to_interactions
from vrec.retrieval.models.item_knn import ItemKnn, similar_videos, video_similarity_task
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
from vrec.retrieval.similarity_choice import choose_video_formula
from vrec.retrieval.topk import Scores, mask_zero_scores
from vrec.retrieval.validation import CUTOFF, ndcg

WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01, 3.0)
"""Weights tried for each domain; the first are preferred among equals. None is 0: what a shopper's own
history says nothing of comes last, but it comes."""

POPULARITIES = (1.0, 0.3, 0.1, 0.03, 0.0, 3.0)
"""Weights of popularity tried for users without a history in the target; the first are preferred."""
MOST_HIDDEN, FEWEST_HIDDEN = 1000, 20
"""Maximum number of users whose history in the target is hidden to choose by, and the number below which
nothing is chosen."""
SEED = 0xC0D

Domains = npt.NDArray[np.object_]
Rows = npt.NDArray[np.int64]


class CrossDomain(ItemKnn):
    """Item-based neighborhood model of a target domain: Σ weight · similarity over all of the user's videos.

    Videos of the target domain are compared with each other by their users in it alone, as by `ItemKnn`, so
    that users without a history elsewhere get its lists to the bit. A video of another domain is compared
    with those of the target by the users who watched both, and its similarities are multiplied by the weight
    of its domain, by default chosen by held-out interactions of the target; `report` says which. Users
    without a history in the target get scores, relative to the highest, to which popularity is added with a
    weight that is chosen by users whose history in the target is hidden. Only videos of the target are
    recommended. Merging both domains for a neighborhood model is the simplest of the
    baselines that cross-domain models are measured by (Zhu et al. 2021, "Cross-Domain Recommendation:
    Challenges, Progress, and Prospects").

    The domain of a video is `VIDEOS.domain`; a video without a row in VIDEOS has none and is ignored. Without
    VIDEOS all videos are of one domain.
    """

    kind = "cross_domain"
    Config = CrossDomainConfig
    config: CrossDomainConfig  # type: ignore[assignment]

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        weights = histories.weights
        domains = self._domains(content)
        names = sorted(set(domains) - {None})
        others = () if content is None else content.other_domains
        target = self._target(domains, weights, others)
        columns = {name: np.flatnonzero(domains == name) for name in names}
        own_columns = columns.pop(target)
        own, shoppers = _with_entries(weights[:, own_columns])
        formula = choose_video_formula(own, self.config, video_similarity_task)
        parts = {name: weights[shoppers][:, found] for name, found in columns.items()}
        parts = {name: part for name, part in parts.items() if part.nnz}
        chosen = self._weights(own, parts, formula)
        near = similar_videos(own, formula, self.map_blocks)
        blocks = [(own_columns, near)]
        for name, part in parts.items():
            across = near_across(part, own, formula, self.map_blocks)
            blocks.append((columns[name], (across * np.float32(chosen[name])).tocsr()))
        self.similarities = _place(blocks, own_columns, len(self.videos))
        self.popularity = np.zeros(len(self.videos), np.float32)
        self.popularity[own_columns] = np.bincount(own.indices, minlength=own.shape[1])
        self.newcomer_popularity = self._newcomer_weight(own, parts, chosen, formula)
        self.report = {
            "target": target,
            "weights": chosen,
            "newcomer_popularity": self.newcomer_popularity,
            **asdict(formula),
        }

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        scores = super().score_block(histories, users)
        lengths = np.diff(histories.weights[:, self.of_target].indptr)
        rows = np.flatnonzero((lengths == 0) & (scores > -np.inf).any(axis=1))
        if len(rows):
            scores[rows] = _with_popularity(
                np.maximum(scores[rows], 0), self.popularity, self.newcomer_popularity
            )
        return scores

    @property
    def of_target(self) -> npt.NDArray[np.bool_]:
        """(videos,) whether a video is of the target."""
        return self.popularity > 0

    def target_interactions(self) -> pa.Table:
        """Return the INTERACTIONS of the fit with videos of the target."""
        inside = self.of_target[self.histories.weights.indices]
        return to_interactions(self.histories, self.users, self.videos).filter(pa.array(inside))

    def _arrays(self) -> Arrays:
        own = {"popularity": self.popularity, "newcomer_popularity": np.array(self.newcomer_popularity)}
        return own | super()._arrays()

    def _restore(self, arrays: Arrays) -> None:
        self.popularity = arrays["popularity"]
        self.newcomer_popularity = float(arrays["newcomer_popularity"])
        super()._restore(arrays)

    def _domains(self, content: CatalogContent | None) -> Domains:
        """Return the (videos,) domain of each video; None for a video without a row in VIDEOS."""
        if content is None or content.videos is None:
            return np.full(len(self.videos), "", object)
        domains = np.full(len(self.videos), None, object)
        places = self.videos.find(content.videos.column("video_id"))
        names = np.array(content.videos.column("domain").to_pylist(), object)
        domains[places[places >= 0]] = names[places >= 0]
        return domains

    def _target(self, domains: Domains, weights: Matrix, others: Collection[str]) -> str:
        counts = np.diff(weights.tocsc().indptr)
        found = {name: int(counts[domains == name].sum()) for name in sorted(set(domains) - {None})}
        found = {name: count for name, count in found.items() if count}
        found = {name: count for name, count in found.items() if name not in others}
        target = self.config.target
        if target in others:
            raise FitError(
                f"{self.kind}: the target {target} is an `other_domain` of LINKS",
                fix="set retrieval.cross_domain.target to the shop's domain, or turn the links round",
            )
        if target is not None and target not in found:
            listed = ", ".join(found) or "none"
            raise FitError(
                f"{self.kind}: nothing was watched of the domain {target}; VIDEOS has {listed}",
                fix="set retrieval.cross_domain.target to one of these, or give the VIDEOS of that domain",
            )
        if not found:
            raise FitError(
                f"{self.kind}: nothing was watched of a domain of the shop, by the domains in VIDEOS",
                fix="give --videos with the shop's videos",
            )
        return target if target is not None else max(found, key=found.__getitem__)

    def _weights(
        self, own: Matrix, parts: Mapping[str, Matrix], formula: SimilarityFormula
    ) -> dict[str, float]:
        """Return the weight of each other domain, the one with the most entries first."""
        if self.config.weight != "auto":
            return dict.fromkeys(parts, self.config.weight)
        chosen = dict.fromkeys(parts, WEIGHTS[0])
        held = hold_out_pairs(own)
        both = _has_entries(parts, own.shape[0])[held.users]
        held = HeldOutPairs(held.kept, held.users[both], held.videos[both])
        if not parts or not held.suffice:
            return chosen
        scores = held.kept[held.users] @ similar_videos(held.kept, formula, self.map_blocks)
        for name in sorted(parts, key=lambda name: -parts[name].nnz):
            more = parts[name][held.users] @ near_across(parts[name], held.kept, formula, self.map_blocks)

            def gain(weight: float, more: Matrix = more, scores: Matrix = scores) -> float:
                return held.mean_gain((scores + more * np.float32(weight)).tocsr())

            chosen[name] = max(WEIGHTS, key=gain)
            scores = scores + more * np.float32(chosen[name])
        return chosen

    def _newcomer_weight(
        self,
        own: Matrix,
        parts: Mapping[str, Matrix],
        weights: Mapping[str, float],
        formula: SimilarityFormula,
    ) -> float:
        """Return the weight of popularity for users without a history in the target."""
        if self.config.newcomer_popularity != "auto":
            return self.config.newcomer_popularity
        both = np.flatnonzero(_has_entries(parts, own.shape[0]))
        hidden = np.random.default_rng(SEED).permutation(both)[: min(MOST_HIDDEN, len(both) // 2)]
        if len(hidden) < FEWEST_HIDDEN:
            return POPULARITIES[0]
        kept = own.copy()
        kept.data[np.isin(np.repeat(np.arange(own.shape[0]), np.diff(own.indptr)), hidden)] = 0
        kept.eliminate_zeros()
        popularity = np.bincount(kept.indices, minlength=own.shape[1]).astype(np.float32)
        if not kept.nnz:
            return POPULARITIES[0]
        near = {name: near_across(part, kept, formula, self.map_blocks) for name, part in parts.items()}
        gains = np.zeros(len(POPULARITIES))
        size = max(1, BLOCK_CELLS // own.shape[1])
        for start in range(0, len(hidden), size):
            users = hidden[start : start + size]
            scores = sum(
                (np.float32(weights[name]) * score_product(parts[name][users], near[name]) for name in near),
                np.zeros((len(users), own.shape[1]), np.float32),
            )
            users, scores = users[scores.any(axis=1)], scores[scores.any(axis=1)]
            for place, weight in enumerate(POPULARITIES):
                added = _with_popularity(scores.copy(), popularity, weight)
                gains[place] += ndcg(added, own[users], CUTOFF).sum()
        return POPULARITIES[int(gains.argmax())]


def _with_popularity(scores: Scores, popularity: npt.NDArray[np.float32], weight: float) -> Scores:
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


def _with_entries(weights: Matrix) -> tuple[Matrix, Rows]:
    """Return the rows with entries, and their numbers."""
    rows = np.flatnonzero(np.diff(weights.indptr))
    return weights[rows], rows


def _place(blocks: list[tuple[Rows, Matrix]], columns: Rows, videos: int) -> Matrix:
    """Return (videos, videos) similarities of blocks, each of some rows and all `columns`."""
    found = [(rows, block.tocoo()) for rows, block in blocks]
    data = np.concatenate([block.data for _, block in found])
    row = np.concatenate([rows[block.row] for rows, block in found])
    column = np.concatenate([columns[block.col] for _, block in found])
    return sparse.csr_matrix((data, (row, column)), (videos, videos), dtype=np.float32)
