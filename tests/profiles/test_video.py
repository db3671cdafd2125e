"""Smoothed rates: what the formulas give, and what is won back from planted priors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.profiles.profile import Profile
from vrec.profiles.video import (
    MAX_STRENGTH,
    MIN_STRENGTH,
    RatePrior,
    VideoProfileConfig,
    fit_prior,
    fit_priors,
    smoothed_rate,
    video_statistics,
)

ANY = RatePrior(rate=0.5, strength=7.0)


def test_a_smoothed_rate_is_the_beta_posterior_s_mean():
    a, b, clicks, impressions = 2.0, 38.0, 3.0, 20.0
    posterior = (a + clicks) / (a + b + impressions)
    assert smoothed_rate(clicks, impressions, a / (a + b), a + b) == pytest.approx(posterior)
    assert smoothed_rate(0.0, 0.0, 0.05, 10.0) == 0.05
    assert smoothed_rate(5.0, 0.0, 0.05, 10.0) < 1


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 1), st.floats(0.01, 1e4))
def test_a_smoothed_rate_lies_between_the_prior_and_the_video_s_own(total, more, rate, strength):
    trials = total + more
    own = total / trials if trials else rate
    found = float(smoothed_rate(total, trials, rate, strength))
    assert min(own, rate) - 1e-9 <= found <= max(own, rate) + 1e-9


@pytest.mark.parametrize(("a", "b"), [(2.0, 38.0), (8.0, 12.0), (0.5, 4.5)])
def test_a_planted_beta_prior_is_won_back_from_clicks(a, b):
    rng = np.random.default_rng(1)
    trials = rng.integers(1, 400, size=6000).astype(float)
    clicks = rng.binomial(trials.astype(int), rng.beta(a, b, size=6000)).astype(float)
    prior = fit_prior(clicks, trials, clicks, ANY)
    assert prior.rate == pytest.approx(a / (a + b), rel=0.03)
    assert prior.strength == pytest.approx(a + b, rel=0.1)


def test_a_planted_spread_is_won_back_from_shares_watched():
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 60, size=4000)
    means = rng.normal(0.5, 0.1, size=4000)
    shares = [rng.normal(mean, 0.2, size=n) for mean, n in zip(means, counts, strict=True)]
    totals, squares = (np.array([(s**p).sum() for s in shares]) for p in (1, 2))
    prior = fit_prior(totals, counts.astype(float), squares, ANY)
    assert prior.rate == pytest.approx(0.5, abs=0.01)
    assert prior.strength == pytest.approx(0.2**2 / 0.1**2, rel=0.1)


def test_fitted_priors_err_less_than_raw_rates():
    rng = np.random.default_rng(3)
    truth, trials = rng.beta(2, 38, size=2000), rng.geometric(1 / 30, size=2000).astype(float)
    clicks = rng.binomial(trials.astype(int), truth).astype(float)
    prior = fit_prior(clicks, trials, clicks, ANY)
    raw = ((clicks / trials - truth) ** 2).mean()
    assert ((smoothed_rate(clicks, trials, prior.rate, prior.strength) - truth) ** 2).mean() < 0.5 * raw


def test_videos_that_do_not_differ_and_those_that_only_differ_give_the_extremes():
    trials = np.full(50, 10.0)
    alike = fit_prior(np.full(50, 3.0), trials, np.full(50, 3.0), ANY)
    assert (alike.rate, alike.strength) == (pytest.approx(0.3), MAX_STRENGTH)
    apart = np.repeat([0.0, 10.0], 25)
    assert fit_prior(apart, trials, apart, ANY).strength == MIN_STRENGTH
    assert fit_prior(np.zeros(3), np.array([5.0, 0, 0]), np.zeros(3), ANY) == ANY
    assert fit_prior(np.zeros(9), np.zeros(9), np.zeros(9), ANY) == ANY


def test_each_statistic_is_drawn_to_its_own_prior():
    counts = {
        "event:impression": 100.0, "event:click": 10.0, "event:purchase": 2.0, "event:watch": 8.0,
        "watches_timed": 5.0, "watch_share": 3.0, "watch_share_squared": 2.0, "completions": 1.0,
    }  # fmt: skip
    config = VideoProfileConfig(
        click=RatePrior(rate=0.2, strength=10), watch_share=RatePrior(rate=0.5, strength=5),
        completion=RatePrior(rate=0.1, strength=15), conversion=RatePrior(rate=0.3, strength=10),
    )  # fmt: skip
    found = video_statistics(Profile("video", "v", None, counts), config)
    assert found.click_rate == pytest.approx((10 + 2) / 110)
    assert found.watch_share == pytest.approx((3 + 2.5) / 10)
    assert found.completion_rate == pytest.approx((1 + 1.5) / 20)
    assert found.conversion_rate == pytest.approx((2 + 3) / 20)
    empty = video_statistics(Profile("video", "v"), config)
    assert (empty.click_rate, empty.watch_share, empty.completion_rate, empty.conversion_rate) == (
        0.2,
        0.5,
        0.1,
        0.3,
    )


def test_priors_are_fitted_for_each_rate_and_the_rest_of_the_config_stays():
    rng = np.random.default_rng(4)
    profiles = []
    for i in range(300):
        shown = float(rng.integers(50, 200))
        clicks = float(rng.binomial(int(shown), rng.beta(2, 18)))
        profiles.append(Profile("video", str(i), None, {"event:impression": shown, "event:click": clicks}))
    config = VideoProfileConfig(complete=0.8)
    fitted = fit_priors(profiles, config)
    assert fitted.click.rate == pytest.approx(0.1, abs=0.01)
    assert fitted.click.strength == pytest.approx(20, rel=0.3)
    assert (fitted.complete, fitted.watch_share) == (0.8, config.watch_share)
