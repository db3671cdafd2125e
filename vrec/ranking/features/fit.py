"""Fit of the feature space on a training split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EMBEDDINGS, EVENTS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.events.polars_tables import to_polars
from vrec.ranking.features.arrays import Floats, RankingRequest
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures, content_vectors, table_numbers
from vrec.ranking.features.numeric import request_counts
from vrec.ranking.features.space import (
    BLOCKS,
    FIELDS,
    INDICATORS,
    SHARES,
    VOCABULARIES,
    FeatureSpace,
    RankerFeaturesConfig,
)
from vrec.ranking.features.video_counts import (
    RATES,
    USER_RATES,
    VIDEO_COUNT_KEYS,
    Doubles,
    column,
    fit_rates,
    profile_counts,
)

UNSCALED = {block: np.array([[0.0], [1.0]]).repeat(len(names), axis=1) for block, names in BLOCKS.items()}


@dataclass(frozen=True, slots=True)
class ShownCounts:
    """Impressions of a training split, counted."""

    videos: pl.DataFrame
    """`video_id`, ascending, and `shown`, the number of impressions."""
    surfaces: pl.DataFrame
    """`value`, a surface, and `count`, its number of impressions."""

    @classmethod
    def from_events(cls, events: pa.Table) -> Self:
        """Count the impressions of EVENTS."""
        frame = to_polars(conform(events, EVENTS, stage="fit_space")).filter(pl.col("kind") == "impression")
        videos = frame.group_by("video_id").agg(shown=pl.len()).sort("video_id")
        return cls(videos, frame.group_by(value="domain").agg(count=pl.len()))

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """Add the counts of several parts of a log."""
        videos = pl.concat([part.videos for part in parts]).group_by("video_id").agg(pl.col("shown").sum())
        surfaces = pl.concat([part.surfaces for part in parts]).group_by("value").agg(pl.col("count").sum())
        return cls(videos.sort("video_id"), surfaces)


def fit_space(
    events: pa.Table | ShownCounts,
    requests: Sequence[RankingRequest],
    content: CatalogContent,
    config: RankerFeaturesConfig,
) -> FeatureSpace:
    """Fit the feature space on a training split.

    Args:
        events: EVENTS of the split, or their impressions as they are counted, for the vocabularies and
            shares.
        requests: Requests of the split, as `replay_requests` yields them, for the priors and scales; those of
            a random sample of users are enough.
        content: VIDEOS and EMBEDDINGS, of which only the videos shown in `events` are used.
        config: Settings of the features.

    Raises:
        RankError: there are no impressions or no requests, or the embeddings are of several encoders or not
            finite.
    """
    counted = events if isinstance(events, ShownCounts) else ShownCounts.from_events(events)
    shown = counted.videos
    if not shown.height or not requests:
        raise RankError(
            f"fit_space: {shown.height:,} videos with impressions and {len(requests):,} requests in the "
            "training split, want some of both",
            fix="pass events with impressions, or a larger share for training",
        )
    surfaces = _by_frequency(counted.surfaces, config.min_count)
    parts = describe_catalog(content, shown, surfaces, config)
    space = FeatureSpace(config=config, **parts, **_priors(requests))
    builder = FeatureBuilder(space, CatalogFeatures.from_content(content, space))
    raw = [builder.raw(requests[at : at + 4096]).blocks for at in range(0, len(requests), 4096)]
    scales = {b: _scale(b, [blocks[b] for blocks in raw]) for b in ("user", "candidate", "history")}
    return replace(space, scales={**space.scales, **scales})


def describe_catalog(
    content: CatalogContent, shown: pl.DataFrame, surfaces: tuple[str, ...], config: RankerFeaturesConfig
) -> dict[str, Any]:
    """Return the fields of a feature space that depend on the videos alone, and the scales of these.

    Args:
        content: VIDEOS and EMBEDDINGS.
        shown: `video_id` of the videos that count, and `shown`, how much each counts.
        surfaces: Vocabulary of surfaces.
        config: Settings of the features.

    Raises:
        RankError: the embeddings are of several encoders or not finite.
        SchemaError: a table has other columns.
    """
    videos, counts = _shown_videos(content, shown)
    vocabularies = {name: _vocabulary(counts, name, config.min_count) for name in (*FIELDS, "tags")}
    vocabularies["surface"] = surfaces
    encoder, mean = _mean_vector(content, shown)
    return {
        "vocabularies": {name: vocabularies[name] for name in VOCABULARIES},
        "shares": {name: _shares(counts, name, vocabularies[name]) for name in SHARES},
        "encoder": encoder,
        "mean": mean,
        "scales": UNSCALED | {"video": _scale("video", [_raw_videos(videos)])},
    }


def _shown_videos(content: CatalogContent, shown: pl.DataFrame) -> tuple[pa.Table, pl.DataFrame]:
    """Return VIDEOS of the videos shown, and their fields and tags joined to the numbers of impressions."""
    table = VIDEOS.arrow().empty_table() if content.videos is None else content.videos
    table = conform(table, VIDEOS, stage="fit_space", extra=True)
    table = table.filter(pa.array(_is_shown(table.column("video_id"), shown)))
    known = to_polars(table.select([*FIELDS, "tags"]))
    return table, shown.join(known, on="video_id", how="left", maintain_order="left")


def _is_shown(ids: pa.ChunkedArray, shown: pl.DataFrame) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_in(ids, value_set=pa.array(shown["video_id"].to_list(), pa.string())))


def _vocabulary(counts: pl.DataFrame, name: str, min_count: int) -> tuple[str, ...]:
    values = counts.select(pl.col(name).alias("value"), "shown")
    if name == "tags":
        # A tag that a video lists twice counts once.
        values = values.with_columns(pl.col("value").list.unique()).explode("value")
    return _by_frequency(values.drop_nulls().group_by("value").agg(count=pl.col("shown").sum()), min_count)


def _by_frequency(counts: pl.DataFrame, min_count: int) -> tuple[str, ...]:
    frequent = counts.filter(pl.col("count") >= min_count).sort(["count", "value"], descending=[True, False])
    return tuple(frequent["value"].to_list())


def _shares(counts: pl.DataFrame, name: str, values: tuple[str, ...]) -> Doubles:
    """Return (vocabulary,) shares of the impressions by vocabulary index, one impression added to each."""
    known = counts.select(pl.col(name).alias("value"), "shown").drop_nulls()
    totals = dict(known.group_by("value").agg(pl.col("shown").sum()).iter_rows())
    # Values outside the vocabulary are many rare ones: each counts as one that was never shown.
    counts_by_index = np.array([1.0, *(1.0 + totals[value] for value in values)])
    return counts_by_index / (float(known["shown"].sum()) + len(counts_by_index))


def _mean_vector(content: CatalogContent, shown: pl.DataFrame) -> tuple[str | None, Floats]:
    if content.embeddings is None or not content.embeddings.num_rows:
        return None, np.zeros(0, np.float32)
    table = conform(content.embeddings, EMBEDDINGS, stage="fit_space")
    encoder, vectors = content_vectors(table)
    shown_vectors = vectors[_is_shown(table.column("entity_id"), shown)]
    mean = shown_vectors.astype(np.float64).sum(axis=0) / max(len(shown_vectors), 1)
    return encoder, mean.astype(np.float32)


def _priors(requests: Sequence[RankingRequest]) -> Mapping[str, Any]:
    """Fit the priors of the rates of videos and users on their last counts.

    Counts never fall, so that the highest counts of a video or user are the last.
    """
    ids, rows = np.unique([v for r in requests for v in r.video_ids], return_inverse=True)
    videos = np.zeros((len(ids), len(VIDEO_COUNT_KEYS)))
    np.maximum.at(videos, rows.ravel(), request_counts(requests))
    names, rows = np.unique([r.user.entity_id for r in requests], return_inverse=True)
    users = np.zeros((len(names), len(VIDEO_COUNT_KEYS)))
    np.maximum.at(users, rows.ravel(), np.array([profile_counts(r.user) for r in requests]))
    seconds = [column(s, "watch_s").sum() / max(column(s, "event:watch").sum(), 1.0) for s in (videos, users)]
    return {
        "priors": fit_rates(videos, RATES),
        "user_priors": fit_rates(users, USER_RATES),
        "seconds": np.array(seconds),
    }


def _raw_videos(videos: pa.Table) -> Doubles:
    return np.concatenate([table_numbers(videos), np.zeros((videos.num_rows, 1))], axis=1)


def _scale(block: str, parts: Sequence[Doubles]) -> Doubles:
    """Return (2, columns) means and standard deviations of the known values; 0 and 1 for indicators."""
    scale = UNSCALED[block].copy()
    for index, name in enumerate(BLOCKS[block]):
        values = np.concatenate([part[:, index] for part in parts])
        values = values[np.isfinite(values)]
        if name in INDICATORS or not len(values):
            continue
        deviation = float(values.std())
        scale[:, index] = values.mean(), deviation if deviation > 1e-9 else 1.0
    return scale
