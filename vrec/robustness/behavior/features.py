"""Measures of how shoppers behave, each a number per shopper, NaN where a shopper has too few events for it.

None is compared between shoppers before it was made a rank among shoppers with about as many videos, so that
neither the scale of a shop nor being a heavy shopper counts; see `activity`.
"""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from vrec.robustness.behavior.lockstep import choice_surprise
from vrec.robustness.behavior.log import BehaviorLog, Bools
from vrec.robustness.watched import Floats, Ints

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
OVERLONG = 1.1
"""Watched share of a film's length above which the film cannot have been watched once."""
LEAST_GAPS = 3
"""Fewest pauses of which a shopper's regularity is measured, and fewest watches of their spread."""
LEAST_SHARE = 0.01
"""Share of the shoppers who must have a kind of events for it to be a feature."""

REASONS: Mapping[str, tuple[str, str]] = {
    "repetition": ("hardly comes back to a video", "chooses the same videos again and again"),
    "evenness": ("most events are of one or few videos", "events are spread over videos unusually evenly"),
    "hours": ("is active at few hours of the day", "is active at all hours of the day"),
    "pauses": ("unusually short pauses between events", "unusually long pauses between events"),
    "regularity": ("pauses between events are unusually regular", "pauses are unusually irregular"),
    "busiest_hour": ("events are spread unusually evenly over time", "most events are in one hour"),
    "days": ("active on unusually few days", "active on unusually many days"),
    "overlong": ("", "watches that are longer than the film"),
    "equal_watches": ("", "watches of exactly equal length"),
    "watch_spread": ("watches are of unusually similar length", "watches are of unusually different length"),
    "watches": ("chooses videos without watching them", "watches unusually many of the chosen videos"),
    "signs": ("unusually few likes, shares and follows", "unusually many likes, shares and follows"),
    "purchases": ("unusually few carts and purchases", "unusually many carts and purchases"),
    "dislikes": ("unusually few dislikes", "unusually many dislikes"),
    "shown": ("chooses videos that it was not shown", "was shown unusually many videos per choice"),
    "coherence": ("videos that others do not watch together", "videos that go together unusually well"),
    "popularity": ("unusually unpopular videos", "unusually popular videos"),
    "variety": ("videos of unusually equal popularity", "both very popular and very unpopular videos"),
    "likeness": ("unlike any other shopper", "unusually like other shoppers"),
    "lockstep": ("never where others are at the same time", "chooses videos at the same time as others do"),
    "sharpest_lockstep": ("never where others are at the same time", "took part in a burst on one video"),
}
"""Features by name, with what a small and a large value say in words."""


def shopper_features(log: BehaviorLog) -> dict[str, Floats]:
    """Return the (S,) features of shoppers by name; those that the log cannot tell are left out."""
    found = {"repetition": _repetition(log), "evenness": _evenness(log)}
    if log.has_clock and log.span_us > 0:
        found |= _times(log)
    found |= _watches(log) | _kinds(log)
    ranks = log.taste_ranks
    for column, name in enumerate(("coherence", "popularity", "variety", "likeness")):
        found[name] = np.where(log.lengths > 0, ranks[:, column], np.nan)
    if log.has_clock and log.span_us > 0:
        user, surprise = choice_surprise(log)
        counts = np.bincount(user, minlength=len(log.shoppers))
        sums = _sums(user, surprise, log)
        found["lockstep"] = _ratio(sums, counts.astype(np.float64))
        highest = np.full(len(log.shoppers), np.nan)
        np.fmax.at(highest, user, surprise)
        found["sharpest_lockstep"] = highest
    return {name: values for name, values in found.items() if _varies(values)}


def _repetition(log: BehaviorLog) -> Floats:
    """Return (S,) logarithms of choices per video."""
    return np.log(_ratio(log.count(log.chosen), log.lengths.astype(np.float64)))


def _evenness(log: BehaviorLog) -> Floats:
    """Return (S,) effective number of videos, exp of the entropy, over the number of videos."""
    return np.exp(_entropy(log, log.chosen, log.video, len(log.videos))) / np.maximum(log.lengths, 1)


