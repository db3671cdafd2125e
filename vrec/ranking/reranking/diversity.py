"""Diversity within a list: penalties for similarity to the videos already chosen, slot by slot."""

from dataclasses import dataclass
from typing import Annotated, Literal, assert_never

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Vectors
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class CandidateSimilarityConfig(BaseConfig):
    """Weights of the similarity of two videos."""

    creator: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of having the same creator; content similarity has weight 1."""
    category: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of being in the same category; content similarity has weight 1."""


class NoDiversityConfig(BaseConfig):
    """No diversity: the order by relevance alone."""

    kind: Literal["off"] = "off"
    """Name of this method."""


class MmrConfig(BaseConfig):
    """Maximal marginal relevance (Carbonell and Goldstein 1998)."""

    kind: Literal["mmr"] = "mmr"
    """Name of this method."""
    relevance: float = Field(default=0.3, gt=0, le=1)
    """λ: weight of relevance, in standard deviations over the candidates, against similarity to the most
    similar video chosen; 1 is the order by relevance. The default costs simulated shops 1 % of their
    clicks."""
    likeness: CandidateSimilarityConfig = Field(default_factory=CandidateSimilarityConfig)
    """Similarity of two videos."""


class DppConfig(BaseConfig):
    """Greedy search for the most likely list under a determinantal point process (Chen et al. 2018)."""

    kind: Literal["dpp"] = "dpp"
    """Name of this method."""
    relevance: float = Field(default=0.6, gt=0, le=1)
    """θ: weight of relevance, in standard deviations over the candidates, against the log-determinant of the
    similarities of the chosen videos; 1 is the order by relevance. The default costs simulated shops 1 % of
    their clicks."""
    jitter: float = Field(default=0.01, gt=0, le=1)
    """Part of each video that is similar to no other, not even to a copy. It bounds the penalty of a copy at
    log(1 + 1/jitter) standard deviations times (1 − θ)/θ."""
    likeness: CandidateSimilarityConfig = Field(default_factory=CandidateSimilarityConfig)
    """Similarity of two videos."""


DiversityConfig = Annotated[NoDiversityConfig | MmrConfig | DppConfig, Field(discriminator="kind")]


@dataclass(frozen=True, eq=False, slots=True)
class CandidateSimilarity:
    """Similarities of N candidates in [0, 1], 1 with themselves: a positive semidefinite matrix, by row.

    The content similarity is (1 + cosine) / 2, which keeps the matrix positive semidefinite and separates
    opposites from copies (Chen et al. 2018, section 4). A candidate without a vector has similarity ½ to
    those with one, and ½ + ¼ [same creator] + ¼ [same category] to others without one. Two videos without
    a creator, or without a category, count as different in it.
    """

    vectors: Vectors
    """(N, dim) unit rows, zeros where there is none."""
    blank: Mask
    """(N,) whether the candidate has no vector."""
    creator: RowIndices
    """(N,) creator codes, −1 for none."""
    category: RowIndices
    """(N,) category codes, −1 for none."""
    weights: tuple[float, float, float]
    """Weights of content, creator and category, with sum 1."""

    @classmethod
    def from_catalog(
        cls, catalog: CatalogArrays, catalog_rows: RowIndices, config: CandidateSimilarityConfig
    ) -> "CandidateSimilarity":
        """Build the similarities of the videos at (N,) rows of a catalog."""
        total = 1 + config.creator + config.category
        vectors = catalog.vectors[catalog_rows]
        return cls(
            vectors=vectors,
            blank=np.asarray(~vectors.any(axis=1)),
            creator=catalog.creator[catalog_rows],
            category=catalog.category[catalog_rows],
            weights=(1 / total, config.creator / total, config.category / total),
        )

    def row(self, one: int) -> Floats:
        """Return the (N,) float64 similarities of all candidates to one of them."""
        content, creator, category = self.weights
        if self.blank[one]:
            creator_match, category_match = _same(self.creator, one), _same(self.category, one)
            similarity = np.where(self.blank, 0.5 + 0.25 * (creator_match + category_match), 0.5)
        else:
            similarity = (0.5 + 0.5 * (self.vectors @ self.vectors[one]).astype(np.float64)).clip(0, 1)
        similarity *= content
        # Skipped at weight 0, the default, as this runs for every slot.
        if creator:
            similarity += creator * _same(self.creator, one)
        if category:
            similarity += category * _same(self.category, one)
        return similarity


