"""Quadrature against integrals that are known."""

import numpy as np
import pytest
from scipy.special import ndtr

from vrec.ranking.reranking.quadrature import integrate


@pytest.mark.parametrize("degree", [0, 1, 5, 13, 22])
def test_polynomials_are_exact_over_one_interval_or_several(degree):
    for edges in ([0.0, 2.0], [0.0, 0.1, 1.7, 2.0]):
        found = integrate(lambda x: x**degree, np.array(edges))
        assert found == pytest.approx(2 ** (degree + 1) / (degree + 1), rel=1e-12)


def test_a_step_and_a_narrow_peak_are_found():
    step = integrate(lambda x: (x > 1 / 3).astype(float), np.array([0.0, 1.0]))
    assert step == pytest.approx(2 / 3, rel=1e-4)
    width = 1e-3
    peak = integrate(
        lambda x: np.exp(-(((x - 0.4) / width) ** 2) / 2) / width, np.array([0.0, 0.39, 0.41, 1.0])
    )
    assert peak == pytest.approx(np.sqrt(2 * np.pi), rel=1e-6)


def test_a_root_at_the_edge_and_a_normal():
    assert integrate(np.sqrt, np.array([0.0, 1.0])) == pytest.approx(2 / 3, rel=1e-5)
    normal = integrate(lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi), np.linspace(-2, 3, 6))
    assert normal == pytest.approx(ndtr(3) - ndtr(-2), rel=1e-8)
    assert integrate(np.zeros_like, np.array([0.0, 1.0])) == 0
