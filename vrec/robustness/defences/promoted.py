"""Detection of promoted videos, and of the interactions that promote them.

Fake shoppers that promote a video have one thing in common whatever their fillers are: the video. Each video
is therefore compared with those that have about as many shoppers: are its shoppers odd, all in one direction?
That is the analysis of target items (Zhou, Wen, Koh, Alam and Dobbie 2014, "Attack detection in recommender
systems based on target item analysis", IJCNN), with measures for logs without ratings. Of a video that stands
out, the interactions of the shoppers who are odd in its direction are left out of fits; the shoppers' other
interactions stay, since what promotes a video are its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.robustness.config import PromotedConfig
from vrec.robustness.defences.promotion_coefficients import COEFFICIENTS, INTERCEPT
from vrec.robustness.defences.shopper_ranks import shopper_ranks
from vrec.robustness.defences.video_statistics import video_statistics
from vrec.robustness.watched import Floats, WatchedVideos

PAIR_SEPARATOR = "\x1f"
LEANINGS = 4
"""Number of the statistics that are leanings of ranks, which tell a direction."""


@dataclass(frozen=True)
class PromotedVideos:
    """Videos whose shoppers look like an attack's, and the interactions that are to be left out."""

    found: pa.Table
    """video_id, score, shoppers, suspicious: one row per promoted video, the highest score first."""
    pairs: pa.Table
    """user_id and video_id of the suspicious interactions."""


def find_promoted(interactions: pa.Table, config: PromotedConfig) -> PromotedVideos:
    """Return the promoted videos of INTERACTIONS.

    Args:
        interactions: INTERACTIONS.
        config: Score and number of shoppers from which a video counts as promoted.
    """
    log = WatchedVideos.from_interactions(interactions)
    if not len(log.videos):
        return _promoted(log, np.empty(0, np.int64), np.empty(0), [])
    ranks = shopper_ranks(log.matrix)
    standard = video_statistics(log, ranks, config.window)
    scores = promotion_scores(standard)
    possible = (log.counts >= config.least_shoppers) & (log.counts <= config.most_share * len(log.shoppers))
    chosen = np.flatnonzero(possible & (scores > config.score))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    columns = sparse.csc_matrix(log.matrix)
    kept, suspects = [], []
    for video in chosen:
        shoppers = columns.indices[columns.indptr[video] : columns.indptr[video + 1]]
        # Odd in the direction in which the video's shoppers are: the sign of a projection.
        odd = shoppers[(ranks[shoppers] - 0.5) @ standard[video, :LEANINGS] > 0]
        if len(odd) >= config.least_odd * len(shoppers):
            kept.append(video)
            suspects.append(odd)
    chosen = np.array(kept, np.int64)
    return _promoted(log, chosen, scores[chosen], suspects)


def keep_shown(
    promoted: PromotedVideos, shown: Mapping[str, float], shoppers: int, config: PromotedConfig
) -> PromotedVideos:
    """Return the promoted videos that lists show unusually often for their number of shoppers, or are sure.

    An honest video that looks promoted is mostly shown to about as many as choose it.

    Args:
        promoted: Promoted videos.
        shown: Share of all lists that show a video, for those that any shows.
        shoppers: Number of all shoppers.
        config: Least share of the lists, and the score from which a video is sure.
    """
    names = promoted.found["video_id"].to_pylist()
    shares = np.array([shown.get(name, 0.0) for name in names])
    usual = np.asarray(promoted.found["shoppers"], np.float64) / max(shoppers, 1)
    sure = np.asarray(promoted.found["score"]) >= config.sure_score
    kept = pa.array(sure | (shares >= config.least_shown * usual), pa.bool_())
    found = promoted.found.filter(kept)
    pairs = promoted.pairs.filter(pc.is_in(promoted.pairs["video_id"], value_set=_plain(found["video_id"])))
    return PromotedVideos(found, pairs)


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def promotion_scores(statistics: Floats) -> Floats:
    """Return the (V,) scores of (V, 12) standardized statistics: the log odds of a logistic regression.

    It was fitted on planted attacks by `benchmarks/promoted_videos.py`.
    """
    return score_features(statistics) @ np.asarray(COEFFICIENTS) + INTERCEPT


def score_features(statistics: Floats) -> Floats:
    """Return the (V, 36) features of a score: each statistic, its size, and its square over 4."""
    return np.hstack([statistics, np.abs(statistics), statistics**2 / 4])


def split_promotion(interactions: pa.Table, promoted: PromotedVideos) -> tuple[pa.Table, pa.Table]:
    """Return INTERACTIONS without the suspicious ones, and the suspicious ones, both in their order."""
    if not promoted.pairs.num_rows:
        return interactions, interactions.slice(0, 0)
    all_pairs, suspicious = (
        pc.binary_join_element_wise(table["user_id"], table["video_id"], PAIR_SEPARATOR)
        for table in (interactions, promoted.pairs)
    )
    out = pc.is_in(all_pairs, value_set=suspicious.combine_chunks())
    return interactions.filter(pc.invert(out)), interactions.filter(out)


def _promoted(
    log: WatchedVideos, videos: npt.NDArray[np.int64], scores: Floats, suspects: list[npt.NDArray[np.int32]]
) -> PromotedVideos:
    sizes = np.array([len(rows) for rows in suspects], np.int64)
    found = {
        "video_id": log.videos.take(pa.array(videos, pa.int64())),
        "score": pa.array(scores, pa.float64()),
        "shoppers": pa.array(log.counts[videos], pa.int64()),
        "suspicious": pa.array(sizes, pa.int64()),
    }
    rows = np.concatenate([*suspects, np.empty(0, np.int64)]).astype(np.int64)
    pairs = {
        "user_id": log.shoppers.take(pa.array(rows)),
        "video_id": log.videos.take(pa.array(np.repeat(videos, sizes), pa.int64())),
    }
    return PromotedVideos(pa.table(found), pa.table(pairs))
