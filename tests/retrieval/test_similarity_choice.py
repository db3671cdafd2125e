"""Settings of a similarity that are chosen in the fit."""

import numpy as np
import pytest
from scipy import sparse

from tests.retrieval.matrices import dense_scores, ids, random_matrix, to_interactions
from vrec.retrieval.config import ItemKnnConfig, SimilarityConfig
from vrec.retrieval.models.item_knn import ItemKnn, video_similarity_task
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.similarity import SimilarityFormula
from vrec.retrieval.similarity_choice import (
    PENALTIES,
    WEIGHTINGS,
    choose_video_formula,
    given_formula,
)


def sparse_shop(seed: int, users: int = 800, videos: int = 1500) -> np.ndarray:
    """Five videos a user, drawn by popularity: what is popular is all that can be learned."""
    rng = np.random.default_rng(seed)
    popularity = (np.arange(videos) + 1.0) ** -0.8
    matrix = np.zeros((users, videos), np.float32)
    for row in matrix:
        row[rng.choice(videos, 5, replace=False, p=popularity / popularity.sum())] = 1
    return matrix[:, matrix.any(axis=0)]


@pytest.mark.parametrize("model", [ItemKnn, UserKnn])
def test_rare_videos_are_not_near_for_being_rare_in_a_sparse_shop(model: type) -> None:
    """The cosine prefers videos with one user in common and no other; a held-out video is seldom one."""
    matrix = sparse_shop(0)
    table = to_interactions(matrix)
    chosen = model().fit(table)
    assert chosen.report["popularity_penalty"] < 1
    cosine = model(model.Config(popularity_penalty=1, shrink=0, weighting="none")).fit(table)
    popular = matrix.sum(axis=0)
    ranks = []
    for each in (chosen, cosine):
        found = dense_scores(each.recommend(ids("u", len(matrix)), 10), matrix.shape)
        ranks.append(popular[np.nonzero(np.isfinite(found))[1]].mean())
    assert model is UserKnn or ranks[0] > 2 * ranks[1]


def test_what_is_given_is_not_chosen() -> None:
    weights = sparse.csr_matrix(sparse_shop(1))
    given = {"popularity_penalty": 0.9, "shrink": 2.0, "weighting": "none"}
    for free in given:
        config = SimilarityConfig(
            **{name: value for name, value in given.items() if name != free}, neighbours=7
        )
        found = choose_video_formula(weights, config, video_similarity_task)
        assert found.neighbours == 7
        for name, value in given.items():
            assert name == free or getattr(found, name) == value
    config = SimilarityConfig(**given)
    assert choose_video_formula(weights, config, video_similarity_task) == SimilarityFormula(
        "cosine", 100, 0.9, 2.0, "none"
    )


@pytest.mark.parametrize("matrix", [np.ones((1, 1)), np.ones((30, 1)), np.eye(30), np.ones((2, 3))])
def test_too_little_to_choose_by_gives_fixed_values(matrix: np.ndarray) -> None:
    weights = sparse.csr_matrix(matrix.astype(np.float32))
    found = choose_video_formula(weights, SimilarityConfig(), video_similarity_task)
    assert found == given_formula(SimilarityConfig()) == SimilarityFormula(popularity_penalty=0.5)


def test_the_choice_is_among_what_is_said_and_stands_in_the_manifest(tmp_path) -> None:
    matrix = random_matrix(2, 200, 60)
    for model in (ItemKnn, UserKnn):
        fitted = model().fit(to_interactions(matrix))
        assert fitted.report["popularity_penalty"] in PENALTIES
        assert fitted.report["weighting"] in WEIGHTINGS
        fitted.save(str(tmp_path / fitted.name))
        loaded = model.load(str(tmp_path / fitted.name))
        assert loaded.report == fitted.report
        users = ids("u", 200)
        assert loaded.recommend(users, 9).equals(fitted.recommend(users, 9))


def test_memory_for_the_choice_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for few similarities, some videos stand for all; with none, nothing is chosen."""
    weights = sparse.csr_matrix(random_matrix(3, 400, 90))
    rows: list[int] = []

    def record(weights: sparse.csr_matrix, formula: SimilarityFormula):
        task = video_similarity_task(weights, formula)
        rows.append(task.left.shape[0])
        return task

    monkeypatch.setattr("vrec.retrieval.similarity_choice.FEWEST_ENTRIES", 100)
    found = choose_video_formula(weights, ItemKnnConfig(), record)
    assert rows
    assert found.weighting in WEIGHTINGS
