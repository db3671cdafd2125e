"""Tables of newcomers that a shop expects at its videos, as of an advertisement."""

from collections.abc import Mapping

import pyarrow as pa

from vrec.core.errors import SourceError
from vrec.core.schema import STRING, TIMESTAMP
from vrec.core.table_batches import open_table
from vrec.robustness.behavior.stream_state import Announcement

_COLUMNS = {"video_id": STRING, "since": TIMESTAMP, "until": TIMESTAMP, "newcomers": pa.int64()}


def read_announced(uri: str) -> Mapping[str, Announcement]:
    """Return the announcements of a table by video.

    Args:
        uri: Path or URI of a table with `video_id`, `since`, `until` and `newcomers`.

    Raises:
        SourceError: The table cannot be read, lacks a column or a value, has a video twice, or an end before
            its beginning.
    """
    batches = open_table(uri)
    table = pa.Table.from_batches(batches, batches.schema)
    fix = "give each video one row with video_id, since, until and newcomers, a whole number"
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise SourceError(f"{uri}: no column {' or '.join(missing)}", fix=fix)
    try:
        given = {name: table[name].cast(kind) for name, kind in _COLUMNS.items()}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"{uri}: a column cannot be read ({error})", fix=fix) from None
    if empty := [name for name, column in given.items() if column.null_count]:
        raise SourceError(f"{uri}: {empty[0]} has empty values", fix=fix)
    times = (given[name].cast(pa.int64()).to_pylist() for name in ("since", "until"))
    rows = zip(given["video_id"].to_pylist(), *times, given["newcomers"].to_pylist(), strict=True)
    found: dict[str, Announcement] = {}
    for video_id, since, until, newcomers in rows:
        if video_id in found or until < since or newcomers < 0:
            why = "is there twice" if video_id in found else "ends before it begins, or expects fewer than 0"
            raise SourceError(f"{uri}: {video_id} {why}", fix=fix)
        found[video_id] = Announcement(since, until, newcomers)
    return found
