"""Variety within a list: what being like the videos chosen already costs a candidate, slot by slot."""

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
    """How alike two videos are."""

    creator: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of having the same creator, beside a weight of 1 for being alike in content."""
    category: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of being in the same category, beside a weight of 1 for being alike in content."""


class NoDiversityConfig(BaseConfig):
    """The order by worth alone."""

    kind: Literal["off"] = "off"
    """Tells this from the others."""


class MmrConfig(BaseConfig):
    """Maximal marginal relevance (Carbonell and Goldstein 1998)."""

    kind: Literal["mmr"] = "mmr"
    """Tells this from the others."""
    relevance: float = Field(default=0.3, gt=0, le=1)
    """λ: share of worth, in standard deviations over the candidates, against likeness to the most alike
    video chosen; 1 is the order by worth. The default costs simulated shops 1 % of their clicks."""
    likeness: CandidateSimilarityConfig = Field(default_factory=CandidateSimilarityConfig)
    """How alike two videos are."""


class DppConfig(BaseConfig):
    """Greedy search for the likeliest list under a determinantal point process (Chen et al. 2018)."""

    kind: Literal["dpp"] = "dpp"
    """Tells this from the others."""
    relevance: float = Field(default=0.6, gt=0, le=1)
    """θ: share of worth, in standard deviations over the candidates, against the log-determinant of the
    chosen videos' likenesses; 1 is the order by worth. The default costs simulated shops 1 % of their
    clicks."""
    jitter: float = Field(default=0.01, gt=0, le=1)
    """Share of a video that is like no other, not even its copy: it bounds what a copy costs, at
    log(1 + 1/jitter) standard deviations times (1 − θ)/θ."""
    likeness: CandidateSimilarityConfig = Field(default_factory=CandidateSimilarityConfig)
    """How alike two videos are."""


DiversityConfig = Annotated[NoDiversityConfig | MmrConfig | DppConfig, Field(discriminator="kind")]


@dataclass(frozen=True, eq=False, slots=True)
class CandidateSimilarity:
    """How alike N candidates are, in [0, 1] and 1 with themselves: a positive semidefinite matrix by row.

    Content counts as (1 + cosine) / 2, which keeps the matrix positive semidefinite and opposites apart from
    copies (Chen et al. 2018, section 4). A candidate without a vector is taken as neither like nor unlike
    those that have one, ½, and to others without by ½ + ¼ [same creator] + ¼ [same category]. Two videos
    without a creator, or a category, have different ones.
    """

    vectors: Vectors
    """(N, dim) unit rows, zeros where there is none."""
    blank: Mask
    """(N,) which have no vector."""
    creator: RowIndices
    """(N,) −1 for none."""
    category: RowIndices
    """(N,) −1 for none."""
    weights: tuple[float, float, float]
    """Of content, creator and category; their sum is 1."""

    @classmethod
    def from_catalog(
        cls, catalog: CatalogArrays, places: RowIndices, config: CandidateSimilarityConfig
    ) -> "CandidateSimilarity":
        """The likeness of the videos at (N,) places of a catalog."""
        total = 1 + config.creator + config.category
        vectors = catalog.vectors[places]
        return cls(
            vectors=vectors,
            blank=np.asarray(~vectors.any(axis=1)),
            creator=catalog.creator[places],
            category=catalog.category[places],
            weights=(1 / total, config.creator / total, config.category / total),
        )

    def row(self, one: int) -> Floats:
        """(N,) float64 how alike each candidate is to one of them."""
        content, creator, category = self.weights
        if self.blank[one]:
            by, of = _same(self.creator, one), _same(self.category, one)
            alike = np.where(self.blank, 0.5 + 0.25 * (by + of), 0.5)
        else:
            alike = (0.5 + 0.5 * (self.vectors @ self.vectors[one]).astype(np.float64)).clip(0, 1)
        alike *= content
        # Most shops weigh content alone, and this is done for every slot.
        if creator:
            alike += creator * _same(self.creator, one)
        if category:
            alike += category * _same(self.category, one)
        return alike


