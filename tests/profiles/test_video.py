"""Smoothed rates: what the formulas give, and what is won back from planted priors."""

from fractions import Fraction

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


def buhlmann_straub(outcomes: list[list[float]]) -> tuple[float, float]:
    """Rate, and variance within videos over that between them, in exact arithmetic from single outcomes."""
    groups = [[Fraction(x) for x in group] for group in outcomes]
    sizes, means = [len(group) for group in groups], [sum(group) / len(group) for group in groups]
    n, rate = sum(sizes), sum(map(sum, groups)) / Fraction(sum(sizes))
    within = sum((x - m) ** 2 for group, m in zip(groups, means, strict=True) for x in group) / (
        n - len(groups)
    )
    spread = sum(size * (m - rate) ** 2 for size, m in zip(sizes, means, strict=True))
    effective = n - Fraction(sum(size**2 for size in sizes), n)
    between = (spread - (len(groups) - 1) * within) / effective
    return float(rate), float(within / between)


@pytest.mark.parametrize(
    "outcomes",
    [
        [[1] * 8 + [0] * 2, [1] * 2 + [0] * 8],
        [[1, 1, 1, 0], [0, 0], [1, 0, 0, 0, 0, 0], [1]],
        [[0.5, 0.25, 0.75], [0.125, 0.25], [1.0, 0.875, 0.75, 1.0], [0.0]],
    ],
)
def test_a_prior_is_buhlmann_and_straub_s_estimate(outcomes):
    totals, trials, squares = (
        np.array([float(f(group)) for group in outcomes])
        for f in (sum, len, lambda group: sum(x * x for x in group))
    )
    prior, (rate, strength) = fit_prior(totals, trials, squares, ANY), buhlmann_straub(outcomes)
    assert strength > 0
    assert (prior.rate, prior.strength) == (pytest.approx(rate), pytest.approx(strength))
    idle = [np.append(a, [0.0, 0.0]) for a in (totals, trials, squares)]
    assert fit_prior(*idle, ANY) == prior, "videos without trials count for nothing"


def test_two_videos_by_hand():
    # within = (8 − 10 · 0.8² + 2 − 10 · 0.2²) / 18; between = (2 · 10 · 0.3² − within) / (20 − 200 / 20)
    within = 3.2 / 18
    prior = fit_prior(np.array([8.0, 2.0]), np.array([10.0, 10.0]), np.array([8.0, 2.0]), ANY)
    assert prior.rate == pytest.approx(0.5)
    assert prior.strength == pytest.approx(within / ((1.8 - within) / 10))


def test_a_prior_needs_two_videos_with_two_trials():
    clicks = np.array([1.0, 0.0, 1.0])
    assert fit_prior(clicks, np.array([2.0, 1.0, 1.0]), clicks, ANY) == ANY
    assert fit_prior(clicks, np.array([2.0, 2.0, 1.0]), clicks, ANY) != ANY


def test_a_total_beyond_the_trials_counts_as_trials():
    assert smoothed_rate(6.0, 2.0, 0.5, 4.0) == (6 + 2) / (6 + 4)
    assert smoothed_rate(np.array([1.0, 3.0]), np.array([4.0, 4.0]), 0.25, 4.0).tolist() == [0.25, 0.5]
    rows = [{"event:click": 4.0, "event:impression": 2.0}, {"event:click": 1.0, "event:impression": 10.0}]
    profiles = [Profile("video", str(n), None, row) for n, row in enumerate(rows)]
    assert fit_priors(profiles, VideoProfileConfig()).click.rate == pytest.approx((4 + 1) / (4 + 10))


def test_each_prior_is_fitted_on_its_own_counts():
    rows = [
        {"event:impression": 40, "event:click": 20, "event:purchase": 5, "watches_timed": 10,
         "watch_share": 6, "watch_share_squared": 4.5, "completions": 3},
        {"event:impression": 60, "event:click": 12, "event:purchase": 9, "watches_timed": 20,
         "watch_share": 4, "watch_share_squared": 1.5, "completions": 12},
        {},
    ]  # fmt: skip
    fitted = fit_priors(
        [Profile("video", str(n), None, row) for n, row in enumerate(rows)], VideoProfileConfig()
    )

    def prior(total: str, trials: str, squares: str) -> RatePrior:
        columns = (np.array([float(row.get(key, 0)) for row in rows[:2]]) for key in (total, trials, squares))
        return fit_prior(*columns, ANY)

    assert fitted.click == prior("event:click", "event:impression", "event:click")
    assert fitted.watch_share == prior("watch_share", "watches_timed", "watch_share_squared")
    assert fitted.completion == prior("completions", "watches_timed", "completions")
    assert fitted.conversion == prior("event:purchase", "event:click", "event:purchase")
    assert len({fitted.click, fitted.watch_share, fitted.completion, fitted.conversion, ANY}) == 5
    bare = VideoProfileConfig(completion=ANY)
    assert fit_priors([], bare) == bare
