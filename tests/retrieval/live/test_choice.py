"""Conditional logit: it finds the weights that choices were drawn by, and the optimum of its loss."""

import numpy as np
import pytest
from scipy.optimize import minimize

from vrec.retrieval.live.choice import Choices, fit_weights


def draw(weights: np.ndarray, number: int, seed: int) -> Choices:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 12, number)
    features = rng.normal(size=(sizes.sum(), len(weights))) * [1.0, 10.0, 0.1]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    noisy = features @ weights + rng.gumbel(size=len(features))
    chosen = [start + noisy[start : start + size].argmax() for start, size in zip(starts, sizes, strict=True)]
    return Choices(features.astype(np.float32), starts, np.array(chosen), np.ones(number))


def test_the_weights_that_choices_were_drawn_by_are_found():
    truth = np.array([1.0, -0.05, 8.0])
    assert fit_weights(draw(truth, 6000, 0), 0.1) == pytest.approx(truth, rel=0.08)


def test_choices_of_weight_zero_count_for_nothing():
    first, other = draw(np.array([1.0, 0.0, 0.0]), 500, 1), draw(np.array([-1.0, 0.2, 5.0]), 500, 2)
    size = len(first.features)
    both = Choices(
        np.concatenate([first.features, other.features]),
        np.concatenate([first.starts, size + other.starts]),
        np.concatenate([first.chosen, size + other.chosen]),
        np.concatenate([first.weights, 0 * other.weights]),
    )
    # The penalty is relative to the deviation, which the others change a little.
    assert fit_weights(both, 1e-3) == pytest.approx(fit_weights(first, 1e-3), abs=2e-3)


def test_a_feature_that_is_constant_or_equal_in_all_alternatives_gets_no_weight():
    drawn = draw(np.array([1.0, 0.0, 0.0]), 200, 3)
    group = np.repeat(np.arange(200), np.diff(np.append(drawn.starts, len(drawn.features))))
    more = np.stack([np.ones(len(group)), group / 100], axis=1).astype(np.float32)
    found = fit_weights(
        Choices(np.hstack([drawn.features, more]), drawn.starts, drawn.chosen, drawn.weights), 1.0
    )
    assert found[3:] == pytest.approx([0, 0], abs=1e-3)


def test_the_penalty_is_on_weights_of_standardized_features():
    drawn, l2 = draw(np.array([1.0, 0.1, 3.0]), 60, 4), 20.0
    scale = drawn.features.std(axis=0)

    def loss(weights: np.ndarray) -> float:
        scores = np.split(drawn.features @ weights, drawn.starts[1:])
        places = drawn.chosen - drawn.starts
        fit = sum(np.logaddexp.reduce(each) - each[n] for each, n in zip(scores, places, strict=True))
        return fit + l2 / 2 * ((weights * scale) ** 2).sum()

    found = minimize(lambda free: loss(free / scale), np.zeros(3)).x / scale
    assert fit_weights(drawn, l2) == pytest.approx(found, rel=0.01)
