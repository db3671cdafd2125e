"""What may be given to a shopper: the hard rules, and what the request wants to see."""

from collections import Counter

import numpy as np

from vrec.profiles.profile import Profile
from vrec.profiles.user import bought_by
from vrec.ranking.order.facts import Places, Shopper
from vrec.ranking.order.rules import RULES, RulesConfig, judge_known
from vrec.serving.wares import Wares
from vrec.serving.wire import Filters

LOOKED_AT = 64
"""Videos of an order that are judged at first, at least; four times as many after each round that found too
few."""


def shopper_of(user: Profile | None, filters: Filters, age: int | None = None) -> Shopper:
    """What the rules and reasons ask of a shopper; a stranger without a profile.

    Watched is what showed interest, as far back as the profile's history goes: a watch that was too short to
    show any does not count.
    """
    return Shopper(
        history={} if user is None else {entry.video_id: entry.at for entry in user.history},
        bought={} if user is None else bought_by(user),
        counts={} if user is None else user.counts,
        blocked_videos=filters.exclude,
        blocked_creators=filters.blocked_creators,
        blocked_categories=filters.blocked_categories,
        age=age,
    )


class Gate:
    """Lets pass what may be given in one answer, each video once."""

    def __init__(self, wares: Wares, filters: Filters, shopper: Shopper, rules: RulesConfig, at: int) -> None:
        self.wares, self.mask = wares, wares.passing(filters)
        """`mask` is (N,) which videos the request wants to see, None for all."""
        self._shopper, self._rules, self._at = shopper, rules, at
        self._met: set[int] = set()
        self.barred: Counter[str] = Counter()
        """How many of the videos met so far each rule barred."""

    def pick(self, order: Places, need: int) -> list[int]:
        """The first at most `need` rows in the order that may be given and were not met in an earlier one."""
        found: list[int] = []
        start, size = 0, max(LOOKED_AT, need + need // 4)
        while len(found) < need and start < len(order):
            found += self._allowed(order[start : start + size], need - len(found))
            start, size = start + size, size * 4
        return found

    def each(self, order: Places, need: int) -> list[int]:
        """The same, whether or not they were met in an earlier order."""
        met, self._met = self._met, set()
        try:
            return self.pick(order, need)
        finally:
            self._met |= met

    def _allowed(self, rows: Places, need: int) -> list[int]:
        if self.mask is not None:
            rows = rows[self.mask[rows]]
        fresh = [row for row in dict.fromkeys(rows.tolist()) if row not in self._met]
        places = np.array(fresh, np.int64)
        rule = judge_known(places, self.wares.shelf, self._shopper, self._rules, at=self._at).rule
        enough = np.flatnonzero(rule < 0)[:need]
        # What comes after the last that is needed was not met.
        end = int(enough[-1]) + 1 if len(enough) == need else len(fresh)
        self._met.update(fresh[:end])
        self.barred.update(RULES[one] for one in rule[:end].tolist() if one >= 0)
        return places[enough].tolist()
