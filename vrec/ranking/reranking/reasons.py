"""Reasons for a video in a list: codes of facts that hold, and their English texts.

`REASONS` has for each reason the predicate under which it is true. A reason is shown only if its predicate
holds, and tests hold it for thousands of answers against the shoppers' raw events.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.events.interactions import DAY_US
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext
from vrec.ranking.reranking.popularity import Popularity


class ReasonsConfig(BaseConfig):
    """Thresholds from which a fact is a reason."""

    watched_cosine: float = Field(default=0.6, gt=0, le=1)
    """Least cosine of content vectors at which a video counts as similar to one that the shopper watched,
    liked, bought from and so on. Typical cosines depend on the encoder."""
    creator_events: float = Field(default=3.0, gt=0)
    """Least number of interest events in a creator's videos that make the creator a reason."""
    category_events: float = Field(default=5.0, gt=0)
    """Least number of interest events in a category's videos that make the category a reason."""
    new_days: float = Field(default=14.0, ge=0)
    """Days after publication during which a video is new."""
    popular_sources: frozenset[str] = frozenset({"popular"})
    """Values of RECOMMENDATIONS.source whose candidates are shown because they are popular."""
    popular_users: int = Field(default=5, ge=1)
    """Least number of shoppers who showed interest in a popular video, in the interactions of the bundle."""
    popular_share: float = Field(default=0.2, gt=0, le=1)
    """Share of the videos with any such shopper that are popular, the ones with most shoppers."""


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """Facts about one video in one shopper's list, which predicates of reasons are about."""

    video_id: str
    creator: str
    """Id of the creator; "" for none."""
    category: str
    """Name of the category; "" for none."""
    published_at: float
    """µs since 1970; NaN where unknown."""
    at: int
    """Time of the request, µs since 1970."""
    source: str
    """RECOMMENDATIONS.source."""
    explored: bool
    """Whether exploration, and not the score, put the video in its slot."""
    likeness: Mapping[str, float]
    """Cosine of content vectors with videos of the shopper's history, by video id."""
    shopper: ShopperContext
    popularity: Popularity
    rule: str | None = None
    """Rule of the shop that put the video in its slot."""


@dataclass(frozen=True, slots=True)
class ReasonRule:
    """One kind of reason: when it is true, and how it is put."""

    holds: Callable[[str, ReasonFacts, ReasonsConfig], bool]
    """Predicate of the reason's subject (a video, creator or category; "" for reasons without one)."""
    text: str
    """Text, with {} for the subject's name if there is one."""
    unnamed: str | None = None
    """Text for a subject without a name; None where the subject is a name itself."""
    kind: str | None = None
    """Kind of the shopper's event with the subject, for reasons about a video."""


