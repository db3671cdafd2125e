"""Shilling attacks: the videos that fake shoppers watch beside the one that they promote or demote.

The attacks on ratings of Burke, Mobasher, Williams and Bhaumik (2006, "Classification features for attack
detection in collaborative recommender systems", KDD) and Mobasher, Burke, Bhaumik and Williams (2007, "Toward
trustworthy recommender systems", ACM TOIT 7(4)), for logs that have events and no ratings: a fake profile is
a set of fillers, which make it resemble shoppers, and a target, which it promotes by the events of a fan or
demotes by a dislike. Obfuscation is that of Williams, Mobasher, Burke, Sandvig and Bhaumik (2006, "Detection
of obfuscated attacks in collaborative recommender systems", ECAI workshop).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vrec.robustness.watched import Floats, Ints, WatchedVideos

POPULAR_FILLERS = 3
"""Most watched videos that each profile of a bandwagon attack has."""
SEGMENT_SEEDS = 20
"""Most watched videos of which one is the centre of a segment."""
SEGMENT_WIDTH = 2.0
"""Size of a segment in units of the longest fake profile."""
COPIED_SHARE = 0.5
"""Share of an obfuscated profile that is copied from a real shopper."""


@dataclass(frozen=True)
class FakeProfiles:
    """Profiles of fake shoppers."""

    target: str
    """Id of the video that is promoted or demoted; the shop may have no event of it yet."""
    fillers: tuple[Ints, ...]
    """Columns of the other videos of each fake shopper, each once."""
    promotes: bool = True
    """False for attacks that demote the target."""
    loves: int = 1
    """Strength of the events with the target: 0 a click alone, 1 also a complete watch and a like, and each
    further one a click of another session."""
    shares_target: bool = True
    """Whether every profile has the target; if not, the fillers have all that a profile promotes."""


@dataclass(frozen=True)
class AttackPlan:
    """Input of every attack."""

    log: WatchedVideos
    """What the attacker knows: all of the shop's log, the worst case."""
    target: str
    accounts: int
    rng: np.random.Generator

    def lengths(self) -> Ints:
        """Return (accounts,) numbers of fillers: those of real shoppers, without the longest quarter."""
        real = np.sort(self.log.lengths)
        real = real[: max(1, round(0.75 * len(real)))]
        return np.maximum(self.rng.choice(real, self.accounts), 2)

    def others(self) -> Floats:
        """Return (V,) 1 for each video that may be a filler, 0 for the target."""
        allowed = np.ones(len(self.log.videos))
        column = self.log.column(self.target)
        if column is not None:
            allowed[column] = 0
        return allowed

    def draw(self, size: int, weights: Floats) -> Ints:
        """Return up to `size` distinct videos, drawn in proportion to (V,) weights ≥ 0."""
        size = min(size, int(np.count_nonzero(weights)))
        return self.rng.choice(len(weights), size, replace=False, p=weights / weights.sum())


def random_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles with fillers drawn from all videos alike."""
    weights = plan.others()
    return FakeProfiles(plan.target, tuple(plan.draw(size, weights) for size in plan.lengths()))


def average_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles with fillers drawn in proportion to their shoppers.

    It is the counterpart, in a log without ratings, of the attack that rates each filler at its mean: each
    video is watched as often as real shoppers do.
    """
    weights = plan.others() * plan.log.counts
    return FakeProfiles(plan.target, tuple(plan.draw(size, weights) for size in plan.lengths()))


def bandwagon_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles with some of the most watched videos, and fillers drawn from all videos alike."""
    weights = plan.others()
    popular = np.argsort(-(plan.log.counts * weights), kind="stable")[:POPULAR_FILLERS]
    rest = weights.copy()
    rest[popular] = 0
    sizes = np.maximum(plan.lengths() - len(popular), 1)
    return FakeProfiles(
        plan.target, tuple(np.concatenate([popular, plan.draw(size, rest)]) for size in sizes)
    )


def segment_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles with videos of one segment, those that are watched together with a popular one."""
    log, allowed, lengths = plan.log, plan.others(), plan.lengths()
    popular = np.argsort(-(log.counts * allowed), kind="stable")[:SEGMENT_SEEDS]
    centre = int(plan.rng.choice(popular))
    fans = log.matrix[log.matrix[:, [centre]].toarray()[:, 0] > 0]
    together = np.asarray(fans.sum(axis=0)).ravel()
    closeness = allowed * together / np.sqrt(np.maximum(log.counts, 1))
    members = np.argsort(-closeness, kind="stable")[: max(2, int(SEGMENT_WIDTH * lengths.max()))]
    weights = np.zeros(len(allowed))
    weights[members] = np.maximum(closeness[members], 1e-9)
    return FakeProfiles(plan.target, tuple(plan.draw(size, weights) for size in lengths))


def obfuscated_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles of which half is copied from a real shopper, and whose love of the target is hidden.

    The rest are fillers in proportion to their shoppers, which is noise injection into a copied profile; the
    target gets a click alone, which is target shifting.
    """
    weights = plan.others() * plan.log.counts
    found = []
    for size in plan.lengths():
        real = plan.log.row(int(plan.rng.integers(len(plan.log.shoppers))))
        real = real[weights[real] > 0]
        copied = plan.rng.permutation(real)[: max(1, round(COPIED_SHARE * size))]
        rest = weights.copy()
        rest[copied] = 0
        found.append(np.concatenate([copied, plan.draw(max(size - len(copied), 1), rest)]))
    return FakeProfiles(plan.target, tuple(found), loves=0)


def reverse_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles that dislike the target and watch the least watched videos (reverse bandwagon)."""
    lengths, allowed = plan.lengths(), plan.others()
    rare = np.argsort(np.where(allowed > 0, plan.log.counts, np.inf), kind="stable")
    weights = np.zeros(len(allowed))
    weights[rare[: int(SEGMENT_WIDTH * lengths.max())]] = 1
    return FakeProfiles(
        plan.target, tuple(plan.draw(size, weights * allowed) for size in lengths), promotes=False
    )


def love_hate_attack(plan: AttackPlan) -> FakeProfiles:
    """Return profiles that dislike the target and love fillers drawn from all videos alike."""
    weights = plan.others()
    return FakeProfiles(
        plan.target, tuple(plan.draw(size, weights) for size in plan.lengths()), promotes=False
    )


def click_farm(plan: AttackPlan) -> FakeProfiles:
    """Return profiles without fillers whose shoppers click the target again and again."""
    nothing = np.empty(0, np.int64)
    return FakeProfiles(plan.target, (nothing,) * plan.accounts, loves=5)


SHILLING: Mapping[str, Callable[[AttackPlan], FakeProfiles]] = {
    "random": random_attack,
    "average": average_attack,
    "bandwagon": bandwagon_attack,
    "segment": segment_attack,
    "click_farm": click_farm,
    "obfuscated": obfuscated_attack,
    "reverse": reverse_attack,
    "love_hate": love_hate_attack,
}
"""Attacks that need no model of the recommender, by name."""
