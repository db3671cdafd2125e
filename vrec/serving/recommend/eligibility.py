"""What may be given to a shopper: the hard rules, and what the request wants to see."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrec.profiles.profile import Profile
from vrec.profiles.user import last_purchases
from vrec.ranking.reranking.catalog import RowIndices, ShopperContext
from vrec.ranking.reranking.eligibility_rules import RULES, EligibilityRulesConfig, check_rows
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RequestFilters

MIN_CHECKED = 16
"""Videos of an order that are judged at first, at least."""


def shopper_context(user: Profile | None, filters: RequestFilters, age: int | None = None) -> ShopperContext:
    """What the rules and reasons ask of a shopper; a stranger without a profile.

    Watched is what showed interest, as far back as the profile's history goes: a watch that was too short to
    show any does not count.
    """
    return ShopperContext(
        history={} if user is None else {entry.video_id: entry.at for entry in user.history},
        bought={} if user is None else last_purchases(user),
        counts={} if user is None else user.counts,
        blocked_videos=filters.exclude,
        blocked_creators=filters.blocked_creators,
        blocked_categories=filters.blocked_categories,
        age=age,
    )


class EligibilityFilter:
    """Lets pass what may be given in one answer, each video once."""

    def __init__(
        self,
        snapshot: CatalogSnapshot,
        filters: RequestFilters,
        shopper: ShopperContext,
        rules: EligibilityRulesConfig,
        at: int,
    ) -> None:
        self.wares, self.mask = snapshot, snapshot.filter_mask(filters)
        """`mask` is (N,) which videos the request wants to see, None for all."""
        self._shopper, self._rules, self._at = shopper, rules, at
        self._open: Mask | None = None
        self._rule: dict[int, int] = {}
        """Of the rows that were judged the place in RULES of what bars them, −1 where nothing does."""
        self._met: set[int] = set()
        self.barred: Counter[str] = Counter()
        """How many of the videos met so far each rule barred. Where an order is gone through at length, what
        is sold out, unpublished, of a wrong kind, blocked or not for the shopper's age is not counted."""

    def precheck(self, orders: Sequence[tuple[RowIndices, int]]) -> None:
        """Judges what `pick` will look at first in orders of which so many are needed, all at once.

        Nothing is picked by that: one call for many rows only costs less than many for a few.
        """
        firsts = [order[: _looked_at(need)] for order, need in orders if need > 0]
        if firsts and self.mask is None:
            self._check_rows(np.concatenate(firsts))

    def _check_rows(self, rows: RowIndices) -> None:
        fresh = [row for row in dict.fromkeys(rows.tolist()) if row not in self._rule]
        if fresh:
            places = np.array(fresh, np.int64)
            verdict = check_rows(places, self.wares.shelf, self._shopper, self._rules, at=self._at)
            self._rule.update(zip(fresh, verdict.rule.tolist(), strict=True))

    def pick(self, order: RowIndices, need: int) -> list[int]:
        """The first at most `need` rows in the order that may be given and were not met in an earlier one."""
        size = _looked_at(need)
        found = self._allowed(order[:size], need)
        rest = order[size:]
        if len(found) < need and len(rest):
            # Most of a catalogue may be barred: what is known of all rows at once is not judged one by one.
            if self._open is None:
                self._open = self.wares.eligible_mask(self._shopper, self._rules, self._at)
            rest = rest[self._open[rest]]
        while len(found) < need and len(rest):
            found += self._allowed(rest[:size], need - len(found))
            rest, size = rest[size:], size * 4
        return found

    def pick_independently(self, order: RowIndices, need: int) -> list[int]:
        """The same, whether or not they were met in an earlier order."""
        met, self._met = self._met, set()
        try:
            return self.pick(order, need)
        finally:
            self._met |= met

    def _allowed(self, rows: RowIndices, need: int) -> list[int]:
        if self.mask is not None:
            rows = rows[self.mask[rows]]
        self._check_rows(rows)
        found: list[int] = []
        for row in rows.tolist():
            if len(found) == need:
                break
            if row in self._met:
                continue
            self._met.add(row)
            if (rule := self._rule[row]) < 0:
                found.append(row)
            else:
                self.barred[RULES[rule]] += 1
        return found


def _looked_at(need: int) -> int:
    return max(MIN_CHECKED, need + need // 4)
