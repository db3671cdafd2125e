"""Suspicion of shoppers, from how they behave alone, in audiences of videos and in groups, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from sklearn.ensemble import IsolationForest

from vrec.core.compute import pc
from vrec.core.errors import SourceError
from vrec.core.schema import TIMESTAMP
from vrec.robustness.behavior.activity import activity_ranks, activity_scores, tails
from vrec.robustness.behavior.audience import AudienceScores, audience_scores
from vrec.robustness.behavior.config import SuspectsConfig
from vrec.robustness.behavior.coordination import CoordinatedGroup, group_scores
from vrec.robustness.behavior.dense_blocks import DenseBlock, dense_blocks
from vrec.robustness.behavior.features import DAY_US, HOUR_US, REASONS, shopper_features
from vrec.robustness.behavior.lockstep import choice_surprise, first_choices
from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.behavior.table import SUSPECTS
from vrec.robustness.defences.promoted import LEANINGS, promotion_scores
from vrec.robustness.defences.video_statistics import video_statistics
from vrec.robustness.watched import Floats, Ints, WatchedVideos

FOREST_SEED, TREES = 11, 100
SURPRISING = 4.0
"""Surprise of a choice from which it can be part of a group that comes together; see `choice_surprise`."""
DAYS_FOR_DAILY = 20
"""Days of a log from which blocks are looked for by day; in shorter ones by the hour."""
FEATURE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "taste": ("coherence", "popularity", "variety", "likeness"),
    "times": ("hours", "busiest_hour", "days", "pauses", "regularity", "lockstep", "sharpest_lockstep"),
    "watching": (
        *("repetition", "evenness", "overlong", "equal_watches", "watch_spread", "watches"),
        *("signs", "purchases", "dislikes", "shown"),
    ),
}
"""Features that are judged together, each group by a forest of its own: one over all would drown the few
that tell in those that do not."""
USUAL_PART, LARGEST_PART = 1.5, 10.0
"""Deviations of a part that count for nothing, as one shopper in ten has them, and the most that count."""
PART_WEIGHTS = {
    **{"taste": 0.5, "times": 0.5, "watching": 0.5, "audience": 1.0, "promotion": 1.5, "block": 1.0},
    **{"group": 2.0, "devices": 1.0},
}
"""Weights of the parts of a score, chosen by `benchmarks/suspects.py --tune`: what shoppers do alone counts
less, since honest ones are odd too."""
BLOCK_UNITS, LEAST_FILLED = 15.0, 0.3
"""Score of a block in which every shopper has chosen every column and none was to be expected, and share
that is no news: blocks of taste are filled as much."""
LEAST_PROMOTION = -4.0
"""Log odds of a video to be promoted from which its odd shoppers are suspected."""
PROMOTION_WINDOW, LEAST_AUDIENCE = 60, 5
"""Videos that each is compared with, and fewest shoppers of a promoted video."""
MOST_AUDIENCE_SHARE, LEAST_ODD = 0.1, 0.7
"""Largest share of all shoppers who watched a promoted video, and least share of its shoppers that are odd in
the direction of all, as for the defence of fits."""
LEAST_AUDIENCE_SCALE, LEAST_ISOLATION_SCALE = 1.0, 0.01
"""Least deviations by which distances of audiences, and isolation, are measured, since most are equal in a
sparse log."""
TELLING_TAIL = 2.5
"""Size of a feature's tail from which it is named as a reason: one shopper in twelve is as far out."""
MOST_REASONS = 4


@dataclass(frozen=True)
class SuspicionParts:
    """Parts of the suspicion of shoppers."""

    shoppers: pa.Array
    """(S,) ids."""
    names: tuple[str, ...]
    """(K,) names of the features."""
    ranks: Floats
    """(S, K) ranks of the features among shoppers who are about as active."""
    parts: dict[str, Floats]
    """(S,) scores by part."""
    audience: AudienceScores
    blocks: list[DenseBlock]
    groups: list[CoordinatedGroup]

    def scores(self) -> Floats:
        """Return the (S,) weighted sums of the parts."""
        total = np.zeros(len(self.shoppers))
        for name, values in self.parts.items():
            total += PART_WEIGHTS[name] * np.clip(values - USUAL_PART, 0, LARGEST_PART)
        return total


