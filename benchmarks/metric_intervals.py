"""Coverage of the intervals of offline metrics over numbers of users and hit rates; the true mean is known.

Per user: a hit or none; NDCG@10 of a single relevant video; recall of up to 8, with users of different
chances; and the differences of two models' hits and NDCGs, most of them 0. A miss is an interval without the
truth, as a share of all replications. Printed are the misses, the share with an interval, and in brackets the
misses of the percentile bootstrap (400 resamples, no minimum of outcomes) that reports had before.

    python benchmarks/metric_intervals.py [--replications 2000]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from vrec.evaluation.intervals import mean_intervals
from vrec.evaluation.offline.config import EvaluationConfig

USERS = (10, 20, 30, 50, 100, 300, 1_000, 10_000)
RATES = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8)
BOOTSTRAP_REPLICATIONS = 300
RESAMPLES = 400
MIN_OUTCOMES = EvaluationConfig().min_outcomes
GAINS = 1 / np.log2(np.arange(10) + 2)
SHAPE = 2.0
"""Of the gamma distribution of users' chances."""

Floats = npt.NDArray[np.float64]


def _hits(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    return (rng.random(shape) < rate).astype(np.float64)


def _ndcg(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    return _hits(rate, shape, rng) * GAINS[rng.integers(0, 10, shape)]


def _recall(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    relevant = np.minimum(rng.geometric(0.4, shape), 8)
    return rng.binomial(relevant, rng.beta(SHAPE * rate, SHAPE * (1 - rate), shape)) / relevant


def _hit_difference(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    ours = _hits(rate, shape, rng)
    theirs = np.where(rng.random(shape) < 0.3, _hits(0.7 * rate, shape, rng), ours)
    return ours - theirs


def _ndcg_difference(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    rank = rng.integers(0, 10, shape)
    lower = np.append(GAINS, [0.0, 0.0])[rank + rng.integers(0, 3, shape)]
    return _hits(rate, shape, rng) * (GAINS[rank] - lower)


_LOWER = np.append(GAINS, [0.0, 0.0])
METRICS: dict[str, tuple[Callable[[float, tuple[int, int], np.random.Generator], Floats], float]] = {
    "hit rate": (_hits, 1.0),
    "NDCG": (_ndcg, float(GAINS.mean())),
    "recall": (_recall, 1.0),
    "hit rate, difference": (_hit_difference, 0.3 * 0.3),
    "NDCG, difference": (
        _ndcg_difference,
        float(np.mean([GAINS[r] - _LOWER[r + d] for r in range(10) for d in range(3)])),
    ),
}
"""By name, how values are drawn for (replications, users), and their mean over the hit rate."""


@dataclass(frozen=True)
class Tally:
    """Intervals of one cell."""

    given: int
    missed: int
    bootstrap_missed: int
    bootstrap_tried: int


def run_cell(metric: str, rate: float, users: int, replications: int) -> Tally:
    """Return how many intervals of the replications were given, and how many missed."""
    draw, factor = METRICS[metric]
    truth = factor * rate
    rng = np.random.default_rng([users, round(rate * 1000), list(METRICS).index(metric)])
    values = draw(rate, (replications, users), rng).T
    found = mean_intervals(values, 0.95, MIN_OUTCOMES, bounds=(-1.0, 1.0))
    given = ~np.isnan(found.low)
    missed = given & ~((found.low <= truth) & (truth <= found.high))
    tried = min(BOOTSTRAP_REPLICATIONS, replications)
    before = 0
    for column in values.T[:tried] if users <= 1000 else ():
        means = column[rng.integers(0, users, (RESAMPLES, users))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        before += not low <= truth <= high
    return Tally(int(given.sum()), int(missed.sum()), before, tried)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=2000, help="a fifth of them for 10,000 users")
    given = parser.parse_args()
    print("| metric | users | " + " | ".join(f"{rate:.1%}" for rate in RATES) + " |")
    print("|---|---|" + "---|" * len(RATES))
    for metric, users in product(METRICS, USERS):
        cells = []
        for rate in RATES:
            replications = given.replications // (5 if users > 1000 else 1)
            tally = run_cell(metric, rate, users, replications)
            before = f" ({tally.bootstrap_missed / tally.bootstrap_tried:.0%})" if users <= 1000 else ""
            shown = tally.given / replications
            cells.append(f"{tally.missed / replications:.1%} of {shown:.0%}{before}")
        print(f"| {metric} | {users:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
