"""Detection of promoted videos on planted attacks, and the fit of its score.

Run as `OMP_NUM_THREADS=1 python benchmarks/promoted_videos.py DATA`, where DATA is the folder of the public
sets. With --learn it plants the simple attacks on targets of the long tail in draws of MovieLens-100k and
Beauty, and prints the coefficients for vrec/robustness/defences/promotion_coefficients.py. Without, it prints
by attack the share of promoted videos that are found and of honest videos that are taken for promoted, on
other draws and targets, on a set that the score was not fitted on (MicroLens-50k), and for attacks that it
was not fitted on.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from vrec.evaluation.shilling.shop import draw_shop
from vrec.events.config import InterestConfig
from vrec.events.datasets import microlens_50k, movielens_100k
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.plain_files import read_lists
from vrec.robustness.attacks.events import attack_events
from vrec.robustness.attacks.model_aware import ATTACKS, plan_attack
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.config import AttackBenchConfig, PromotedConfig
from vrec.robustness.defences.promoted import promotion_scores, score_features
from vrec.robustness.defences.shopper_ranks import shopper_ranks
from vrec.robustness.defences.video_statistics import video_statistics
from vrec.robustness.watched import WatchedVideos

SIMPLE = ("random", "average", "bandwagon", "segment", "click_farm")
UNSEEN = tuple(name for name in ATTACKS if name not in (*SIMPLE, "reverse", "love_hate"))
INTEREST = InterestConfig()
SIZES = {"ml100k": ((1000, 2000),), "beauty5": ((1000, 2000), (1500, 4000)), "microlens50k": ((1500, 4000),)}
LEARN_SEEDS, TEST_SEEDS = range(100, 103), range(200, 202)
HONEST_PER_CASE = 200
TARGET_WEIGHT = 5


@dataclass(frozen=True)
class Case:
    """One planted attack."""

    attack: str
    rate: float
    statistics: np.ndarray
    counts: np.ndarray
    target: int


def read(folder: Path, name: str) -> pa.Table:
    """Return the INTERACTIONS of a public set."""
    if name == "beauty5":
        data = read_lists(folder / "beauty5" / "inter.json")
    else:
        data = (movielens_100k if name == "ml100k" else microlens_50k)(folder)
    return aggregate_interactions(weigh_events(data.events, INTEREST, data.videos), INTEREST)


def cases(
    interactions: pa.Table, sizes: Sequence[tuple[int, int]], seeds: range, attacks: Sequence[str]
) -> Iterator[Case]:
    """Yield attacks of each rate, with what the detection sees."""
    for videos, shoppers in sizes:
        for seed in seeds:
            shop = draw_shop(interactions, AttackBenchConfig(videos=videos, shoppers=shoppers, seed=seed), 1)
            rng = np.random.default_rng(seed)
            for rate in (0.01, 0.03, 0.05):
                for attack in attacks:
                    sort = "tail" if rng.random() < 0.7 else "new"
                    accounts = max(1, round(rate * len(shop.log.shoppers)))
                    plan = AttackPlan(shop.log, shop.draw_target(sort, rng, 0), accounts, rng)
                    events = attack_events(plan_attack(attack, plan), shop.log, rng)
                    fakes = aggregate_interactions(weigh_events(events, INTEREST), INTEREST)
                    log = WatchedVideos.from_interactions(pa.concat_tables([shop.train, fakes]))
                    statistics = video_statistics(log, shopper_ranks(log.matrix), PromotedConfig().window)
                    target = log.column(plan.target)
                    assert target is not None
                    yield Case(attack, rate, statistics, log.counts, target)


def learn(planted: Sequence[Case]) -> tuple[np.ndarray, float]:
    """Return the coefficients and the intercept of the score."""
    rng, least = np.random.default_rng(0), PromotedConfig().least_shoppers
    rows, answers = [], []
    for case in planted:
        honest = np.flatnonzero(case.counts >= least)
        honest = rng.permutation(honest[honest != case.target])[:HONEST_PER_CASE]
        rows.append(case.statistics[np.append(honest, case.target)])
        answers += [0] * len(honest) + [1]
    model = LogisticRegression(C=0.05, max_iter=3000, class_weight={0: 1, 1: TARGET_WEIGHT})
    model.fit(score_features(np.vstack(rows)), answers)
    return np.asarray(model.coef_)[0], float(np.asarray(model.intercept_)[0])


def report(name: str, planted: Sequence[Case], config: PromotedConfig) -> None:
    """Print the shares that are found, by attack and rate, and the false alarms."""
    found: dict[tuple[str, float], list[bool]] = defaultdict(list)
    false, weight = [], []
    for case in planted:
        hit = (promotion_scores(case.statistics) > config.score) & (case.counts >= config.least_shoppers)
        found[case.attack, case.rate].append(bool(hit[case.target]))
        hit[case.target] = False
        false.append(hit.mean())
        weight.append(case.counts[hit].sum() / case.counts.sum())
    for attack in dict.fromkeys(case.attack for case in planted):
        shares = [f"{np.mean(found[attack, rate]):.2f}" for rate in (0.01, 0.03, 0.05)]
        print(f"| {name} | {attack} | {' | '.join(shares)} |", flush=True)
    print(f"{name}: {np.mean(false):.2%} of honest videos, with {np.mean(weight):.2%} of the interactions")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--score", type=float, default=PromotedConfig().score)
    given = parser.parse_args()
    if given.learn:
        planted = [
            case
            for name in ("ml100k", "beauty5")
            for case in cases(read(given.data, name), SIZES[name], LEARN_SEEDS, SIMPLE)
        ]
        coefficients, intercept = learn(planted)
        print(f"INTERCEPT = {intercept:.3f}")
        print(f"COEFFICIENTS = {tuple(round(float(value), 3) for value in coefficients)}")
        return
    for name, sizes in SIZES.items():
        planted = list(cases(read(given.data, name), sizes[-1:], TEST_SEEDS, (*SIMPLE, *UNSEEN)))
        report(name, planted, PromotedConfig(score=given.score))


if __name__ == "__main__":
    main()
