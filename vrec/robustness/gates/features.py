"""Features of events that are counted by hour: shares of bad rows, and histograms of values."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from vrec.robustness.gates.catalog import CatalogFacts
from vrec.robustness.gates.config import GatesConfig

Codes = npt.NDArray[np.int16]
FeatureForm = Literal["share", "ordered"]

MOJIBAKE = "[\\x{c2}-\\x{f4}][\\x{80}-\\x{bf}]|\\x{fffd}|[\\x{00}-\\x{08}\\x{0e}-\\x{1f}]"
"""UTF-8 that was read as Latin-1, replacement characters, and control characters."""
LENGTHS = 48
"""Bins of the lengths of ids."""
POSITIONS = 32
PER_OCTAVE = 2
MISSING = np.int16(-1)


@dataclass(frozen=True, slots=True)
class GateFeature:
    """Feature of events with its histogram's bins."""

    name: str
    columns: tuple[str, ...]
    form: FeatureForm
    about: str
    """Words for the feature in a message."""
    bins: int = 2
    first: float = 0.0
    """Logarithm to base 2 of the lower end of bin 1, for values on a logarithmic scale."""
    scale: Literal["log", "count"] = "count"
    unit: str = ""
    rises_alone: bool = False
    """Whether only a rise of the share is a fault."""
    honest_rise: bool = False
    """Whether a sale may lift the share, so that a rise counts from a greater factor on."""
    kinds: tuple[str, ...] = field(default=())
    """Kinds of the events that the feature is of; empty for all."""

    def typical(self, shares: npt.NDArray[np.float64]) -> float:
        """Return the median of a histogram, or the share of the second of two bins."""
        if self.form == "share":
            return float(shares[1])
        middle = int(np.searchsorted(np.cumsum(shares), 0.5 * shares.sum()))
        if self.scale == "count":
            return float(middle)
        return 0.0 if middle == 0 else float(2 ** (self.first + (middle - 0.5) / PER_OCTAVE))


def _share(name: str, columns: tuple[str, ...], about: str, **more: object) -> GateFeature:
    return GateFeature(name, columns, "share", about, **more)  # type: ignore[arg-type]


def _log(name: str, about: str, first: float, kind: str, *, unit: str = "") -> GateFeature:
    return GateFeature(name, ("value",), "ordered", about, 56, first, "log", unit, kinds=(kind,))


ROW_FEATURES = (
    _share("unknown_video", ("video_id",), "events of videos that VIDEOS lacks", rises_alone=True),
    _share("user_is_video", ("user_id", "video_id"), "user_ids that are ids of videos", rises_alone=True),
    _share("broken_text", ("user_id", "video_id"), "ids in a broken encoding", rises_alone=True),
    _share(
        "watch_over_length",
        ("value",),
        "watches far longer than their video",
        rises_alone=True,
        kinds=("watch",),
    ),
    _share(
        "price_mismatch",
        ("value",),
        "purchases at 20 times the video's price, or a 20th",
        rises_alone=True,
        kinds=("purchase",),
    ),
)
"""Features that a single row can be at fault by."""

NULL_FEATURES = (
    _share("null_watch", ("value",), "watches without `value`", rises_alone=True, kinds=("watch",)),
    _share("null_purchase", ("value",), "purchases without `value`", rises_alone=True, kinds=("purchase",)),
    _share(
        "null_position",
        ("position",),
        "impressions without `position`",
        rises_alone=True,
        kinds=("impression",),
    ),
    _share(
        "null_request",
        ("request_id",),
        "impressions without `request_id`",
        rises_alone=True,
        kinds=("impression",),
    ),
    _share(
        "null_propensity",
        ("propensity",),
        "impressions without `propensity`",
        rises_alone=True,
        kinds=("impression",),
    ),
)
VALUE_FEATURES = (
    _log("watch_s", "seconds of watches", -4, "watch", unit=" s"),
    _log("watch_share", "shares of videos watched", -12, "watch"),
    _log("purchase_value", "money of purchases", -6, "purchase"),
    _log("purchase_per_price", "money of purchases over the video's price", -12, "purchase"),
    GateFeature(
        "position", ("position",), "ordered", "positions of impressions", POSITIONS, kinds=("impression",)
    ),
    GateFeature("user_id_length", ("user_id",), "ordered", "lengths of user_ids", LENGTHS),
    GateFeature("video_id_length", ("video_id",), "ordered", "lengths of video_ids", LENGTHS),
)
USER_KNOWN = _share("user_known", ("user_id",), "user_ids that are also ids of videos", rises_alone=True)
FEATURES = {feature.name: feature for feature in (*ROW_FEATURES, USER_KNOWN, *NULL_FEATURES, *VALUE_FEATURES)}

