"""Bootstrap intervals on small cases worked out by hand."""

import numpy as np
import pytest

from vrec.evaluation.intervals import paired_differences, percentile_interval, resampled_means


def test_a_constant_column_has_constant_replicates_and_no_users_have_none():
    assert (resampled_means(np.full((7, 2), 3.0), 20, 0) == 3).all()
    nobody = resampled_means(np.empty((0, 2)), 20, 0)
    assert nobody.shape == (20, 2)
    assert np.isnan(nobody).all()


def test_columns_share_the_draws_and_the_seed_changes_them():
    values = np.random.default_rng(0).random((30, 1))
    replicates = resampled_means(np.hstack([values, values + 1]), 50, 3)
    np.testing.assert_allclose(replicates[:, 1] - replicates[:, 0], 1)
    assert (resampled_means(values, 50, 3) == resampled_means(values, 50, 3)).all()
    assert (resampled_means(values, 50, 3) != resampled_means(values, 50, 4)).any()


def test_replicates_vary_as_the_mean_does():
    values = np.random.default_rng(1).normal(size=(400, 1))
    assert resampled_means(values, 4000, 0).std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)


def test_the_interval_leaves_half_of_the_rest_on_each_side():
    replicates = np.arange(101.0)[:, None]
    low, high = percentile_interval(replicates, 0.9)
    assert (low[0], high[0]) == (pytest.approx(5), pytest.approx(95))
    low, high = percentile_interval(replicates, 0.5)
    assert (low[0], high[0]) == (pytest.approx(25), pytest.approx(75))


def test_differences_keep_their_sign_and_drop_rounding():
    assert paired_differences(np.array([0.3]), np.array([0.1])) == pytest.approx(0.2)
    gap = paired_differences(np.array([0.1 + 0.2]), np.array([0.3]))
    assert gap[0] == 0
    assert not np.signbit(gap[0])
