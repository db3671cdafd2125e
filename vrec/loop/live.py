"""Watch over a service after a promotion: its click rate and its errors, for some time."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.schema import CREATOR_PREFIX
from vrec.evaluation.promotion.config import WatchConfig
from vrec.evaluation.promotion.watch import ResponseCounts, ShopperClicks, WatchLook, look
from vrec.events.polars_tables import to_polars
from vrec.loop.service import ServiceClient

_log = logging.getLogger(__name__)

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class WatchOutcome:
    """Outcome of a watch."""

    fallen: str | None
    """Reason to roll back; None if there is none."""
    looks: int
    last: WatchLook | None
    ended: str
    """Reason why the watch ended."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        last = None if self.last is None else _without_nan(asdict(self.last))
        return {"fallen": self.fallen, "looks": self.looks, "last": last, "ended": self.ended}


class ServiceWatch:
    """Watch over one service since a promotion."""

    def __init__(
        self,
        client: ServiceClient,
        read_log: Callable[[], pa.Table],
        config: WatchConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Build it.

        Args:
            client: The service.
            read_log: Function that exports what is new, and returns all EVENTS.
            config: Settings.
            sleep: Function that waits for some seconds.
            now: Function that returns the time in seconds since 1970.
        """
        self._client, self._read_log, self._config = client, read_log, config
        self._sleep, self._now = sleep, now

    def run(self, version: str, moved_at: int) -> WatchOutcome:
        """Look at the service until the watch is over, at least once.

        Args:
            version: Version of the promoted bundle.
            moved_at: Time of the promotion, µs since 1970.

        Raises:
            ServiceRefused: The service does not answer.
        """
        until = moved_at / 1e6 + 60 * self._config.minutes
        at_first, looks = self._client.responses(), 0
        while True:
            in_service = self._client.in_service()
            if in_service.version != version:
                return WatchOutcome(
                    None, looks, None, f"the service was moved to {in_service.name or 'another'}"
                )
            found, looks = self._look(moved_at, at_first), looks + 1
            if found.fallen is not None:
                return WatchOutcome(found.fallen, looks, found, "the service has fallen")
            left_s = until - self._now()
            if left_s <= 0:
                return WatchOutcome(None, looks, found, "its time is over")
            self._sleep(min(self._config.poll_s, left_s))

    def _look(self, moved_at: int, at_first: ResponseCounts) -> WatchLook:
        counts = self._client.responses()
        # Counters of replicas that have ended are gone.
        total, errors = max(counts.total - at_first.total, 0), max(counts.errors - at_first.errors, 0)
        before, after = clicks_around(self._read_log(), moved_at, self._config.baseline_days)
        found = look(before, after, ResponseCounts(total, errors), self._config)
        _log.info(
            "watch: click rate %.4f, before %.4f; %d responses, %d errors",
            found.after,
            found.before,
            found.responses,
            found.errors,
        )
        return found


def clicks_around(events: pa.Table, moved_at: int, days: int) -> tuple[ShopperClicks, ShopperClicks]:
    """Return the clicks of shoppers in the same hours of the days before a moment, and since it.

    Args:
        events: EVENTS, of which impressions and clicks with a request_id count.
        moved_at: The moment, µs since 1970.
        days: Number of days before.
    """
    frame = to_polars(events.select(["user_id", "video_id", "request_id", "kind", "at"]))
    frame = frame.with_columns(pl.col("at").to_physical()).filter(
        pl.col("request_id").is_not_null(), ~pl.col("video_id").str.starts_with(CREATOR_PREFIX)
    )
    newest = frame["at"].max()
    length = max(int(newest) - moved_at, 0) if isinstance(newest, int) else 0
    offset = pl.col("at") - (moved_at - days * DAY_US)
    same_hours = (offset >= 0) & (pl.col("at") < moved_at) & (offset % DAY_US <= length)
    return _by_shopper(frame.filter(same_hours)), _by_shopper(frame.filter(pl.col("at") >= moved_at))


def _by_shopper(frame: pl.DataFrame) -> ShopperClicks:
    keys = ["user_id", "request_id", "video_id"]
    shown = frame.filter(pl.col("kind") == "impression").unique(keys)
    clicked = frame.filter(pl.col("kind") == "click").unique(keys).select(*keys, click=pl.lit(1.0))
    sums = (
        shown.join(clicked, on=keys, how="left")
        .group_by("user_id")
        .agg(clicks=pl.col("click").sum(), impressions=pl.len())
        .sort("user_id")
    )
    return ShopperClicks(*(sums[name].cast(pl.Float64).to_numpy() for name in ("clicks", "impressions")))


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}
