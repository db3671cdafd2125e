"""A shop's two policies, each estimated from the other's log, against its own log's click rate.

The Open Bandit Dataset (Saito et al. 2021), small, men's campaign: one week of slots filled at random, and
one filled by Bernoulli Thompson sampling, 10,000 rows each. What the random policy would do is known exactly.
Thompson's probabilities are not in the random log: it learns and so changes from hour to hour, but looks at
no context, so that over the week it shows item i in slot s with a probability that its own log gives without
bias, as the share of i among the rows of s. (The mean of its logged propensities is no such estimate: it is
taken where the item was shown, which is when its propensity was high, and sums to about 2 over the items.)

    python benchmarks/open_bandit.py FOLDER    (the folder that holds obd_men/)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from harness import number_parser

from vrec.evaluation.off_policy.estimators import OffPolicyConfig, PolicyValueEstimate, estimate_policy_value
from vrec.evaluation.off_policy.log import (
    LoggedBandit,
    RewardModelConfig,
    fit_reward_means,
    read_logged_bandit,
)
from vrec.events.datasets import open_bandit

METHODS = (
    ("ips", OffPolicyConfig(method="ips")),
    ("snips", OffPolicyConfig(method="snips")),
    ("dr", OffPolicyConfig(method="dr")),
)

Floats = npt.NDArray[np.float64]


def read_log(folder: Path, policy: str) -> LoggedBandit:
    """Read one policy's log, all slots; rows count as independent, since it names no shopper."""
    _, log = read_logged_bandit(open_bandit(folder, policy).events, position=None)
    return replace(log, groups=log.groups[:0])


def shares(log: LoggedBandit, items: int) -> Floats:
    """Return (slots, items) share of each item among the rows of each slot: the week's policy."""
    counts = np.zeros((int(log.positions.max()) + 1, items))
    np.add.at(counts, (log.positions, log.actions), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def estimated(log: LoggedBandit, policy: Floats) -> dict[str, PolicyValueEstimate]:
    """Return each estimator's estimate of a (slots, items) policy."""
    target = policy[log.positions, log.actions]
    model = fit_reward_means(log, lambda rows: policy[log.positions[rows]], RewardModelConfig())
    return {name: estimate_policy_value(log, target, config, model) for name, config in METHODS}


def on_policy(log: LoggedBandit) -> PolicyValueEstimate:
    """Return the log's own click rate, with a normal interval."""
    config = OffPolicyConfig(method="ips", interval="normal", normal_min_outcomes=1)
    return estimate_policy_value(log, log.propensities, config)


def report(name: str, own: LoggedBandit, other: LoggedBandit, policy: Floats) -> None:
    truth, guess = on_policy(own), on_policy(other)
    print(f"\n{name}'s click rate, in percent          value      95 % interval  worth   holds own mean")
    print(f"{'its own log':38}{_percent(truth)}{truth.effective_sample_size:>7,.0f}")
    for method, found in estimated(other, policy).items():
        holds = "yes" if found.low <= truth.value <= found.high else "no"
        print(
            f"{'the other log, ' + method:38}{_percent(found)}{found.effective_sample_size:>7,.0f}   {holds}"
        )
    print(f"{'the other log, plain mean (naive)':38}{_percent(guess)}{len(other):>7,.0f}   "
          f"{'yes' if guess.low <= truth.value <= guess.high else 'no'}")  # fmt: skip


def _percent(found: PolicyValueEstimate) -> str:
    return f"{found.value:>8.3%}   {found.low:.3%} to {found.high:.3%}"


def main() -> None:
    parser = number_parser(__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    # Both logs show all 34 items, so that an item has the same code in both.
    random, thompson = read_log(folder, "random"), read_log(folder, "bts")
    items = 1 + int(max(random.actions.max(), thompson.actions.max()))
    slots = 1 + int(random.positions.max())
    report("Thompson", thompson, random, shares(thompson, items))
    report("Random", random, thompson, np.full((slots, items), 1 / items))


if __name__ == "__main__":
    main()
