"""Coverage of the 95 % intervals of off-policy estimates on a simulated shop with known truth.

The log shows one video a request; another policy, which knows shoppers better, is estimated from it and its
exact value is known from the simulator. Prints for each estimator how often its interval held the truth over
replications with other shops, shoppers and logs, its mean error and its mean width.

    python benchmarks/off_policy.py [--replications 200]
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from harness import number_parser
from scipy.special import expit, softmax
from scipy.stats import binom

from vrec.evaluation.off_policy.estimators import (
    OffPolicyConfig,
    PolicyValueEstimate,
    estimate_policy_value,
    replay_estimate,
)
from vrec.evaluation.off_policy.log import (
    LoggedBandit,
    RewardModel,
    RewardModelConfig,
    fit_reward_means,
    read_logged_bandit,
)
from vrec.synthetic.shop.simulate import ShopSimulation, SimulatedShop, SimulationConfig, simulate

SHOP = SimulationConfig(
    users=500, videos=60, requests_per_user=20, slots=1, click_rate=0.05, cold_share=0.1, logging_taste=0.6
)

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass
class Tally:
    """Results of one estimator over all replications."""

    covered: int = 0
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, found: PolicyValueEstimate, truth: float) -> None:
        self.covered += found.low <= truth <= found.high
        self.errors.append(found.value - truth)
        self.widths.append(found.high - found.low)


def target_of(shop: SimulatedShop) -> Callable[[Places, Places], Floats]:
    """Return a policy that knows tastes better than the logging one and popularity less."""

    def policy(users: Places, videos: Places) -> Floats:
        likes = shop.affinity(users, videos, paired=False)
        return softmax(1.2 * likes + 0.4 * shop.popularity[videos], axis=1)

    return policy


@dataclass(frozen=True)
class Case:
    """Simulated log and target policy, as the estimators take them."""

    shop: SimulatedShop
    log: LoggedBandit
    users: Places
    days: Places
    policy: Callable[[Places, Places], Floats]

    @classmethod
    def of(cls, simulation: ShopSimulation) -> "Case":
        shop = simulation.shop
        rows, log = read_logged_bandit(simulation.events)
        # The shop's shoppers are all there are: requests, not shoppers, are what was sampled.
        log = replace(log, actions=shop.video_indices(rows.column("video_id")), groups=log.groups[:0])
        users, days = shop.user_indices(rows.column("user_id")), shop.days_of(rows.column("at"))
        return cls(shop, log, users, days, target_of(shop))

    def chances(self) -> Floats:
        """Return (N,) the target's probabilities of the logged actions."""
        return self.shop.policy_probability(self.policy, self.users, self.log.actions, self.days)

    def all_chances(self, rows: Places) -> Floats:
        """Return (B, videos) the target's probability of each video, 0 before it is published."""
        full = np.zeros((len(rows), self.shop.videos.num_rows))
        for day in np.unique(self.days[rows]):
            offer, here = self.shop.available_videos(int(day)), np.flatnonzero(self.days[rows] == day)
            full[np.ix_(here, offer)] = self.policy(self.users[rows[here]], offer)
        return full

    def true_model(self) -> RewardModel:
        """Return the best possible reward model: the planted probabilities themselves."""
        every = np.arange(len(self.log))
        clicks = expit(
            self.shop.base_log_odds
            + self.shop.affinity(self.users, np.arange(self.shop.videos.num_rows), paired=False)
        )
        return RewardModel(clicks[every, self.log.actions], (self.all_chances(every) * clicks).sum(axis=1))

    def estimates(self) -> dict[str, PolicyValueEstimate]:
        """Return each estimator's estimate."""
        log, chances = self.log, self.chances()
        means = fit_reward_means(log, self.all_chances, RewardModelConfig())
        choice = self.all_chances(np.arange(len(log))).argmax(axis=1)
        return {
            "ips": estimate_policy_value(log, chances, OffPolicyConfig(method="ips")),
            "clipped ips (at 5)": estimate_policy_value(
                log, chances, OffPolicyConfig(method="clipped_ips", clip=5)
            ),
            "snips": estimate_policy_value(log, chances, OffPolicyConfig(method="snips")),
            "snips, normal": estimate_policy_value(
                log, chances, OffPolicyConfig(method="snips", interval="normal", normal_min_outcomes=1)
            ),
            "dr, smoothed means": estimate_policy_value(log, chances, OffPolicyConfig(method="dr"), means),
            "dr, true rewards": estimate_policy_value(
                log, chances, OffPolicyConfig(method="dr"), self.true_model()
            ),
            "naive replay": replay_estimate(log, choice, OffPolicyConfig()),
            "naive mean of the log": estimate_policy_value(
                log, log.propensities, OffPolicyConfig(method="ips")
            ),
        }


def coverage(replications: int, config: SimulationConfig = SHOP) -> dict[str, Tally]:
    """Run each estimator over replications with seeds from 0."""
    tallies: dict[str, Tally] = {}
    for seed in range(replications):
        case = Case.of(simulate(config.model_copy(update={"seed": seed})))
        truth = case.shop.true_policy_value(case.policy)
        for name, found in case.estimates().items():
            tallies.setdefault(name, Tally()).add(found, truth)
    return tallies


def main() -> None:
    parser = number_parser(__doc__, replications=200)
    replications = parser.parse_args().replications
    low, high = binom.interval(0.95, replications, 0.95)
    print(f"{SHOP.requests:,} requests a log, {replications} replications; ", end="")
    print(f"a true coverage of 95 % shows as {low / replications:.1%} to {high / replications:.1%}")
    print(f"{'':24}{'covered':>9}{'bias':>10}{'sd':>10}{'width':>10}")
    for name, tally in coverage(replications).items():
        bias, sd, width = np.mean(tally.errors), np.std(tally.errors), np.mean(tally.widths)
        print(f"{name:24}{tally.covered / replications:>9.1%}{bias:>10.4f}{sd:>10.4f}{width:>10.4f}")


if __name__ == "__main__":
    main()
