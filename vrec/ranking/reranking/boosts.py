"""What moves a list besides worth and variety: more for new videos, and not too many of one creator."""

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
    """What a new video gains in the order; its utility is not changed."""

    boost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """What a video gains at the moment it is published; 0 boosts none."""
    unit: Literal["utility", "share"] = "share"
    """Whether the boost counts in the unit of utility, or as a share of the video's own utility."""
    half_life_days: float = Field(default=7.0, gt=0, allow_inf_nan=False)
    """Days after publishing in which the boost halves."""


def freshness(utility: Floats, published_at: Floats, at: int, config: FreshnessConfig) -> Floats:
    """(N,) float64 what each video gains for being new, in the unit of `utility` (N,).

    boost × 2^(−age / half-life), times the utility where the unit is a share; 0 where `published_at`, (N,)
    µs, is NaN. A date to come counts as age 0. `at` is in µs.
    """
    age_days = np.maximum(at - published_at, 0) / DAY_US
    faded = config.boost * np.nan_to_num(np.exp2(-age_days / config.half_life_days))
    return faded * utility if config.unit == "share" else faded


class SlotCapsConfig(BaseConfig):
    """How much of one kind the top of a list may hold."""

    slots: int = Field(default=10, ge=0)
    """Slots from the top in which the caps hold."""
    creator: int | None = Field(default=3, ge=1)
    """Most videos of one creator in those slots; None for no cap. Videos without one are not capped."""
    category: int | None = Field(default=None, ge=1)
    """Most videos of one category in those slots; None for no cap. Videos without one are not capped."""


class SlotCaps:
    """Which candidates the caps leave for the next slot.

    Caps are wishes and not rules: a list is never shorter for them. Where all candidates left are over one,
    the category's is given up for that slot, and the creator's if that is not enough.
    """

    def __init__(self, creator: RowIndices, category: RowIndices, config: SlotCapsConfig) -> None:
        """Takes (N,) codes; −1 stands for none."""
        self._creator, self._category, self._config = creator, category, config
        self._full_creator = np.zeros(len(creator), np.bool_)
        self._full_category = np.zeros(len(creator), np.bool_)
        self._slots: list[int] = []

    def allowed(self, left: Mask) -> Mask:
        """(N,) those of `left` that may take the next slot; some, as long as some are left."""
        if len(self._slots) >= self._config.slots:
            return left
        for over in (self._full_creator | self._full_category, self._full_creator):
            some = left & ~over
            if some.any():
                return some
        return left

    def take_slot(self, one: int) -> None:
        """Counts a candidate that took a slot."""
        self._slots.append(one)
        creator, category = self._creator[one], self._category[one]
        if self._config.creator is not None and creator >= 0:
            count = np.count_nonzero(self._creator[self._slots] == creator)
            self._full_creator |= (self._creator == creator) & (count >= self._config.creator)
        if self._config.category is not None and category >= 0:
            count = np.count_nonzero(self._category[self._slots] == category)
            self._full_category |= (self._category == category) & (count >= self._config.category)