def suspicion_parts(log: BehaviorLog, devices: pa.Table | None = None) -> SuspicionParts:
    """Measure how suspicious shoppers are.

    Args:
        log: The log.
        devices: `user_id` and `device` of shoppers, any number of rows each, if the shop knows them.
    """
    features = shopper_features(log)
    ranks = [activity_ranks(values, log.lengths) for values in features.values()]
    table = np.stack(ranks, axis=1) if ranks else np.full((len(log.shoppers), 1), 0.5)
    names = tuple(features) or ("none",)
    audience = audience_scores(log, table)
    in_blocks, blocks = _block_scores(log)
    parts = _alone(names, table, log)
    parts["audience"] = activity_scores(audience.scores, log.lengths, LEAST_AUDIENCE_SCALE)
    parts["promotion"] = _promotion_scores(log)
    parts["block"] = in_blocks
    parts["group"], groups = group_scores(log.watched)
    if devices is not None:
        parts["devices"] = activity_scores(_device_scores(log, devices), log.lengths)
    return SuspicionParts(log.shoppers, names, table, parts, audience, blocks, groups)


def find_suspects(
    log: BehaviorLog, config: SuspectsConfig, at: datetime, devices: pa.Table | None = None
) -> pa.Table:
    """Return SUSPECTS of all shoppers of a log, the most suspicious first.

    Args:
        log: The log.
        config: Score from which a shopper is a suspect.
        at: Time of the detection.
        devices: `user_id` and `device` of shoppers, if the shop knows them.

    Raises:
        SourceError: The table of devices lacks a column.
    """
    if not len(log.shoppers):
        return SUSPECTS.arrow().empty_table()
    found = suspicion_parts(log, devices)
    scores = found.scores()
    weights = shopper_weights(scores, log.count(log.chosen), config)
    order = np.argsort(-scores, kind="stable")
    reasons = [_reasons(found, log, int(row)) if weights[row] < 1 else "" for row in order]
    columns = [
        found.shoppers.take(pa.array(order)),
        pa.array(weights[order]),
        pa.array(scores[order]),
        pa.array(reasons, pa.string()),
        pa.array([at] * len(order), TIMESTAMP),
        pa.nulls(len(order), TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=SUSPECTS.arrow())


def shopper_weights(scores: Floats, events: Floats, config: SuspectsConfig) -> Floats:
    """Return the (S,) weights of shoppers by their scores and numbers of choices."""
    suspicious = (scores >= config.score) & (events >= config.least_events)
    most = int(config.most_share * len(scores))
    if suspicious.sum() > most:
        allowed = np.zeros(len(scores), bool)
        allowed[np.argsort(-scores, kind="stable")[:most]] = True
        suspicious &= allowed
    if not config.graded:
        return np.where(suspicious, 0.0, 1.0)
    graded = np.clip(2 - scores / max(config.score, 1e-9), 0, 1)
    return np.where(suspicious, graded, 1.0)


def _isolation(ranks: Floats) -> Floats:
    """Return (S,) how easily shoppers are isolated (Liu, Ting and Zhou 2008, "Isolation forest", ICDM)."""
    if len(ranks) < 2:
        return np.zeros(len(ranks))
    forest = IsolationForest(n_estimators=TREES, random_state=FOREST_SEED)
    features = tails(ranks)
    return -np.asarray(forest.fit(features).score_samples(features), np.float64)


def _alone(names: tuple[str, ...], ranks: Floats, log: BehaviorLog) -> dict[str, Floats]:
    """Return the (S,) scores of shoppers by group of features."""
    found = {}
    for group, members in FEATURE_GROUPS.items():
        columns = [column for column, name in enumerate(names) if name in members]
        if columns:
            found[group] = activity_scores(_isolation(ranks[:, columns]), log.lengths, LEAST_ISOLATION_SCALE)
    return found


def _promotion_scores(log: BehaviorLog) -> Floats:
    """Return the (S,) log odds above LEAST_PROMOTION of the most promoted video of each shopper.

    It counts as far as the shopper is odd in the direction of that video's shoppers; see `promoted`. Who has
    more videos has more chances of such a one, and so the logarithm of their number over the median is taken
    off.
    """
    matrix = log.watched
    watched = WatchedVideos(log.shoppers, log.videos, matrix, 0, 0)
    ranks = log.taste_ranks
    statistics = video_statistics(watched, ranks, PROMOTION_WINDOW)
    directions, signs = statistics[:, :LEANINGS], ranks - 0.5
    columns = matrix.indices
    rows = np.repeat(np.arange(len(log.shoppers)), np.diff(matrix.indptr))
    along = (signs[rows] * directions[columns]).sum(axis=1)
    size = np.sqrt((signs[rows] ** 2).sum(axis=1) * (directions[columns] ** 2).sum(axis=1))
    odd = np.bincount(columns, along > 0, minlength=len(log.videos)) / np.maximum(watched.counts, 1)
    able = (watched.counts >= LEAST_AUDIENCE) & (odd >= LEAST_ODD)
    able &= watched.counts <= MOST_AUDIENCE_SHARE * len(log.shoppers)
    chances = np.log(np.maximum(log.lengths / np.median(log.lengths.clip(1)), 1))
    odds = promotion_scores(statistics)[columns] - LEAST_PROMOTION - chances[rows]
    odds = np.where(able[columns], np.clip(odds, 0, LARGEST_PART + USUAL_PART), 0)
    scores = np.zeros(len(log.shoppers))
    np.maximum.at(scores, rows, odds * np.clip(along / np.maximum(size, 1e-9), 0, 1))
    return scores


def _block_scores(log: BehaviorLog) -> tuple[Floats, list[DenseBlock]]:
    """Return the (S,) scores of being in a dense block, and the blocks of shoppers and videos.

    With real times a second graph has the surprising choices alone, with a column for each video and day, so
    that those who come together weigh more than those who share a taste.
    """
    user, video, at = first_choices(log)
    graphs: list[tuple[Ints, Ints, Ints | None]] = [(user, video, None)]
    if log.has_clock and log.span_us > 0:
        together = choice_surprise(log)[1] >= SURPRISING
        width = DAY_US if log.span_us >= DAYS_FOR_DAILY * DAY_US else HOUR_US
        time = (at[together] - at.min()) // width
        times = int(time.max()) + 1 if len(time) else 1
        graphs.append((user[together], video[together] * times + time, time))
    scores = np.zeros(len(log.shoppers))
    all_blocks: list[DenseBlock] = []
    for rows, columns, strata in graphs:
        blocks = dense_blocks(rows, columns, strata)
        for block in blocks:
            score = BLOCK_UNITS * max(block.filled - LEAST_FILLED, 0) / (1 - LEAST_FILLED)
            scores[block.shoppers] = np.maximum(scores[block.shoppers], score)
        all_blocks += blocks
    return scores, all_blocks


def _device_scores(log: BehaviorLog, devices: pa.Table) -> Floats:
    """Return (S,) logarithms of the shoppers on each shopper's most shared device."""
    if missing := {"user_id", "device"} - set(devices.column_names):
        raise SourceError(
            f"devices: no column {' or '.join(sorted(missing))}", fix="give columns user_id and device"
        )
    pairs = devices.select(["user_id", "device"]).drop_null().group_by(["user_id", "device"]).aggregate([])
    shared = pairs.group_by("device").aggregate([("user_id", "count")])
    counts = shared["user_id_count"].take(pc.index_in(pairs["device"], value_set=shared["device"]))
    place = np.asarray(pc.index_in(pairs["user_id"], value_set=log.shoppers).fill_null(-1))
    known = place >= 0
    scores = np.zeros(len(log.shoppers))
    np.maximum.at(scores, place[known], np.log(np.asarray(counts, np.float64)[known]))
    return scores


def _reasons(found: SuspicionParts, log: BehaviorLog, row: int) -> str:
    """Return the reasons of a shopper's score in words."""
    reasons: list[str] = []
    if found.parts["block"][row] > 0:
        block = max((one for one in found.blocks if row in one.shoppers), key=lambda one: one.filled)
        reasons.append(
            f"one of {len(block.shoppers):,} shoppers who choose the same {len(block.columns):,} videos, "
            f"{block.filled:.0%} of the pairs more than chance explains"
        )
    if found.parts["group"][row] > USUAL_PART:
        group = max((one for one in found.groups if row in one.shoppers), key=lambda one: one.score)
        reasons.append(
            f"one of {len(group.shoppers):,} shoppers who share {len(group.videos):,} videos and are "
            f"{group.exclusive:.0%} of those who choose them"
        )
    video = int(found.audience.videos[row])
    if video >= 0 and found.parts["audience"][row] > 2:
        reasons.append(f"one of the odd shoppers who make up the audience of {log.videos[video].as_py()}")
    if "devices" in found.parts and found.parts["devices"][row] > 2:
        reasons.append("shares a device with unusually many shoppers")
    sizes = tails(found.ranks[row])
    for column in np.argsort(-np.abs(sizes), kind="stable"):
        words = REASONS[found.names[column]][int(sizes[column] > 0)] if found.names[column] in REASONS else ""
        if abs(sizes[column]) >= TELLING_TAIL and words and len(reasons) < MOST_REASONS:
            reasons.append(words)
    return "; ".join(dict.fromkeys(reasons)) or "several slightly unusual signs together"
