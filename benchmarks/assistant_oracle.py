"""Oracle for `assistant.py`: which videos fit what a conversation has asked for so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from assistant_conversations import MATERIALS
from assistant_shops import FAMILIES, Truth

Delta = Mapping[str, Any]
"""What a turn changes. `category`, `color`, `material`, `brand`, `size`: a value or a list of values, None
for any. `refused`, `refused_material`, `refused_brand`: one more that is not wanted; None for `refused`
clears it. `least`, `above`, `most`, `below`: bounds of the price, None for none. `cheaper`: than what was
shown. `reset`: forgets all. What asks for no list: `keeps`, and `about`, the place of the card that is spoken
of. `more`: others than before; `sorted`, `dearest`: the cheapest or dearest first. `lang`: the language of
the answer, if not the conversation's. `nolist`: judged as met by an answer that is no list. `like`: the
place of the card that the list is to be like, if there is one. `exact`: colors from now on are those of the
videos, not their families."""
_FACETS = ("category", "color", "material", "brand", "size")
_ALIASES = {zh: en for en, zh in MATERIALS.items()}


@dataclass
class Asked:
    """What was asked for so far."""

    wishes: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _FACETS})
    exact: bool = False

    def change(self, delta: Delta) -> None:
        """Take in what a turn changes."""
        self.exact = self.exact or bool(delta.get("exact"))
        if delta.get("reset"):
            self.wishes, self.refused = {}, {name: set() for name in _FACETS}
        if "category" in delta and delta["category"] != self.wishes.get("category"):
            for name in ("size", "material", "brand"):
                self.wishes[name], self.refused[name] = None, set()
        for name in _FACETS:
            if name in delta:
                self.wishes[name] = delta[name]
                self.refused[name] -= _values(delta[name])
        for key, name in (("refused", "color"), ("refused_material", "material"), ("refused_brand", "brand")):
            if key in delta:
                gone = _values(delta[key])
                self.refused[name] = self.refused[name] | gone if gone else set()
                left = _values(self.wishes.get(name)) - gone
                self.wishes[name] = sorted(left) or None
        for name in ("least", "above", "most", "below"):
            if name in delta:
                self.wishes[name] = delta[name]
        self._drop_older_bounds(delta)

    def _drop_older_bounds(self, delta: Delta) -> None:
        """Drop a bound on the price that a later one replaces or contradicts."""
        upper, lower = ("most", "below"), ("least", "above")
        for mine, others in ((upper, lower), (lower, upper)):
            new = [delta[name] for name in mine if delta.get(name) is not None]
            if not new:
                continue
            for name in mine:
                self.wishes[name] = delta.get(name)
            for name in others:
                old = self.wishes.get(name)
                against = old is not None and (old >= new[0] if mine == upper else old <= new[0])
                if against and name not in delta:
                    self.wishes[name] = None

    def fits(self, truth: Truth, price: float | None) -> bool:
        """Return whether a video fits."""
        held = {
            "category": {truth.category},
            "color": {truth.color, *(() if self.exact else FAMILIES.get(truth.color, ()))},
            "material": _values(truth.material),
            "brand": {truth.brand},
            "size": set(truth.sizes),
        }
        for name, values in held.items():
            wanted = _values(self.wishes.get(name))
            if (wanted and values.isdisjoint(wanted)) or not values.isdisjoint(self.refused[name]):
                return False
        bounds = {name: self.wishes.get(name) for name in ("least", "above", "most", "below")}
        if any(bound is not None for bound in bounds.values()) and price is None:
            return False
        return price is None or (
            (bounds["least"] is None or price >= bounds["least"])
            and (bounds["above"] is None or price > bounds["above"])
            and (bounds["most"] is None or price <= bounds["most"])
            and (bounds["below"] is None or price < bounds["below"])
        )

    def fitting(self, truth: Mapping[str, Truth], prices: Mapping[str, float | None]) -> set[str]:
        """Return the videos that fit, of those that have an entry in `prices`."""
        return {name for name, price in prices.items() if self.fits(truth[name], price)}

    def step_down(
        self, shown: Sequence[float], truth: Mapping[str, Truth], prices: Mapping[str, float | None]
    ) -> None:
        """Ask for cheaper than all that was shown, or else than half of it, or than the dearest."""
        kept = dict(self.wishes)
        for bound in (min(shown), float(np.median(shown)), max(shown)) if shown else ():
            self.wishes = {**kept, "below": bound, "most": None}
            if self.fitting(truth, prices):
                return
        self.wishes = kept


def _values(value: Any) -> set[str]:
    values: list[str | None] = value if isinstance(value, list) else [value]
    return {_ALIASES.get(one, one) for one in values if one is not None}
