"""Videos that shoppers have hidden, which no list of theirs should have."""

import polars as pl
import pyarrow as pa

from vrec.core.schema import HIDING_KINDS
from vrec.events.polars_tables import to_polars

PAIRS = pa.schema([pa.field("user_id", pa.string()), pa.field("video_id", pa.string())])
NO_PAIRS = PAIRS.empty_table()
"""No pairs."""


def hidden_pairs(events: pa.Table, before: pa.Table = NO_PAIRS) -> pa.Table:
    """Return the videos that each user has hidden, disliked ones among them, and not shown again.

    Args:
        events: EVENTS in any order. Of the kinds that hide and `unhide`, the last one of a user and a video
            decides, and `unhide` among those of one moment.
        before: Pairs hidden before, for which `events` decide if they have such an event.

    Returns:
        Columns user_id and video_id, sorted, without duplicates.
    """
    pair = ["user_id", "video_id"]
    frame = to_polars(events.select([*pair, "kind", "at"]))
    frame = frame.filter(pl.col("kind").is_in([*HIDING_KINDS, "unhide"]))
    last = (
        frame.with_columns(shows=pl.col("kind") == "unhide")
        .sort("at", "shows")
        .group_by(pair)
        .agg(pl.col("shows").last())
    )
    kept = to_polars(before).join(last, on=pair, how="anti")
    found = pl.concat([kept.select(pair), last.filter(~pl.col("shows")).select(pair)]).unique().sort(pair)
    return found.to_arrow().cast(PAIRS)