def _same(codes: RowIndices, one: int) -> Floats:
    """(N,) 1 where the code is that of one of them and not −1; 1 for itself."""
    same = ((codes == codes[one]) & (codes >= 0)).astype(np.float64)
    same[one] = 1.0
    return same


class MmrPenalty:
    """weight × likeness to the most alike of those chosen."""

    def __init__(self, likeness: CandidateSimilarity, weight: float) -> None:
        self._likeness, self._weight = likeness, weight
        self._closest = np.zeros(len(likeness.creator))

    def costs(self) -> Floats:
        """(N,) what each candidate loses in the next slot; 0 in the first."""
        return self._weight * self._closest

    def choose(self, one: int) -> None:
        """Adds a candidate to the list."""
        self._closest = np.maximum(self._closest, self._likeness.row(one))


class DppPenalty:
    """weight × how much less each candidate would add to the list's log-determinant than if it were alone.

    With S the likenesses, jittered to a unit diagonal, and Y the chosen, that is
    −log(det S[Y + i] / det S[Y]) ≥ 0. The ratio is the squared last entry of a Cholesky factor, which is kept
    for every candidate and brought up to date in O(N · slots) (Chen et al. 2018, "Fast greedy MAP inference
    for determinantal point process to improve recommendation diversity").
    """

    def __init__(self, likeness: CandidateSimilarity, weight: float, jitter: float, slots: int) -> None:
        self._likeness, self._weight, self._jitter = likeness, weight, jitter
        self._rows = np.zeros((slots, len(likeness.creator)))
        self._chosen = 0
        self._left = np.ones(len(likeness.creator))

    def costs(self) -> Floats:
        """(N,) what each candidate loses in the next slot; 0 in the first. Undefined for those chosen."""
        return -self._weight * np.log(self._left)

    def choose(self, one: int) -> None:
        """Adds a candidate to the list."""
        row = self._likeness.row(one) / (1 + self._jitter)
        before = self._rows[: self._chosen]
        new = (row - before[:, one] @ before) / np.sqrt(self._left[one])
        self._rows[self._chosen] = new
        self._chosen += 1
        # In exact arithmetic it is never below what jitter leaves.
        self._left = np.maximum(self._left - new * new, self._jitter / (1 + self._jitter))


class NoDiversityPenalty:
    """Nothing is lost by being alike."""

    def __init__(self, candidates: int) -> None:
        self._costs = np.zeros(candidates)

    def costs(self) -> Floats:
        """(N,) zeros."""
        return self._costs

    def choose(self, one: int) -> None:
        """Changes nothing."""


DiversityPenalty = NoDiversityPenalty | MmrPenalty | DppPenalty


def build_penalty(
    config: DiversityConfig, catalog: CatalogArrays, places: RowIndices, relevance: Floats, slots: int
) -> DiversityPenalty:
    """The penalty, in the unit of `relevance` (N,), of the videos at (N,) places in a list of `slots`.

    Greedy choice by relevance − costs() is then that of the paper: λ·r − (1 − λ)·likeness, or
    θ·r + (1 − θ)·log det, each divided by its first weight, with r the relevance in standard deviations
    over the candidates. Where all are worth the same that unit is 1, and likeness alone decides.
    """
    if config.kind == "off" or not len(places):
        return NoDiversityPenalty(len(places))
    # The deviation of equal numbers is not always exactly 0.
    unit = float(relevance.std()) if np.ptp(relevance) > 0 else 1.0
    weight = (1 - config.relevance) / config.relevance * unit
    likeness = CandidateSimilarity.from_catalog(catalog, places, config.likeness)
    match config:
        case MmrConfig():
            return MmrPenalty(likeness, weight)
        case DppConfig():
            return DppPenalty(likeness, weight, config.jitter, slots)
        case _ as never:
            assert_never(never)
