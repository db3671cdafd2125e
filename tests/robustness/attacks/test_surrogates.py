"""Predictions of surrogates, beside the same model fitted with the fake shoppers."""

import numpy as np
import pytest
from scipy import sparse

from tests.robustness.shop import shop
from vrec.robustness.attacks.model_aware import SURROGATES, plan_attack
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.attacks.surrogates import (
    EASE_LAMBDA,
    FACTOR_LAMBDA,
    SurrogateEase,
    SurrogateFactors,
    SurrogateKnn,
)
from vrec.robustness.watched import WatchedVideos

LOG = WatchedVideos.from_interactions(shop())
TARGET, PROFILE, COPIES = 7, np.array([1, 4, 11]), 5


def attacked(candidate):
    fake = np.zeros((COPIES, LOG.matrix.shape[1]))
    fake[:, [TARGET, *PROFILE, candidate]] = 1
    return sparse.csr_matrix(sparse.vstack([LOG.matrix, fake]))


def ease(matrix):
    inverse = np.linalg.inv((matrix.T @ matrix).toarray() + EASE_LAMBDA * np.eye(matrix.shape[1]))
    weights = -inverse / inverse.diagonal()
    np.fill_diagonal(weights, 0)
    return weights[:, TARGET]


def knn(matrix):
    pairs = (matrix.T @ matrix).toarray()
    near = pairs[:, TARGET] / np.sqrt(pairs.diagonal() * pairs[TARGET, TARGET])
    near[TARGET] = 0
    return near


@pytest.mark.parametrize(("surrogate", "fit"), [(SurrogateEase, ease), (SurrogateKnn, knn)])
def test_a_surrogate_predicts_the_fit_with_fake_shoppers(surrogate, fit):
    candidates = np.array([2, 20, 33])
    found = surrogate.fit(LOG.matrix, TARGET).target_scores(PROFILE, candidates, COPIES)
    for place, candidate in enumerate(candidates):
        expected = LOG.matrix @ fit(attacked(candidate))
        np.testing.assert_allclose(found[:, place], expected, atol=1e-9)


def test_the_factors_solve_the_ridge_with_fake_shoppers():
    model = SurrogateFactors.fit(LOG.matrix, TARGET)
    found = model.target_scores(PROFILE, np.array([20]), COPIES)[:, 0]
    fake = model.videos[[*PROFILE, 20]].sum(axis=0)
    rows = np.vstack([model.shoppers, np.tile(fake, (COPIES, 1))])
    answers = np.append(LOG.matrix[:, [TARGET]].toarray()[:, 0], np.ones(COPIES))
    gram = rows.T @ rows + FACTOR_LAMBDA * np.eye(rows.shape[1])
    np.testing.assert_allclose(found, model.shoppers @ np.linalg.solve(gram, rows.T @ answers), atol=1e-9)


@pytest.mark.parametrize("name", SURROGATES)
def test_optimised_fillers_bring_the_target_into_more_lists_than_random_ones(name):
    model = SURROGATES[name].fit(LOG.matrix, TARGET)
    clean = model.clean_scores() - 1e9 * LOG.matrix.toarray()
    bars = -np.partition(-clean, 9, axis=1)[:, 9]
    rng = np.random.default_rng(1)
    plan = AttackPlan(LOG, LOG.videos[TARGET].as_py(), 8, rng)
    hits = {"aware": [], "random": []}
    for fillers in plan_attack(f"aware_{name}", plan).fillers:
        others = rng.choice(np.delete(np.arange(len(LOG.videos)), TARGET), len(fillers), replace=False)
        for side, profile in {"aware": fillers, "random": others}.items():
            scores = model.target_scores(profile[:-1], profile[-1:], 8)[:, 0]
            hits[side].append((scores > bars).mean())
    assert np.mean(hits["aware"]) > np.mean(hits["random"])