FUNNEL = (
    ("impression", "click"),
    ("click", "watch"),
    ("watch", "like"),
    ("click", "cart"),
    ("cart", "purchase"),
    ("click", "purchase"),
)
"""Pairs of kinds of which the second follows the first."""


def feature_codes(events: pl.DataFrame, facts: CatalogFacts | None, config: GatesConfig) -> dict[str, Codes]:
    """Return the bin of each row of a batch for each feature, -1 where it does not apply.

    Args:
        events: EVENTS, with `duration_s`, `price` and `known` of the row's video where there is a catalog.
        facts: Catalog, or None.
        config: Bounds.
    """
    kind = events["kind"]
    value = events["value"].to_numpy().astype(np.float64)
    null = np.isnan(value)
    kinds = {name: (kind == name).to_numpy() for name in ("watch", "purchase", "impression")}
    codes: dict[str, Codes] = {
        "broken_text": _flag(
            (events["user_id"].str.contains(MOJIBAKE) | events["video_id"].str.contains(MOJIBAKE)).to_numpy()
        ),
        "user_id_length": _clipped(events["user_id"].str.len_chars().to_numpy(), LENGTHS),
        "video_id_length": _clipped(events["video_id"].str.len_chars().to_numpy(), LENGTHS),
    }
    for name, shown in (("null_watch", kinds["watch"]), ("null_purchase", kinds["purchase"])):
        codes[name] = _where(shown, _flag(null))
    for name in ("position", "request_id", "propensity"):
        nulls = events[name].is_null().to_numpy()
        codes[f"null_{name.removesuffix('_id')}"] = _where(kinds["impression"], _flag(nulls))
        if name == "position":
            places = events[name].fill_null(0).to_numpy()
            codes[name] = _where(kinds["impression"] & ~nulls, _clipped(places, POSITIONS))
    watched, bought = kinds["watch"] & ~null, kinds["purchase"] & ~null
    codes["watch_s"] = _where(watched, _log_codes(value, FEATURES["watch_s"]))
    codes["purchase_value"] = _where(bought, _log_codes(value, FEATURES["purchase_value"]))
    most = np.full(len(value), config.watch_longest_s)
    if facts is not None:
        codes |= _catalog_codes(events, value, watched, bought)
        duration = events["duration_s"].to_numpy().astype(np.float64)
        most = np.where(duration > 0, config.watch_most * duration + 30.0, most)
    with np.errstate(invalid="ignore"):
        codes["watch_over_length"] = _where(watched, _flag(value > most))
    return codes


def _catalog_codes(
    events: pl.DataFrame,
    value: npt.NDArray[np.float64],
    watched: npt.NDArray[np.bool_],
    bought: npt.NDArray[np.bool_],
) -> dict[str, Codes]:
    duration = events["duration_s"].to_numpy().astype(np.float64)
    price = events["price"].to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, ratio = value / duration, value / price
    timed, priced = watched & (duration > 0), bought & (price > 0)
    far = (ratio > 20) | (ratio < 1 / 20)
    return {
        "unknown_video": _where(~events["synthetic_id"].to_numpy(), _flag(~events["known"].to_numpy())),
        # Where ids of shoppers and videos are both numbers from 1, only the pair tells them apart.
        "user_is_video": _flag(
            (events["user_known"] & ~events["known"] & ~events["synthetic_id"]).to_numpy()
        ),
        "user_known": _flag(events["user_known"].to_numpy()),
        "watch_share": _where(timed, _log_codes(share, FEATURES["watch_share"])),
        "purchase_per_price": _where(priced, _log_codes(ratio, FEATURES["purchase_per_price"])),
        "price_mismatch": _where(priced, _flag(far)),
    }


def _log_codes(values: npt.NDArray[np.float64], feature: GateFeature) -> Codes:
    """Return bins of half octaves: 0 for 0 and all below `first`, the last for all above."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.floor((np.log2(values) - feature.first) * PER_OCTAVE) + 1
    return (
        np.nan_to_num(places, nan=0, neginf=0, posinf=feature.bins - 1)
        .clip(0, feature.bins - 1)
        .astype(np.int16)
    )


def _flag(bad: npt.NDArray[np.bool_]) -> Codes:
    return bad.astype(np.int16)


def _clipped(values: npt.NDArray[np.integer], bins: int) -> Codes:
    return np.minimum(values, bins - 1).astype(np.int16)


def _where(applies: npt.NDArray[np.bool_], codes: Codes) -> Codes:
    return np.where(applies, codes, MISSING).astype(np.int16)
