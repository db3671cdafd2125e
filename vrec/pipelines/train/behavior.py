"""From INTERACTIONS to what encoders learn from: pairs of videos, how often each is in one, and vectors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.config.train_encoder import BehaviorConfig
from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.events.interactions import InterestConfig, aggregate_interactions
from vrec.events.polars_tables import to_polars
from vrec.retrieval.models.als import Als

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BehaviorSummary:
    """What became of the interactions."""

    behavior: BehaviorSignals
    pairs: int
    videos: int
    """Videos of the features that were watched by anyone."""
    paired: int
    """Those that are in a pair."""
    targets: int
    """Those with a vector."""
    unknown: int
    """Watched videos that the features do not have."""


def build_behavior(
    interactions: pa.Table, features: FeatureSet, config: BehaviorConfig, interest: InterestConfig
) -> BehaviorSummary:
    """What INTERACTIONS say of the videos of `features`; pass none that a later test is made of.

    Pairs are two videos of one shopper at most `window` steps apart, each at random the left or the right
    one. A video's popularity is the number of its places in pairs, since that is the chance with which it
    comes up in training. The order of the rows is of no consequence. Raises FitError where no interaction is
    with any of these videos, and where no shopper watched two.
    """
    gathered = aggregate_interactions(interactions, interest)
    ids = pl.Series("video_id", features.video_ids, dtype=pl.String)
    places = pl.DataFrame({"video_id": ids, "row": np.arange(len(features))})
    frame = to_polars(gathered).join(places, on="video_id", how="left")
    known = frame.filter(pl.col("row").is_not_null())
    if not known.height:
        one = frame["video_id"][0] if frame.height else "none"
        raise FitError(
            f"behaviour: the events know {frame['video_id'].n_unique():,} videos, such as {one}, but none of "
            f"the {len(features):,} with features, such as {features.video_ids[0]}",
            fix="give events and videos of one catalogue, with the same video_id",
        )
    users = np.bincount(known["row"].to_numpy(), minlength=len(features))
    able = users >= config.least_users
    left, right = _pairs(known.filter(pl.Series(able[known["row"].to_numpy()])), config)
    if not len(left):
        raise FitError(
            f"behaviour: no shopper of {frame['user_id'].n_unique():,} watched two of the videos that "
            f"{config.least_users} shoppers watched",
            fix="give more events, lower train.encoder.behavior.least_users, or leave the events out",
        )
    popularity = np.bincount(np.concatenate([left, right]), minlength=len(features)).astype(np.float64)
    targets, has_target = _targets(gathered, features, able, config)
    behaviour = BehaviorSignals(left, right, popularity, targets, has_target)
    return BehaviorSummary(
        behaviour,
        pairs=len(left),
        videos=int((users > 0).sum()),
        paired=int((popularity > 0).sum()),
        targets=0 if has_target is None else int(has_target.sum()),
        unknown=frame["video_id"].n_unique() - known["video_id"].n_unique(),
    )


def _pairs(known: pl.DataFrame, config: BehaviorConfig) -> tuple[Rows, Rows]:
    ordered = known.sort("user_id", "at", "video_id")
    user = ordered["user_id"].rle_id().to_numpy().astype(np.int64)
    row = ordered["row"].to_numpy().astype(np.int64)
    found: list[npt.NDArray[np.int64]] = []
    for step in range(1, min(config.window, len(row) - 1) + 1):
        first = np.flatnonzero(user[step:] == user[:-step])
        found.append(np.stack([user[first], row[first], row[first + step]]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    of, one, other = np.concatenate(found, axis=1)
    rng = np.random.default_rng(config.seed)
    # A random order within each user; what is past the bound is left out.
    order = np.lexsort((rng.random(len(of)), of))
    nth = np.arange(len(of)) - np.searchsorted(of[order], of[order])
    kept = order[nth < config.pairs_per_user]
    turned = rng.random(len(kept)) < 0.5
    return np.where(turned, other[kept], one[kept]), np.where(turned, one[kept], other[kept])


def _targets(
    gathered: pa.Table, features: FeatureSet, able: npt.NDArray[np.bool_], config: BehaviorConfig
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.bool_] | None]:
    if config.targets == "none":
        return None, None
    # On all that shoppers watched: also videos without features say who is like whom.
    model = Als(config.als).fit(gathered)
    place = model.videos.find(features.video_ids)
    known = (place >= 0) & able
    targets = np.zeros((len(features), model.item_factors.shape[1]), np.float32)
    targets[known] = model.item_factors[place[known]]
    return targets, known & targets.any(axis=1)