def _after(kind: str) -> Callable[[str, ReasonFacts, ReasonsConfig], bool]:
    """Return the predicate: the shopper's interest in another, similar video was of this kind."""

    def holds(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
        return (
            subject != facts.video_id
            and kind in facts.shopper.kinds.get(subject, ())
            and facts.likeness.get(subject, -1.0) >= config.watched_cosine
        )

    return holds


def _by_creator(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    return (
        subject == facts.creator
        and facts.shopper.counts.get(f"creator:{subject}", 0) >= config.creator_events
    )


def _in_category(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    counts = facts.shopper.counts
    return subject == facts.category and counts.get(f"category:{subject}", 0) >= config.category_events


def _is_new(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    return 0 <= (facts.at - facts.published_at) / DAY_US <= config.new_days


def _is_popular(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    place = facts.popularity.videos.get(facts.video_id)
    return (
        facts.source in config.popular_sources
        and place is not None
        and place.users >= config.popular_users
        and place.rank < config.popular_share * facts.popularity.watched_videos
    )


def _is_explored(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    return facts.explored


def _is_featured(subject: str, facts: ReasonFacts, config: ReasonsConfig) -> bool:
    return subject == facts.rule


REASONS: Mapping[str, ReasonRule] = MappingProxyType(
    {
        "watched": ReasonRule(
            _after("watch"), "because you watched {}", "because of a video that you watched", "watch"
        ),
        "bought": ReasonRule(
            _after("purchase"),
            "because you bought something from {}",
            "because of a video that you bought something from",
            "purchase",
        ),
        "liked": ReasonRule(
            _after("like"), "because you liked {}", "because of a video that you liked", "like"
        ),
        "shared": ReasonRule(
            _after("share"), "because you shared {}", "because of a video that you shared", "share"
        ),
        "carted": ReasonRule(
            _after("cart"),
            "because you put something from {} in the cart",
            "because of a video from which you put something in the cart",
            "cart",
        ),
        "followed": ReasonRule(
            _after("follow"),
            "because you followed the creator of {}",
            "because of a video whose creator you followed",
            "follow",
        ),
        "opened": ReasonRule(
            _after("click"), "because you opened {}", "because of a video that you opened", "click"
        ),
        "creator": ReasonRule(
            _by_creator, "because you like videos by {}", "because you like this creator's videos"
        ),
        "category": ReasonRule(_in_category, "because you like {}"),
        "new": ReasonRule(_is_new, "because it is new"),
        "popular": ReasonRule(_is_popular, "because it is popular"),
        "exploration": ReasonRule(_is_explored, "as something different to try"),
        "featured": ReasonRule(_is_featured, "as part of {}", "as a pick of the shop"),
    }
)
"""Predicate and text of each reason by the code before its colon, the most personal first."""
_KINDS = frozenset(rule.kind for rule in REASONS.values() if rule.kind is not None)


def find_reasons(
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: ReasonsConfig,
    *,
    sources: Sequence[str],
    explored: npt.NDArray[np.bool_],
    at: int,
    popularity: Popularity,
    featured: Sequence[str | None] | None = None,
) -> list[list[str]]:
    """Find all reasons that hold for each of N videos, the most personal first.

    At most one is about a video of the history: the most similar one (of equals the one with the last event,
    then by id), with the first kind of event in `REASONS` that the shopper had with it.

    Args:
        catalog_rows: (N,) rows of the videos in the catalog.
        catalog: Catalog of the videos.
        shopper: History and counts of the shopper.
        config: Thresholds.
        sources: (N,) RECOMMENDATIONS.source of the videos.
        explored: (N,) whether exploration, and not the score, put the video in its slot.
        at: Time of the request in µs since 1970.
        popularity: Popularity of the videos.
        featured: (N,) rule of the shop that put the video in its slot, None where none did.
    """
    similar = _most_similar(catalog_rows, catalog, shopper)
    reasons: list[list[str]] = []
    rows: list[int] = catalog_rows.tolist()
    for row, catalog_row in enumerate(rows):
        creator, category = int(catalog.creator[catalog_row]), int(catalog.category[catalog_row])
        facts = ReasonFacts(
            video_id=catalog.video_ids[catalog_row],
            creator=catalog.creators[creator] if creator >= 0 else "",
            category=catalog.categories[category] if category >= 0 else "",
            published_at=float(catalog.published_at[catalog_row]),
            at=at,
            source=sources[row],
            explored=bool(explored[row]),
            likeness=similar[row],
            shopper=shopper,
            popularity=popularity,
            rule=featured[row] if featured is not None else None,
        )
        reasons.append(list(_true_reasons(facts, config)))
    return reasons


def reason_text(reason: str, titles: Mapping[str, str]) -> str:
    """Return the English text of a reason, as the end of "You see this …".

    The text never shows the id of a creator or video without a title.

    Args:
        reason: Code of RANKED.reasons.
        titles: Titles by video or creator id.

    Raises:
        RankError: the code is not a reason.
    """
    code, _, subject = reason.partition(":")
    rule = REASONS.get(code)
    if rule is None or bool(subject) != ("{}" in rule.text):
        raise RankError(f"reason_text: {reason!r} is not a reason", fix="pass a code of RANKED.reasons")
    if rule.unnamed is None:
        return rule.text.replace("{}", subject)
    name = titles.get(subject)
    return rule.text.replace("{}", name) if name else rule.unnamed


def reason_video(reason: str) -> str | None:
    """Return the video that a reason names; None for reasons about other things."""
    code, _, subject = reason.partition(":")
    return subject if code in REASONS and REASONS[code].kind is not None else None


def _true_reasons(facts: ReasonFacts, config: ReasonsConfig) -> Iterator[str]:
    """Yield the reasons that hold."""
    named = False
    for code, rule in REASONS.items():
        if rule.kind is not None:
            subjects = () if named else tuple(facts.likeness)
        else:
            subjects = _subjects(code, facts)
        for subject in subjects:
            if rule.holds(subject, facts, config) and bool(subject) == ("{}" in rule.text):
                yield f"{code}:{subject}" if subject else code
                named |= rule.kind is not None


def _subjects(code: str, facts: ReasonFacts) -> tuple[str, ...]:
    """Return what a reason can be about, besides videos of the history."""
    # Creators and categories without a name are never counted.
    named = {"creator": facts.creator, "category": facts.category, "featured": facts.rule or ""}
    return (named.get(code, ""),)


def _most_similar(
    catalog_rows: RowIndices, catalog: CatalogArrays, shopper: ShopperContext
) -> list[dict[str, float]]:
    """Return the most similar video of the history of each video with its cosine; empty without vectors."""
    names = [name for name, kinds in shopper.kinds.items() if not _KINDS.isdisjoint(kinds)]
    names.sort(key=lambda name: (-shopper.history[name], name))
    history = catalog.find(names)
    history = history[history >= 0]
    history = history[catalog.vectors[history].any(axis=1)]
    if not len(history) or not len(catalog_rows):
        return [{} for _ in catalog_rows]
    cosines = catalog.vectors[catalog_rows] @ catalog.vectors[history].T
    # A video is not a reason for itself.
    cosines[catalog_rows[:, None] == history] = -1.0
    best = cosines.argmax(axis=1)
    ids = catalog.video_ids
    return [{ids[int(history[index])]: float(cosines[row, index])} for row, index in enumerate(best.tolist())]
