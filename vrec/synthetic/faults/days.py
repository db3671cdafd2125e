"""Days of a simulated shop: weekends, growth, sales of some hours, and days that differ by chance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.core.schema import EVENTS, VIDEOS
from vrec.events.columns import POLARS_TIMESTAMP
from vrec.events.polars_tables import from_polars

Floats = npt.NDArray[np.float64]
SLOTS = 8
HOUR_US = 3_600_000_000
START = 20_089
"""The first day since 1970, Wednesday 2025-01-01."""
SURFACES = ("home", "search", "product", "story")


@dataclass(frozen=True, slots=True)
class ShopDays:
    """Settings of a simulated shop."""

    seed: int = 0
    shoppers: int = 2000
    videos: int = 300
    days: int = 12
    visits: float = 0.5
    """Mean visits per shopper and day."""
    growth: float = 0.01
    """Daily growth of the visits."""
    weekend: float = 1.4
    """Visits of a weekend day over those of others; carts are 0.8 times as likely."""
    noise: float = 0.06
    """Standard deviation of the logarithm of a day's rates."""
    sale_day: int | None = None
    """Day from 0 with a sale of four hours: four times the visits, thrice the carts, one video in front."""
    first_weekday: int = 2
    """Weekday of the first day, 0 for Monday."""
    heavy: float = 1.0
    """Standard deviation of the logarithm of a shopper's visits."""


@dataclass(frozen=True, slots=True)
class SimulatedDays:
    """Tables of a simulated shop."""

    events: pl.DataFrame
    """EVENTS by time, as a frame."""
    videos: pa.Table
    """VIDEOS."""

    def between(self, first: int, last: int) -> pl.DataFrame:
        """Return the events of days from `first` to before `last`, from 0."""
        day = self.events["at"].to_physical() // (24 * HOUR_US) - START
        return self.events.filter((day >= first) & (day < last))

    def events_table(self, first: int, last: int) -> pa.Table:
        """Return EVENTS of days from `first` to before `last`."""
        return from_polars(self.between(first, last), EVENTS, "simulated days")


def simulate_days(shop: ShopDays) -> SimulatedDays:
    """Simulate the tables of a shop; equal settings give equal tables."""
    rng = np.random.default_rng([shop.seed, 11])
    videos = _catalog(shop, rng)
    activity = np.exp(rng.normal(0, shop.heavy, shop.shoppers))
    activity /= activity.mean()
    appeal = rng.permutation(np.arange(1.0, shop.videos + 1) ** -0.8)
    parts = [_day(shop, day, rng, (activity, appeal), videos) for day in range(shop.days)]
    events = pl.concat(parts).sort("at", "event_id")
    end = (START + shop.days) * 24 * HOUR_US
    return SimulatedDays(events.filter(events["at"].to_physical() < end), _videos_table(shop, videos))


@dataclass(frozen=True, slots=True)
class _Catalog:
    ids: npt.NDArray[np.str_]
    durations: Floats
    prices: Floats


def _catalog(shop: ShopDays, rng: np.random.Generator) -> _Catalog:
    ids = np.array([f"v{number:08x}" for number in rng.choice(1 << 31, shop.videos, replace=False)])
    durations = np.exp(rng.normal(np.log(30), 0.6, shop.videos)).round(1)
    return _Catalog(ids, durations, np.exp(rng.normal(np.log(25), 0.8, shop.videos)).round(2))


def _videos_table(shop: ShopDays, catalog: _Catalog) -> pa.Table:
    n = shop.videos
    frame = pl.DataFrame(
        {
            "video_id": catalog.ids,
            "uri": [""] * n,
            "kind": ["product"] * n,
            "product_ids": [[f"p{k}"] for k in range(n)],
            "creator_id": [f"c{k % 40}" for k in range(n)],
            "domain": ["shop"] * n,
            "category": [f"category {k % 12}" for k in range(n)],
            "tags": [[f"tag {k % 7}"] for k in range(n)],
            "title": [f"Video about 商品 {k}" for k in range(n)],
            "language": ["en"] * n,
            "price": catalog.prices,
            "duration_s": catalog.durations.astype(np.float32),
            "available": [True] * n,
        }
    )
    return from_polars(frame, VIDEOS, "simulated videos")


def _visit_times(shop: ShopDays, day: int, rng: np.random.Generator, sale: bool) -> Floats:
    """Return the hours of the day, from 0 to below 24, of the visits of a day."""
    weekend = (shop.first_weekday + day) % 7 >= 5
    level = shop.shoppers * shop.visits * (1 + shop.growth) ** day * (shop.weekend if weekend else 1)
    count = rng.poisson(level * np.exp(rng.normal(0, shop.noise)))
    evening = rng.random(count) < 0.7
    peak = 20.5 if not weekend else 19.0
    hours = np.where(evening, rng.normal(peak, 3.0, count), rng.normal(12.5, 3.5, count)) % 24
    if sale:
        # Sales begin at 20:00 and bring three more visits for each usual one.
        extra = rng.uniform(17, 21, 3 * int(((hours >= 17) & (hours < 21)).sum()))
        hours = np.concatenate([hours, extra])
    return hours


