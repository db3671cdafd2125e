"""Videos that shoppers have hidden, which no list of theirs should have."""

import polars as pl
import pyarrow as pa

from vrec.core.schema import HIDING_KINDS, TIMESTAMP
from vrec.events.polars_tables import to_polars

HIDES = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("at", TIMESTAMP),
        pa.field("hidden", pa.bool_()),
    ]
)
NO_HIDES = HIDES.empty_table()
"""No user has hidden anything."""


def last_hides(events: pa.Table, before: pa.Table = NO_HIDES) -> pa.Table:
    """Return whether users have hidden videos, or disliked them, by the last event of each pair about that.

    Args:
        events: EVENTS in any order, of which those that hide and `unhide` count; `unhide` is the last one of
            a moment.
        before: What this function has returned for other events.

    Returns:
        Columns user_id, video_id, at (of the last event) and hidden, sorted by user and video.
    """
    pair = ["user_id", "video_id"]
    frame = to_polars(events.select([*pair, "at", "kind"]))
    frame = frame.filter(pl.col("kind").is_in([*HIDING_KINDS, "unhide"]))
    frame = frame.with_columns(hidden=pl.col("kind") != "unhide").select(*pair, "at", "hidden")
    frame = pl.concat([to_polars(before), frame], how="vertical_relaxed")
    frame = frame.sort("at", "hidden", descending=[False, True])
    last = frame.unique(pair, keep="last", maintain_order=True)
    return last.sort(pair).to_arrow().cast(HIDES)


def hidden_pairs(hides: pa.Table) -> pa.Table:
    """Return the user_id and video_id of what `last_hides` says is hidden."""
    return hides.filter(hides.column("hidden")).select(["user_id", "video_id"])
