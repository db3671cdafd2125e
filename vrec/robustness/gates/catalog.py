"""Facts of VIDEOS that events are checked against, and checks of VIDEOS itself."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.schema import CREATOR_PREFIX, SEARCH_PREFIX
from vrec.robustness.gates.findings import GateFinding

LONGEST_S = 86_400.0
"""Seconds that no video of a shop lasts."""
LEAST_VIDEOS = 20
"""Videos from which shares of a catalog are judged."""
BROKEN = "[\\x{c2}-\\x{f4}][\\x{80}-\\x{bf}]|\\x{fffd}"


@dataclass(frozen=True)
class CatalogFacts:
    """Known videos with their durations and prices."""

    frame: pl.DataFrame
    ids: list[str]
    """Ascending."""

    @classmethod
    def from_videos(cls, videos: pa.Table) -> "CatalogFacts":
        """Return the facts of VIDEOS."""
        columns = {name: videos.column(name) for name in ("video_id", "duration_s", "price")}
        found = pl.from_arrow(pa.table(columns))
        assert isinstance(found, pl.DataFrame)
        frame = found.unique("video_id", keep="first").with_columns(known=pl.lit(True))
        return cls(frame, sorted(frame["video_id"].to_list()))

    def join(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the events in their order with `duration_s`, `price`, `known` and `user_known`."""
        users = events["user_id"].is_in(self.frame["video_id"].implode())
        joined = events.join(self.frame, on="video_id", how="left", maintain_order="left")
        video = pl.col("video_id")
        return joined.with_columns(
            pl.col("known").fill_null(value=False),
            user_known=users,
            synthetic_id=video.str.starts_with(CREATOR_PREFIX) | video.str.starts_with(SEARCH_PREFIX),
        )

    def cut_short(self, ids: Sequence[str]) -> int:
        """Return the number of unknown ids that are the beginning of a known one."""
        found = 0
        for one in ids:
            place = bisect.bisect_left(self.ids, one)
            found += place < len(self.ids) and self.ids[place].startswith(one) and bool(one)
        return found


def summarize_videos(videos: pa.Table) -> dict[str, Any]:
    """Return the figures of VIDEOS that a later catalog is compared with."""
    frame = pl.from_arrow(videos.select(["video_id", "title", "category", "price", "duration_s"]))
    assert isinstance(frame, pl.DataFrame)
    rows = frame.height
    nulls = {name: frame[name].null_count() for name in frame.columns}
    price, duration = frame["price"].drop_nulls(), frame["duration_s"].drop_nulls()
    return {
        "rows": rows,
        "nulls": nulls,
        "priced": len(price),
        "zero_prices": int((price == 0).sum()),
        "median_price": _median(price.filter(price > 0)),
        "median_duration_s": _median(duration.filter(duration > 0)),
        "titles": frame["title"].drop_nulls().n_unique(),
    }


def _median(values: pl.Series) -> float | None:
    return None if not len(values) else float(np.median(values.to_numpy()))


def check_videos(videos: pa.Table, now: datetime, good: Mapping[str, Any] | None = None) -> list[GateFinding]:
    """Return what is wrong with VIDEOS by itself, and beside the catalog of the good days."""
    frame = pl.from_arrow(videos)
    assert isinstance(frame, pl.DataFrame)
    found = [*_row_faults(frame, now)]
    figures = summarize_videos(videos)
    rows = figures["rows"]
    if rows >= LEAST_VIDEOS:
        if figures["priced"] >= LEAST_VIDEOS and figures["zero_prices"] >= 0.5 * figures["priced"]:
            message = f"{figures['zero_prices']:,} of {figures['priced']:,} prices are 0"
            found.append(_fault("price_zero", ("price",), message, figures["zero_prices"]))
        if figures["titles"] == 1 and figures["nulls"]["title"] == 0:
            found.append(_fault("constant_title", ("title",), f"all {rows:,} titles are the same", rows))
    if good:
        found += _changes(figures, good)
    return found


def _row_faults(frame: pl.DataFrame, now: datetime) -> list[GateFinding]:
    """Return faults of single rows of a catalog."""
    rules = (
        (
            "duplicate_video",
            ("video_id",),
            pl.col("video_id").is_duplicated(),
            "rows share their video_id with another",
        ),
        ("price_negative", ("price",), pl.col("price") < 0, "prices are below 0"),
        (
            "duration",
            ("duration_s",),
            (pl.col("duration_s") <= 0) | (pl.col("duration_s") > LONGEST_S),
            "durations are 0, below, or above a day",
        ),
        (
            "expires_first",
            ("expires_at", "published_at"),
            pl.col("expires_at") < pl.col("published_at"),
            "videos expire before they are published",
        ),
        ("broken_title", ("title",), pl.col("title").str.contains(BROKEN), "titles are in a broken encoding"),
    )
    found = []
    for gate, columns, rule, message in rules:
        bad = frame.select(rule.fill_null(value=False)).to_series()
        count = int(bad.sum())
        if not count:
            continue
        # A few odd rows are no reason to fit nothing.
        grave = count >= max(3, 0.02 * frame.height) or gate == "duplicate_video"
        rows = tuple(int(row) + 1 for row in bad.arg_true()[:3])
        said = f"{count:,} of {frame.height:,} {message}"
        found.append(
            GateFinding(gate, "VIDEOS", columns, said, "fault" if grave else "notice", (), count, rows)
        )
    return found


def _changes(now: Mapping[str, Any], good: Mapping[str, Any]) -> list[GateFinding]:
    """Return how a catalog differs from that of the good days."""
    found = []
    if good["rows"] >= LEAST_VIDEOS and now["rows"] < 0.5 * good["rows"]:
        message = f"{now['rows']:,} videos, against {good['rows']:,} before"
        found.append(_fault("catalog_shrunk", ("video_id",), message, good["rows"] - now["rows"]))
    if min(now["rows"], good["rows"]) < LEAST_VIDEOS:
        return found
    for name, nulls in now["nulls"].items():
        share, before = nulls / now["rows"], good["nulls"][name] / good["rows"]
        if share - before > 0.2:
            message = f"{share:.0%} are null, against {before:.0%} before"
            found.append(_fault(f"null_{name}", (name,), message, nulls))
    if min(now["priced"], good["priced"]) >= LEAST_VIDEOS:
        share, before = now["zero_prices"] / now["priced"], good["zero_prices"] / good["priced"]
        if share - before > 0.2 and share < 0.5:
            message = f"{share:.0%} of the prices are 0, against {before:.0%} before"
            found.append(_fault("price_zero", ("price",), message, now["zero_prices"]))
    for name, column in (("median_price", "price"), ("median_duration_s", "duration_s")):
        if now[name] and good[name] and not 0.1 < now[name] / good[name] < 10:
            message = f"the median is {now[name]:,.4g}, against {good[name]:,.4g} before: another unit?"
            found.append(_fault(f"{name}_changed", (column,), message, now["rows"]))
    return found


def _fault(gate: str, columns: tuple[str, ...], message: str, count: int) -> GateFinding:
    return GateFinding(gate, "VIDEOS", columns, message, count=count)
