"""Unicity: the share of shoppers who are the only ones with some known events.

De Montjoye et al. 2013, "Unique in the Crowd: the privacy bounds of human mobility".
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from vrec.privacy.anonymous.classes import Codes, distinct_pairs

MAX_SETS = 50_000
"""Sets of known events up to which all are tried."""


@dataclass(frozen=True, slots=True)
class Unicity:
    """Share of shoppers who are unique on p known events, drawn evenly from each shopper's own."""

    known: int
    """p; of a shopper with fewer distinct events, all are known."""
    share: float
    low: float
    high: float
    """Bounds of a 95 % interval of Clopper and Pearson; both are the share where all sets were tried."""
    exact: bool

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class UnicityTable:
    """Events of shoppers, by which shoppers with given events are found.

    An event is its quasi-identifiers: two events of a shopper with the same ones are one.
    """

    def __init__(self, events: Codes, shoppers: Codes) -> None:
        """Index the events.

        Args:
            events: (N,) equal for events that cannot be told apart.
            shoppers: (N,) their shoppers.
        """
        events, shoppers = distinct_pairs(events, shoppers)
        _, events = np.unique(events, return_inverse=True)
        _, shoppers = np.unique(shoppers, return_inverse=True)
        self._events, self._starts = (
            events,
            np.searchsorted(shoppers, np.arange(shoppers.max(initial=-1) + 2)),
        )
        order = np.argsort(events, kind="stable")
        self._shoppers = shoppers[order]
        self._places = np.searchsorted(events[order], np.arange(events.max(initial=-1) + 2))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def measure(self, known: int, samples: int, rng: np.random.Generator) -> Unicity:
        """Return the unicity on `known` events.

        Args:
            known: p, 1 or more.
            samples: Draws of a shopper and of p events, where all sets would be too many.
            rng: Generator of the draws.
        """
        if not len(self):
            return Unicity(known, 0.0, 0.0, 0.0, exact=True)
        lengths = np.diff(self._starts)
        if sum(comb(int(n), min(known, int(n))) for n in lengths) <= MAX_SETS:
            share = float(np.mean([self._unique_share(one, known) for one in range(len(self))]))
            return Unicity(known, share, share, share, exact=True)
        unique = sum(self._draw(known, rng) for _ in range(samples))
        low = 0.0 if unique == 0 else float(beta.ppf(0.025, unique, samples - unique + 1))
        high = 1.0 if unique == samples else float(beta.ppf(0.975, unique + 1, samples - unique))
        return Unicity(known, unique / samples, low, high, exact=False)

    def _events_of(self, shopper: int) -> Codes:
        return self._events[self._starts[shopper] : self._starts[shopper + 1]]

    def _shoppers_of(self, event: int) -> npt.NDArray[np.integer]:
        return self._shoppers[self._places[event] : self._places[event + 1]]

    def _unique_share(self, shopper: int, known: int) -> float:
        events = self._events_of(shopper)
        return float(
            np.mean([self._is_unique(some) for some in combinations(events, min(known, len(events)))])
        )

    def _draw(self, known: int, rng: np.random.Generator) -> bool:
        events = self._events_of(int(rng.integers(len(self))))
        return self._is_unique(rng.choice(events, min(known, len(events)), replace=False))

    def _is_unique(self, events: "tuple[Any, ...] | Codes") -> bool:
        """Return whether one shopper alone has all of some events."""
        first, *others = sorted((self._shoppers_of(int(event)) for event in events), key=len)
        left = first
        for more in others:
            if len(left) == 1:
                break
            places = np.minimum(np.searchsorted(more, left), len(more) - 1)
            left = left[more[places] == left]
        return len(left) == 1


def _starts(codes: Codes) -> npt.NDArray[np.integer]:
    """Return where each code begins in (N,) sorted codes from 0 on, and the end."""
    return np.searchsorted(codes, np.arange(codes.max(initial=-1) + 2))
