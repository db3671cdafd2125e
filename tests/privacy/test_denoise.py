"""Repair of noised Gram matrices against matrices whose noise is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.privacy.denoise import noise_edge, noise_share, powered_gram, repaired_factors, repaired_gram
from vrec.privacy.mechanisms import NoisedGram

SIZE = 60


def noised(values, seed, noise=1.0):
    """Return a matrix of some eigenvalues, its eigenvectors, and the matrix with noise."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(SIZE, len(values))))[0]
    upper = np.triu(rng.normal(scale=noise, size=(SIZE, SIZE)))
    true = (vectors * np.array(values)) @ vectors.T
    return vectors, NoisedGram(true + upper + np.triu(upper, 1).T, noise)


@given(st.lists(st.floats(0, 400), max_size=5), st.integers(0, 99), st.floats(0.1, 1))
def test_powers_are_semidefinite_of_the_same_vectors_and_1_is_the_repair(values, seed, power):
    gram = noised(values, seed)[1]
    found, repaired = powered_gram(gram, power), repaired_gram(gram)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    shrunk, vectors = repaired_factors(gram)
    np.testing.assert_allclose(found @ vectors, vectors * np.diag(vectors.T @ found @ vectors), atol=1e-9)
    if len(shrunk):
        least = (shrunk[0] + np.hypot(shrunk[0], noise_edge(gram))) / 2
        np.testing.assert_allclose(powered_gram(gram, 1.0) * least, repaired, atol=1e-9 * least)
    else:
        assert not found.any()


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_eigenvalues_are_estimated_without_the_noise_and_weighted_by_what_is_known_of_their_vectors(power):
    true, found = np.array([120.0, 40.0, 20.0]), []
    for seed in range(30):
        vectors, gram = noised(true, seed)
        known = powered_gram(gram, power)
        found.append(np.diag(vectors.T @ known @ vectors))
    # An eigenvector is that of the truth but for the share (σ √N / θ)² of its square, here twice.
    share = 1 - SIZE / true**2
    np.testing.assert_allclose(np.mean(found, axis=0), (true / true[0]) ** power * share**2, rtol=0.06)


def test_noise_alone_gives_nothing_and_all_to_popularity():
    alone, clear = noised([], 0)[1], noised([1000.0], 0)[1]
    assert not powered_gram(NoisedGram(alone.counts, 1.3), 0.3).any()
    assert noise_share(NoisedGram(alone.counts, 1.3)) == 1
    assert noise_share(clear) == pytest.approx(noise_edge(clear) / 1000, rel=0.02)
