"""Behavior signals for encoders from INTERACTIONS: pairs of videos, popularity, and target vectors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.config.train_encoder import BehaviorConfig
from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions
from vrec.events.polars_tables import to_polars
from vrec.retrieval.models.als import Als

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BehaviorSummary:
    """Behavior signals, and counts of the interactions that they were made of."""

    behavior: BehaviorSignals
    pairs: int
    """Pairs of videos."""
    videos: int
    """Videos with features that anyone watched."""
    paired: int
    """Of these, videos in at least one pair."""
    targets: int
    """Of these, videos with a target vector."""
    unknown: int
    """Watched videos without features."""


def build_behavior(
    interactions: pa.Table, features: FeatureSet, config: BehaviorConfig, interest: InterestConfig
) -> BehaviorSummary:
    """Make behavior signals of INTERACTIONS; pass none that a later test is made of.

    A pair is two videos of one shopper at most `window` steps apart, in random order as left and right. The
    popularity of a video is the number of pairs that it is in, since that decides how often it occurs in
    training. The order of the rows has no effect.

    Args:
        interactions: INTERACTIONS, neither decayed nor aggregated.
        features: the videos to make signals for.
        config: window, bounds, and the model of the target vectors.
        interest: decay of interest, for the target vectors.

    Raises:
        FitError: no interaction is with any of these videos, or no shopper watched two.
    """
    aggregated = aggregate_interactions(interactions, interest)
    ids = pl.Series("video_id", features.video_ids, dtype=pl.String)
    rows = pl.DataFrame({"video_id": ids, "row": np.arange(len(features))})
    frame = to_polars(aggregated).join(rows, on="video_id", how="left")
    known = frame.filter(pl.col("row").is_not_null())
    if not known.height:
        example = frame["video_id"][0] if frame.height else "none"
        raise FitError(
            f"behavior: the events have {frame['video_id'].n_unique():,} videos, such as {example}, but none "
            f"of the {len(features):,} with features, such as {features.video_ids[0]}",
            fix="give events and videos of one catalog, with the same video_id",
        )
    users = np.bincount(known["row"].to_numpy(), minlength=len(features))
    enough = users >= config.least_users
    left, right = _pairs(known.filter(pl.Series(enough[known["row"].to_numpy()])), config)
    if not len(left):
        raise FitError(
            f"behavior: no shopper of {frame['user_id'].n_unique():,} watched two of the videos that "
            f"{config.least_users} shoppers watched",
            fix="give more events, lower train.encoder.behavior.least_users, or leave the events out",
        )
    popularity = np.bincount(np.concatenate([left, right]), minlength=len(features)).astype(np.float64)
    targets, has_target = _targets(aggregated, features, enough, config)
    return BehaviorSummary(
        BehaviorSignals(left, right, popularity, targets, has_target),
        pairs=len(left),
        videos=int((users > 0).sum()),
        paired=int((popularity > 0).sum()),
        targets=0 if has_target is None else int(has_target.sum()),
        unknown=frame["video_id"].n_unique() - known["video_id"].n_unique(),
    )


def _pairs(known: pl.DataFrame, config: BehaviorConfig) -> tuple[Rows, Rows]:
    """Return the left and the right rows of the pairs of all users."""
    ordered = known.sort("user_id", "at", "video_id")
    user = ordered["user_id"].rle_id().to_numpy().astype(np.int64)
    row = ordered["row"].to_numpy().astype(np.int64)
    by_step: list[Rows] = []
    for step in range(1, min(config.window, len(row) - 1) + 1):
        first = np.flatnonzero(user[step:] == user[:-step])
        by_step.append(np.stack([user[first], row[first], row[first + step]]))
    if not by_step:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    owner, one, other = np.concatenate(by_step, axis=1)
    rng = np.random.default_rng(config.seed)
    # A random order of the pairs of each user; those beyond the bound are left out.
    order = np.lexsort((rng.random(len(owner)), owner))
    rank = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    drawn = order[rank < config.pairs_per_user]
    swapped = rng.random(len(drawn)) < 0.5
    return np.where(swapped, other[drawn], one[drawn]), np.where(swapped, one[drawn], other[drawn])


def _targets(
    aggregated: pa.Table, features: FeatureSet, enough: npt.NDArray[np.bool_], config: BehaviorConfig
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.bool_] | None]:
    """Return (N, factors) target vectors and (N,) whether each video has one, or None for both."""
    if config.targets == "none":
        return None, None
    # Fitted on all videos that shoppers watched: those without features also tell which shoppers are alike.
    model = Als(config.als).fit(aggregated)
    rows = model.videos.find(features.video_ids)
    known = (rows >= 0) & enough
    targets = np.zeros((len(features), model.item_factors.shape[1]), np.float32)
    targets[known] = model.item_factors[rows[known]]
    return targets, known & targets.any(axis=1)
