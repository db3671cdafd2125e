"""Eligibility of videos for a request: its filters and the hard rules."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrec.profiles.linked import own_profile
from vrec.profiles.profile import Profile
from vrec.profiles.user import hidden_creators, hidden_videos, last_purchases
from vrec.ranking.reranking.catalog import RowIndices, ShopperContext
from vrec.ranking.reranking.eligibility_rules import RULES, EligibilityRulesConfig, check_rows
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RequestFilters
from vrec.serving.streams.rows import NO_LIVE, LiveStreams

BANNED = "ban"
"""Kind of rule that keeps videos from answers; with an id, `ban:ID`, one of the shop's bans."""
OVER = "over"
"""Kind of rule that keeps streams that are over from answers."""
REPEATABLE_RULES = tuple(RULES.index(name) for name in ("bought", "seen"))
"""Rules that do not hold for streams, to which shoppers come back."""
MIN_CHECKED = 16
"""Minimum number of videos of an order that are checked at once."""


def shopper_context(user: Profile | None, filters: RequestFilters, age: int | None = None) -> ShopperContext:
    """Return a shopper's state for rules and reasons, without linked accounts; blank without a profile.

    The history has the videos that the shopper showed interest in, as far back as the profile's history goes;
    a watch too short to show interest does not count. No reason is a video that the shopper has hidden since.
    """
    kinds: dict[str, frozenset[str]] = {}
    user = None if user is None else own_profile(user)
    hidden = frozenset[str]() if user is None else hidden_videos(user)
    for entry in () if user is None else user.history:
        if entry.video_id in hidden:
            continue
        kinds[entry.video_id] = kinds.get(entry.video_id, frozenset()) | {entry.kind}
    return ShopperContext(
        history={} if user is None else {entry.video_id: entry.at for entry in user.history},
        kinds=kinds,
        bought={} if user is None else last_purchases(user),
        counts={} if user is None else user.counts,
        blocked_videos=filters.exclude | hidden,
        blocked_creators=filters.blocked_creators | hidden_creators(hidden),
        blocked_categories=filters.blocked_categories,
        age=age,
    )


