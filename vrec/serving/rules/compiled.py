"""Rules over a snapshot of the catalog: the videos of each, and those that hold for one list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vrec.ranking.reranking.catalog import RowIndices
from vrec.ranking.reranking.placements import CampaignShare, Placements
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.expressions import parse_expression
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery, RequestFilters
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.rules.book import RuleBook, ShopRule

RULE_SOURCE = "rule"
"""Source of candidates that are in a list for a rule alone."""
BOOSTED_CANDIDATES = 30
"""Candidates that a boost above 1 adds at most; else it could not raise what is found for nobody."""
CHOSEN_PER_SLOT = 3
"""Candidates of a campaign for each of its slots, among which the ranker chooses."""

NamedMask = tuple[str, Mask]
"""Id of a rule, and the (N,) mask of its videos."""


@dataclass(frozen=True, eq=False, slots=True)
class ListRules:
    """Rules that hold for one list, by kind and in the order of their ids, with their videos."""

    pins: Sequence[tuple[ShopRule, int]] = ()
    """Pins by position, with the row of their video."""
    boosts: Sequence[tuple[ShopRule, Mask]] = ()
    bans: Sequence[NamedMask] = ()
    campaigns: Sequence[tuple[ShopRule, Mask]] = ()

    @property
    def places(self) -> bool:
        """True if there are rules besides bans."""
        return bool(self.pins or self.boosts or self.campaigns)

    def candidates(
        self, query: RecommendQuery, snapshot: CatalogSnapshot, eligible: EligibilityFilter
    ) -> list[int]:
        """Return the eligible rows that the rules need in a list, whether they were found for it or not."""
        rows = eligible.pick_independently(np.array([row for _, row in self.pins], np.int64), len(self.pins))
        end = len(query.shown) + query.k
        for rule, mask in self.campaigns:
            need = CHOSEN_PER_SLOT * int(np.ceil(rule.share * end))
            rows += eligible.pick_independently(_in_order(snapshot, mask), need)
        for rule, mask in self.boosts:
            if rule.factor > 1:
                rows += eligible.pick_independently(_in_order(snapshot, mask), BOOSTED_CANDIDATES)
        return list(dict.fromkeys(rows))

    def placements(
        self, query: RecommendQuery, snapshot: CatalogSnapshot, rows: RowIndices
    ) -> Placements | None:
        """Return the rules as placements of the candidates in (N,) rows; None without any."""
        if not self.places:
            return None
        place = {row: candidate for candidate, row in enumerate(rows.tolist())}
        pins: dict[int, tuple[int, str]] = {}
        for rule, row in self.pins:
            candidate = place.pop(row, None)
            # A position on an earlier page is past: then the video is one as any other.
            if candidate is not None and rule.position >= len(query.shown):
                # Of two pins of a position, the second gets the next one.
                at = next(at for at in range(rule.position, rule.position + len(pins) + 1) if at not in pins)
                pins[at] = (candidate, rule.rule_id)
        shown = snapshot.catalog.find(list(query.shown))
        shown = shown[shown >= 0]
        campaigns = [
            CampaignShare(rule.rule_id, rule.share, mask[rows], int(np.count_nonzero(mask[shown])))
            for rule, mask in self.campaigns
        ]
        factors = np.ones(len(rows))
        for rule, mask in self.boosts:
            factors[mask[rows]] *= rule.factor
        return Placements(pins, campaigns, factors if self.boosts else None, len(query.shown))

    def names_for(self, row: int, placed_by: str | None) -> tuple[str, ...]:
        """Return the rules that concern an item, as `kind:id`.

        Args:
            row: Row of the item in the catalog.
            placed_by: Rule that gave the item its slot.
        """
        kinds = {rule.rule_id: "pin" for rule, _ in self.pins}
        placing = () if placed_by is None else (f"{kinds.get(placed_by, 'campaign')}:{placed_by}",)
        return (*placing, *(f"boost:{rule.rule_id}" for rule, mask in self.boosts if mask[row]))


NO_RULES = ListRules()
"""No rules."""


class CompiledRules:
    """Rules over one snapshot. The videos of a rule are looked up when a list first needs them."""

    def __init__(self, book: RuleBook, snapshot: CatalogSnapshot) -> None:
        self.book, self.snapshot = book, snapshot
        self._rules = book.rules
        self._masks: dict[str, Mask] = {}

    def for_list(self, surface: str, filters: RequestFilters, at: int) -> ListRules:
        """Return the rules that hold for a list of a surface, with a request's filters, at a time (µs)."""
        active = [rule for rule in self._rules if rule.applies_to(surface, filters.categories, at)]
        if not active:
            return NO_RULES
        rows = self.snapshot.catalog.row_by_id
        pins = sorted((one for one in active if one.kind == "pin"), key=lambda one: one.position)
        return ListRules(
            pins=[(rule, row) for rule in pins if (row := rows.get(rule.video_ids[0], -1)) >= 0],
            boosts=list(self._of(active, "boost")),
            bans=[(rule.rule_id, mask) for rule, mask in self._of(active, "ban")],
            campaigns=list(self._of(active, "campaign")),
        )

    def _of(self, rules: Sequence[ShopRule], kind: str) -> Iterator[tuple[ShopRule, Mask]]:
        yield from ((rule, self._mask(rule)) for rule in rules if rule.kind == kind)

    def _mask(self, rule: ShopRule) -> Mask:
        mask = self._masks.get(rule.rule_id)
        if mask is None:
            mask = self._masks[rule.rule_id] = _video_mask(rule, self.snapshot)
        return mask


class RuleCompiler:
    """Compiled rules of the last two books and snapshots: those in force, and a draft of a preview."""

    def __init__(self) -> None:
        self._last: tuple[CompiledRules, ...] = ()

    def compiled(self, book: RuleBook, snapshot: CatalogSnapshot) -> CompiledRules:
        """Return the rules of a book over a snapshot."""
        for one in self._last:
            if one.book is book and one.snapshot is snapshot:
                return one
        made = CompiledRules(book, snapshot)
        self._last = (made, *self._last[:1])
        return made


def _video_mask(rule: ShopRule, snapshot: CatalogSnapshot) -> Mask:
    """Return the (N,) mask of a rule's videos."""
    if rule.expression is not None:
        mask = snapshot.filter_mask(RequestFilters(expression=parse_expression(rule.expression)))
        assert mask is not None  # it is None without filters only
        return mask
    mask = np.zeros(snapshot.count, np.bool_)
    rows = snapshot.catalog.find(list(rule.video_ids))
    mask[rows[rows >= 0]] = True
    return mask


def _in_order(snapshot: CatalogSnapshot, mask: Mask) -> RowIndices:
    """Return the rows of a mask, the popular ones first."""
    return snapshot.popular[mask[snapshot.popular]]
