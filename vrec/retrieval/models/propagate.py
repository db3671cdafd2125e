"""Propagation of tastes over similar users: W = (U Uᵀ) C V, without a users × users matrix.

U (n, k) are users' tastes and V (m, k) videos in one space, and C = Û V̂ᵀ their cosines, where a hat means
rows scaled to length 1. By associativity W = U · (UᵀÛ)(V̂ᵀV): two k × k sums over blocks of rows, and one
small product per user.
"""

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.schema import EMBEDDINGS, conform
from vrec.core.types import CatalogContent, Vectors
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import PropagationConfig
from vrec.retrieval.index.exact_search import enable_blas_search
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, Matrix
from vrec.retrieval.models.content import embedding_rows
from vrec.retrieval.topk import Scores

Square = npt.NDArray[np.float64]
BLOCK_ROWS = 16_384
"""Rows in float64 at once."""


@dataclass(frozen=True)
class GramSums:
    """Sums over the rows of X (n, k) that the formula needs; those of two sets of rows can be added."""

    cross: Square
    """(k, k) XᵀX̂."""
    cosine: Square
    """(k, k) X̂ᵀX̂."""
    total: npt.NDArray[np.float64]
    """(k,) sum of the rows of X̂."""

    @classmethod
    def from_rows(cls, block: Vectors) -> "GramSums":
        """Compute the sums of one block of rows, in float64; rows of zeros add nothing."""
        rows = block.astype(np.float64)
        unit = normalize_rows(rows)
        return cls(rows.T @ unit, unit.T @ unit, unit.sum(axis=0))

    @classmethod
    def from_all_rows(cls, rows: Vectors) -> "GramSums":
        """Compute the sums of all rows, a block at a time; without rows, they are zeros."""
        sums = cls.from_rows(rows[:BLOCK_ROWS])
        for start in range(BLOCK_ROWS, len(rows), BLOCK_ROWS):
            sums = sums + cls.from_rows(rows[start : start + BLOCK_ROWS])
        return sums

    def __add__(self, other: "GramSums") -> "GramSums":
        return GramSums(self.cross + other.cross, self.cosine + other.cosine, self.total + other.total)


