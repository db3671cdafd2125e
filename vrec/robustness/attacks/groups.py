"""Attacks by groups of accounts that act together: rings, copies of real shoppers, and services for hire."""

from collections.abc import Callable, Mapping

import numpy as np

from vrec.robustness.attacks.profiles import AttackPlan, FakeProfiles
from vrec.robustness.watched import Ints

RING_TARGETS = 8
"""Videos that a ring promotes together."""
RING_SHARE = 0.7
"""Probability with which an account of a ring chooses each of its videos."""
COPIED_SHOPPERS = 3
"""Real shoppers whose profiles are copied again and again."""
CAMPAIGN_TARGETS, CAMPAIGN_SHARE = 24, 1 / 3
"""Videos of a campaign, and probability with which an account chooses each: two accounts share few."""
JOB_ACCOUNTS, JOBS = 8, 5
"""Accounts of a service that promote one client's video, and such videos per account."""
SLOW_TARGETS, SLOW_CHOSEN = 12, 3
"""Videos that a slow group promotes, and those that each account chooses among the many of a real shopper."""


def ring_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of a ring: most of its unpopular videos, and popular ones as camouflage."""
    weights = plan.others()
    ring = _unpopular(plan, RING_TARGETS)
    camouflage = weights * plan.log.counts
    camouflage[ring] = 0
    fillers = []
    for size in plan.lengths():
        own = ring[plan.rng.random(len(ring)) < RING_SHARE]
        fillers.append(np.concatenate([own, plan.draw(size, camouflage)]))
    return FakeProfiles(plan.target, tuple(fillers))


def copies_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles that are copies of a few real shoppers, each with a fifth of the videos replaced."""
    log, weights = plan.log, plan.others() * plan.log.counts
    able = np.flatnonzero(log.lengths >= np.quantile(log.lengths, 0.5))
    copied = [log.row(int(row)) for row in plan.rng.choice(able, COPIED_SHOPPERS)]
    fillers = []
    for _ in range(plan.accounts):
        real = copied[int(plan.rng.integers(COPIED_SHOPPERS))]
        real = plan.rng.permutation(real[weights[real] > 0])
        kept = real[: max(1, round(0.8 * len(real)))]
        rest = weights.copy()
        rest[real] = 0
        fillers.append(np.concatenate([kept, plan.draw(max(1, len(real) - len(kept)), rest)]))
    return FakeProfiles(plan.target, tuple(fillers))


def campaign_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of a campaign: a third of many unpopular videos each, popular ones as camouflage."""
    targets = _unpopular(plan, CAMPAIGN_TARGETS)
    camouflage = plan.others() * plan.log.counts
    camouflage[targets] = 0
    fillers = []
    for size in plan.lengths():
        own = targets[plan.rng.random(len(targets)) < CAMPAIGN_SHARE]
        fillers.append(np.concatenate([own, plan.draw(size, camouflage)]))
    return FakeProfiles(plan.target, tuple(fillers), shares_target=False)


def hired_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of a service for hire: each client's video is chosen by a few accounts drawn anew."""
    clients = _unpopular(plan, max(1, round(plan.accounts * JOBS / JOB_ACCOUNTS)))
    own: list[list[int]] = [[] for _ in range(plan.accounts)]
    for video in clients.tolist():
        for account in plan.rng.permutation(plan.accounts)[:JOB_ACCOUNTS].tolist():
            own[account].append(video)
    camouflage = plan.others() * plan.log.counts
    camouflage[clients] = 0
    fillers = [
        np.concatenate([np.array(videos, np.int64), plan.draw(int(size), camouflage)])
        for videos, size in zip(own, plan.lengths(), strict=True)
    ]
    return FakeProfiles(plan.target, tuple(fillers), shares_target=False)


def slow_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of real shoppers with a fifth of the videos replaced, and few of the promoted ones."""
    log, weights = plan.log, plan.others() * plan.log.counts
    targets = _unpopular(plan, SLOW_TARGETS)
    weights[targets] = 0
    able = np.flatnonzero(log.lengths >= np.quantile(log.lengths, 0.5))
    fillers = []
    for row in plan.rng.choice(able, plan.accounts):
        real = plan.rng.permutation(log.row(int(row)))
        real = real[weights[real] > 0]
        kept = real[: round(0.8 * len(real))]
        rest = weights.copy()
        rest[real] = 0
        drawn = plan.draw(max(1, len(real) - len(kept)), rest)
        own = plan.rng.choice(targets, min(SLOW_CHOSEN, len(targets)), replace=False)
        fillers.append(np.concatenate([kept, drawn, own]))
    return FakeProfiles(plan.target, tuple(fillers), shares_target=False)


def _unpopular(plan: AttackPlan, number: int) -> Ints:
    """Return up to `number` videos, drawn among the less watched half."""
    weights = plan.others()
    tail = np.flatnonzero(weights)[np.argsort(plan.log.counts[weights > 0], kind="stable")]
    tail = tail[: max(number, len(tail) // 2)]
    return plan.rng.choice(tail, min(number, len(tail)), replace=False)


GROUPS: Mapping[str, Callable[[AttackPlan], FakeProfiles]] = {
    "ring": ring_attack,
    "copies": copies_attack,
    "campaign": campaign_attack,
    "hired": hired_attack,
    "slow": slow_attack,
}
"""Attacks by groups, by name."""
