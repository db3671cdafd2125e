"""Simulation of EVENTS in a shop with known ground truth, to compare estimates with it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import expit, logit

from vrec.core.compute import pc
from vrec.core.digest import digest
from vrec.core.schema import EMBEDDINGS, EVENTS, TIMESTAMP, conform
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.preferences import generate_shop
from vrec.synthetic.shop.shop import BLOCK_CELLS, DAY_US, Floats, Indices, SimulatedShop

__all__ = ["ShopSimulation", "SimulatedShop", "SimulationConfig", "simulate"]

SECOND_US = 1_000_000
COMPLETE_SHARE = 0.95
"""Share watched above which a video counts as watched to the end."""


@dataclass(frozen=True)
class ShopSimulation:
    """Simulated log of a shop, and the shop's ground truth."""

    shop: SimulatedShop
    """Ground truth that the events were drawn from: tastes, quality, examination."""
    events: pa.Table
    """EVENTS by time. An impression's `propensity` is the probability of this video in this slot given the
    slots before it: in slot 0 the policy's own probability; that of a whole slate is the product."""

    @property
    def videos(self) -> pa.Table:
        """VIDEOS, with `published_at` filled in."""
        return self.shop.videos

    @property
    def embeddings(self) -> pa.Table | None:
        """Content vectors as EMBEDDINGS rows of modality fused, or None where there are none."""
        if self.shop.vectors is None:
            return None
        vectors, ids = self.shop.vectors, self.shop.videos.column("video_id")
        flat = pa.array(vectors.ravel(), pa.float32())
        table = pa.table(
            {
                "entity_id": ids,
                "modality": pa.repeat("fused", len(ids)),
                "encoder": pa.repeat("simulated", len(ids)),
                "content_hash": [digest({"video_id": str(i)}) for i in ids],
                "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }
        )
        return conform(table, EMBEDDINGS, stage="simulate")


def simulate(
    config: SimulationConfig, videos: pa.Table | None = None, vectors: npt.NDArray[np.floating] | None = None
) -> ShopSimulation:
    """Simulate a shop and its events; equal arguments give equal events.

    Videos without a price are never bought; videos without a duration have the median duration.

    Args:
        config: Settings of the shop.
        videos: VIDEOS rows; without them both catalog and vectors are drawn at random.
        vectors: (V, dim) content vectors in the order of `videos`, or None.

    Raises:
        SchemaError: `videos` are not VIDEOS.
        EventsError: The catalog or the vectors cannot be used, as in `generate_shop`.
    """
    shop = generate_shop(config, videos, vectors)
    rng = np.random.default_rng([config.seed, 2])
    shown = _draw_impressions(shop, rng)
    return ShopSimulation(shop, _events(shop, shown, rng))


@dataclass(frozen=True)
class _Impressions:
    """Impressions, N rows by request and slot."""

    request: Indices
    user: Indices
    video: Indices
    slot: Indices
    day: Indices
    at: Indices
    """Time of the request in microseconds since 1970."""
    propensity: Floats

    def take(self, rows: Indices) -> "_Impressions":
        return _Impressions(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def _draw_impressions(shop: SimulatedShop, rng: np.random.Generator) -> _Impressions:
    """Draw requests at random times of users by activity, and their slates by the logging policy."""
    config = shop.config
    users = rng.choice(config.users, size=config.requests, p=shop.activity)
    start = round(config.start.timestamp() * 1e6)
    # Evenings are busy, and each user has an own preferred hour.
    evening = (19.0 + 3.0 * rng.normal(size=config.users))[users] + 2.5 * rng.normal(size=len(users))
    day = np.sort(rng.integers(config.days, size=len(users)))
    at = start + day * DAY_US + ((evening % 24) / 24 * DAY_US).astype(np.int64)
    order = np.lexsort((users, at))
    users, at = users[order], at[order]
    day = (at - start) // DAY_US
    parts: list[_Impressions] = []
    for today in np.unique(day):
        available = shop.available_videos(int(today))
        rows = np.flatnonzero(day == today)
        for block in np.array_split(rows, 1 + len(rows) * len(available) // BLOCK_CELLS):
            slates, propensities = draw_slates(
                shop.logging_scores(users[block], available), config.slots, rng
            )
            depth = slates.shape[1]
            parts.append(
                _Impressions(
                    request=np.repeat(block, depth),
                    user=np.repeat(users[block], depth),
                    video=available[slates].ravel(),
                    slot=np.tile(np.arange(depth), len(block)),
                    day=np.full(slates.size, today),
                    at=np.repeat(at[block], depth),
                    propensity=propensities.ravel(),
                )
            )
    return _Impressions(
        *(np.concatenate([getattr(p, n) for p in parts]) for n in _Impressions.__dataclass_fields__)
    )


def draw_slates(scores: Floats, slots: int, rng: np.random.Generator) -> tuple[Indices, Floats]:
    """Draw slates by softmax without replacement (Plackett-Luce).

    The top of each row of scores with Gumbel noise has the distribution of drawing one by one (Kool et al.
    2019, "Stochastic beams and where to find them").

    Args:
        scores: (N, M) log-weights.
        slots: Length of a slate.
        rng: Random generator.

    Returns:
        (N, min(slots, M)) columns drawn, and the probability of each given those before it.
    """
    depth = min(slots, scores.shape[1])
    noisy = scores - np.log(rng.standard_exponential(scores.shape))
    top = np.argpartition(-noisy, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(noisy, top, axis=1), axis=1, kind="stable")
    slates = np.take_along_axis(top, order, axis=1)
    mass = np.exp(scores - scores.max(axis=1, keepdims=True))
    drawn = np.take_along_axis(mass, slates, axis=1)
    # Remaining mass before each slot, summed from the end: subtracting from the total would cancel to zero.
    np.put_along_axis(mass, slates, 0.0, axis=1)
    remaining = mass.sum(axis=1, keepdims=True) + np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1]
    return slates, drawn / remaining


def _events(shop: SimulatedShop, shown: _Impressions, rng: np.random.Generator) -> pa.Table:
    """Draw the clicks, watches, carts and purchases that follow the impressions."""
    config = shop.config
    affinity = shop.affinity(shown.user, shown.video, shown.day)
    is_clicked = rng.random(len(affinity)) < shop.examination[shown.slot] * expit(
        shop.base_log_odds + affinity
    )
    rows = np.flatnonzero(is_clicked)
    clicked, taste = shown.take(rows), affinity[rows]
    delay = 1 + rng.exponential(8.0, len(rows)) + clicked.slot
    click_at = clicked.at + (delay * SECOND_US).astype(np.int64)
    seconds = _watch_seconds(shop, clicked.video, taste, rng)
    watch_at = click_at + (seconds * SECOND_US).astype(np.int64)
    prices = np.asarray(shop.videos.column("price").cast(pa.float64()), np.float64)
    price, log_price = prices[clicked.video], _log_ratio_to_median(prices)[clicked.video]
    rate = logit(config.cart_rate) + config.cart_taste * taste - config.price_sensitivity * log_price
    carted = np.isfinite(price) & (rng.random(len(rows)) < expit(np.nan_to_num(rate)))
    cart_at = watch_at + (rng.exponential(60.0, len(rows)) * SECOND_US).astype(np.int64)
    bought = carted & (rng.random(len(rows)) < config.purchase_rate)
    hours = rng.exponential(size=len(rows)) * config.purchase_delay_hours
    purchase_at = cart_at + ((hours * 3600 + 30) * SECOND_US).astype(np.int64)
    no_value, cart, buy = np.full(len(rows), np.nan), np.flatnonzero(carted), np.flatnonzero(bought)
    unclicked = np.full(len(shown.at), np.nan)
    tables = [
        _event_rows(shop, shown, "impression", value=unclicked, at=shown.at, propensity=shown.propensity),
        _event_rows(shop, clicked, "click", value=no_value, at=click_at),
        _event_rows(shop, clicked, "watch", value=seconds, at=watch_at),
        _event_rows(shop, clicked.take(cart), "cart", value=no_value[cart], at=cart_at[cart]),
        _event_rows(shop, clicked.take(buy), "purchase", value=price[buy], at=purchase_at[buy]),
    ]
    table = pa.concat_tables(tables)
    end = round(config.start.timestamp() * 1e6) + config.days * DAY_US
    table = table.filter(pc.less(table.column("at").cast(pa.int64()), end))
    order = np.argsort(np.asarray(table.column("at").cast(pa.int64())), kind="stable")
    return conform(table.take(pa.array(order)).combine_chunks(), EVENTS, stage="simulate")


def _watch_seconds(shop: SimulatedShop, videos: Indices, taste: Floats, rng: np.random.Generator) -> Floats:
    """Return (N,) seconds watched; the share watched falls with the video's duration and rises with taste."""
    config = shop.config
    duration = np.asarray(shop.videos.column("duration_s").cast(pa.float64()), np.float64)
    known = duration[np.isfinite(duration)]
    duration = np.where(np.isfinite(duration), duration, np.median(known) if len(known) else 30.0)
    noise = config.watch_spread * rng.normal(size=len(videos))
    log_length = _log_ratio_to_median(duration)[videos]
    share = expit(
        config.watch_level + config.watch_taste * taste - config.watch_duration * log_length + noise
    )
    return duration[videos] * np.where(share > COMPLETE_SHARE, 1.0, share)


def _log_ratio_to_median(values: Floats) -> Floats:
    """Return the log of each value over the median of the known positive values."""
    known = values[np.isfinite(values) & (values > 0)]
    middle = np.median(known) if len(known) else 1.0
    return np.log(np.maximum(values, np.finfo(float).tiny) / middle)


def _event_rows(
    shop: SimulatedShop,
    rows: _Impressions,
    kind: str,
    *,
    value: Floats,
    at: Indices,
    propensity: Floats | None = None,
) -> pa.Table:
    seed, width = shop.config.seed, len(str(shop.config.requests - 1))
    requests = pa.array([f"r{seed}-{n:0{width}}" for n in range(shop.config.requests)], pa.string())
    request, slot = requests.take(pa.array(rows.request)), pa.array(rows.slot)
    videos = shop.videos.take(pa.array(rows.video))
    return pa.table(
        {
            "event_id": pc.binary_join_element_wise(request, slot.cast(pa.string()), kind, "-"),
            "user_id": shop.users.take(pa.array(rows.user)),
            "video_id": videos.column("video_id"),
            "kind": pa.repeat(kind, len(at)),
            "value": pa.array(value, pa.float32(), mask=np.isnan(value)),
            "position": slot.cast(pa.int16()),
            "request_id": request,
            "propensity": pa.nulls(len(at), pa.float32())
            if propensity is None
            else pa.array(propensity, pa.float32()),
            "domain": videos.column("domain"),
            "at": pa.array(at, pa.int64()).cast(TIMESTAMP),
        }
    )
