"""Noised sums over sampled shoppers: exact properties, a brute-force audit by canaries, planted faults."""

import functools
import sys
import types
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vrec.privacy import noise, sampled_sums
from vrec.privacy.accounting import MechanismCost, composed_epsilon, gaussian_multiplier, training_multiplier
from vrec.privacy.mechanism_audit import audit_mechanism
from vrec.privacy.sampled_sums import GRID, SampledSum, clipped_vectors, sampled_shoppers

DELTA, LIMIT, EXAMPLES = 0.02, 0.5, 8
CANARY = 4
"""The last of five shoppers; the others' gradients are the largest that clipping leaves, all alike."""
PLANTED = {
    "noise halved": [("self.multiplier * GRID", "self.multiplier * GRID / 2")],
    "noise of another norm": [("self.multiplier * GRID", "self.multiplier * GRID * self.limit")],
    "no clipping": [("/ np.maximum(norms, 1.0)", "")],
    "clipping per number": [
        ("np.linalg.norm(units / largest, axis=1, keepdims=True)", "np.abs(units / largest)")
    ],
    "noise reused": [("normals(count) * scale", "np.random.default_rng(7).normal(size=count) * scale")],
}


def planted(changes):
    """Return the sums with faults planted in their code."""
    text = "\n".join(Path(m.__file__).read_text(encoding="utf-8") for m in (noise, sampled_sums))
    text = text.replace(
        "from vrec.privacy.noise import Counts, NormalSource, system_normals, whole_noise", ""
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = types.ModuleType("planted_sums")
    sys.modules["planted_sums"] = module
    exec(compile(text, "planted_sums", "exec"), module.__dict__)
    return module


def vectors_of(shoppers, others=1.0):
    """Gradients of three weights: the canary's is far above the limit, and against the others'."""
    vectors = np.tile([[others, 0.0, 0.0]], (len(shoppers), 1))
    vectors[shoppers == CANARY] = -3.0
    return vectors


def by_example(step, shoppers, normals):
    """A step that clips and samples each of a shopper's examples by itself: the fault of plain DP-SGD."""
    total, everyone = np.zeros(3), vectors_of(np.arange(shoppers), others=0.0)
    for _ in range(EXAMPLES):
        drawn = sampled_shoppers(shoppers, step.probability, normals)
        total += clipped_vectors(everyone[drawn], step.limit).sum(axis=0)
    return (total / GRID + step.multiplier * normals(3)) * step.limit


def bound(draw, step, runs, normals, divisor=None):
    """Return the ε that the audit proves, from the noised sum along the canary's gradient."""
    expected = divisor or (lambda drawn: 4 * step.probability)

    def run(shoppers):
        drawn = []

        def counted(some):
            drawn.extend(some)
            # A sample of others is noise too, so that the canary is best found among zeros.
            return vectors_of(some, others=float(step.probability == 1))

        total = draw(step, shoppers, counted, normals)
        return float(total.sum() / expected(drawn))

    return audit_mechanism(
        functools.partial(run, CANARY + 1), functools.partial(run, CANARY), DELTA, runs=runs
    ).epsilon


def plain_draw(step, shoppers, counted, normals):
    return step.draw(shoppers, 3, counted, normals)


@pytest.fixture
def normals():
    return np.random.default_rng(3).standard_normal


@pytest.mark.slow
@pytest.mark.parametrize("probability", [1.0, 0.3])
def test_no_audit_finds_more_than_is_claimed(probability, normals):
    multiplier = gaussian_multiplier(3.0, DELTA) if probability == 1 else 0.4
    step = SampledSum(probability, LIMIT, multiplier)
    claimed = composed_epsilon([MechanismCost(multiplier, probability)], DELTA)
    found = bound(plain_draw, step, 3000, normals)
    assert found <= claimed
    # An audit that finds nothing would pass anything.
    assert found > claimed / 3


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(fault, normals):
    broken = planted(PLANTED[fault]).SampledSum(1.0, LIMIT, gaussian_multiplier(1.0, DELTA))
    assert bound(plain_draw, broken, 3000, normals) > 1.0


@pytest.mark.slow
def test_a_realised_batch_as_divisor_is_found(normals):
    step = SampledSum(1.0, LIMIT, gaussian_multiplier(1.0, DELTA))
    # Of five shoppers whose four gradients cancel the fifth's, the number alone tells.
    assert bound(plain_draw, step, 3000, normals, divisor=lambda drawn: max(len(drawn), 1)) > 1.0
    assert bound(plain_draw, step, 3000, normals) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("probability", [1.0, 0.1])
def test_clipping_and_sampling_by_example_are_found(probability, normals):
    multiplier = 1.0 if probability == 1 else 0.5
    claimed = composed_epsilon([MechanismCost(multiplier, probability)], DELTA)
    step = SampledSum(probability, LIMIT, multiplier)
    found = bound(lambda s, count, counted, source: by_example(s, count, source), step, 1500, normals)
    assert found > claimed


@given(
    arrays.arrays(np.float64, (4, 3), elements=st.floats(allow_nan=True, allow_infinity=True, width=64)),
    st.floats(1e-6, 1e6),
)
def test_no_clipped_vector_is_above_the_limit(vectors, limit):
    clipped = clipped_vectors(vectors, limit)
    # Whole numbers, so that the norm is exact.
    assert all(sum(int(x) ** 2 for x in row) <= GRID**2 for row in clipped)
    with np.errstate(over="ignore"):
        finite = np.isfinite(vectors / limit).all(axis=1)
    assert not clipped[~finite].any()
    small = finite & (np.abs(vectors).max(axis=1) < limit / 2)
    np.testing.assert_allclose(clipped[small] * (limit / GRID), vectors[small], atol=2 * limit / GRID)


def test_a_shopper_more_moves_the_sum_by_at_most_the_limit():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 5)) * 10

    def sums(count):
        step = SampledSum(1.0, 0.3, 1.0)
        return step.draw(count, 5, lambda some: vectors[some], np.zeros)

    assert np.linalg.norm(sums(600) - sums(599)) <= 0.3
    np.testing.assert_allclose(sums(600), clipped_vectors(vectors, 0.3).sum(axis=0) * 0.3 / GRID)


def test_the_noise_is_that_of_the_limit_and_the_sample_poisson():
    normals = np.random.default_rng(1).standard_normal
    step = SampledSum(0.2, 2.0, 3.0)
    drawn = [step.draw(50, 4, lambda some: np.zeros((len(some), 4)), normals) for _ in range(2000)]
    assert np.std(drawn) == pytest.approx(6.0, rel=0.03)
    sizes = [len(sampled_shoppers(500, 0.2, normals)) for _ in range(2000)]
    assert np.mean(sizes) == pytest.approx(100, abs=1)
    assert np.std(sizes) == pytest.approx(sqrt(80), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("probability", "steps"), [(0.25, 100), (1.0, 20)])
def test_training_spends_what_is_asked(probability, steps):
    other = [MechanismCost(8.0)]
    multiplier = training_multiplier(4.0, 1e-4, probability, steps, other)
    spent = composed_epsilon([*other, MechanismCost(multiplier, probability, steps)], 1e-4)
    assert 0.99 * 4 <= spent <= 4