def _same(codes: RowIndices, one: int) -> Floats:
    """Return (N,) 1.0 where a candidate has the code of one of them, and for that one itself, else 0.0.

    Code −1 (none) matches no other candidate.
    """
    same = ((codes == codes[one]) & (codes >= 0)).astype(np.float64)
    same[one] = 1.0
    return same


class MmrPenalty:
    """MMR penalty: weight × similarity to the most similar candidate chosen."""

    def __init__(self, similarity: CandidateSimilarity, weight: float) -> None:
        self._similarity, self._weight = similarity, weight
        self._closest = np.zeros(len(similarity.creator))

    def costs(self) -> Floats:
        """Return the (N,) penalties for the next slot, 0 for the first."""
        return self._weight * self._closest

    def choose(self, one: int) -> None:
        """Add a candidate to the list."""
        self._closest = np.maximum(self._closest, self._similarity.row(one))


class DppPenalty:
    """DPP penalty: weight × loss of a candidate's gain in log-determinant against being alone.

    With S the similarities, jittered to a unit diagonal, and Y the chosen candidates, the loss is
    −log(det S[Y + i] / det S[Y]) ≥ 0. The ratio is the squared last entry of a Cholesky factor, which is
    updated for every candidate in O(N · slots) (Chen et al. 2018, "Fast greedy MAP inference for
    determinantal point process to improve recommendation diversity").
    """

    def __init__(self, similarity: CandidateSimilarity, weight: float, jitter: float, slots: int) -> None:
        self._similarity, self._weight, self._jitter = similarity, weight, jitter
        self._rows = np.zeros((slots, len(similarity.creator)))
        self._chosen = 0
        self._left = np.ones(len(similarity.creator))

    def costs(self) -> Floats:
        """Return the (N,) penalties for the next slot, 0 for the first; undefined for those chosen."""
        return -self._weight * np.log(self._left)

    def choose(self, one: int) -> None:
        """Add a candidate to the list."""
        row = self._similarity.row(one) / (1 + self._jitter)
        before = self._rows[: self._chosen]
        new = (row - before[:, one] @ before) / np.sqrt(self._left[one])
        self._rows[self._chosen] = new
        self._chosen += 1
        # In exact arithmetic it is never below this bound.
        self._left = np.maximum(self._left - new * new, self._jitter / (1 + self._jitter))


class NoDiversityPenalty:
    """Penalty of zero."""

    def __init__(self, candidates: int) -> None:
        self._costs = np.zeros(candidates)

    def costs(self) -> Floats:
        """Return (N,) zeros."""
        return self._costs

    def choose(self, one: int) -> None:
        """Do nothing."""


DiversityPenalty = NoDiversityPenalty | MmrPenalty | DppPenalty


def build_penalty(
    config: DiversityConfig, catalog: CatalogArrays, catalog_rows: RowIndices, relevance: Floats, slots: int
) -> DiversityPenalty:
    """Build the penalty in the unit of `relevance`.

    The greedy choice by relevance − costs() is that of the paper: λ·r − (1 − λ)·similarity, or
    θ·r + (1 − θ)·log det, each divided by its first weight, with r the relevance in standard deviations
    over the candidates. Where all candidates have equal relevance the unit is 1, and similarity decides.

    Args:
        config: Kind and weights of the penalty.
        catalog: Catalog of the candidates.
        catalog_rows: (N,) rows of the candidates in the catalog.
        relevance: (N,) relevance of the candidates.
        slots: Number of slots of the list.
    """
    if config.kind == "off" or not len(catalog_rows):
        return NoDiversityPenalty(len(catalog_rows))
    # The standard deviation of equal numbers is not always exactly 0.
    unit = float(relevance.std()) if np.ptp(relevance) > 0 else 1.0
    weight = (1 - config.relevance) / config.relevance * unit
    similarity = CandidateSimilarity.from_catalog(catalog, catalog_rows, config.likeness)
    match config:
        case MmrConfig():
            return MmrPenalty(similarity, weight)
        case DppConfig():
            return DppPenalty(similarity, weight, config.jitter, slots)
        case _ as never:
            assert_never(never)
