"""The Laplace approximation against the definition, and against the posterior that it approximates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from vrec.ranking.uncertainty import LaplaceConfig, LastLayerLaplace, click_logit_std


def drawn(seed: int, rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, width)) * rng.uniform(0.2, 2, width)
    return inputs.astype(np.float32), rng.uniform(0.01, 0.99, rows).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 8), st.floats(0.01, 100), st.integers(1, 60)
)
def test_spread_is_the_closed_form(seed, rows, width, prior, cut):
    inputs, chances = drawn(seed, rows, width)
    laplace = LastLayerLaplace(width, LaplaceConfig(prior_precision=prior))
    for start in range(0, rows, cut):
        laplace.add(inputs[start : start + cut], chances[start : start + cut])
    phi, p = np.column_stack([inputs, np.ones(rows)]).astype(float), chances.astype(float)
    precision = prior * np.eye(width + 1)
    for row, chance in zip(phi, p, strict=True):
        precision += chance * (1 - chance) * np.outer(row, row)
    covariance = np.linalg.inv(precision)
    want = np.sqrt([row @ covariance @ row for row in phi])
    assert np.allclose(click_logit_std(inputs, laplace.factor()), want, rtol=1e-4)


def test_far_rows_are_less_sure_and_more_rows_are_surer():
    inputs, _ = drawn(1, 500, 3)
    clicks = np.random.default_rng(2).random(500) < 1 / (1 + np.exp(-inputs[:, 0]))
    model = LogisticRegression().fit(inputs, clicks)
    chances = model.predict_proba(inputs)[:, 1]
    few = LastLayerLaplace(3, LaplaceConfig()).add(inputs[:50], chances[:50]).factor()
    many = LastLayerLaplace(3, LaplaceConfig()).add(inputs, chances).factor()
    near, far = inputs, inputs * 10
    assert (click_logit_std(far, many) > click_logit_std(near, many)).mean() > 0.99
    assert (click_logit_std(near, many) < click_logit_std(near, few)).all()


def test_spread_is_that_of_refits_on_redrawn_clicks():
    """What it claims: how far the log-odds would move, had other shoppers come."""
    inputs, _ = drawn(4, 2000, 2)
    truth = inputs @ np.array([0.8, -0.5]) - 0.5
    chances = 1 / (1 + np.exp(-truth))
    rng = np.random.default_rng(5)
    asked = np.array([[0.0, 0.0], [1.0, 1.0], [-3.0, 2.0]])
    found = [
        LogisticRegression(C=1.0).fit(inputs, rng.random(2000) < chances).decision_function(asked)
        for _ in range(150)
    ]
    factor = LastLayerLaplace(2, LaplaceConfig(prior_precision=1.0)).add(inputs, chances).factor()
    assert click_logit_std(asked, factor) == pytest.approx(np.std(found, axis=0), rel=0.2)
