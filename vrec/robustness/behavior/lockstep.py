"""Shoppers in lockstep: choices of one video by several shoppers at unusually close times.

Groups that are paid act within the same hours or days (Cao, Yang, Yu and Palow 2014, "Uncovering large groups
of active malicious accounts in online social networks", CCS, and Beutel et al. 2013, "CopyCatch", WWW).
"""

import numpy as np

from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.watched import Floats, Ints

WINDOWS_US = (3_600_000_000, 86_400_000_000, 7 * 86_400_000_000)
"""Times within which choices count as close: an hour, a day, a week."""
SPAN_WINDOWS = 20
"""Windows that a log must be long for one to be used."""
LEAST_EXPECTED = 0.05


def first_choices(log: BehaviorLog) -> tuple[Ints, Ints, Ints]:
    """Return shopper, video and time (µs) of the first choice of each pair, by video and time."""
    rows = np.flatnonzero(log.chosen)
    user, video, at = log.user[rows], log.video[rows], log.at[rows]
    order = np.lexsort((at, video, user))
    user, video, at = user[order], video[order], at[order]
    first = np.ones(len(user), bool)
    first[1:] = (user[1:] != user[:-1]) | (video[1:] != video[:-1])
    user, video, at = user[first], video[first], at[first]
    order = np.lexsort((at, video))
    return user[order], video[order], at[order]


def choice_surprise(log: BehaviorLog) -> tuple[Ints, Floats]:
    """Return the shopper of each first choice of a video, and how surprisingly many others are close to it.

    Of the n other shoppers of a video, k are within the window, where the share p of all choices leads to
    expect λ = n p. The surprise is the Poisson deviance k ln(k / λ) − k + λ, 0 for k ≤ λ, and the largest
    over the windows. What moves the whole shop, such as an evening or a sale, is in λ.
    """
    user, video, at = first_choices(log)
    surprise = np.zeros(len(user))
    if not len(user):
        return user, surprise
    counts = np.bincount(video, minlength=len(log.videos))[video] - 1
    times = np.sort(at)
    # Videos one after the other on one line, with a pause between them that no window spans.
    line = (at - times[0]) + video * (log.span_us + 2 * WINDOWS_US[-1])
    for window in WINDOWS_US:
        if window * SPAN_WINDOWS > log.span_us:
            continue
        near = np.searchsorted(line, line + window, "right") - np.searchsorted(line, line - window, "left")
        near = near - 1
        all_near = np.searchsorted(times, at + window, "right") - np.searchsorted(times, at - window, "left")
        expected = np.maximum(counts * (all_near / len(times)), LEAST_EXPECTED)
        more = near > expected
        deviance = np.where(more, near * np.log(np.maximum(near, 1) / expected) - near + expected, 0)
        surprise = np.maximum(surprise, deviance)
    return user, surprise
