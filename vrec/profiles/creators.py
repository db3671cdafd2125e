"""Figures of creators from their videos, what shoppers did with these, and who follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.schema import CREATOR_PREFIX, CREATORS, EVENTS, FOLLOWS, VIDEOS, conform
from vrec.events.polars_tables import from_polars, to_polars
from vrec.profiles.video import RatePrior, fit_prior, smoothed_rate

Floats = npt.NDArray[np.float64]

ITERATIONS = 50
"""Rounds of the fit of creators and positions to each other."""
DAYS_PER_WEEK = 7.0


class CreatorStatisticsConfig(BaseConfig):
    """Settings for the figures of creators."""

    complete: float = Field(default=0.95, gt=0, le=1)
    """Share of the duration, in (0, 1], from which a watch counts as complete."""
    click_strength: float = Field(default=5.0, gt=0)
    """Weight of the average creator in a click ratio, in clicks that positions explain."""
    rate: RatePrior = RatePrior(rate=0.05, strength=20.0)
    """Prior of the other rates where fewer than two creators have two trials; else it is fitted."""


@dataclass(frozen=True, eq=False, slots=True)
class CreatorCounts:
    """Counts of events of some shoppers by creator, which can be added up."""

    events: pl.DataFrame
    """`creator_id`, and a count of each kind of event."""
    audience: pl.DataFrame
    """`creator_id`, `viewers` and of them `returned` on another day."""
    cells: pl.DataFrame
    """`creator_id`, `position`, impressions `shown` there and of them `clicked`."""

    @classmethod
    def of(cls, events: pa.Table, videos: pa.Table, config: CreatorStatisticsConfig) -> Self:
        """Count EVENTS about VIDEOS and their creators."""
        rows = to_polars(conform(events, EVENTS, stage="creators", extra=True))
        known = _catalog(videos).select("video_id", "creator_id", "duration_s")
        rows = pl.concat([rows.join(known, on="video_id"), _about(rows)])
        return cls(_event_counts(rows, config.complete), _audience(rows), _cells(rows))

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """Add the counts of parts with different shoppers."""

        def total(name: str, *key: str) -> pl.DataFrame:
            return pl.concat([getattr(one, name) for one in parts]).group_by(key).sum().sort(key)

        return cls(
            total("events", "creator_id"),
            total("audience", "creator_id"),
            total("cells", "creator_id", "position"),
        )


def creator_statistics(
    events: pa.Table,
    videos: pa.Table,
    follows: pa.Table | None = None,
    config: CreatorStatisticsConfig | None = None,
) -> pa.Table:
    """Return CREATORS of all creators of VIDEOS, ascending by id.

    Args:
        events: EVENTS; those of videos without a creator are ignored, and of those about creators gifts and
            reports count.
        videos: VIDEOS.
        follows: FOLLOWS; None for none.
        config: Settings.
    """
    config = config if config is not None else CreatorStatisticsConfig()
    counts = CreatorCounts.merge([CreatorCounts.of(events, videos, config)])
    return creator_figures(counts, videos, count_followers(follows), config)


def creator_figures(
    counted: CreatorCounts, videos: pa.Table, followers: pl.DataFrame, config: CreatorStatisticsConfig
) -> pa.Table:
    """Return what `creator_statistics` returns, from counts of all shoppers.

    Args:
        counted: Counts, as `merge` returns them.
        videos: VIDEOS.
        followers: As `count_followers` returns them.
        config: Settings.
    """
    creators = _catalog_figures(_catalog(videos))
    found = creators
    for more in (counted.events, counted.audience, followers, _explained_clicks(counted.cells)):
        found = found.join(more, on="creator_id", how="left")
    counts = [name for name in found.columns if name not in creators.columns]
    found = found.with_columns(pl.col(counts).fill_null(0)).sort("creator_id")

    def rate(total: str, trials: str) -> Floats:
        totals, tries = (found[name].to_numpy().astype(np.float64) for name in (total, trials))
        tries = np.maximum(totals, tries)
        prior = fit_prior(totals, tries, totals, config.rate)
        return smoothed_rate(totals, tries, prior.rate, prior.strength)

    strength = config.click_strength
    table = found.with_columns(
        click_ratio=(pl.col("clicks_shown") + strength) / (pl.col("explained") + strength),
        completion_rate=pl.Series(rate("completions", "timed")),
        skip_rate=pl.Series(rate("skips", "watches_or_skips")),
        refund_rate=pl.Series(rate("refunds", "purchases")),
        report_rate=pl.Series(rate("reports", "watches")),
        repeat_viewers=pl.Series(rate("returned", "viewers")),
    )
    return from_polars(table, CREATORS, "creators")


def _catalog(videos: pa.Table) -> pl.DataFrame:
    catalog = to_polars(conform(videos, VIDEOS, stage="creators", extra=True))
    return catalog.filter(pl.col("creator_id") != "").unique("video_id", keep="first")


def _about(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the gifts to creators and reports of them that name no video."""
    about = pl.col("video_id").str.starts_with(CREATOR_PREFIX) & pl.col("kind").is_in(["gift", "report"])
    creator = pl.col("video_id").str.strip_prefix(CREATOR_PREFIX)
    return rows.filter(about).with_columns(creator_id=creator, duration_s=pl.lit(None, pl.Float32))