def _times(log: BehaviorLog) -> dict[str, Floats]:
    chosen = log.chosen
    total = log.count(chosen)
    hour = log.at // HOUR_US
    found = {
        "hours": _entropy(log, chosen, hour % 24, 24),
        "busiest_hour": _ratio(_largest_group(log, chosen, hour), total),
        "days": _ratio(_distinct(log, chosen, log.at // DAY_US), total),
    }
    user, at = log.user[chosen], log.at[chosen]
    same = user[1:] == user[:-1]
    owner, gaps = user[1:][same], np.log1p(np.diff(at)[same] / 1e6)
    count = np.bincount(owner, minlength=len(log.shoppers)).astype(np.float64)
    mean, squares = (_ratio(_sums(owner, terms, log), count) for terms in (gaps, gaps**2))
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    found["pauses"] = mean
    found["regularity"] = np.where(count >= LEAST_GAPS, spread, np.nan)
    return found


def _watches(log: BehaviorLog) -> dict[str, Floats]:
    watched = log.of_kinds("watch") & np.isfinite(log.value) & (log.value > 0)
    if not watched.any():
        return {}
    total = log.count(watched)
    longer = watched.copy()
    longer[watched] = log.value[watched] > OVERLONG * log.duration[log.video[watched]]
    logs = np.log(np.where(watched, log.value, 1))
    mean = _ratio(_sum(log, watched, logs), total)
    squares = _ratio(_sum(log, watched, logs**2), total)
    enough = total >= LEAST_GAPS
    lengths = np.unique(log.value[watched], return_inverse=True)[1]
    places = np.zeros(len(log.value), np.int64)
    places[watched] = lengths
    equal = _ratio(_largest_group(log, watched, places), total)
    return {
        "overlong": _ratio(log.count(longer), total),
        "equal_watches": np.where(enough, equal, np.nan),
        "watch_spread": np.where(enough, np.sqrt(np.maximum(squares - mean**2, 0)), np.nan),
        "watches": _ratio(total, log.count(log.chosen)),
    }


def _kinds(log: BehaviorLog) -> dict[str, Floats]:
    chosen = log.count(log.chosen)
    groups = {
        "signs": log.of_kinds("like", "share", "follow"),
        "purchases": log.of_kinds("cart", "purchase"),
        "dislikes": log.of_kinds("dislike", "hide"),
    }
    found = {name: _ratio(log.count(events), chosen) for name, events in groups.items()}
    shown = log.count(log.of_kinds("impression"))
    found["shown"] = np.where(chosen > 0, np.log1p(shown) - np.log1p(chosen), np.nan)
    if np.mean(shown > 0) < LEAST_SHARE:
        del found["shown"]
    return {name: values for name, values in found.items() if np.mean(values != 0) >= LEAST_SHARE}


def _entropy(log: BehaviorLog, events: Bools, groups: Ints, size: int) -> Floats:
    """Return (S,) entropy in nats of each shopper's events over groups numbered from 0."""
    counts = sparse.csr_matrix(
        (np.ones(int(events.sum())), (log.user[events], groups[events])), shape=(len(log.shoppers), size)
    )
    counts.sum_duplicates()
    total = np.asarray(counts.sum(axis=1), np.float64).ravel()
    terms = counts.copy()
    terms.data = counts.data * np.log(counts.data)
    inner = np.asarray(terms.sum(axis=1), np.float64).ravel()
    return np.where(total > 0, np.log(np.maximum(total, 1)) - inner / np.maximum(total, 1), np.nan)


def _grouped(log: BehaviorLog, events: Bools, groups: Ints) -> tuple[Ints, Ints]:
    """Return the shopper of each pair of shopper and group, and the number of its events."""
    own = groups[events]
    size = int(own.max()) + 1 if len(own) else 1
    distinct, counts = np.unique(log.user[events] * size + own, return_counts=True)
    return distinct // size, counts


def _largest_group(log: BehaviorLog, events: Bools, groups: Ints) -> Floats:
    """Return (S,) number of events in each shopper's largest group."""
    user, counts = _grouped(log, events, groups)
    largest = np.zeros(len(log.shoppers))
    np.maximum.at(largest, user, counts)
    return largest


def _distinct(log: BehaviorLog, events: Bools, groups: Ints) -> Floats:
    """Return (S,) number of groups in which a shopper has events."""
    user, _ = _grouped(log, events, groups)
    return np.bincount(user, minlength=len(log.shoppers)).astype(np.float64)


def _sum(log: BehaviorLog, events: Bools, values: Floats) -> Floats:
    return _sums(log.user[events], values[events], log)


def _sums(user: Ints, values: Floats, log: BehaviorLog) -> Floats:
    """Return (S,) sums of values by shopper."""
    return np.bincount(user, values, minlength=len(log.shoppers)).astype(np.float64)


def _ratio(over: Floats, under: Floats) -> Floats:
    """Return `over / under`, NaN where `under` is 0."""
    return np.where(under > 0, over / np.maximum(under, 1e-12), np.nan)


def _varies(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(known.min() < known.max())