class EligibilityFilter:
    """Filter of the videos of one answer; each video passes once."""

    def __init__(
        self,
        snapshot: CatalogSnapshot,
        filters: RequestFilters,
        shopper: ShopperContext,
        rules: EligibilityRulesConfig,
        at: int,
        *,
        bans: Sequence[tuple[str, Mask]] = (),
        live: LiveStreams = NO_LIVE,
        most_streams: int | None = None,
    ) -> None:
        """Build the filter.

        Args:
            snapshot: The catalog.
            filters: Filters of the request.
            shopper: State of the shopper.
            rules: The hard rules of the surface.
            at: Time of the request, µs since 1970.
            bans: Ids of the shop's bans that hold for the answer, and the (N,) masks of their videos.
            live: Streams that are live at the time.
            most_streams: Maximum number of streams that pass, whatever order they are in; None for any. It
                does not hold if the request wants streams alone.
        """
        self.mask = request_mask(snapshot, filters, live)
        """(N,) mask of the videos that the request's filters let pass; None for all."""
        self._snapshot, self._shopper, self._rules, self._at = snapshot, shopper, rules, at
        self._bans = [mask for _, mask in bans] + ([] if live.over is None else [live.over])
        self._names = (*RULES, *(f"{BANNED}:{name}" for name, _ in bans), OVER)
        capped = most_streams is not None and filters.streams != "only"
        self._streams = frozenset[int](snapshot.streams.tolist() if capped else ())
        """Streams, if their number is limited."""
        self._most_streams, self._passed_streams = most_streams or 0, set[int]()
        self._eligible_mask: Mask | None = None
        self._rule_by_row: dict[int, int] = {}
        """Index of the rule that excludes a checked row, in RULES and then in the bans, −1 for none."""
        self._seen: set[int] = set()
        self.excluded: Counter[str] = Counter()
        """Number of videos seen so far that each rule excluded. In orders that are searched at length, videos
        that are sold out, unpublished, expired, of a wrong kind, blocked, or not for the shopper's age are
        skipped uncounted."""

    def barred(self, video_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Return the ids of the videos seen so far that a rule excluded, each with its rule, by id.

        Videos that were checked together with others, and not needed, are not named: how many are checked at
        once is a matter of speed.

        Args:
            video_ids: Videos of which those that the request's filters exclude are named too, as `filter`.
        """
        ids, rules, names = self._snapshot.catalog.video_ids, self._rule_by_row, self._names
        named: list[int] = self._snapshot.catalog.find(video_ids).tolist()
        filtered = [row for row in named if row >= 0 and self.mask is not None and not self.mask[row]]
        found = [(ids[row], names[rules[row]]) for row in self._seen if rules[row] >= 0]
        return [*((ids[row], "filter") for row in filtered), *sorted(found)]

    def precheck(self, orders: Sequence[tuple[RowIndices, int]]) -> None:
        """Check the rows at the head of several orders together, which is faster than one by one.

        Args:
            orders: Pairs of an order and the number of rows needed of it, as for `pick`; nothing is picked.
        """
        firsts = [order[: checked_at_once(need)] for order, need in orders if need > 0]
        if firsts and self.mask is None:
            self._check_rows(np.concatenate(firsts))

    def _check_rows(self, rows: RowIndices) -> None:
        unchecked = [row for row in dict.fromkeys(rows.tolist()) if row not in self._rule_by_row]
        if unchecked:
            checked = np.array(unchecked, np.int64)
            rule = check_rows(checked, self._snapshot.catalog, self._shopper, self._rules, at=self._at).rule
            if len(self._snapshot.streams):
                repeated = np.isin(rule, REPEATABLE_RULES) & np.isin(checked, self._snapshot.streams)
                rule[repeated] = -1
            for number, ban in enumerate(self._bans, len(RULES)):
                rule[(rule < 0) & ban[checked]] = number
            self._rule_by_row.update(zip(unchecked, rule.tolist(), strict=True))

    def allowed(self) -> Mask:
        """Return the (N,) mask of all videos that pass."""
        mask = self._all_eligible() if self.mask is None else self._all_eligible() & self.mask
        shopper, catalog = self._shopper, self._snapshot.catalog
        # The mask leaves out rules that name single videos.
        named = {*shopper.blocked_videos, *shopper.bought, *shopper.history}
        rows = catalog.find(list(named))
        rows = rows[rows >= 0]
        self._check_rows(rows)
        barred = [row for row in rows.tolist() if self._rule_by_row[row] >= 0]
        mask = mask.copy()
        mask[barred] = False
        return mask

    def pick(self, order: RowIndices, need: int) -> list[int]:
        """Return the first `need` (or fewer) eligible rows of an order that no earlier call has seen."""
        size = checked_at_once(need)
        picked = self._allowed(order[:size], need)
        rest = order[size:]
        if len(picked) < need and len(rest):
            # Most of a catalog may be excluded: a mask over all rows spares checking them one by one.
            rest = rest[self._all_eligible()[rest]]
        while len(picked) < need and len(rest):
            picked += self._allowed(rest[:size], need - len(picked))
            rest, size = rest[size:], size * 4
        return picked

    def pick_independently(self, order: RowIndices, need: int) -> list[int]:
        """Return the first `need` (or fewer) eligible rows, including rows that earlier calls have seen."""
        seen, self._seen = self._seen, set()
        try:
            return self.pick(order, need)
        finally:
            self._seen |= seen

    def _all_eligible(self) -> Mask:
        """Return the (N,) mask of the videos that no rule excludes, without rules that name single videos."""
        if self._eligible_mask is None:
            self._eligible_mask = self._snapshot.eligible_mask(self._shopper, self._rules, self._at)
            for ban in self._bans:
                self._eligible_mask &= ~ban
        return self._eligible_mask

    def _allowed(self, rows: RowIndices, need: int) -> list[int]:
        if self.mask is not None:
            rows = rows[self.mask[rows]]
        self._check_rows(rows)
        allowed: list[int] = []
        for row in rows.tolist():
            if len(allowed) == need:
                break
            if row in self._seen:
                continue
            is_capped = row in self._streams and row not in self._passed_streams
            if is_capped and len(self._passed_streams) >= self._most_streams:
                continue
            self._seen.add(row)
            if (rule := self._rule_by_row[row]) < 0:
                allowed.append(row)
                if is_capped:
                    self._passed_streams.add(row)
            else:
                self.excluded[self._names[rule].partition(":")[0]] += 1
        return allowed


def checked_at_once(need: int) -> int:
    """Return the number of videos at the head of an order that are checked together, for `need` picks."""
    return max(MIN_CHECKED, need + need // 4)


def request_mask(snapshot: CatalogSnapshot, filters: RequestFilters, live: LiveStreams) -> Mask | None:
    """Return the (N,) mask of the videos that a request's filters let pass; None for all."""
    mask = snapshot.filter_mask(filters)
    if filters.streams != "any":
        mask = _stream_mask(mask, snapshot, live, only=filters.streams == "only")
    return mask


def _stream_mask(mask: Mask | None, snapshot: CatalogSnapshot, live: LiveStreams, *, only: bool) -> Mask:
    """Return the (N,) mask of the live streams, or of all videos besides streams, inside another mask."""
    mask = snapshot.listed.copy() if mask is None else mask
    if not only:
        mask[snapshot.streams] = False
        return mask
    wanted = np.zeros(len(mask), np.bool_)
    wanted[live.rows] = True
    return mask & wanted