def _day(
    shop: ShopDays, day: int, rng: np.random.Generator, likes: tuple[Floats, Floats], videos: _Catalog
) -> pl.DataFrame:
    activity, appeal = likes
    sale = day == shop.sale_day
    hours = _visit_times(shop, day, rng, sale)
    in_sale = sale & (hours >= 17) & (hours < 21)
    shopper = rng.choice(shop.shoppers, len(hours), p=activity / activity.sum())
    # In a sale come shoppers who hardly come otherwise.
    shopper = np.where(in_sale, rng.integers(0, shop.shoppers, len(hours)), shopper)
    requests = 1 + rng.geometric(0.5, len(hours))
    visit = np.repeat(np.arange(len(hours)), requests)
    begin = (START + day) * 24 * HOUR_US + (hours[visit] * HOUR_US).astype(np.int64)
    begin += (
        rng.gamma(2, 60e6, len(visit))
        * (np.arange(len(visit)) - np.repeat(np.cumsum(requests) - requests, requests))
    ).astype(np.int64)
    surface = rng.choice(len(SURFACES), len(visit), p=[0.5, 0.25, 0.2, 0.05])
    shown = np.repeat(np.arange(len(visit)), SLOTS)
    slot = np.tile(np.arange(SLOTS), len(visit))
    video = rng.choice(shop.videos, len(shown), p=appeal / appeal.sum())
    front = in_sale[visit[shown]] & (slot == 0)
    video = np.where(front & (rng.random(len(shown)) < 0.7), int(appeal.argmax()), video)
    rates = np.exp(rng.normal(0, shop.noise, 4))
    weekend = (shop.first_weekday + day) % 7 >= 5
    lift = np.where(in_sale[visit[shown]], 3.0, 0.8 if weekend else 1.0)
    clicked = rng.random(len(shown)) < 0.25 * rates[0] / (1 + slot) ** 0.7
    watched = clicked & (rng.random(len(shown)) < 0.9)
    liked = watched & (rng.random(len(shown)) < 0.06 * rates[1])
    cart = clicked & (rng.random(len(shown)) < 0.1 * rates[2] * lift)
    bought = cart & (rng.random(len(shown)) < 0.45 * rates[3])
    seconds = videos.durations[video] * np.exp(rng.normal(-0.6, 0.8, len(shown))).clip(0.02, 2.0)
    money = videos.prices[video] * rng.choice([1, 1, 1, 2], len(shown))
    at = begin[shown]
    tail = rng.exponential(6e6, len(shown)).astype(np.int64) + 500_000
    hours_later = rng.exponential(2 * HOUR_US, len(shown)).astype(np.int64)
    base = {"shown": shown, "slot": slot, "video": video}
    rows = [
        _rows(base, np.ones(len(shown), bool), "impression", at, None),
        _rows(base, clicked, "click", at + tail, None),
        _rows(base, watched, "watch", at + tail + (seconds * 1e6).astype(np.int64), seconds),
        _rows(base, liked, "like", at + 2 * tail, None),
        _rows(base, cart, "cart", at + 3 * tail, None),
        _rows(base, bought, "purchase", at + 3 * tail + hours_later, money),
    ]
    return _frame(pl.concat(rows), day, (shopper[visit], surface), videos.ids, rng)


def _rows(
    base: dict[str, npt.NDArray[np.int64]],
    chosen: npt.NDArray[np.bool_],
    kind: str,
    at: npt.NDArray[np.int64],
    value: Floats | None,
) -> pl.DataFrame:
    values = np.full(int(chosen.sum()), np.nan) if value is None else value[chosen]
    columns = {name: array[chosen] for name, array in base.items()}
    frame = pl.DataFrame({**columns, "at": at[chosen], "value": values}).with_columns(kind=pl.lit(kind))
    return frame.with_columns(pl.col("value").fill_nan(None).cast(pl.Float32))


def _frame(
    rows: pl.DataFrame,
    day: int,
    requests: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    ids: npt.NDArray[np.str_],
    rng: np.random.Generator,
) -> pl.DataFrame:
    shopper, surface = requests
    request = rows["shown"].to_numpy()
    shown = rows["kind"] == "impression"
    number = pl.Series(np.arange(rows.height) + day * 10_000_000)
    return rows.select(
        event_id=pl.lit("e") + number.cast(pl.String).str.zfill(10),
        user_id=pl.lit("u") + pl.Series(shopper[request]).cast(pl.String).str.zfill(6),
        video_id=pl.Series(ids[rows["video"].to_numpy()]),
        kind="kind",
        value="value",
        position=pl.when(shown).then(pl.col("slot")).cast(pl.Int16),
        request_id=pl.lit(f"r{day}-") + pl.Series(request).cast(pl.String),
        propensity=pl.when(shown).then(pl.Series(rng.uniform(0.01, 1, rows.height))).cast(pl.Float32),
        domain=pl.Series(np.array(SURFACES)[surface[request]]),
        at=pl.col("at").cast(POLARS_TIMESTAMP),
    )
