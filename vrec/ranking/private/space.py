"""Feature space of a private ranker: from the catalog, fixed numbers and noised counts."""

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.types import CatalogContent
from vrec.profiles.video import RatePrior, VideoProfileConfig
from vrec.ranking.features.fit import describe_catalog
from vrec.ranking.features.space import BLOCKS, INDICATORS, FeatureSpace, RankerFeaturesConfig
from vrec.ranking.features.video_counts import RATES, USER_RATES, Doubles, ReleasedCounts, log_odds
from vrec.ranking.private.counts import CLICKED, SHOWN

SECONDS = 10.0
"""Assumed mean seconds of a watch."""
_RATE = VideoProfileConfig().click
_USER_STRENGTH = 20.0
_SCALES = {
    "log_duration": (3.0, 1.0),
    "log_impression": (3.0, 1.5),
    "log_click": (1.0, 1.0),
    "log_watch": (1.0, 1.0),
    "log_like": (0.3, 0.7),
    "log_cart": (0.3, 0.7),
    "log_purchase": (0.2, 0.6),
    "log_watch_s": (float(np.log1p(SECONDS)), 1.0),
    "log_idle_hours": (3.0, 2.0),
    "log_history": (1.5, 1.0),
    "log_age_hours": (5.5, 2.0),
    "category_affinity": (0.0, 1.0),
    "creator_affinity": (0.0, 1.0),
    "tags_affinity": (0.0, 1.0),
    "taste_cosine": (0.0, 0.3),
    "liked_cosine_max": (0.3, 0.3),
    "liked_cosine_mean": (0.0, 0.3),
    "log_liked_hours": (4.0, 2.0),
    "log_weight": (0.7, 0.5),
}
"""Assumed means and standard deviations of numbers about shoppers, by column."""


def catalog_ids(content: CatalogContent) -> pa.Array:
    """Return the ids of the videos of a catalog, sorted.

    Raises:
        RankError: There are none.
    """
    if content.videos is None or not content.videos.num_rows:
        raise RankError(
            "a private ranker needs VIDEOS: its vocabularies must not come from the events",
            fix="give --videos a table of the public catalog",
        )
    return pc.unique(content.videos.column("video_id")).sort()


def private_space(
    content: CatalogContent,
    config: RankerFeaturesConfig,
    surfaces: tuple[str, ...],
    released: ReleasedCounts,
    prior: RatePrior,
) -> FeatureSpace:
    """Return a feature space that depends on shoppers through noised counts alone.

    Vocabularies hold what enough videos of the catalog have; ids and tags of videos have none. Priors and
    scales of what shoppers do are fixed, but for those of click rates and of the noised counts themselves.

    Args:
        content: VIDEOS and EMBEDDINGS, all of which count as public.
        config: Settings of the features; `min_count` is the least number of videos here.
        surfaces: Surfaces with an index of their own.
        released: Noised counts.
        prior: Prior of the click rate.

    Raises:
        RankError: there are no videos, or the embeddings are of several encoders or not finite.
        SchemaError: a table has other columns.
    """
    ids = catalog_ids(content).to_pylist()
    each = pl.DataFrame({"video_id": ids, "shown": [1] * len(ids)})
    parts = describe_catalog(content, each, surfaces, config)
    parts["vocabularies"] |= {"video_id": (), "tags": ()}
    priors = np.array([[_RATE.rate, _RATE.strength]] * len(RATES))
    priors[0] = prior.rate, prior.strength
    user_priors = np.array([[_RATE.rate, _USER_STRENGTH]] * len(USER_RATES))
    user_priors[0, 0] = prior.rate
    scales = {block: _fixed(block, user_priors if block == "user" else priors) for block in BLOCKS}
    scales["video"] = parts["scales"]["video"]
    _scale_counts(scales["candidate"], released, priors)
    return FeatureSpace(
        config=config,
        **{**parts, "scales": scales},
        priors=priors,
        user_priors=user_priors,
        seconds=np.full(2, SECONDS),
        released=released,
    )


def _fixed(block: str, priors: Doubles) -> Doubles:
    """Return (2, columns) assumed means and standard deviations of a block."""
    rates = {f"{r.name}_rate": rate for r, (rate, _) in zip(RATES, priors, strict=False)}
    odds = {name: (float(np.log(rate) - np.log1p(-rate)), 1.0) for name, rate in rates.items()}
    known = _SCALES | odds
    pairs = [(0.0, 1.0) if name in INDICATORS else known.get(name, (0.0, 1.0)) for name in BLOCKS[block]]
    return np.array(pairs).T.copy()


def _scale_counts(scale: Doubles, released: ReleasedCounts, priors: Doubles) -> None:
    """Set the scales of the numbers that are made of noised counts to those of these counts.

    Least deviations keep numbers small that hardly differ: scaled up, they would bring noise alone.
    """
    counts = released.counts[:-1]
    columns = {
        "click_rate": (log_odds(np.ascontiguousarray(counts.T), priors)[0], 0.5),
        "log_impressions": (np.log1p(counts[:, SHOWN]), 1.0),
        "log_clicks": (np.log1p(counts[:, CLICKED]), 1.0),
    }
    for name, (values, least) in columns.items():
        place = BLOCKS["candidate"].index(name)
        scale[:, place] = values.mean(), max(float(values.std()), least)
