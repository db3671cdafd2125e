"""Readers of the plain files in which many data sets are published: pairs, and lists of videos per user."""

import json
import os
from datetime import UTC, datetime
from typing import Any

import polars as pl

from vrec.core.errors import EventsError, os_error_reason
from vrec.core.uris import read_file
from vrec.events.datasets import (
    DatasetReader,
    PublicDataset,
    events_in_order,
    to_public_dataset,
)

NO_TIME = datetime(2024, 1, 1, tzinfo=UTC)
"""Made-up time of every event of a file that has neither times nor an order."""
_FIELDS = ["user_id", "video_id", "weight", "at"]
_FIX = (
    "give lines of `user item`, `user item weight` or `user item weight at`; for lines of "
    "`user item item …` use --dataset lists"
)
SEPARATORS = ("\t", ",", ";", "|", " ")
"""Separators of a line's fields, the first that its first line has; `::` is read as a tab."""


def read_pairs(uri: str | os.PathLike[str]) -> PublicDataset:
    """Read a file without a header whose lines are `user item`, `user item weight` or `user item weight at`.

    Fields are separated by tabs, commas, semicolons, bars, single spaces or `::`. Every line whose weight is
    above 0 is one click, whatever the weight, as in most papers. `at` is in seconds since 1970. Without it
    the events have neither times nor an order: all get NO_TIME, and neither `has_timestamps` nor `has_order`.

    Raises:
        EventsError: The file cannot be read or is empty, has fewer than two fields or more than four, lines
            of different numbers of fields, or a weight or time that is no number.
    """
    rows = _split_fields(_read(uri), str(uri))
    numbers = [name for name in ("weight", "at") if name in rows.columns]
    for name in numbers:
        bad = rows.filter(
            pl.col(name).cast(pl.Float64, strict=False).is_finite().not_().fill_null(value=True)
        )
        if bad.height:
            raise EventsError(
                f"{uri}: {name}: {bad.height:,} of {rows.height:,} lines have no number, such as "
                f"{bad[name][0]!r} in line {bad['line'][0]:,}",
                fix="leave a header out, or read a table with named columns by --map and without --dataset",
            )
    rows = rows.with_columns(pl.col(name).cast(pl.Float64) for name in numbers)
    if "weight" in numbers:
        rows = rows.filter(pl.col("weight") > 0)
        if not rows.height:
            raise EventsError(f"{uri}: no line has a weight above 0")
    clocked = "at" in numbers
    micros = (
        (pl.col("at") * 1e6).cast(pl.Int64).cast(pl.Datetime("us", "UTC")) if clocked else pl.lit(NO_TIME)
    )
    place = pl.int_range(pl.len()).over("user_id", "video_id")
    events = rows.select(
        "user_id",
        "video_id",
        event_id=pl.concat_str("user_id", "video_id", place, separator="-"),
        kind=pl.lit("click"),
        at=micros.cast(pl.Datetime("us", "UTC")),
    )
    note = "each line is a click" + ("" if clocked else "; the events have neither times nor an order")
    return to_public_dataset("pairs", events, None, note, has_timestamps=clocked, has_order=clocked)


def read_lists(uri: str | os.PathLike[str]) -> PublicDataset:
    """Read each user's videos from the oldest to the newest, from JSON or lines of `user item item …`.

    JSON is one object with a list of videos, or one video, by user. Every video is a click. Times are made up
    as in `microlens_50k`: a user's last video is at ORDER_END, the one before it a day earlier, and so on.

    Raises:
        EventsError: The file cannot be read or is neither.
    """
    text = _read(uri)
    histories = _json_lists(text, str(uri)) if text.lstrip().startswith("{") else _line_lists(text)
    rows = pl.DataFrame(
        {"user_id": list(histories), "video_id": list(histories.values())},
        schema={"user_id": pl.String, "video_id": pl.List(pl.String)},
    )
    rows = rows.filter(pl.col("video_id").list.len() > 0).explode("video_id")
    if not rows.height:
        raise EventsError(f"{uri}: no user has a video", fix="give lines of `user item item …`, or JSON")
    note = "each user's videos in the order of the file; `at` is the place from the end in days, not a time"
    return to_public_dataset("lists", events_in_order(rows), None, note, has_timestamps=False)


FILE_READERS: dict[str, DatasetReader] = {"pairs": read_pairs, "lists": read_lists}
"""The readers by name; each takes the path or URI of one file."""


def _read(uri: str | os.PathLike[str]) -> str:
    try:
        return read_file(os.fspath(uri)).decode("utf-8-sig")
    except FileNotFoundError:
        raise EventsError(f"{uri}: no such file") from None
    except OSError as error:
        raise EventsError(f"{uri}: {os_error_reason(error)}") from None
    except UnicodeDecodeError as error:
        raise EventsError(f"{uri}: not a text file ({error})") from None


def _split_fields(text: str, uri: str) -> pl.DataFrame:
    """Return the fields of the lines that are not blank by name, and `line`, their numbers from 1."""
    lines = pl.DataFrame({"text": text.replace("::", "\t").split("\n")}).with_row_index("line", 1)
    lines = lines.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")
    if not lines.height:
        raise EventsError(f"{uri}: the file is empty", fix=_FIX)
    first = lines["text"][0]
    separator = next((mark for mark in SEPARATORS if mark in first), None)
    if separator is None:
        raise EventsError(f"{uri}: the first line has fewer than two fields: {first[:60]!r}", fix=_FIX)
    lines = lines.with_columns(fields=pl.col("text").str.count_matches(separator, literal=True) + 1)
    count = lines["fields"][0]
    if count > len(_FIELDS):
        raise EventsError(f"{uri}: a line has {count} fields", fix=_FIX)
    other = lines.filter(pl.col("fields") != count)
    if other.height:
        line, start, fields = other["line"][0], other["text"][0][:60], other["fields"][0]
        more = f", as have {other.height - 1:,} more lines" if other.height > 1 else ""
        raise EventsError(
            f"{uri}: line {line:,} has another number of fields ({fields}) than the first ({count}){more}: "
            f"{start!r}",
            fix=_FIX,
        )
    names = _FIELDS[:count]
    split = pl.col("text").str.split_exact(separator, count - 1).struct.rename_fields(names)
    rows = lines.select("line", split.alias("split")).unnest("split")
    rows = rows.with_columns(pl.col(name).str.strip_chars() for name in names)
    empty = rows.filter(pl.any_horizontal(pl.col("user_id", "video_id") == ""))
    if empty.height:
        raise EventsError(
            f"{uri}: {empty.height:,} of {rows.height:,} lines lack a user or an item, such as line "
            f"{empty['line'][0]:,}"
        )
    return rows


def _json_lists(text: str, uri: str) -> dict[str, list[str]]:
    try:
        by_user: dict[str, Any] = json.loads(text, parse_int=str, parse_float=str)
    except ValueError as error:
        raise EventsError(f"{uri}: not one JSON object ({error})") from None
    histories = {user: videos if isinstance(videos, list) else [videos] for user, videos in by_user.items()}
    for user, videos in histories.items():
        if not all(isinstance(video, str) and video for video in videos):
            raise EventsError(
                f"{uri}: user {user} has {json.dumps(videos)[:60]}", fix="give each user a list of ids"
            )
    return histories


def _line_lists(text: str) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = {}
    for line in text.splitlines():
        user, *videos = line.replace(",", " ").split() or [""]
        if videos:
            histories.setdefault(user, []).extend(videos)
    return histories
