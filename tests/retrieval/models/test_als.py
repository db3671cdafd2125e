"""ALS against `implicit` itself, and its fold-in against the normal equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from tests.retrieval.matrices import ids, matrices, random_matrix, to_interactions
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.retrieval.config import AlsConfig
from vrec.retrieval.models import als
from vrec.retrieval.models.als import Als

CONFIG = AlsConfig(factors=12, regularization=0.1, alpha=3.0, iterations=6, seed=5)


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return random_matrix(0, 150, 80, density=0.1) * np.float32(0.5)


def oracle(matrix: np.ndarray, threads: int) -> tuple[AlternatingLeastSquares, sparse.csr_matrix]:
    confidence = sparse.csr_matrix(np.where(matrix > 0, 1 + 3.0 * matrix, 0).astype(np.float32))
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(12, 0.1, 1.0, iterations=6, num_threads=threads, random_state=5)
        model.fit(confidence, show_progress=False)
    return model, confidence


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_it_is_implicit_on_any_number_of_threads(matrix: np.ndarray, threads: int) -> None:
    model = Als(CONFIG).fit(to_interactions(matrix))
    want, confidence = oracle(matrix, threads)
    assert np.array_equal(model.item_factors, want.item_factors)
    places, scores = want.recommend(np.arange(150), confidence, N=7, recalculate_user=True)
    found = model.recommend(ids("u", 150), 7)
    assert found["video_id"].to_pylist() == [f"v{place:05d}" for place in places.ravel()]
    np.testing.assert_allclose(np.asarray(found["score"]), scores.ravel(), rtol=1e-4, atol=1e-6)


@given(matrices(), st.sampled_from([0.3, 5.0, 40.0]))
@settings(deadline=None, max_examples=40)
def test_fold_in_solves_the_normal_equations(matrix: np.ndarray, alpha: float) -> None:
    model = Als(AlsConfig(factors=4, regularization=0.5, alpha=alpha, iterations=3))
    model.fit(to_interactions(matrix))
    y = model.item_factors.astype(np.float64)
    found = model.fold_in(model.histories)
    for user, row in enumerate(matrix):
        confidence = np.diag(1 + alpha * row.astype(np.float64))
        left = y.T @ confidence @ y + 0.5 * np.eye(4)
        want = np.linalg.solve(left, y.T @ confidence @ (row > 0))
        np.testing.assert_allclose(found[user], want, rtol=1e-3, atol=1e-4)


def test_fitting_lowers_what_it_minimises(matrix: np.ndarray) -> None:
    def loss(iterations: int) -> float:
        model = Als(CONFIG.model_copy(update={"iterations": iterations})).fit(to_interactions(matrix))
        x, y = model.fold_in(model.histories).astype(float), model.item_factors.astype(float)
        error = (1 + 3 * matrix) * ((matrix > 0) - x @ y.T) ** 2
        return error.sum() + 0.1 * ((x**2).sum() + (y**2).sum())

    losses = [loss(n) for n in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)


def test_a_seed_settles_the_answer(matrix: np.ndarray) -> None:
    table, users = to_interactions(matrix), ids("u", 150)
    one, same = (Als(CONFIG).fit(table).recommend(users, 7) for _ in range(2))
    other = Als(CONFIG.model_copy(update={"seed": 6})).fit(table).recommend(users, 7)
    assert one.equals(same)
    assert not one["score"].equals(other["score"])


def test_a_history_is_answered_as_its_fitted_user_is(matrix: np.ndarray) -> None:
    table = to_interactions(matrix)
    model = Als(CONFIG).fit(table)
    assert model.recommend(ids("u", 150), 9).equals(model.recommend_from(table, 9))
    alone = table.filter(pc.equal(table["user_id"], "u00007"))
    assert model.recommend(["u00007"], 9).equals(model.recommend_from(alone, 9))


def test_saved_and_loaded_it_answers_the_same(matrix: np.ndarray, tmp_path) -> None:
    model = Als(CONFIG).fit(to_interactions(matrix))
    model.save(str(tmp_path / "m"))
    again = Als.load(str(tmp_path / "m"))
    assert again.recommend(ids("u", 150), 9).equals(model.recommend(ids("u", 150), 9))


def test_weights_beyond_floating_point_are_refused() -> None:
    with pytest.raises(FitError, match="weights of up to 1e"):
        Als(AlsConfig(factors=2, alpha=1)).fit(to_interactions(np.full((3, 3), 1e38)))


@pytest.mark.parametrize("scale", [2.0**-120, 2.0**-20, 2.0**100])
def test_the_usual_confidence_does_not_depend_on_the_unit_of_weights(
    matrix: np.ndarray, scale: float
) -> None:
    plain, scaled = (
        Als(AlsConfig(factors=4)).fit(to_interactions(m)) for m in (matrix, matrix * np.float32(scale))
    )
    mean = matrix[matrix > 0].mean(dtype=np.float64)
    assert plain.report["alpha"] == pytest.approx(10 / mean)
    assert scaled.report["alpha"] == plain.report["alpha"] / scale
    assert np.array_equal(plain.item_factors, scaled.item_factors)
    given = Als(AlsConfig(factors=4, alpha=plain.report["alpha"])).fit(to_interactions(matrix))
    assert np.array_equal(plain.item_factors, given.item_factors)


def test_blocks_of_users_make_no_difference(matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Als(CONFIG).fit(to_interactions(matrix))
    whole = model.fold_in(model.histories)
    monkeypatch.setattr(als, "SOLVE_BLOCK", 7)
    assert np.array_equal(model.fold_in(model.histories), whole)


def test_settings_of_the_fit_are_used(matrix: np.ndarray) -> None:
    table = to_interactions(matrix)
    base = Als(CONFIG).fit(table)
    assert base.item_factors.shape == (80, 12)
    for changed in ({"regularization": 5.0}, {"alpha": 30.0}, {"iterations": 1}, {"seed": 6}, {"factors": 3}):
        other = Als(CONFIG.model_copy(update=changed)).fit(table)
        assert other.item_factors.shape[1] == changed.get("factors", 12)
        assert "factors" in changed or not np.allclose(other.item_factors, base.item_factors)


def test_scores_are_inner_products_and_no_history_scores_0(matrix: np.ndarray) -> None:
    model = Als(CONFIG).fit(to_interactions(matrix))
    some = model.histories.rows(np.array([3, 5]))
    found = model.score_block(some, np.array([3, 5]))
    np.testing.assert_allclose(found, model.fold_in(some) @ model.item_factors.T, rtol=1e-5, atol=1e-6)
    assert not model.score_block(some.select_entries(np.zeros(len(some.at), bool)), np.array([-1, -1])).any()
