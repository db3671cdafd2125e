"""Faults of data as shops have them, planted in the tables of simulated days."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.synthetic.faults.days import HOUR_US, START

Plant = Callable[["PlantedTables"], "PlantedTables"]


@dataclass(frozen=True, slots=True)
class PlantedTables:
    """Tables of the days to be judged, as a shop would export them, and where a fault goes."""

    events: pl.DataFrame
    videos: pa.Table
    day: int
    """Day since 1970 with the fault."""
    strength: float
    """Share of the rows, or of the effect, in (0, 1]."""
    seed: int

    def with_events(self, events: pl.DataFrame) -> "PlantedTables":
        """Return the tables with other events."""
        return PlantedTables(events, self.videos, self.day, self.strength, self.seed)

    def with_videos(self, videos: pa.Table) -> "PlantedTables":
        """Return the tables with other videos."""
        return PlantedTables(self.events, videos, self.day, self.strength, self.seed)

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of this planting."""
        return np.random.default_rng([self.seed, 5])

    def draw(self) -> pl.Expr:
        """Return the rows of a share `strength` of all."""
        return pl.lit(pl.Series(self.rng.random(self.events.height) < self.strength))

    def on_day(self) -> pl.Expr:
        """Return the rows of the day with the fault."""
        return pl.col("at").dt.epoch("us") // (24 * HOUR_US) == self.day

    def hours(self, count: int, first: int = 18) -> pl.Expr:
        """Return the rows of some hours of that day."""
        hour = pl.col("at").dt.epoch("us") // HOUR_US
        return (hour >= self.day * 24 + first) & (hour < self.day * 24 + first + count)

    def change(self, rows: pl.Expr, **values: pl.Expr) -> "PlantedTables":
        """Return the tables with other values in some rows."""
        changed = [
            pl.when(rows).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
        ]
        return self.with_events(self.events.with_columns(changed))

    def drop(self, rows: pl.Expr) -> "PlantedTables":
        """Return the tables without some rows."""
        return self.with_events(self.events.filter(~rows))

    def append(self, more: pl.DataFrame) -> "PlantedTables":
        """Return the tables with more events, whose event_ids are made new."""
        ids = [f"x{number:09d}" for number in range(more.height)]
        return self.with_events(
            pl.concat([self.events, more.with_columns(event_id=pl.Series(ids))]).sort("at")
        )


def kind(name: str) -> pl.Expr:
    """Return the rows of a kind."""
    return pl.col("kind") == name


def _hours_of(tables: PlantedTables) -> int:
    """Return 1 to 24 hours, by the strength."""
    return max(1, round(24 * tables.strength))


def _late(tables: PlantedTables) -> pl.Expr:
    """Return the rows of the busiest hours, as many as the strength says."""
    count = _hours_of(tables)
    return tables.hours(count, max(0, min(18, 24 - count)))


def _shifted(hours: float) -> pl.Expr:
    return pl.col("at") + pl.duration(microseconds=round(hours * HOUR_US))


def watch_in_ms(t: PlantedTables) -> PlantedTables:
    """Milliseconds in the place of seconds."""
    return t.change(kind("watch") & _late(t), value=pl.col("value") * 1000)


def watch_in_minutes(t: PlantedTables) -> PlantedTables:
    """Minutes in the place of seconds."""
    return t.change(kind("watch") & t.on_day(), value=pl.col("value") / 60)


def negative_watch(t: PlantedTables) -> PlantedTables:
    """Watches below 0."""
    return t.change(kind("watch") & t.on_day() & t.draw(), value=-pl.col("value"))


def constant_watch(t: PlantedTables) -> PlantedTables:
    """One length for all watches of a day."""
    return t.change(kind("watch") & t.on_day(), value=pl.lit(10.0))


def time_zone(t: PlantedTables) -> PlantedTables:
    """A day's events eight hours early: local time as UTC."""
    return t.with_events(t.change(t.on_day(), at=_shifted(-8)).events.sort("at"))


def time_zone_of_purchases(t: PlantedTables) -> PlantedTables:
    """Clicks in another zone than their impressions."""
    return t.with_events(t.change(kind("click") & t.on_day(), at=_shifted(-8)).events.sort("at"))


def future_times(t: PlantedTables) -> PlantedTables:
    """Times of a later year."""
    return t.change(t.on_day() & t.draw(), at=_shifted(24 * 3650))


