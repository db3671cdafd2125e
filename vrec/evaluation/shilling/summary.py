"""Means over the targets of a bench of attacks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST_LIFT = 0.01
"""Change of the hit rate below which there is no lift to speak of that could be removed."""


def summarize(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return means over targets by attack, rate and model, with the share of the lift that is removed.

    Args:
        rows: AttackRows as plain values.
    """
    groups: dict[tuple[str, float, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["attack"], row["rate"], row["model"]), []).append(row)
    found = []
    for (attack, rate, model), members in groups.items():
        rates, exposures, places, gains = (
            np.mean([member[name] for member in members], axis=0)
            for name in ("hit_rate", "exposure", "place", "ndcg")
        )
        lift, left = rates[1] - rates[0], rates[2] - rates[0]
        found.append(
            {
                "attack": attack,
                "rate": rate,
                "model": model,
                "hit_rate": rates.tolist(),
                "exposure": exposures.tolist(),
                "place": places.tolist(),
                "ndcg": gains.tolist(),
                "lift": float(lift),
                "lift_left": float(left),
                "removed": float(1 - left / lift) if abs(lift) > LEAST_LIFT else None,
                "accounts": float(np.mean([member["accounts"] for member in members])),
                "events": float(np.mean([member["events"] for member in members])),
                "dropped_fakes": float(np.mean([member["dropped_fakes"] for member in members])),
            }
        )
    return found
