"""Check for leaks: a gain that is there on events that a model could have seen, and not on later ones.

What a model learned from the future of its cut helps on the part of the log that existed when it was made,
and cannot help on events that came later. So both gains are measured: the claimed one, on the held-out part,
and the later one. A leak is suspected where the claimed gain exceeds the later one by more than chance, and
the later one by itself is none.
"""

import math
from dataclasses import dataclass

from vrec.evaluation.promotion.decision import PairedGain


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """Comparison of a claimed gain with that on later events."""

    claimed: float
    later: float
    low: float | None
    """Lower end of the interval of claimed − later; None where there are too few outcomes for one."""
    high: float | None
    suspected: bool

    def __str__(self) -> str:
        """Return it in words."""
        if self.low is None or self.high is None:
            return (
                f"gain {self.claimed:+.4f} on the held-out part, {self.later:+.4f} later: too few to compare"
            )
        return (
            f"gain {self.claimed:+.4f} on the held-out part, {self.later:+.4f} on later events: "
            f"{self.claimed - self.later:+.4f} [{self.low:+.4f}, {self.high:+.4f}] is gone"
        )


def check_leak(claimed: PairedGain, later: PairedGain) -> LeakCheck:
    """Compare the gain on the held-out part with that on events that came after the challenger was made.

    The interval of the difference combines those of both gains (MOVER, Zou and Donner 2008), as of
    independent samples: its level is theirs.
    """
    ends = claimed.low, claimed.high, later.low, later.high
    low1, high1, low2, high2 = ends
    if low1 is None or high1 is None or low2 is None or high2 is None:
        return LeakCheck(claimed.difference, later.difference, None, None, suspected=False)
    excess = claimed.difference - later.difference
    low = excess - math.hypot(claimed.difference - low1, high2 - later.difference)
    high = excess + math.hypot(high1 - claimed.difference, later.difference - low2)
    suspected = claimed.is_better and low > 0 and not later.is_better
    return LeakCheck(claimed.difference, later.difference, low, high, suspected)
