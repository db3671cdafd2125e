"""Misses of live A/B intervals over rates, shares of the arm and kinds of shoppers, looked at after each one.

Shoppers arrive one by one; a replication has missed if the interval of the difference of the arms leaves out
the truth after any of them. "Betting" is the event that the bets at the true rates exceed their limit at some
look, without which no interval can miss, so its misses are counted from above; "normal theory" is the
asymptotic confidence sequence that vrec had before. Neither counts before `min_users` shoppers are in both
arms; betting waits for `min_outcomes` too. Widths are of the intervals at the end, over the rate; "none"
where none was given.

    python benchmarks/online_intervals.py [--replications 200] [--shoppers 10000]
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from harness import number_parser
from scipy.special import logsumexp

from vrec.evaluation.online import OnlineConfig, difference_over_time
from vrec.evaluation.sequential import (
    BET_WEIGHTS,
    BETS,
    LARGEST_BET,
    SQUARE_PER_RATE,
    running_sums,
    weigh_users,
    with_cash,
)

Floats = npt.NDArray[np.float64]
RATES = (0.0001, 0.0005, 0.005, 0.05, 0.5)
SHARES = (0.01, 0.1, 0.5)
KINDS = ("alike", "different", "heavy")
CONFIG = OnlineConfig(min_users=50)
"""Fewer users than by default, so that small arms are looked at early."""


@dataclass(frozen=True)
class Shoppers:
    """Outcomes and impressions of shoppers in order of arrival, and the share of them in the arm."""

    y: Floats
    n: Floats
    treated: npt.NDArray[np.bool_]


def draw(rng: np.random.Generator, count: int, rate: float, share: float, kind: str) -> Shoppers:
    """Draw shoppers of both arms with the same true rate of outcomes per impression.

    "alike": every impression has the same chance; "different": shoppers' chances are beta with a mean of the
    rate, and impressions geometric; "heavy": a buyer takes 1 to 1,000 pieces, Pareto with exponent 2.
    """
    visits = rng.poisson(rng.gamma(1.0, 8.0, count) if kind == "different" else 4.0, count)
    n = visits.astype(np.float64) + 1
    chance = np.full(count, rate)
    if kind == "different":
        strength = 5.0 if rate < 0.5 else 1.0
        chance = rng.beta(strength * rate, strength * (1 - rate), count)
    y = rng.binomial(n.astype(int), chance).astype(float)
    if kind == "heavy":
        pieces = np.minimum(np.floor(rng.pareto(2.0, count) + 1), 1000)
        y = np.where(y > 0, y * pieces, 0)
    return Shoppers(y, n, rng.random(count) < share)


def wealth_over_time(sums: Floats, limits: Floats, rate: float, *, too_high: bool) -> Floats:
    """Return (N,) log wealth of the bets against one rate after each shopper: `log_wealth` at all looks."""
    _, _, y, n, yy, yn, nn = sums
    budget, users = math.log(2 / (1 - CONFIG.level)), CONFIG.expected_users / 2
    loss = limits[0] if too_high else rate * limits[1]
    gain = (rate * n - y) * (1 if too_high else -1)
    square = np.maximum(yy - 2 * rate * yn + rate**2 * nn, 0)
    bets = math.sqrt(2 * budget / (users * SQUARE_PER_RATE * max(rate, 1 / users))) * BETS[:, None]
    risk = bets * loss
    allowed = risk <= LARGEST_BET
    risk = np.where(allowed, risk, 0.5)
    curvature = np.where(risk < 1e-3, 0.5 + risk / 3, (-np.log1p(-risk) - risk) / np.maximum(risk, 1e-9) ** 2)
    terms = bets * gain - bets**2 * curvature * square + np.log(BET_WEIGHTS)[:, None]
    return logsumexp(np.where(allowed, terms, -np.inf), axis=0)


def betting_misses(shoppers: Shoppers, rates: Floats) -> bool:
    """Return whether bets in both arms, in either direction, ever exceed their limit at all of (K,) rates.

    While they do not at one rate, the interval of the difference holds 0.
    """
    y, n, after = weigh_users(shoppers.y, shoppers.n)
    limits = np.array([(one.outcome, one.trials) for one in after]).T
    arms = [running_sums(y, n, member) for member in (shoppers.treated, ~shoppers.treated)]
    enough = np.all([(a[0] >= CONFIG.min_users) & (a[1] >= CONFIG.min_outcomes) for a in arms], axis=0)
    if not enough.any():
        return False
    arms, limits, budget = [a[:, enough] for a in arms], limits[:, enough], math.log(2 / (1 - CONFIG.level))
    for high in (True, False):
        least = np.full(enough.sum(), np.inf)
        for rate in rates:
            wealth = with_cash(wealth_over_time(arms[0], limits, rate, too_high=high))
            wealth += with_cash(wealth_over_time(arms[1], limits, rate, too_high=not high))
            least = np.minimum(least, wealth)
        if least.max() > budget:
            return True
    return False


def normal_misses(shoppers: Shoppers) -> bool:
    """Return whether the asymptotic confidence sequence of the difference ever leaves out 0."""
    value, variance, members = [], [], []
    for member in (shoppers.treated, ~shoppers.treated):
        users, _, y, n, yy, yn, nn = running_sums(shoppers.y, shoppers.n, member)
        n, more = np.maximum(n, 1), np.maximum(users - 1, 1)
        rate = y / n
        value.append(rate)
        variance.append(np.maximum(yy - 2 * rate * yn + rate**2 * nn, 0) / n**2 * users / more)
        members.append(users)
    alpha, users = 1 - CONFIG.level, np.arange(1.0, len(shoppers.y) + 1)
    scale = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / CONFIG.expected_users
    scaled = users * scale + 1
    radius = np.sqrt(sum(variance) * 2 * scaled / (users * scale) * np.log(np.sqrt(scaled) / alpha))
    missed = np.abs(value[0] - value[1]) > radius
    return bool(missed[np.minimum(*members) >= CONFIG.min_users].any())


@dataclass(frozen=True)
class Cell:
    """Results of one rate, share and kind of shoppers."""

    betting: float
    """Share of replications that missed."""
    normal: float
    given: float
    """Share of replications with an interval at the end."""
    width: float
    """Median width of the intervals at the end over the rate."""


def simulate(rate: float, share: float, kind: str, replications: int, shoppers: int) -> Cell:
    """Simulate one cell with seeds from 0; widths are of the first 20 replications."""
    # Pieces beyond the limits do not count in full: which rate both arms have lies at or below the mean.
    rates = rate * np.linspace(1.0, 1.75, 4) if kind == "heavy" else np.array([rate])
    betting, normal, widths = 0, 0, []
    for seed in range(replications):
        drawn = draw(np.random.default_rng(seed), shoppers, rate, share, kind)
        betting += betting_misses(drawn, rates)
        normal += normal_misses(drawn)
        if seed < 20:
            looks = difference_over_time(drawn.y, drawn.n, drawn.treated, CONFIG, looks=[shoppers])
            widths.append(float(looks.high[-1] - looks.low[-1]) / rate)
    given = np.isfinite(widths)
    width = float(np.median(np.array(widths)[given])) if given.any() else math.nan
    return Cell(betting / replications, normal / replications, float(given.mean()), width)


def main() -> None:
    parser = number_parser(__doc__, replications=200, shoppers=10_000)
    arguments = parser.parse_args()
    print("| shoppers | arm | rate | betting missed | normal theory missed | given at the end | width |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for share in SHARES:
            for rate in RATES:
                cell = simulate(rate, share, kind, arguments.replications, arguments.shoppers)
                width = "none" if math.isnan(cell.width) else f"{cell.width:.2f}"
                print(
                    f"| {kind} | {share:.0%} | {rate:.2%} | {cell.betting:.1%} | {cell.normal:.1%} "
                    f"| {cell.given:.0%} | {width} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