def _catalog_figures(catalog: pl.DataFrame) -> pl.DataFrame:
    published = pl.col("published_at")
    weeks = (published.max() - published.min()).dt.total_seconds() / 86_400 / DAYS_PER_WEEK
    named = pl.col("category").drop_nulls()
    return catalog.group_by("creator_id").agg(
        videos=pl.len().cast(pl.Int64),
        streams=(pl.col("kind") == "live").sum().cast(pl.Int64),
        videos_per_week=((published.count() - 1) / weeks.clip(1 / DAYS_PER_WEEK)).fill_null(0.0).clip(0.0),
        last_published_at=published.max(),
        # Of equally frequent categories the first by name.
        category=named.sort().mode(maintain_order=True).first(),
        price=pl.col("price").median(),
    )


def _event_counts(rows: pl.DataFrame, complete: float) -> pl.DataFrame:
    kind = pl.col("kind")
    is_watch, is_skip = kind == "watch", kind == "skip"
    is_timed = is_watch & (pl.col("duration_s") > 0) & pl.col("value").is_not_null()
    is_complete = is_timed & (pl.col("value") >= complete * pl.col("duration_s"))
    return rows.group_by("creator_id").agg(
        impressions=(kind == "impression").sum().cast(pl.Int64),
        watches=is_watch.sum(),
        watches_or_skips=(is_watch | is_skip).sum(),
        timed=is_timed.fill_null(value=False).sum(),
        completions=is_complete.fill_null(value=False).sum(),
        skips=is_skip.sum(),
        purchases=(kind == "purchase").sum(),
        refunds=(kind == "refund").sum(),
        reports=(kind == "report").sum(),
        gifts=(kind == "gift").sum().cast(pl.Int64),
    )


def _audience(rows: pl.DataFrame) -> pl.DataFrame:
    days = rows.filter(pl.col("kind") == "watch").with_columns(day=pl.col("at").dt.date())
    viewers = days.group_by("creator_id", "user_id").agg(pl.col("day").n_unique())
    return viewers.group_by("creator_id").agg(
        viewers=pl.len().cast(pl.Int64), returned=(pl.col("day") >= 2).sum()
    )


def count_followers(follows: pa.Table | None) -> pl.DataFrame:
    """Return `creator_id` and `followers`, the shoppers who follow it now by FOLLOWS; None for none."""
    table = FOLLOWS.arrow().empty_table() if follows is None else conform(follows, FOLLOWS, stage="creators")
    now = to_polars(table).filter(pl.col("entity") != "user", pl.col("ended_at").is_null())
    return now.group_by(creator_id="entity_id").agg(followers=pl.col("user_id").n_unique().cast(pl.Int64))


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the impressions of each creator at each position, and those that were clicked."""
    shown = rows.filter((pl.col("kind") == "impression") & pl.col("position").is_not_null())
    clicked = rows.filter((pl.col("kind") == "click") & pl.col("request_id").is_not_null())
    key = ["request_id", "video_id"]
    clicked = clicked.unique(key).select(*key, clicked=pl.lit(1))
    return (
        shown.join(clicked, on=key, how="left")
        .group_by("creator_id", "position")
        .agg(shown=pl.len().cast(pl.Int64), clicked=pl.col("clicked").sum())
    )


def _explained_clicks(cells: pl.DataFrame) -> pl.DataFrame:
    """Return for each creator the clicks on impressions with a position, and those that positions explain."""
    creators, creator = np.unique(cells["creator_id"].to_numpy(), return_inverse=True)
    _, position = np.unique(cells["position"].to_numpy(), return_inverse=True)
    counts, clicks = (cells[name].to_numpy().astype(np.float64) for name in ("shown", "clicked"))
    explained = explain_by_position(creator, position, counts, clicks)
    clicks_of = np.bincount(creator, clicks, minlength=len(creators)) if len(creators) else np.zeros(0)
    return pl.DataFrame(
        {
            "creator_id": pl.Series(creators, dtype=pl.String),
            "clicks_shown": clicks_of,
            "explained": explained,
        }
    )


def explain_by_position(
    creator: npt.NDArray[np.integer], position: npt.NDArray[np.integer], shown: Floats, clicked: Floats
) -> Floats:
    """Return the clicks of each creator if it were average, by the positions where it was shown.

    Clicks are a creator's ratio times a position's rate; both are fitted to each other, the maximum of the
    Poisson likelihood, so that a position does not seem better than it is where good creators are shown.

    Args:
        creator: (N,) creator of each cell, from 0.
        position: (N,) position of each cell, from 0.
        shown: (N,) impressions.
        clicked: (N,) clicks.

    Returns:
        (creators,) expected clicks; the ratio of all clicks to their sum is 1.
    """
    if not len(creator) or not clicked.sum():
        return np.zeros(int(creator.max()) + 1 if len(creator) else 0)
    clicks_by_creator, clicks_by_position = np.bincount(creator, clicked), np.bincount(position, clicked)
    ratio = np.ones(len(clicks_by_creator))
    explained = ratio
    for _ in range(ITERATIONS):
        rates = clicks_by_position / np.maximum(np.bincount(position, shown * ratio[creator]), 1e-300)
        explained = np.bincount(creator, shown * rates[position])
        ratio = clicks_by_creator / np.maximum(explained, 1e-300)
    return explained * clicked.sum() / max(explained.sum(), 1e-300)
