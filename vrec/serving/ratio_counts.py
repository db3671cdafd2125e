"""Running sums of shoppers by group, and confidence intervals of their rates per impression."""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from vrec.evaluation.online import OnlineConfig, has_enough
from vrec.evaluation.sequential import RatioSums, UserLimits, difference_interval, ratio_interval

GroupKey = TypeVar("GroupKey", bound=Hashable)


@dataclass(frozen=True, slots=True)
class RateInterval:
    """Rate per impression with its confidence interval."""

    value: float | None
    """The rate; None without impressions."""
    low: float | None
    """Lower end of the interval; None until the arm has 200 shoppers, 10 of them with an outcome."""
    high: float | None
    """Upper end of the interval; None likewise."""


@dataclass(slots=True)
class GroupSums:
    """Sums over the shoppers of a group."""

    users: int
    totals: list[float]
    """Totals of impressions and of each outcome."""
    ratios: tuple[RatioSums, ...]
    """Of each outcome per impression, each shopper weighted by the limits."""

    @classmethod
    def empty(cls, outcomes: int) -> "GroupSums":
        """Return the sums of no shoppers."""
        return cls(0, [0.0] * (outcomes + 1), tuple(RatioSums() for _ in range(outcomes)))


@dataclass(slots=True)
class _Shopper:
    """A shopper's sums within a group, and the limits at the first impression."""

    group: GroupSums
    own: list[float]
    """Impressions and outcomes."""
    limits: tuple[UserLimits, ...]
    """Of each outcome."""


@dataclass(slots=True)
class RatioCounts(Generic[GroupKey]):
    """Sums by group of shoppers.

    Intervals hold at any number of looks and for rare outcomes (see `vrec.evaluation.sequential`). A shopper
    counts in a group from the first impression on; one with more impressions or outcomes than any before
    counts in part.
    """

    outcomes: int
    """Number of outcomes; column 0 is the impressions, and columns from 1 on are the outcomes."""
    online: OnlineConfig
    """Settings of the intervals."""
    max_tracked: int
    """Maximum number of shoppers remembered, counted in each group; one who comes back after that many others
    counts as a new one."""
    groups: dict[GroupKey, GroupSums] = field(default_factory=dict)
    _tracked: "OrderedDict[tuple[GroupKey, str], _Shopper]" = field(default_factory=OrderedDict)
    _limits: tuple[UserLimits, ...] = ()

    def __post_init__(self) -> None:
        self._limits = tuple(UserLimits() for _ in range(self.outcomes))

    @property
    def tracked(self) -> int:
        """Number of shoppers remembered, counted in each group."""
        return len(self._tracked)

    def sums(self, group: GroupKey) -> GroupSums:
        """Return the sums of a group, which are zero for an unknown one."""
        return self.groups.get(group) or GroupSums.empty(self.outcomes)

    def add(self, group: GroupKey, user_id: str, column: int, amount: float) -> bool:
        """Add to a shopper's impressions or outcome in a group; return False if the shopper has none there.

        Args:
            group: The group.
            user_id: The shopper.
            column: 0 for impressions, or the number of the outcome from 1 on.
            amount: What to add.
        """
        key = (group, user_id)
        shopper = self._tracked.get(key)
        if shopper is not None:
            self._tracked.move_to_end(key)
        elif column:
            return False
        else:
            shopper = self._track(group, key)
        sums, own = shopper.group, shopper.own
        places = (column - 1,) if column else range(self.outcomes)
        for sign in (-1.0, 1.0):
            if sign > 0:
                own[column] += amount
                sums.totals[column] += amount
            for place in places:
                y, n = own[place + 1], own[0]
                if n:
                    weight = shopper.limits[place].weight(y, n)
                    sums.ratios[place].add(weight * y, weight * n, sign)
        for place in places:
            limits, own_limits = self._limits[place], shopper.limits[place]
            limits.update(min(own[place + 1], 2 * own_limits.outcome), min(own[0], 2 * own_limits.trials))
        return True

    def _track(self, group: GroupKey, key: tuple[GroupKey, str]) -> _Shopper:
        sums = self.groups.setdefault(group, GroupSums.empty(self.outcomes))
        limits = tuple(replace(limits) for limits in self._limits)
        shopper = _Shopper(sums, [0.0] * (self.outcomes + 1), limits)
        self._tracked[key] = shopper
        sums.users += 1
        if len(self._tracked) > self.max_tracked:
            self._tracked.popitem(last=False)
        return shopper

    def rate(self, column: int, group: GroupKey, other: GroupKey | None = None) -> RateInterval:
        """Return an outcome's rate in a group, or the difference to another group's, with an interval."""
        groups = [self.sums(group)] if other is None else [self.sums(group), self.sums(other)]
        if not all(sums.totals[0] for sums in groups):
            return RateInterval(None, None, None)
        values = [sums.totals[column] / sums.totals[0] for sums in groups]
        value = values[0] - (0.0 if other is None else values[1])
        ratios = [replace(sums.ratios[column - 1], limits=self._limits[column - 1]) for sums in groups]
        if not all(has_enough(ratio, self.online) for ratio in ratios):
            return RateInterval(value, None, None)
        given = (self.online.level, self.online.expected_users)
        low, high = (
            ratio_interval(ratios[0], *given)
            if other is None
            else difference_interval(ratios[0], ratios[1], *given)
        )
        known = math.isfinite(low) and math.isfinite(high)
        return RateInterval(value, low, high) if known else RateInterval(value, None, None)
