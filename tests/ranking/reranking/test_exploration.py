import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import truncnorm

from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value
from vrec.evaluation.off_policy.log import LoggedBandit
from vrec.ranking.reranking.exploration import (
    MAX_DEVIATION,
    ExplorationConfig,
    draw_winner,
    win_chance,
    win_chances,
)

PAIRS = st.lists(
    st.tuples(st.floats(-3, 3), st.one_of(st.just(0.0), st.floats(1e-4, 10))), min_size=1, max_size=12
)


def by_quad(means, deviations, one):
    """The chance by SciPy's quadrature of cut Normals, where all deviations are above 0."""
    inside = ndtr(MAX_DEVIATION) - ndtr(-MAX_DEVIATION)

    def density(x):
        z = (x - means) / deviations
        below = np.clip((ndtr(z) - ndtr(-MAX_DEVIATION)) / inside, 0, 1)
        peak = np.exp(-(z[one] ** 2) / 2) / np.sqrt(2 * np.pi) / inside / deviations[one]
        return peak * np.delete(below, one).prod()

    ends = np.sort(
        np.concatenate([means - MAX_DEVIATION * deviations, means, means + MAX_DEVIATION * deviations])
    )
    low, high = means[one] - MAX_DEVIATION * deviations[one], means[one] + MAX_DEVIATION * deviations[one]
    inner = ends[(ends > low) & (ends < high)]
    return quad(density, low, high, points=inner, limit=400, epsabs=1e-10)[0]


@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_chances_sum_to_one(pairs):
    means, deviations = np.array(pairs).T
    chances = win_chances(means, deviations)
    assert chances.min() >= 0
    assert chances.sum() == pytest.approx(1, abs=2e-5)


def test_chances_equal_scipy_s():
    rng = np.random.default_rng(2)
    for spread in (0.1, 1.0, 3.0):
        means, deviations = rng.normal(size=5), np.exp(spread * rng.normal(size=5))
        found = win_chances(means, deviations)
        np.testing.assert_allclose(
            found, [by_quad(means, deviations, i) for i in range(5)], rtol=1e-5, atol=1e-9
        )


def test_chances_equal_frequencies():
    rng = np.random.default_rng(5)
    means = np.array([1.0, 0.8, 0.8, 0.3, -4.0, 0.5])
    deviations = np.array([0.3, 0.5, 0.0, 1.5, 0.2, 0.05])
    chances, draws = win_chances(means, deviations), 10_000
    counts, told = np.zeros(6), np.zeros(6)
    for _ in range(draws):
        winner, chance = draw_winner(means, deviations, rng)
        counts[winner] += 1
        told[winner] = chance
    error = np.sqrt(chances * (1 - chances) / draws)
    assert (np.abs(counts / draws - chances) <= 4 * error).all()
    drawn = counts > 0
    np.testing.assert_array_equal(told[drawn], chances[drawn])


def test_what_is_out_of_reach_has_no_chance_and_does_not_count():
    means, deviations = np.array([0.0, 0.1, -5.0, -8.0]), np.array([0.5, 0.4, 0.5, 0.0])
    chances = win_chances(means, deviations)
    assert (chances[2:] == 0).all()
    np.testing.assert_array_equal(chances[:2], win_chances(means[:2], deviations[:2]))


def test_two_equal_ones_halve_the_chance_and_two_unequal_ones_are_known():
    assert win_chances(np.zeros(2), np.ones(2)) == pytest.approx([0.5, 0.5], abs=1e-6)
    # A certain one is beaten where a draw exceeds it.
    beaten = truncnorm(-MAX_DEVIATION, MAX_DEVIATION, 0.0, 2.0).sf(1.0)
    assert win_chances(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(
        [1 - beaten, beaten], abs=1e-6
    )


def test_without_deviation_the_first_of_the_best_wins_for_sure():
    rng = np.random.default_rng(0)
    means = np.array([1.0, 2.0, 2.0])
    assert draw_winner(means, np.zeros(3), rng) == (1, 1.0)
    assert win_chances(means, np.zeros(3)).tolist() == [0, 1, 0]
    assert win_chances(means, np.full(3, 1e-18)).tolist() == [0, 1, 0]


def test_steps_far_narrower_than_the_winner_s_own_are_not_missed():
    # The certain sum of two chances: a narrow rival stands for a certain one.
    for width in (1e-2, 1e-4, 1e-6, 1e-9):
        means, deviations = np.array([0.0, 0.7]), np.array([1.0, width])
        expected = truncnorm(-MAX_DEVIATION, MAX_DEVIATION).sf(0.7)
        assert win_chance(means, deviations, 0) == pytest.approx(expected, abs=2e-5 + width)


def test_a_hundred_rivals_each_have_their_share():
    chances = win_chances(np.zeros(100), np.ones(100))
    np.testing.assert_allclose(chances, 0.01, rtol=1e-4)


def test_off_by_default_and_only_in_its_slots():
    assert not ExplorationConfig().explores(0)
    some = ExplorationConfig(scale=1.0, slots=frozenset({2, 3}))
    assert [some.explores(slot) for slot in range(5)] == [False, False, True, True, False]


@pytest.mark.slow
def test_estimates_from_a_log_with_these_chances_cover_the_truth():
    # Clicks of ten videos with known rates; shown by draws about wrong guesses; judged: the uniform policy.
    rates, covered, worlds = np.linspace(0.05, 0.5, 10), 0, 40
    for world in range(worlds):
        rng = np.random.default_rng([7, world])
        guesses = rates + 0.1 * rng.normal(size=10)
        deviations = np.where(np.arange(10) % 2, 0.2, 0.1)
        shown = [draw_winner(guesses, deviations, rng) for _ in range(300)]
        actions, chances = np.array([s[0] for s in shown]), np.array([s[1] for s in shown])
        clicks = (rng.random(300) < rates[actions]).astype(float)
        log = LoggedBandit(actions, clicks, chances, np.zeros(300, np.int64))
        # A policy within the support: a softer draw about the same guesses.
        target = win_chances(guesses, 0.7 * deviations)
        found = estimate_policy_value(
            log, target[actions], OffPolicyConfig(method="ips", min_effective_sample=20)
        )
        covered += found.low <= float(target @ rates) <= found.high
    # Of 40 intervals at 95 %, 32 or fewer hold the truth by chance once in three thousand times.
    assert covered >= 33


def test_draws_are_truncated_normals_of_mean_and_deviation():
    rng = np.random.default_rng(3)

    class Draws:
        """Gives the quantiles it was made with."""

        def __init__(self, quantiles):
            self.quantiles = np.array(quantiles)

        def random(self, size):
            assert size == len(self.quantiles)
            return self.quantiles

    cut = truncnorm(-MAX_DEVIATION, MAX_DEVIATION)
    for _ in range(20):
        quantiles, means, deviations = rng.random(4), rng.normal(size=4), rng.random(4)
        scores = means + deviations * cut.ppf(quantiles)
        assert draw_winner(means, deviations, Draws(quantiles))[0] == scores.argmax()
    # A draw this low would be at −6 deviations, and is at the cut instead.
    assert draw_winner(np.array([0.0, -4.5]), np.array([1.0, 0.0]), Draws([1e-9, 0.5]))[0] == 0


def test_one_candidate_wins_for_sure():
    assert draw_winner(np.array([0.3]), np.array([2.0]), np.random.default_rng(0)) == (0, pytest.approx(1.0))
