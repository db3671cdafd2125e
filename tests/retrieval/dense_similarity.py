"""Similarities computed on dense arrays, the reference of the neighborhood models."""

import numpy as np
from hypothesis import strategies as st

from vrec.retrieval.config import SimilarityConfig
from vrec.retrieval.similarity import SimilarityFormula

CONFIGS = st.fixed_dictionaries(
    {
        "similarity": st.sampled_from(["cosine", "pearson", "product"]),
        "popularity_penalty": st.sampled_from([0.0, 0.5, 1.0]),
        "weighting": st.sampled_from(["none", "tfidf", "bm25"]),
        "shrink": st.sampled_from([0.0, 0.5, 10.0]),
        "neighbours": st.sampled_from([1, 2, 5, 100]),
    }
)
"""Settings of SimilarityConfig, none of them `auto`."""

PLAIN = {"popularity_penalty": 1.0, "shrink": 0.0, "weighting": "none"}
"""Settings of the cosine proper."""


def weigh(x: np.ndarray, kind: str, like: np.ndarray) -> np.ndarray:
    """The rows of `x` weighed by what is known of the rows of `like`."""
    x, like = x.astype(float), like.astype(float)
    idf = np.log(like.shape[0] / (1 + (like > 0).sum(axis=0)))
    if kind == "tfidf":
        return np.sqrt(x) * idf
    if kind == "bm25":
        length = 0.25 + 0.75 * x.sum(axis=1, keepdims=True) / like.sum(axis=1).mean()
        return x * 2.2 / (1.2 * length + x) * idf
    return x


def similarities(x: np.ndarray, y: np.ndarray, config: SimilarityConfig | SimilarityFormula) -> np.ndarray:
    """All similarities of the rows of two dense arrays, those of pairs without a shared column being 0."""
    apart = (x @ y.T) == 0
    if config.similarity == "pearson":
        apart |= (np.ptp(x, axis=1) < 1e-9)[:, None] | (np.ptp(y, axis=1) < 1e-9)
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    left, right = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    usual = right[right > 1e-9].mean() if (right > 1e-9).any() else 1.0
    if config.similarity == "product":
        lengths = np.full((len(x), len(y)), usual**2)
    else:
        lengths = np.outer(left, usual * (right / usual) ** config.popularity_penalty)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(apart, 0, x @ y.T / (lengths + config.shrink))


def is_best(kept: np.ndarray, every: np.ndarray, k: int) -> None:
    """`kept` has the k greatest positive of each row; which of those within rounding of the k-th is open."""
    for row, full in zip(kept, every, strict=True):
        places = np.flatnonzero(row)
        np.testing.assert_allclose(row[places], full[places], rtol=2e-4, atol=2e-6)
        good = np.sort(full[full > 2e-6])[::-1][:k]
        assert abs(len(places) - len(good)) <= np.count_nonzero(np.abs(full) <= 4e-6)
        both = min(len(good), len(places))
        np.testing.assert_allclose(np.sort(row[places])[::-1][:both], good[:both], rtol=2e-4, atol=4e-6)


def one_by_one(function, comparison, blocks):
    return [function(comparison, block) for block in blocks]
