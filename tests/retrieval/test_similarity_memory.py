"""Memory of a fit of item_knn in units of its matrix, by NumPy's own account of what it allocates."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from vrec.retrieval.config import SimilarityConfig, WeightingKind
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.models.item_knn import similar_videos, video_similarity_task
from vrec.retrieval.similarity import SimilarityFormula
from vrec.retrieval.similarity_choice import choose_video_formula

USERS, VIDEOS, DRAWS = 50_000, 20_000, 1_200_000


@pytest.fixture(scope="module")
def weights() -> Matrix:
    rng = np.random.default_rng(0)
    popularity = (np.arange(VIDEOS) + 50.0) ** -0.9
    columns = rng.choice(VIDEOS, DRAWS, p=popularity / popularity.sum())
    matrix = sparse.csr_matrix(
        (np.ones(DRAWS, np.float32), (rng.integers(USERS, size=DRAWS), columns)), (USERS, VIDEOS)
    )
    matrix.sum_duplicates()
    return matrix


def peak_of(work: Callable[[], object], weights: Matrix) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (weights.data.nbytes + weights.indices.nbytes + weights.indptr.nbytes)


@pytest.mark.parametrize(("weighting", "most"), [("none", 2.0), ("bm25", 2.5)])
def test_a_fit_takes_few_times_its_matrix(weights: Matrix, weighting: WeightingKind, most: float) -> None:
    """Besides its results and with one thread; each further one has blocks of its own."""
    formula = SimilarityFormula(neighbours=20, weighting=weighting)
    room = VIDEOS * formula.neighbours * 8 / (weights.nnz * 8)

    def fit() -> Matrix:
        return similar_videos(
            weights, formula, lambda function, task, blocks: map(function, [task] * len(blocks), blocks)
        )

    assert peak_of(fit, weights) - room < most


def test_the_choice_takes_little_more_than_three_times_the_matrix(weights: Matrix) -> None:
    """One of the matrix without what is held out, one and a half of the weighted rows and columns."""
    config = SimilarityConfig()
    assert peak_of(lambda: choose_video_formula(weights, config, video_similarity_task), weights) < 4
