"""Inputs of the recommender of creators from interactions with videos, and from follows."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from vrec.core.schema import FOLLOWS, INTERACTIONS, VIDEOS, conform
from vrec.core.types import IdsByUser
from vrec.events.polars_tables import from_polars, to_polars

CREATORS = ("creator", "streamer")
"""Values of FOLLOWS.entity for creators."""
FOLLOW_WEIGHT = 3.0
"""Default weight of a follow, as of three clicks."""


def creator_interactions(
    interactions: pa.Table,
    videos: pa.Table,
    follows: pa.Table | None = None,
    *,
    at: datetime,
    follow_weight: float = FOLLOW_WEIGHT,
) -> pa.Table:
    """Return INTERACTIONS with creators in the place of videos: the sum of a shopper's weights for each.

    Args:
        interactions: INTERACTIONS with videos; those of videos without a creator are left out.
        videos: VIDEOS.
        follows: FOLLOWS; those of creators that hold at the time count too. None for none.
        at: Time, in UTC, at which a follow must hold.
        follow_weight: Weight of a follow.
    """
    catalog = to_polars(conform(videos, VIDEOS, stage="creators", extra=True))
    catalog = catalog.filter(pl.col("creator_id") != "").unique("video_id", keep="first")
    rows = to_polars(conform(interactions, INTERACTIONS, stage="creators"))
    rows = rows.join(catalog.select("video_id", "creator_id"), on="video_id").select(
        "user_id", pl.col("weight").cast(pl.Float64), "at", video_id="creator_id"
    )
    followed = _holding(follows, CREATORS, at).select(
        "user_id", "at", video_id="entity_id", weight=pl.lit(follow_weight, pl.Float64)
    )
    both = pl.concat([rows, followed.select(rows.columns)])
    summed = both.group_by("user_id", "video_id").agg(pl.col("weight").sum(), pl.col("at").max())
    ordered = summed.with_columns(pl.col("weight").cast(pl.Float32)).sort("user_id", "video_id")
    return from_polars(ordered, INTERACTIONS, "creators")


def followed_creators(follows: pa.Table, at: datetime) -> IdsByUser:
    """Return the creators whom each shopper follows at a time, to leave them out of creators to follow."""
    rows = _holding(follows, CREATORS, at).group_by("user_id").agg(pl.col("entity_id").unique().sort())
    return dict(rows.iter_rows())


def friends_of(follows: pa.Table, at: datetime) -> pa.Table:
    """Return `user_id` and `friend_id` of the shoppers who follow each other's activity at a time."""
    return _holding(follows, ("user",), at).select("user_id", friend_id="entity_id").to_arrow()


def _holding(follows: pa.Table | None, entities: tuple[str, ...], at: datetime) -> pl.DataFrame:
    table = FOLLOWS.arrow().empty_table() if follows is None else conform(follows, FOLLOWS, stage="creators")
    holds = (pl.col("at") <= at) & (pl.col("ended_at").is_null() | (pl.col("ended_at") > at))
    return to_polars(table).filter(pl.col("entity").is_in(entities) & holds)
