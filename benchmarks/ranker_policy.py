"""Click rate of a ranker's policy: estimated from another policy's log, and the truth.

A simulated shop logs one video a request with its propensity. Rankers are trained on the earlier part; on the
later part each becomes a policy that shows a video with chance ∝ (odds of its click)^sharpness, over all on
offer. Its click rate is estimated from the log (SNIPS, DR), and known from the simulator.

    python benchmarks/ranker_policy.py [--sharpness 1.0]
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser
from scipy.special import logit, softmax

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value
from vrec.evaluation.off_policy.log import LoggedBandit, RewardModelConfig, fit_reward_means
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles, video_metadata
from vrec.ranking.base import ProfileRanker
from vrec.ranking.config import LabelsConfig, LogSplitConfig, RankerConfig
from vrec.ranking.features.arrays import RankingRequest
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.labels import build_labels, split_log
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.registry import fit_network_ranker
from vrec.ranking.replay import impressions, replay_requests, replay_video_counts
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

SHOP = SimulationConfig(
    users=1500, videos=80, requests_per_user=30, slots=1, click_rate=0.1, cold_share=0.1, seed=3
)
LABELS = LabelsConfig(conversion_window_hours=24)
NETWORKS = {
    "lr": {"network": {"kind": "lr"}, "training": {"epochs": 30, "learning_rate": 0.01}},
    "din": {"network": {"kind": "din", "width": 8, "hidden": [64, 32], "dropout": 0.2}},
}

Floats = npt.NDArray[np.float64]


class Later:
    """Test part of a log: requests, logged actions, and the truth."""

    def __init__(
        self, made: ShopSimulation, requests: list[RankingRequest], shown: pa.Table, until: int
    ) -> None:
        """`requests` and `shown` are of the whole log, in one order; `until` is when the test part begins."""
        rows = np.flatnonzero(np.array([r.context.at for r in requests]) >= until)
        self.shop, self.requests = made.shop, [requests[row] for row in rows]
        shown = shown.take(pa.array(rows))
        labels = build_labels(made.events, made.videos, LABELS)
        self.users = self.shop.user_indices(shown.column("user_id"))
        self.log = LoggedBandit(
            actions=self.shop.video_indices(shown.column("video_id")),
            rewards=labels.click[rows].astype(float),
            propensities=np.asarray(shown.column("propensity")).astype(float),
            positions=np.zeros(len(rows), np.int64),
            groups=self.users,
        )
        self.days = self.shop.days_of(shown.column("at"))
        before = made.events.filter(pc.less(made.events.column("at").cast(pa.int64()), until))
        profiles = profiles_from_table(
            build_profiles(before, CatalogContent(made.videos, made.embeddings), ProfilesConfig())
        )
        counted = {p.entity_id: p for p in profiles if p.entity == "video"}
        self.ids = np.array(made.videos.column("video_id").to_pylist())
        # As of the morning of the test: a shop would count in batches, and rank by somewhat older counts.
        self.states = np.array([profile_counts(counted.get(i) or Profile("video", i)) for i in self.ids])

    def policy(self, ranker: ProfileRanker, sharpness: float) -> Floats:
        """Return (N, videos) probabilities of the ranker's policy, 0 for unavailable videos."""
        chances = np.zeros((len(self.requests), len(self.ids)))
        for day in np.unique(self.days):
            offer = self.shop.available_videos(int(day))
            rows = np.flatnonzero(self.days == day)
            asked = [
                RankingRequest(
                    self.requests[r].user,
                    self.requests[r].context,
                    tuple(self.ids[offer]),
                    self.states[offer],
                )
                for r in rows
            ]
            p_click = ranker.predict_requests(asked).p_click.astype(float).reshape(len(rows), -1)
            odds = sharpness * logit(np.clip(p_click, 1e-6, 1 - 1e-6))
            chances[np.ix_(rows, offer)] = softmax(odds, axis=1)
        return chances

    def report(self, name: str, chances: Floats) -> None:
        """Print a policy's click rate: the truth, and the estimates from the log."""
        videos = np.arange(len(self.ids))
        truth = np.array(
            [
                row @ self.shop.click_probability(np.full(len(videos), user), videos, 0, int(day))
                for row, user, day in zip(chances, self.users, self.days, strict=True)
            ]
        ).mean()
        target = chances[np.arange(len(chances)), self.log.actions]
        model = fit_reward_means(self.log, lambda rows: chances[rows], RewardModelConfig())
        said = [
            f"{m} {e.value:.4f} [{e.low:.4f}, {e.high:.4f}]"
            for m in ("snips", "dr")
            for e in [estimate_policy_value(self.log, target, OffPolicyConfig(method=m), model)]
        ]
        weights = target / self.log.propensities
        worth = weights.sum() ** 2 / (weights**2).sum()
        print(f"{name:<14} truth {truth:.4f}, {', '.join(said)}, worth {worth:,.0f} rows")


def main() -> None:
    parser = number_parser(__doc__, sharpness=1.0)
    given = parser.parse_args()
    made = simulate(SHOP)
    content, facts = (
        CatalogContent(made.videos, made.embeddings),
        video_metadata(CatalogContent(made.videos, made.embeddings)),
    )
    requests = list(
        replay_requests(
            made.events, replay_video_counts(made.events, facts, ProfilesConfig()), facts, ProfilesConfig()
        )
    )
    at = np.array([r.context.at for r in requests])
    parts = split_log(at, LogSplitConfig(validation_share=0.15))
    later = Later(made, requests, impressions(made.events), parts.test_from)
    labels = build_labels(made.events, made.videos, LABELS, parts.test_from - 1)
    rows = [np.flatnonzero(parts.split_of(at) == part) for part in (0, 1)]
    first = made.events.filter(pc.less(made.events.column("at").cast(pa.int64()), parts.validation_from))
    known = [requests[row] for row in rows[0]]
    print(f"{len(rows[0]):,} requests to train on, {len(later.requests):,} to test on")
    later.report("the log's own", np.stack([_own(later, n) for n in range(len(later.requests))]))
    later.report(
        "counts alone",
        later.policy(
            RateBaselineRanker.fit(RateBaselineConfig(labels=LABELS), known, labels.take(rows[0]), content),
            given.sharpness,
        ),
    )
    base = RankerConfig(labels=LABELS)
    space = fit_space(first, known, content, base.features)
    built = FeatureBuilder(space, CatalogFeatures.from_content(content, space)).build(requests)
    train, valid = ((built.take(some), labels.take(some)) for some in rows)
    for name, changes in NETWORKS.items():
        config = RankerConfig.model_validate(base.model_dump() | changes | {"heads": {"heads": ["click"]}})
        ranker = fit_network_ranker(config, space, content, train=train, valid=valid)
        later.report(name, later.policy(ranker, given.sharpness))


def _own(later: Later, row: int) -> Floats:
    """Return (videos,) the logging policy's probabilities for one request."""
    offer = later.shop.available_videos(int(later.days[row]))
    chances = np.zeros(len(later.ids))
    chances[offer] = later.shop.logging_policy(later.users[row : row + 1], offer)[0]
    return chances


if __name__ == "__main__":
    main()
