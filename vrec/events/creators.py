"""Creators in logs: events about them, who follows whom, and creators in the place of videos."""

import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.schema import CREATOR_PREFIX, EVENTS, FOLLOWS, VIDEOS, conform
from vrec.events.polars_tables import from_polars, to_polars
from vrec.events.relation_tables import read_relations

ENTITIES = ("creator", "streamer", "user")
"""Values of FOLLOWS.entity. Streamers are creators; a user is a friend."""
_COLUMNS = tuple(column.name for column in FOLLOWS.columns)


def without_creator_events(table: pa.Table) -> pa.Table:
    """Return the rows of a table with `video_id` that are about videos."""
    about = pc.starts_with(table.column("video_id"), CREATOR_PREFIX)
    return table.filter(pc.invert(about)) if pc.any(about).as_py() else table


def with_creators(table: pa.Table, videos: pa.Table) -> pa.Table:
    """Return the rows of a table with creators in the place of videos; those without one are left out.

    Args:
        table: Any table with `video_id`, such as EVENTS or INTERACTIONS, also of events about creators.
        videos: VIDEOS.
    """
    creators = _creator_by_video(videos)
    rows = to_polars(table).join(creators, on="video_id", how="left", maintain_order="left")
    own = pl.col("video_id").str.strip_prefix(CREATOR_PREFIX)
    named = pl.when(pl.col("video_id").str.starts_with(CREATOR_PREFIX)).then(own).otherwise("creator_id")
    rows = rows.with_columns(video_id=named).filter(pl.col("video_id").is_not_null()).drop("creator_id")
    return rows.to_arrow().cast(table.schema)


def follows_from_events(events: pa.Table, videos: pa.Table | None) -> pa.Table:
    """Return FOLLOWS of creators by `follow` and `unfollow` events, with creators or with their videos.

    A shopper follows a creator from the first follow until the next `unfollow`; of the same moment,
    `unfollow` is the later.

    Args:
        events: EVENTS in any order.
        videos: VIDEOS, for follows from a video; None if there are none.
    """
    kinds = events.filter(pc.is_in(events.column("kind"), value_set=pa.array(["follow", "unfollow"])))
    kinds = conform(kinds, EVENTS, stage="follows")
    rows = to_polars(with_creators(kinds, VIDEOS.arrow().empty_table() if videos is None else videos))
    pair = ["user_id", "video_id"]
    rows = rows.with_columns(ends=pl.col("kind") == "unfollow").sort(*pair, "at", "ends")
    rows = rows.with_columns(number=pl.col("ends").cast(pl.Int64).cum_sum().shift(1, fill_value=0).over(pair))
    periods = rows.group_by(*pair, "number").agg(
        ended_at=pl.col("at").filter("ends").first(), at=pl.col("at").filter(~pl.col("ends")).min()
    )
    found = periods.filter(pl.col("at").is_not_null()).select(
        "user_id", "at", "ended_at", entity=pl.lit("creator"), entity_id="video_id"
    )
    return from_polars(found.sort("user_id", "entity_id", "at").select(_COLUMNS), FOLLOWS, "follows")


def read_follows(uri: str) -> pa.Table:
    """Read FOLLOWS from Parquet, CSV, TSV or JSON lines at a path or URI.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    return read_relations(uri, FOLLOWS, "at", "ended_at", {"entity": ENTITIES})


def _creator_by_video(videos: pa.Table) -> pl.DataFrame:
    catalog = to_polars(videos.select(["video_id", "creator_id"])).filter(pl.col("creator_id") != "")
    return catalog.unique("video_id", keep="first", maintain_order=True)
