"""Freshness boost for new videos, and caps on videos of one creator or category."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.events.interactions import DAY_US
from vrec.ranking.reranking.catalog import RowIndices

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class FreshnessConfig(BaseConfig):
    """Boost of new videos in the order; their utility is not changed."""

    boost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Boost of a video at the moment of its publication, in `unit`; 0 is off."""
    unit: Literal["utility", "share"] = "share"
    """Unit of the boost: the unit of utility, or a share of the video's own utility."""
    half_life_days: float = Field(default=7.0, gt=0, allow_inf_nan=False)
    """Days in which the boost halves."""


def freshness(utility: Floats, published_at: Floats, at: int, config: FreshnessConfig) -> Floats:
    """Compute the boost of each video for being new.

    It is boost × 2^(−age / half-life), times the utility where the unit is a share.

    Args:
        utility: (N,) utilities.
        published_at: (N,) dates of publication in µs since 1970; NaN gives no boost, a date in the future
            counts as age 0.
        at: Time of the request in µs since 1970.
        config: Size and half-life of the boost.

    Returns:
        (N,) float64 boosts in the unit of `utility`.
    """
    age_days = np.maximum(at - published_at, 0) / DAY_US
    boost = config.boost * np.nan_to_num(np.exp2(-age_days / config.half_life_days))
    return boost * utility if config.unit == "share" else boost


class SlotCapsConfig(BaseConfig):
    """Caps on the videos of one creator or category in the top slots of a list."""

    slots: int = Field(default=10, ge=0)
    """Number of top slots in which the caps hold."""
    creator: int | None = Field(default=3, ge=1)
    """Maximum number of videos of one creator in those slots; None for no cap. Videos without a creator are
    not capped."""
    category: int | None = Field(default=None, ge=1)
    """Maximum number of videos of one category in those slots; None for no cap. Videos without a category are
    not capped."""


class SlotCaps:
    """Caps applied slot by slot.

    Caps are soft: they never shorten a list. Where all remaining candidates are over a cap, the category cap
    is dropped for that slot, and then the creator cap.
    """

    def __init__(self, creator: RowIndices, category: RowIndices, config: SlotCapsConfig) -> None:
        """Take (N,) codes of creators and categories, −1 for none."""
        self._creator, self._category, self._config = creator, category, config
        self._full_creator = np.zeros(len(creator), np.bool_)
        self._full_category = np.zeros(len(creator), np.bool_)
        self._slots: list[int] = []

    def allowed(self, left: Mask) -> Mask:
        """Return the (N,) mask of those of `left` that may take the next slot; empty only if `left` is."""
        if len(self._slots) >= self._config.slots:
            return left
        for capped in (self._full_creator | self._full_category, self._full_creator):
            uncapped = left & ~capped
            if uncapped.any():
                return uncapped
        return left

    def take_slot(self, candidate: int) -> None:
        """Count the candidate that took the next slot."""
        self._slots.append(candidate)
        creator, category = self._creator[candidate], self._category[candidate]
        if self._config.creator is not None and creator >= 0:
            count = np.count_nonzero(self._creator[self._slots] == creator)
            self._full_creator |= (self._creator == creator) & (count >= self._config.creator)
        if self._config.category is not None and category >= 0:
            count = np.count_nonzero(self._category[self._slots] == category)
            self._full_category |= (self._category == category) & (count >= self._config.category)
