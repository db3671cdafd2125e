"""Attacks by groups of accounts that act together: rings, and copies of real shoppers."""

from collections.abc import Callable, Mapping

import numpy as np

from vrec.robustness.attacks.profiles import AttackPlan, FakeProfiles

RING_TARGETS = 8
"""Videos that a ring promotes together."""
RING_SHARE = 0.7
"""Probability with which an account of a ring chooses each of its videos."""
COPIED_SHOPPERS = 3
"""Real shoppers whose profiles are copied again and again."""


def ring_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of a ring: most of its unpopular videos, and popular ones as camouflage."""
    weights = plan.others()
    tail = np.flatnonzero(weights)[np.argsort(plan.log.counts[weights > 0], kind="stable")]
    tail = tail[: max(RING_TARGETS, len(tail) // 2)]
    ring = plan.rng.choice(tail, min(RING_TARGETS, len(tail)), replace=False)
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


GROUPS: Mapping[str, Callable[[AttackPlan], FakeProfiles]] = {"ring": ring_attack, "copies": copies_attack}
"""Attacks by groups, by name."""
