"""ε against own numerical accountants, to 1 %."""

from math import exp, inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from vrec.core.errors import FitError
from vrec.privacy.accounting import (
    MechanismCost,
    check_private,
    composed_epsilon,
    gaussian_multiplier,
    split_multiplier,
)


def gaussian_delta(epsilon, multiplier):
    """δ of the Gaussian mechanism, in closed form (Balle and Wang 2018)."""
    half, shift = 1 / (2 * multiplier), epsilon * multiplier
    return norm.cdf(half - shift) - exp(epsilon) * norm.cdf(-half - shift)


def gaussian_epsilon(multiplier, delta):
    return brentq(lambda epsilon: gaussian_delta(epsilon, multiplier) - delta, 0, 500)


def sampled_epsilon(probability, multiplier, steps, delta, step=2e-4, limit=12.0):
    """ε of the Poisson-sampled Gaussian by privacy losses on a grid, convolved by FFT, both ways."""
    found = []
    for remove in (True, False):
        x = np.linspace(-30 * multiplier, 30 * multiplier + 1, 2_000_001)
        outside, moved = norm.logpdf(x, 0, multiplier), norm.logpdf(x, 1, multiplier)
        mixed = np.logaddexp(np.log(1 - probability) + outside, np.log(probability) + moved)
        upper, lower = (mixed, outside) if remove else (outside, mixed)
        mass = np.exp(upper) * (x[1] - x[0])
        size = 2 * int(limit / step)
        places = np.clip(np.rint((upper - lower) / step).astype(int) + size // 2, 0, size - 1)
        losses = np.bincount(places, weights=mass / mass.sum(), minlength=size)
        total = np.fft.irfft(np.fft.rfft(np.fft.ifftshift(losses)) ** steps, size)
        total = np.fft.fftshift(total)
        loss = (np.arange(size) - size // 2) * step

        def excess(epsilon, total=total, loss=loss):
            above = loss > epsilon
            return float((total[above] * -np.expm1(epsilon - loss[above])).sum()) - delta

        found.append(brentq(excess, 0, limit))
    return max(found)


@given(st.floats(0.3, 20), st.floats(-8, -3))
def test_epsilon_of_gaussian_is_that_of_the_closed_form(multiplier, exponent):
    delta = 10**exponent
    if gaussian_delta(0, multiplier) <= delta:
        return
    ours = composed_epsilon([MechanismCost(multiplier)], delta)
    assert ours == pytest.approx(gaussian_epsilon(multiplier, delta), rel=0.01, abs=1e-6)


@given(st.lists(st.floats(0.8, 30), min_size=2, max_size=6))
def test_gaussian_mechanisms_compose_as_one(multipliers):
    together = 1 / sqrt(sum(z**-2 for z in multipliers))
    ours = composed_epsilon([MechanismCost(z) for z in multipliers], 1e-6)
    assert ours == pytest.approx(gaussian_epsilon(together, 1e-6), rel=0.01)


@pytest.mark.parametrize(("probability", "multiplier", "steps"), [(0.05, 1.0, 200), (0.2, 1.5, 50)])
def test_epsilon_of_sampled_gaussian_is_that_of_own_convolution(probability, multiplier, steps):
    ours = composed_epsilon([MechanismCost(multiplier, probability, steps)], 1e-5)
    assert ours == pytest.approx(sampled_epsilon(probability, multiplier, steps, 1e-5), rel=0.01)


@given(st.floats(0.05, 20), st.floats(-9, -3), st.floats(0.05, 0.95))
def test_multipliers_spend_epsilon_and_no_more(epsilon, exponent, share):
    delta = 10**exponent
    multiplier = gaussian_multiplier(epsilon, delta)
    assert gaussian_delta(epsilon, multiplier) == pytest.approx(delta, rel=1e-3)
    parts = [MechanismCost(split_multiplier(multiplier, part)) for part in (share, 1 - share)]
    assert epsilon * 0.99 <= composed_epsilon(parts, delta) <= epsilon * (1 + 1e-6)


def test_nothing_costs_nothing_and_a_spent_delta_everything():
    assert composed_epsilon([], 1e-6) == 0
    assert composed_epsilon([MechanismCost(3.0, extra_delta=1e-6)], 1e-6) == inf
    assert composed_epsilon([MechanismCost(3.0, extra_delta=5e-7)], 1e-6) > composed_epsilon(
        [MechanismCost(3.0)], 1e-6
    )


@pytest.mark.parametrize("epsilon", [0, -1.0, float("nan"), inf])
def test_epsilon_must_be_a_number_above_0(epsilon):
    with pytest.raises(FitError, match=r"privacy\.epsilon"):
        check_private(epsilon, 1e-6)
