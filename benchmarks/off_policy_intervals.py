"""Misses of off-policy intervals over click rates, sizes of the log and policies; the true value is known.

A log of N rows over 20 actions, whose click rates differ by a factor of 3, from a policy that prefers some of
them. Targets: the logging policy itself ("same"); one "near" it; one that prefers what the log rarely shows
("far", weights up to 13); one that does little else than the rarest ("extreme", up to 96); and one whose
weights have a long tail, most of which no log shows ("heavy", two actions, up to 100, a few beyond 30).

A miss is an interval without the truth, as a share of all replications; "given" is the share with an interval
at all. "before" is the interval without a minimum of rewards that an estimate had earlier, by normal theory.

    python benchmarks/off_policy_intervals.py [--sizes 300 1000 …] [--policies far …] [--rates 0.01 …]
        [--replications 200] [--processes 1]
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, PolicyValueEstimate, estimate_policy_value
from vrec.evaluation.off_policy.log import LoggedBandit, RewardModelConfig, fit_reward_means

RATES = (0.0001, 0.001, 0.01, 0.1, 0.5)
SIZES = (300, 1_000, 10_000, 100_000, 1_000_000)
POLICIES = ("same", "near", "far", "extreme", "heavy")
METHODS = {
    "ips": OffPolicyConfig(method="ips"),
    "clipped_ips": OffPolicyConfig(method="clipped_ips"),
    "snips": OffPolicyConfig(method="snips"),
    "dr": OffPolicyConfig(method="dr"),
    "snips, normal": OffPolicyConfig(method="snips", interval="normal"),
    "dr, normal": OffPolicyConfig(method="dr", interval="normal"),
    "before": OffPolicyConfig(method="snips", interval="normal", min_rewards=1, normal_min_outcomes=1),
}
ACTIONS = 20
SPREAD = 1.5 - np.arange(ACTIONS) / (ACTIONS - 1)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A log, the target's probabilities of its actions and of all actions, and the true value."""

    log: LoggedBandit
    target: Floats
    policy: Callable[[npt.NDArray[np.int64]], Floats]
    truth: float


def draw(policy: str, rate: float, size: int, rng: np.random.Generator) -> Drawn:
    """Draw a log of `size` rows with click rates around `rate`."""
    if policy == "heavy":
        return _draw_heavy(rate, size, rng)
    order = np.arange(ACTIONS)
    logging = 0.8 * _normalized(np.asarray(0.8**order, np.float64)) + 0.2 / ACTIONS
    target = {
        "same": logging,
        "near": _normalized(np.asarray(logging * 0.95**-order, np.float64)),
        "far": _normalized(0.8 ** -order.astype(np.float64)),
        "extreme": np.where(order == ACTIONS - 1, 0.981, 0.001),
    }[policy]
    if policy == "extreme":
        logging = np.where(order == ACTIONS - 1, 0.0102, 0.9898 / (ACTIONS - 1))
    actions = rng.choice(ACTIONS, size, p=logging)
    rewards = (rng.random(size) < rate * SPREAD[actions]).astype(float)
    log = LoggedBandit(actions, rewards, logging[actions], np.zeros(size, np.int64))
    everywhere = lambda rows: np.tile(target, (len(rows), 1))  # noqa: E731
    return Drawn(log, target[actions], everywhere, float(target @ SPREAD) * rate)


def _draw_heavy(rate: float, size: int, rng: np.random.Generator) -> Drawn:
    # The logging policy shows action 1 with a chance that is rarely small; the target always shows it.
    chance = np.clip(rng.beta(1.5, 1.5, size), 0.01, 1)
    shown = rng.random(size) < chance
    rewards = (rng.random(size) < rate * np.where(shown, 1.2, 0.6)).astype(float)
    log = LoggedBandit(
        shown.astype(np.int64),
        rewards,
        np.where(shown, chance, 1 - chance).clip(1e-9),
        np.zeros(size, np.int64),
    )
    everywhere = lambda rows: np.tile([0.0, 1.0], (len(rows), 1))  # noqa: E731
    return Drawn(log, shown.astype(float), everywhere, 1.2 * rate)


def _normalized(weights: Floats) -> Floats:
    return weights / weights.sum()


@dataclass
class Tally:
    """Outcomes of one method in one cell."""

    given: int = 0
    missed: int = 0
    widths: tuple[float, ...] = ()

    def add(self, found: PolicyValueEstimate, truth: float) -> None:
        assert 0 <= found.low <= found.value <= found.high <= 1
        self.given += 1
        self.missed += not found.low <= truth <= found.high
        self.widths += ((found.high - found.low) / truth,)


def run_cell(cell: tuple[str, float, int, int]) -> dict[str, Tally]:
    """Estimate the value in replications of one cell: policy, rate, size, replications."""
    policy, rate, size, replications = cell
    tallies = {name: Tally() for name in METHODS}
    for seed in range(replications):
        rng = np.random.default_rng([seed, size, round(rate * 1e4), POLICIES.index(policy)])
        drawn = draw(policy, rate, size, rng)
        model = fit_reward_means(drawn.log, drawn.policy, RewardModelConfig())
        for name, config in METHODS.items():
            try:
                found = estimate_policy_value(drawn.log, drawn.target, config, model)
            except EvaluationError:
                continue
            tallies[name].add(found, drawn.truth)
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--replications", type=int, default=200, help="half of them for 100,000 rows, an eighth for 1,000,000"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="click rates as shares")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    cells = [
        (policy, rate, size, given.replications // (8 if size > 100_000 else 2 if size > 10_000 else 1))
        for size, policy, rate in product(given.sizes, given.policies, given.rates)
    ]
    print(
        "| policy | rate | rows | " + " | ".join(f"{name}: missed, given, width" for name in METHODS) + " |"
    )
    print("|---|---|---|" + "---|" * len(METHODS))
    with ProcessPoolExecutor(given.processes) as pool:
        for (policy, rate, size, replications), tallies in zip(cells, pool.map(run_cell, cells), strict=True):
            columns = [
                f"{t.missed / replications:.1%} {t.given / replications:.0%} "
                + (f"{np.median(t.widths):.2f}" if t.widths else "-")
                for t in tallies.values()
            ]
            print(f"| {policy} | {rate:.2%} | {size:,} | " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
