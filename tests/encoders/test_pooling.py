"""Pooling over frames as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vrec.encoders.pooling import attention_pool, mean_pool

FEATURES = st.integers(1, 9).flatmap(lambda t: arrays(np.float32, (t, 6), elements=st.floats(0, 6, width=32)))


@given(FEATURES, st.floats(0.01, 10))
def test_attention_stays_within_the_frames(features, temperature):
    pooled = attention_pool(features, temperature)
    assert (pooled >= features.min(axis=0) - 1e-4).all()
    assert (pooled <= features.max(axis=0) + 1e-4).all()


@given(FEATURES, st.floats(0.01, 10), st.randoms(use_true_random=False))
def test_order_of_frames_is_irrelevant(features, temperature, random):
    order = list(range(len(features)))
    random.shuffle(order)
    for pool in (mean_pool, lambda block: attention_pool(block, temperature)):
        assert np.allclose(pool(features[order]), pool(features), atol=1e-5)


@given(FEATURES)
def test_large_temperature_is_the_mean(features):
    assert np.allclose(attention_pool(features, 1e6), mean_pool(features), atol=1e-4)


@given(FEATURES, st.floats(0.01, 10))
def test_one_frame_is_itself(features, temperature):
    one = features[:1]
    assert np.allclose(attention_pool(one, temperature), one[0], atol=1e-6)
    assert np.array_equal(mean_pool(one), one[0])


def test_stray_frame_counts_less_the_lower_the_temperature():
    alike = np.tile(np.array([1.0, 0.1, 0.0], dtype=np.float32), (7, 1))
    stray = np.array([[0.0, 0.0, 1.0]], dtype=np.float32)
    features = np.concatenate([alike, stray])
    shares = [attention_pool(features, t)[2] for t in (0.05, 0.2, 1.0)]
    assert shares[0] < shares[1] < shares[2] < mean_pool(features)[2]


def test_attention_is_the_softmax_written_out():
    features = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    mean = features.mean(axis=0)
    cosines = [float(f @ mean / np.linalg.norm(f) / np.linalg.norm(mean)) for f in features]
    weights = np.exp(np.array(cosines) / 0.5)
    expected = (weights[:, None] * features).sum(axis=0) / weights.sum()
    assert attention_pool(features, 0.5) == pytest.approx(expected, abs=1e-6)
