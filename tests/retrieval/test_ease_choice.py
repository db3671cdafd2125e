"""The λ of EASE: leaving a user out in closed form against a fit without the user."""

import numpy as np
import pytest
from scipy import sparse

from tests.retrieval.matrices import random_matrix, to_interactions
from vrec.retrieval import ease_choice
from vrec.retrieval.config import EaseConfig
from vrec.retrieval.ease_choice import RELATIVE_LAMBDAS, USUAL_LAMBDA, choose_regularization
from vrec.retrieval.models.ease import Ease


def test_gains_are_those_of_a_fit_without_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = (random_matrix(3, 60, 25, 0.3) > 0).astype(np.float64)
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    gains = ease_choice._gains

    def record(scores: np.ndarray, histories: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        seen.append((scores, histories, held_out))
        return gains(scores, histories, held_out)

    monkeypatch.setattr(ease_choice, "_gains", record)
    choose_regularization(sparse.csr_matrix(dense.astype(np.float32)))
    assert len(seen) == len(RELATIVE_LAMBDAS)
    for regularization, (scores, histories, held_out) in zip(RELATIVE_LAMBDAS, seen, strict=True):
        for found, history, video in zip(scores, histories, held_out, strict=True):
            others = np.delete(dense, np.flatnonzero((dense == history).all(axis=1))[0], axis=0)
            inverse = np.linalg.inv(others.T @ others + regularization * np.eye(25))
            weights = np.eye(25) - inverse / np.diag(inverse)
            rest = history.copy()
            rest[video] = 0
            open_ = rest == 0
            np.testing.assert_allclose(found[open_], (rest @ weights)[open_], rtol=1e-8, atol=1e-12)


def test_the_unit_is_the_mean_squared_weight() -> None:
    weights = sparse.csr_matrix(random_matrix(4, 200, 40))
    found = choose_regularization(weights)
    assert choose_regularization(weights * np.float32(8)) == pytest.approx(64 * found)
    few = weights[:10]
    assert choose_regularization(few) == pytest.approx(USUAL_LAMBDA * (few.data**2).mean())


def test_the_choice_is_on_the_videos_with_most_interactions(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix(5, 300, 40, 0.3)
    whole = choose_regularization(sparse.csr_matrix(matrix))
    rare = np.zeros((300, 60), np.float32)
    rare[np.arange(60), np.arange(60)] = 1
    monkeypatch.setattr(ease_choice, "MOST_VIDEOS", 40)
    matrix = np.where(matrix > 0, np.float32(1), 0)
    whole = choose_regularization(sparse.csr_matrix(matrix))
    assert choose_regularization(sparse.csr_matrix(np.hstack([rare, matrix]))) == whole


def test_a_fit_says_what_it_chose(tmp_path) -> None:
    matrix = random_matrix(6, 100, 30)
    model = Ease().fit(to_interactions(matrix))
    binary = sparse.csr_matrix((matrix > 0).astype(np.float32))
    assert model.report == {"regularization": choose_regularization(binary)}
    same = Ease(EaseConfig(regularization=model.report["regularization"])).fit(to_interactions(matrix))
    assert np.array_equal(same.weights, model.weights)
    model.save(str(tmp_path))
    assert Ease.load(str(tmp_path)).report == model.report
