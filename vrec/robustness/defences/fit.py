"""Defences of a fit against fake shoppers: interactions that it leaves out, and weights of shoppers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.robustness.config import DefenceConfig
from vrec.robustness.defences.promoted import find_promoted, keep_shown, split_promotion


@dataclass(frozen=True)
class DefendedInteractions:
    """Interactions to fit on."""

    interactions: pa.Table
    """INTERACTIONS, without those that were left out."""
    weights: pa.Table | None
    """user_id and weight of the shoppers that do not count in full; None if there is no such setting."""
    left_out: pa.Table
    """INTERACTIONS that were left out."""
    report: dict[str, Any]
    """What was done, as plain JSON values; empty if nothing is on."""


def defend(
    interactions: pa.Table,
    config: DefenceConfig,
    weights: pa.Table | None = None,
    shown: Callable[[], Mapping[str, float]] | None = None,
) -> DefendedInteractions:
    """Return INTERACTIONS as a fit is to count them.

    Args:
        interactions: INTERACTIONS, one row per shopper and video.
        config: Defences.
        weights: user_id and weight of shoppers by the shop itself or by a detector, if any.
        shown: Share of the lists that show each video, without the defence; called only if a video looks
            promoted. None leaves no promoted video alone for being hardly shown.
    """
    report: dict[str, Any] = {}
    left_out = interactions.slice(0, 0)
    if config.drop_promoted:
        promoted = find_promoted(interactions, config.promoted)
        looked = promoted.found.num_rows
        if looked and shown is not None and config.promoted.least_shown > 0:
            shoppers = pc.count_distinct(interactions["user_id"]).as_py()
            promoted = keep_shown(promoted, shown(), shoppers, config.promoted)
        interactions, left_out = split_promotion(interactions, promoted)
        report["promoted"] = {
            "videos": promoted.found.num_rows,
            "left_alone": looked - promoted.found.num_rows,
            "interactions": promoted.pairs.num_rows,
            "first": promoted.found.slice(0, 20).to_pylist(),
        }
    if weights is not None:
        report["weighted_shoppers"] = weights.num_rows
    if config.clip_videos is not None:
        clipped = clipped_weights(interactions, config.clip_videos, weights)
        report["clip_videos"] = config.clip_videos
        report["clipped_shoppers"] = pc.sum(pc.less(clipped["weight"], 1.0)).as_py() or 0
        weights = clipped
    return DefendedInteractions(interactions, weights, left_out, report)


def clipped_weights(interactions: pa.Table, limit: float, weights: pa.Table | None = None) -> pa.Table:
    """Return the weights with which no shopper adds more than `limit` to all counts of videos together.

    A shopper of n videos gets min(weight, limit / n): the counts change by at most `limit` in sum, each by at
    most 1, if the shopper is added or removed, and so does each count of a pair of videos by at most limit /
    n.

    Args:
        interactions: INTERACTIONS, one row per shopper and video.
        limit: Most that a shopper adds.
        weights: user_id and weight in [0, 1] before clipping; shoppers that it lacks have 1.

    Returns:
        user_id and weight of every shopper of the interactions, ascending by id.
    """
    counted = interactions.group_by("user_id").aggregate([("video_id", "count_distinct")]).sort_by("user_id")
    users = counted["user_id"].combine_chunks()
    lengths = np.asarray(counted["video_id_count_distinct"], np.float64)
    given = np.ones(len(lengths))
    if weights is not None:
        place = pc.index_in(users, value_set=weights["user_id"].cast(pa.string()).combine_chunks())
        at = np.asarray(place.fill_null(-1))
        given = np.append(np.asarray(weights["weight"], np.float64), 1.0)[at]
    return pa.table({"user_id": users, "weight": pa.array(np.minimum(given, limit / lengths))})
