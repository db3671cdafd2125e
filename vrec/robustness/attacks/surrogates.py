"""Recommenders in closed form, with which a model-aware attack predicts what its fake shoppers gain.

Each tells, for several profiles at once, the score that the target would have for real shoppers if a number
of fake shoppers had that profile. The other scores are taken as without the attack.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from vrec.robustness.watched import Floats, Ints

EASE_LAMBDA = 100.0
"""λ of the surrogate EASE."""
FACTORS = 32
"""Factors of the surrogate matrix factorization."""
FACTOR_LAMBDA = 10.0
"""Ridge of its video vectors."""


class Surrogate(Protocol):
    """Prediction of scores under attack."""

    def clean_scores(self) -> Floats:
        """Return the (S, V) scores without an attack."""
        ...

    def target_scores(self, profile: Ints, candidates: Ints, copies: int) -> Floats:
        """Return (S, C) scores of the target for real shoppers.

        Args:
            profile: Fillers that the fake shoppers have already.
            candidates: (C,) fillers of which one more is added.
            copies: Number of fake shoppers with this profile.
        """
        ...


@dataclass(frozen=True)
class SurrogateKnn:
    """Item-based neighborhoods by the cosine, over all neighbors."""

    watched: sparse.csr_matrix
    """(S, V) ones."""
    target: int
    pairs: Floats
    """(V, V) shoppers of both videos."""

    @classmethod
    def fit(cls, watched: sparse.csr_matrix, target: int) -> Self:
        """Count pairs of (S, V) ones."""
        return cls(watched, target, (watched.T @ watched).toarray())

    def clean_scores(self) -> Floats:
        root = np.sqrt(np.maximum(self.pairs.diagonal(), 1))
        near = self.pairs / root / root[:, None]
        np.fill_diagonal(near, 0)
        return np.asarray(self.watched @ near)

    def target_scores(self, profile: Ints, candidates: Ints, copies: int) -> Floats:
        counts = self.pairs.diagonal()
        length = np.sqrt(counts[self.target] + copies)
        plain = self.pairs[self.target] / np.sqrt(np.maximum(counts, 1)) / length
        added = (self.pairs[self.target] + copies) / np.sqrt(counts + copies) / length
        near = plain.copy()
        near[profile] = added[profile]
        near[self.target] = 0
        base = self.watched @ near
        return base[:, None] + self.watched[:, candidates].toarray() * (added - near)[candidates]


@dataclass(frozen=True)
class SurrogateEase:
    """EASE (Steck 2019), whose inverse a profile changes by the formula of Sherman and Morrison (1950)."""

    watched: sparse.csr_matrix
    target: int
    inverse: Floats
    """(V, V) P = (XᵀX + λI)⁻¹."""

    @classmethod
    def fit(cls, watched: sparse.csr_matrix, target: int) -> Self:
        """Invert the Gram matrix of (S, V) ones."""
        gram = (watched.T @ watched).toarray()
        gram[np.diag_indices(len(gram))] += EASE_LAMBDA
        return cls(watched, target, np.linalg.inv(gram))

    def clean_scores(self) -> Floats:
        weights = -self.inverse / self.inverse.diagonal()
        np.fill_diagonal(weights, 0)
        return np.asarray(self.watched @ weights)

    def target_scores(self, profile: Ints, candidates: Ints, copies: int) -> Floats:
        inverse, target = self.inverse, self.target
        own = np.append(profile, target)
        product = inverse[:, own].sum(axis=1)  # Px of the profile so far
        columns = product[:, None] + inverse[:, candidates]
        leverage = product[own].sum() + 2 * product[candidates] + inverse.diagonal()[candidates]
        changed = inverse[:, [target]] - columns * (copies * columns[target] / (1 + copies * leverage))
        weights = -changed / changed[target]
        weights[target] = 0
        return np.asarray(self.watched @ weights)


@dataclass(frozen=True)
class SurrogateFactors:
    """Matrix factorization: shoppers are sums of singular vectors, and a video's vector is solved by
    ridge."""

    watched: sparse.csr_matrix
    target: int
    videos: Floats
    """(V, F) right singular vectors of (S, V) ones (Cremonesi, Koren and Turrin 2010)."""
    shoppers: Floats
    """(S, F) sums of the vectors of what a shopper watched."""
    inverse: Floats
    """(F, F) inverse of the shoppers' Gram matrix with a ridge."""

    @classmethod
    def fit(cls, watched: sparse.csr_matrix, target: int) -> Self:
        """Factorize (S, V) ones."""
        rank = min(FACTORS, min(watched.shape) - 1)
        start = np.ones(min(watched.shape))
        videos = svds(watched.astype(np.float64), k=rank, v0=start)[2].T
        shoppers = np.asarray(watched @ videos)
        gram: Floats = shoppers.T @ shoppers + FACTOR_LAMBDA * np.eye(rank)
        return cls(watched, target, videos, shoppers, np.asarray(np.linalg.inv(gram), np.float64))

    def clean_scores(self) -> Floats:
        return self.shoppers @ (self.inverse @ (self.watched.T @ self.shoppers).T)

    def target_scores(self, profile: Ints, candidates: Ints, copies: int) -> Floats:
        sums = self.shoppers.T @ self.watched[:, [self.target]].toarray()  # (F, 1)
        fakes = (self.videos[profile].sum(axis=0) + self.videos[candidates]).T  # (F, C)
        moved = self.inverse @ fakes
        # Ridge with the fake shoppers' rows added, by Sherman and Morrison.
        residual = 1 - (moved.T @ sums)[:, 0]
        leverage = (fakes * moved).sum(axis=0)
        vectors = self.inverse @ sums + moved * (copies * residual / (1 + copies * leverage))
        return self.shoppers @ vectors