def normalize_rows(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same rows at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def propagate_plain(tastes: Vectors, users: GramSums, videos: GramSums) -> npt.NDArray[np.float64]:
    """Return the (B, k) rows of W = (U Uᵀ) C V for tastes (B, k), in float64."""
    return tastes.astype(np.float64) @ (users.cross @ videos.cross.T)


def propagate_by_degree(tastes: Vectors, users: GramSums, videos: GramSums) -> npt.NDArray[np.float64]:
    """Return the (B, k) rows of W = D⁻¹ (Û Ûᵀ) C V for tastes (B, k), in float64: means by cosine.

    D are the row sums of Û Ûᵀ, but at least 1, which is what the user alone contributes: with as many
    opposite as similar users the sum would approach 0.
    """
    unit = normalize_rows(tastes.astype(np.float64))
    degree = np.maximum(unit @ users.total, 1)
    return unit @ (users.cosine @ videos.cross.T) / degree[:, None]


def propagate_by_neighbours(
    tastes: Vectors, unit_users: Vectors, videos: GramSums, neighbours: int
) -> npt.NDArray[np.float64]:
    """Return the (B, k) rows of W = N (C V) for tastes (B, k), in float64; N averages similar users.

    The rows of N are the cosines of the `neighbours` nearest of `unit_users` (n, k), negative ones as 0,
    divided by their sum. Time is O(B n k): for all users it grows with the square of their number.
    """
    enable_blas_search()
    unit = normalize_rows(tastes.astype(np.float64))
    count = min(neighbours, len(unit_users))
    cosines, near = faiss.knn(
        unit.astype(np.float32), np.ascontiguousarray(unit_users), count, metric=faiss.METRIC_INNER_PRODUCT
    )
    weights = np.maximum(cosines.astype(np.float64), 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    mixed = sparse.csr_matrix(
        (weights.ravel(), near.ravel(), np.arange(len(near) + 1) * count), shape=(len(near), len(unit_users))
    )
    return (mixed @ unit_users.astype(np.float64)) @ videos.cross.T


class PropagationRecommender(MatrixRecommender[PropagationConfig]):
    """Scores S = W Vᵀ, where W are the users' tastes after propagation over similar users.

    A taste is the mean of the vectors of a user's videos by weight. V are the centered unit embeddings, or
    the right singular vectors of the interactions (randomized SVD, Halko, Martinsson and Tropp 2011). A new
    event changes only its user's row of W. `fit` raises FitError if embeddings are required and there are
    none.
    """

    kind = "propagate"
    Config = PropagationConfig

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        known = [interactions.column("video_id")]
        embeddings = self._embeddings(content)
        if embeddings is not None:
            table = conform(embeddings, EMBEDDINGS, stage=self.kind)
            known.append(table.column("entity_id"))
        return IdVocabulary.from_columns(*known)

    def _embeddings(self, content: CatalogContent | None) -> pa.Table | None:
        if self.config.space == "interactions":
            return None
        embeddings = None if content is None else content.embeddings
        if embeddings is None and self.config.space == "embeddings":
            raise FitError(
                f"{self.kind}: there are no embeddings",
                fix="give --embeddings, or set space=interactions",
            )
        return embeddings

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        embeddings = self._embeddings(content)
        if embeddings is not None:
            self.vectors = embedding_rows(embeddings, self.videos, center=True)
        else:
            self.vectors = self._factors(histories)
        tastes = self._tastes(histories.weights).astype(np.float32)
        if not tastes.any():
            raise FitError(
                f"{self.kind}: none of the videos that were watched has an embedding",
                fix="give the embeddings of these videos, under the same ids",
            )
        self.sums = GramSums.from_all_rows(tastes)
        self.video_sums = GramSums.from_all_rows(self.vectors)
        self.unit_users = np.zeros((0, tastes.shape[1]), np.float32)
        if self.config.mode == "neighbours":
            self.unit_users = normalize_rows(tastes.astype(np.float64)).astype(np.float32)

    def _factors(self, histories: InteractionMatrix) -> Vectors:
        # Imported here: the import takes a second, which every command would pay.
        from sklearn.utils.extmath import randomized_svd

        count = min(self.config.factors, *histories.weights.shape)
        right = randomized_svd(_means(histories.weights), count, random_state=self.config.seed)[2]
        return np.ascontiguousarray(right.T, dtype=np.float32)

    def _tastes(self, weights: Matrix) -> npt.NDArray[np.float64]:
        return np.asarray(_means(weights) @ self.vectors.astype(np.float64))

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        del users
        tastes = self._tastes(histories.weights).astype(np.float32)
        match self.config.mode:
            case "plain":
                propagated = propagate_plain(tastes, self.sums, self.video_sums)
            case "degree":
                propagated = propagate_by_degree(tastes, self.sums, self.video_sums)
            case "neighbours":
                propagated = propagate_by_neighbours(
                    tastes, self.unit_users, self.video_sums, self.config.neighbours
                )
        scores = (propagated @ self.vectors.astype(np.float64).T).astype(np.float32)
        scores[~tastes.any(axis=1)] = -np.inf
        scores[:, ~self.vectors.any(axis=1)] = -np.inf
        return scores

    def _arrays(self) -> Arrays:
        sums = {"users": self.sums, "videos": self.video_sums}
        parts = {f"{name}.{part}": array for name, gram in sums.items() for part, array in vars(gram).items()}
        return {"vectors": self.vectors, "unit_users": self.unit_users, **parts}

    def _restore(self, arrays: Arrays) -> None:
        self.vectors, self.unit_users = arrays["vectors"], arrays["unit_users"]
        self.sums, self.video_sums = (
            GramSums(*(arrays[f"{name}.{part}"] for part in ("cross", "cosine", "total")))
            for name in ("users", "videos")
        )


def _means(weights: Matrix) -> Matrix:
    # Each row divided by its sum, in float64.
    sums = np.asarray(weights.sum(axis=1), np.float64).ravel()
    share = weights.data.astype(np.float64) / np.repeat(sums, np.diff(weights.indptr))
    return sparse.csr_matrix((share, weights.indices, weights.indptr), shape=weights.shape)