def times_of_1970(t: PlantedTables) -> PlantedTables:
    """Seconds that were read as milliseconds."""
    early = (pl.col("at").dt.epoch("us") // 1000).cast(pl.Datetime("us", "UTC"))
    return t.change(t.on_day() & t.draw(), at=early)


def duplicated_hour(t: PlantedTables) -> PlantedTables:
    """An hour's events once more in the next hour, with new ids."""
    return t.append(t.events.filter(t.hours(1)).with_columns(at=_shifted(1)))


def repeated_rows(t: PlantedTables) -> PlantedTables:
    """Some hours delivered twice, with new ids."""
    return t.append(t.events.filter(_late(t)))


def replayed_day(t: PlantedTables) -> PlantedTables:
    """The day before once more."""
    before = t.events.filter(pl.col("at").dt.epoch("us") // (24 * HOUR_US) == t.day - 1)
    return t.drop(t.on_day()).append(before.with_columns(at=_shifted(24)))


def conflicting_ids(t: PlantedTables) -> PlantedTables:
    """event_ids that begin anew, so that two events have one."""
    share = t.on_day() & t.draw()
    return t.change(
        share, event_id=pl.lit("e") + (pl.int_range(pl.len()) % 1000).cast(pl.String).str.zfill(10)
    )


def missing_hours(t: PlantedTables) -> PlantedTables:
    """Hours without events."""
    return t.drop(t.hours(max(1, round(6 * t.strength)), 16))


def missing_day(t: PlantedTables) -> PlantedTables:
    """A day without events."""
    return t.drop(t.on_day())


def lost_shards(t: PlantedTables) -> PlantedTables:
    """Most shoppers of a day lost."""
    share = 0.65 + 0.3 * t.strength
    gone = [f"{n:02d}" for n in range(round(100 * share))]
    return t.drop(t.on_day() & pl.col("user_id").str.slice(-2).is_in(gone))


def impressions_lost(t: PlantedTables) -> PlantedTables:
    """Hours without impressions."""
    return t.drop(kind("impression") & _late(t))


def clicks_lost(t: PlantedTables) -> PlantedTables:
    """A share of the clicks of a day lost."""
    return t.drop(
        kind("click") & t.on_day() & pl.lit(pl.Series(t.rng.random(t.events.height) < 0.4 + 0.5 * t.strength))
    )


def purchases_lost(t: PlantedTables) -> PlantedTables:
    """The conversion of a day falls."""
    lost = pl.lit(pl.Series(t.rng.random(t.events.height) < 0.6 + 0.35 * t.strength))
    return t.drop(kind("purchase") & t.on_day() & lost)


def surface_missing(t: PlantedTables) -> PlantedTables:
    """A surface no longer logged."""
    return t.drop((pl.col("domain") == "search") & t.on_day())


def kind_renamed(t: PlantedTables) -> PlantedTables:
    """A kind that nobody knows."""
    return t.change(kind("click") & t.on_day(), kind=pl.lit("tap"))


def kind_swapped(t: PlantedTables) -> PlantedTables:
    """Carts logged as likes."""
    return t.change(kind("cart") & t.on_day(), kind=pl.lit("like"))


def ids_swapped(t: PlantedTables) -> PlantedTables:
    """Shoppers and videos in each other's columns."""
    rows = t.on_day() & t.draw()
    return t.change(rows, user_id=pl.col("video_id"), video_id=pl.col("user_id"))


def truncated_ids(t: PlantedTables) -> PlantedTables:
    """Ids of videos cut short."""
    return t.change(t.on_day() & t.draw(), video_id=pl.col("video_id").str.slice(0, 6))


def truncated_users(t: PlantedTables) -> PlantedTables:
    """Ids of shoppers cut short."""
    return t.change(t.on_day(), user_id=pl.col("user_id").str.slice(0, 4))


def broken_encoding(t: PlantedTables) -> PlantedTables:
    """UTF-8 read as Latin-1."""
    return t.change(t.on_day() & t.draw(), user_id=pl.lit("ç\x94¨") + pl.col("user_id"))


def null_values(t: PlantedTables) -> PlantedTables:
    """Watches without a length."""
    return t.change(kind("watch") & _late(t), value=pl.lit(None, pl.Float32))


def null_positions(t: PlantedTables) -> PlantedTables:
    """Impressions without a position."""
    return t.change(kind("impression") & t.on_day() & t.draw(), position=pl.lit(None, pl.Int16))


def null_users(t: PlantedTables) -> PlantedTables:
    """Rows without a shopper."""
    return t.change(t.on_day() & t.draw(), user_id=pl.lit(None, pl.String))


def positions_from_one(t: PlantedTables) -> PlantedTables:
    """Positions that count from 1."""
    return t.change(kind("impression") & t.on_day(), position=pl.col("position") + 1)


def constant_position(t: PlantedTables) -> PlantedTables:
    """Position 0 for all."""
    return t.change(kind("impression") & t.on_day(), position=pl.lit(0, pl.Int16))


def constant_user(t: PlantedTables) -> PlantedTables:
    """One shopper for all events of some hours, as where a session is lost."""
    return t.change(_late(t), user_id=pl.lit("anonymous"))


def one_video(t: PlantedTables) -> PlantedTables:
    """One video has the clicks of a day."""
    rows = (
        kind("click") & t.on_day() & pl.lit(pl.Series(t.rng.random(t.events.height) < 0.5 + 0.5 * t.strength))
    )
    return t.change(rows, video_id=pl.lit(t.videos.column("video_id")[0].as_py()))


def bot_hour(t: PlantedTables) -> PlantedTables:
    """One shopper clicks through the catalog in an hour."""
    base = t.events.filter(kind("click")).head(1)
    here = t.events.filter(kind("click") & t.hours(1)).height
    count = max(300, round(2 * t.strength * here))
    at = (t.day * 24 + 18) * HOUR_US + np.sort(t.rng.integers(0, HOUR_US, count))
    videos = t.rng.choice(t.videos.column("video_id").to_pylist(), count)
    rows = pl.concat([base] * count).with_columns(
        at=pl.Series(at).cast(pl.Datetime("us", "UTC")), user_id=pl.lit("u999999"), video_id=pl.Series(videos)
    )
    return t.append(rows.with_columns(request_id=pl.lit(None, pl.String)))


def currency(t: PlantedTables) -> PlantedTables:
    """Hundredths in the place of whole money."""
    return t.change(kind("purchase") & t.on_day(), value=pl.col("value") * 100)


def prices_zero(t: PlantedTables) -> PlantedTables:
    """Prices of the catalog 0."""
    prices = np.where(
        t.rng.random(t.videos.num_rows) < 0.4 + 0.6 * t.strength, 0.0, t.videos.column("price").to_numpy()
    )
    place = t.videos.schema.get_field_index("price")
    return t.with_videos(t.videos.set_column(place, t.videos.schema.field("price"), pa.array(prices)))


def durations_in_ms(t: PlantedTables) -> PlantedTables:
    """Durations of the catalog in milliseconds."""
    place = t.videos.schema.get_field_index("duration_s")
    values = pa.array(t.videos.column("duration_s").to_numpy() * 1000, pa.float32())
    return t.with_videos(t.videos.set_column(place, t.videos.schema.field("duration_s"), values))


def wrong_catalog(t: PlantedTables) -> PlantedTables:
    """The catalog of another shop."""
    ids = pa.array([f"w{number:08x}" for number in range(t.videos.num_rows)])
    return t.with_videos(t.videos.set_column(0, t.videos.schema.field("video_id"), ids))


def catalog_shrunk(t: PlantedTables) -> PlantedTables:
    """A part of the catalog only."""
    kept = round(t.videos.num_rows * (1 - 0.6 - 0.3 * t.strength))
    return t.with_videos(t.videos.slice(0, kept))


FAULTS: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "watch_in_ms": (watch_in_ms, ("value",)),
    "watch_in_minutes": (watch_in_minutes, ("value",)),
    "negative_watch": (negative_watch, ("value",)),
    "constant_watch": (constant_watch, ("value",)),
    "time_zone": (time_zone, ("at",)),
    "time_zone_of_clicks": (time_zone_of_purchases, ("at",)),
    "future_times": (future_times, ("at",)),
    "times_of_1970": (times_of_1970, ("at",)),
    "duplicated_hour": (duplicated_hour, ("at", "user_id")),
    "repeated_rows": (repeated_rows, ("at", "user_id")),
    "replayed_day": (replayed_day, ("at", "user_id")),
    "conflicting_ids": (conflicting_ids, ("event_id",)),
    "missing_hours": (missing_hours, ("at",)),
    "missing_day": (missing_day, ("at",)),
    "lost_shards": (lost_shards, ("at",)),
    "impressions_lost": (impressions_lost, ("kind",)),
    "clicks_lost": (clicks_lost, ("kind",)),
    "conversion_falls": (purchases_lost, ("kind",)),
    "surface_missing": (surface_missing, ("domain",)),
    "kind_renamed": (kind_renamed, ("kind",)),
    "kind_swapped": (kind_swapped, ("kind",)),
    "ids_swapped": (ids_swapped, ("user_id", "video_id")),
    "truncated_ids": (truncated_ids, ("video_id",)),
    "truncated_users": (truncated_users, ("user_id",)),
    "broken_encoding": (broken_encoding, ("user_id",)),
    "null_values": (null_values, ("value",)),
    "null_positions": (null_positions, ("position",)),
    "null_users": (null_users, ("user_id",)),
    "positions_from_one": (positions_from_one, ("position",)),
    "constant_position": (constant_position, ("position",)),
    "constant_user": (constant_user, ("user_id",)),
    "one_video": (one_video, ("video_id",)),
    "bot_hour": (bot_hour, ("user_id",)),
    "currency": (currency, ("value",)),
    "prices_zero": (prices_zero, ("price",)),
    "durations_in_ms": (durations_in_ms, ("duration_s", "value")),
    "wrong_catalog": (wrong_catalog, ("video_id",)),
    "catalog_shrunk": (catalog_shrunk, ("video_id",)),
}
"""Faults by name, each with the columns of which one must be named."""


def plant_fault(
    name: str, events: pl.DataFrame, videos: pa.Table, *, day: int, strength: float, seed: int
) -> tuple[pl.DataFrame, pa.Table]:
    """Return EVENTS and VIDEOS with a fault.

    Args:
        name: Key of FAULTS.
        events: EVENTS of the days to be judged.
        videos: VIDEOS.
        day: Day with the fault, from 0 of the simulated log.
        strength: Share of the rows or of the effect, in (0, 1].
        seed: Random seed.
    """
    planted = FAULTS[name][0](PlantedTables(events, videos, START + day, strength, seed))
    return planted.events, planted.videos
