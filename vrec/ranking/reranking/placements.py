"""Placements: slots of a list that rules of the shop give to certain candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LOOKAHEAD = 100
"""Positions that are looked ahead for campaigns that need more slots than one at a time."""
ROUNDING = 1e-9
"""Added to share × positions, so that a third of three positions is one."""


@dataclass(frozen=True, eq=False, slots=True)
class CampaignShare:
    """Share of the positions of a list that a campaign's videos have at least."""

    rule: str
    """Id of the campaign."""
    share: float
    """In (0, 1]. Of the first m positions, ⌊share × m⌋ are the campaign's, as far as it has candidates."""
    members: Mask
    """(N,) candidates that are the campaign's."""
    shown: int = 0
    """Number of the campaign's videos at earlier positions, on pages before."""


@dataclass(frozen=True, eq=False, slots=True)
class Placements:
    """Slots of a list that certain candidates get, and factors on the scores of all others."""

    pins: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    """Candidate and rule by position; no candidate has two. Until its position it is held back."""
    campaigns: Sequence[CampaignShare] = ()
    """Campaigns; if they need more slots than there are, those whose next video is due first go first."""
    factors: Floats | None = None
    """(N,) factors on utilities; None for 1."""
    first: int = 0
    """Position of the list's first slot: the number of videos on earlier pages."""


class SlotPlacer:
    """Placements applied slot by slot."""

    def __init__(self, placements: Placements, size: int) -> None:
        """Take the placements of a list of `size` candidates."""
        self._placements, self._position = placements, placements.first
        self._shown = [campaign.shown for campaign in placements.campaigns]
        self._pinned = np.zeros(size, np.bool_)
        self._pinned[[candidate for candidate, _ in placements.pins.values()]] = True

    def next_slot(self, left: Mask) -> tuple[Mask, str | None]:
        """Return the (N,) mask of those of `left` that may take the next slot, and the rule that says so.

        The mask is empty only if `left` is. The rule is None if any candidate may take the slot that is not
        held back.
        """
        pins = self._placements.pins
        if (pin := pins.get(self._position)) is not None and left[pin[0]]:
            return _only(pin[0], len(left)), pin[1]
        free = left & ~self._pinned
        if not free.any():
            # Nothing else is left: a list that does not reach the positions of its pins ends with them.
            candidate, rule = next(pins[at] for at in sorted(pins) if left[pins[at][0]])
            return _only(candidate, len(left)), rule
        if self._placements.campaigns and (due := self._due_campaign(free, left)) is not None:
            return free & due.members, due.rule
        return free, None

    def take_slot(self, candidate: int) -> None:
        """Count the candidate that took the next slot."""
        self._position += 1
        for index, campaign in enumerate(self._placements.campaigns):
            self._shown[index] += int(campaign.members[candidate])

    def _due_campaign(self, free: Mask, left: Mask) -> CampaignShare | None:
        """Return the campaign that has to get the next slot, lest a share is missed at a later position."""
        campaigns = self._placements.campaigns
        ends = np.arange(self._position + 1, self._position + LOOKAHEAD + 1)
        pins = {at: one for at, (one, _) in self._placements.pins.items() if left[one]}
        slots = ends - self._position - _count_before(list(pins), self._position, ends)
        demands = np.zeros((len(campaigns), LOOKAHEAD), np.int64)
        for index, campaign in enumerate(campaigns):
            own_pins = [at for at, one in pins.items() if campaign.members[one]]
            owed = np.floor(campaign.share * ends + ROUNDING).astype(np.int64) - self._shown[index]
            owed -= _count_before(own_pins, self._position, ends)
            demands[index] = np.clip(owed, 0, np.count_nonzero(free & campaign.members))
        total = demands.sum(axis=0)
        if not np.any((total > 0) & (total >= slots)):
            return None
        # The first position by which each campaign needs another video; LOOKAHEAD if by none.
        deadlines = np.where(demands.any(axis=1), np.argmax(demands > 0, axis=1), LOOKAHEAD)
        return campaigns[int(np.argmin(deadlines))]


def place_in_order(placements: Placements, size: int, slots: int) -> tuple[list[int], list[str | None]]:
    """Return a list of at most `slots` of N candidates in their order, but for placements.

    Args:
        placements: The placements; factors have no effect, as an order has no scores.
        size: Number N of candidates.
        slots: Maximum length of the list.

    Returns:
        The candidate in each slot, and the rule that gave it the slot, None without one.
    """
    placer, left = SlotPlacer(placements, size), np.ones(size, np.bool_)
    rows: list[int] = []
    rules: list[str | None] = []
    for _ in range(min(slots, size)):
        allowed, rule = placer.next_slot(left)
        chosen = int(np.argmax(allowed))
        rows.append(chosen)
        rules.append(rule)
        left[chosen] = False
        placer.take_slot(chosen)
    return rows, rules


def _only(candidate: int, size: int) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[candidate] = True
    return mask


def _count_before(positions: Sequence[int], first: int, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how many positions from `first` on lie before each end."""
    later = np.sort([at for at in positions if at >= first])
    return np.searchsorted(later, ends, side="left")
