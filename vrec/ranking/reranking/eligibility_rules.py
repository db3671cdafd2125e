"""What must not be shown, and by which rule: hard rules, which nothing outvotes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.events.interactions import DAY_US
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext, normalize_tag

Mask = npt.NDArray[np.bool_]

RULES = (
    "unknown",
    "unavailable",
    "unpublished",
    "kind",
    "age",
    "blocked_video",
    "blocked_creator",
    "blocked_category",
    "bought",
    "seen",
)
"""The rules, in the order in which the first that bars a video is named: not on the catalog, not available,
not published yet, of a kind that the surface does not show, above the shopper's age, blocked by the shopper,
bought already, watched already."""


class EligibilityRulesConfig(BaseConfig):
    """What a surface does not show."""

    kinds: frozenset[Literal["product", "live", "clip"]] | None = None
    """VIDEOS.kind that the surface shows; all by default."""
    ages: Mapping[str, int] = Field(default_factory=lambda: {"adult": 18, "18+": 18, "alcohol": 18})
    """Years that a shopper must have declared to be shown a video with the tag; case does not count."""
    bought_days: float | None = Field(default=None, ge=0)
    """Days after a purchase during which its video is not shown; None is for ever, 0 shows it again at
    once. By video: events do not say which of its products was bought."""
    seen_days: float | None = Field(default=0, ge=0)
    """Days after a watch during which the video is not shown; None is for ever, 0 shows it again at once."""


@dataclass(frozen=True, eq=False, slots=True)
class EligibilityResult:
    """Which of N candidates may be shown."""

    rule: RowIndices
    """(N,) the place in RULES of the first rule that bars it, −1 where none does."""

    @property
    def allowed(self) -> Mask:
        """(N,) whether it may be shown."""
        return self.rule < 0

    @property
    def counts(self) -> dict[str, int]:
        """How many candidates each rule bars; rules that bar none are left out."""
        return {
            name: int(n) for place, name in enumerate(RULES) if (n := np.count_nonzero(self.rule == place))
        }


def check_eligibility(
    video_ids: Sequence[str],
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> EligibilityResult:
    """Which of N videos may be shown to a shopper at a time in µs, and what bars the others.

    A video without a publishing date counts as published, one without a category is in none that is blocked,
    and a shopper who declared no age is too young for every limit.
    """
    places = catalog.find(video_ids)
    rule = np.where(places < 0, RULES.index("unknown"), -1)
    known = np.flatnonzero(places >= 0)
    rule[known] = check_rows(places[known], catalog, shopper, config, at=at).rule
    return EligibilityResult(rule)


def check_rows(
    places: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> EligibilityResult:
    """The same of the videos at (N,) places of the catalog."""
    rows: list[int] = places.tolist()
    names = [catalog.video_ids[row] for row in rows]
    rule = np.full(len(places), -1)
    for name, wrong in _masks(names, places, catalog, shopper, config, at=at).items():
        rule[(rule < 0) & wrong] = RULES.index(name)
    return EligibilityResult(rule)


def age_limited_tags(shopper: ShopperContext, config: EligibilityRulesConfig) -> set[str]:
    """The tags, as shelves have them, of videos for which the shopper is too young or of unknown age."""
    return {
        normalize_tag(tag) for tag, least in config.ages.items() if shopper.age is None or shopper.age < least
    }


def _masks(
    names: Sequence[str],
    places: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> dict[str, Mask]:
    """For each rule in order, which of the videos at these places of the catalog it bars."""
    none = np.zeros(len(places), np.bool_)
    kinds, limits = config.kinds, age_limited_tags(shopper, config)
    blocked = shopper.blocked_videos
    return {
        "unavailable": ~catalog.available[places],
        # NaN, an unknown date, is not greater than anything.
        "unpublished": catalog.published_at[places] > at,
        "kind": none if kinds is None else ~_in_categories(catalog.kind[places], catalog.kinds, kinds),
        "age": np.array([not limits.isdisjoint(catalog.tags[place]) for place in places.tolist()], np.bool_),
        "blocked_video": np.array([name in blocked for name in names], np.bool_) if blocked else none,
        "blocked_creator": _in_categories(
            catalog.creator[places], catalog.creators, shopper.blocked_creators
        ),
        "blocked_category": _in_categories(
            catalog.category[places], catalog.categories, shopper.blocked_categories
        ),
        "bought": _happened_since(names, shopper.bought, at, config.bought_days),
        "seen": _happened_since(names, shopper.history, at, config.seen_days),
    }


def _in_categories(codes: RowIndices, names: Sequence[str], wanted: frozenset[str]) -> Mask:
    if not wanted:
        return np.zeros(len(codes), np.bool_)
    # By the videos at hand: a shop may have more creators than anyone asks about.
    return np.array([code >= 0 and names[code] in wanted for code in codes.tolist()], np.bool_)


def _happened_since(names: Sequence[str], times: Mapping[str, int], at: int, days: float | None) -> Mask:
    if not times or days == 0:
        return np.zeros(len(names), np.bool_)
    least = -np.inf if days is None else at - days * DAY_US
    return np.array([name in times and times[name] >= least for name in names], np.bool_)
