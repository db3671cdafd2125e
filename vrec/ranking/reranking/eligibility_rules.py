"""Eligibility rules: hard filters on the videos of a list."""

from collections.abc import Collection, Mapping, Sequence
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
    "expired",
    "kind",
    "age",
    "blocked_video",
    "blocked_creator",
    "blocked_category",
    "bought",
    "seen",
)
"""Rules in the order in which the first one that excludes a video is reported: not in the catalog, not
available, not yet published, expired, of a kind that the surface does not show, above the shopper's age,
blocked by the shopper, already bought, already watched."""


class EligibilityRulesConfig(BaseConfig):
    """Videos that a surface does not show."""

    kinds: frozenset[Literal["product", "live", "clip"]] | None = None
    """Values of VIDEOS.kind that the surface shows; all by default."""
    ages: Mapping[str, int] = Field(default_factory=lambda: {"adult": 18, "18+": 18, "alcohol": 18})
    """Minimum declared age in years by tag of a video; case is ignored."""
    bought_days: float | None = Field(default=None, ge=0)
    """Days after a purchase during which its video is not shown; None is forever, 0 shows it again at once.
    By video, as events do not name the product bought."""
    seen_days: float | None = Field(default=0, ge=0)
    """Days after a watch during which the video is not shown; None is forever, 0 shows it again at once."""


@dataclass(frozen=True, eq=False, slots=True)
class EligibilityResult:
    """Eligibility of N candidates."""

    rule: RowIndices
    """(N,) index in RULES of the first rule that excludes the candidate, −1 where none does."""

    @property
    def allowed(self) -> Mask:
        """(N,) whether the candidate may be shown."""
        return self.rule < 0

    @property
    def counts(self) -> dict[str, int]:
        """Number of candidates excluded by each rule; rules that exclude none are left out."""
        return {
            name: int(n) for index, name in enumerate(RULES) if (n := np.count_nonzero(self.rule == index))
        }


def check_eligibility(
    video_ids: Sequence[str],
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> EligibilityResult:
    """Check which of N videos may be shown to a shopper at a time `at` in µs since 1970.

    A video without a publication date counts as published, one without an expiry date never expires, one
    without a category is in no blocked category, and a shopper without a declared age is too young for every
    limit.
    """
    catalog_rows = catalog.find(video_ids)
    rule = np.where(catalog_rows < 0, RULES.index("unknown"), -1)
    known = np.flatnonzero(catalog_rows >= 0)
    rule[known] = check_rows(catalog_rows[known], catalog, shopper, config, at=at).rule
    return EligibilityResult(rule)


def check_rows(
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> EligibilityResult:
    """Check the videos at (N,) rows of the catalog; see `check_eligibility`."""
    rows: list[int] = catalog_rows.tolist()
    names = [catalog.video_ids[row] for row in rows]
    rule = np.full(len(catalog_rows), -1)
    for name, excluded in _masks(names, catalog_rows, catalog, shopper, config, at=at).items():
        rule[(rule < 0) & excluded] = RULES.index(name)
    return EligibilityResult(rule)


def barring_rules(
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> list[tuple[str, ...]]:
    """Return all rules that exclude each of the videos at (N,) rows of the catalog, not only the first."""
    rows: list[int] = catalog_rows.tolist()
    names = [catalog.video_ids[row] for row in rows]
    masks = _masks(names, catalog_rows, catalog, shopper, config, at=at)
    return [tuple(rule for rule, mask in masks.items() if mask[row]) for row in range(len(names))]


def minimum_age(tags: Collection[str], config: EligibilityRulesConfig) -> int | None:
    """Return the largest age limit of a video's normalized tags; None without one."""
    return max((age for tag, age in config.ages.items() if normalize_tag(tag) in tags), default=None)


def age_limited_tags(shopper: ShopperContext, config: EligibilityRulesConfig) -> set[str]:
    """Return the normalized tags whose age limit the shopper does not meet, or with an unknown age."""
    return {
        normalize_tag(tag)
        for tag, min_age in config.ages.items()
        if shopper.age is None or shopper.age < min_age
    }


def _masks(
    names: Sequence[str],
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: EligibilityRulesConfig,
    *,
    at: int,
) -> dict[str, Mask]:
    """Return for each rule, in order, the (N,) mask of the videos that it excludes."""
    none = np.zeros(len(catalog_rows), np.bool_)
    kinds, limits = config.kinds, age_limited_tags(shopper, config)
    blocked = shopper.blocked_videos
    return {
        "unavailable": ~catalog.available[catalog_rows],
        # NaN, no date, is neither greater nor less than `at`.
        "unpublished": catalog.published_at[catalog_rows] > at,
        "expired": catalog.expires_at[catalog_rows] <= at,
        "kind": none if kinds is None else ~_in_categories(catalog.kind[catalog_rows], catalog.kinds, kinds),
        "age": np.array(
            [not limits.isdisjoint(catalog.tags[row]) for row in catalog_rows.tolist()], np.bool_
        ),
        "blocked_video": np.array([name in blocked for name in names], np.bool_) if blocked else none,
        "blocked_creator": _in_categories(
            catalog.creator[catalog_rows], catalog.creators, shopper.blocked_creators
        ),
        "blocked_category": _in_categories(
            catalog.category[catalog_rows], catalog.categories, shopper.blocked_categories
        ),
        "bought": _happened_since(names, shopper.bought, at, config.bought_days),
        "seen": _happened_since(names, shopper.history, at, config.seen_days),
    }


def _in_categories(codes: RowIndices, names: Sequence[str], wanted: frozenset[str]) -> Mask:
    if not wanted:
        return np.zeros(len(codes), np.bool_)
    # By candidate: a shop may have many more creators than there are candidates.
    return np.array([code >= 0 and names[code] in wanted for code in codes.tolist()], np.bool_)


def _happened_since(names: Sequence[str], times: Mapping[str, int], at: int, days: float | None) -> Mask:
    if not times or days == 0:
        return np.zeros(len(names), np.bool_)
    earliest = -np.inf if days is None else at - days * DAY_US
    return np.array([name in times and times[name] >= earliest for name in names], np.bool_)
