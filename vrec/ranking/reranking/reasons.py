"""Why a video is in a list: codes for facts that hold, and what they say in English."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.events.interactions import DAY_US
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext


class ReasonsConfig(BaseConfig):
    """From when on a fact is a reason."""

    watched_cosine: float = Field(default=0.6, gt=0, le=1)
    """Least cosine between content vectors from which a video is like one that was watched. What is much
    depends on the encoder."""
    creator_events: float = Field(default=3.0, gt=0)
    """Least signs of interest in a creator's videos that make the creator a reason."""
    category_events: float = Field(default=5.0, gt=0)
    """Least signs of interest in a category's videos that make the category a reason."""
    new_days: float = Field(default=14.0, ge=0)
    """Days after publishing during which a video is new."""
    popular_sources: frozenset[str] = frozenset({"popular"})
    """RECOMMENDATIONS.source of recommenders that propose what many others watch."""


def find_reasons(
    places: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: ReasonsConfig,
    *,
    sources: Sequence[str],
    explored: npt.NDArray[np.bool_],
    at: int,
) -> list[list[str]]:
    """Of each of N videos on the catalog, all reasons that hold at a time in µs, the most personal first.

    `watched:VIDEO`, the most alike of the other videos watched (the later one of equals, then by id);
    `creator:ID` and `category:NAME`, by the shopper's counts; `new`; `popular`, by (N,) sources; and
    `exploration` where `explored`, (N,), says that the draw and not the order by score put it there.
    """
    watched = _most_alike(places, catalog, shopper, config.watched_cosine)
    found: list[list[str]] = []
    for row, place in enumerate(places):
        creator = _reason_code("creator", catalog.creators, int(catalog.creator[place]))
        category = _reason_code("category", catalog.categories, int(catalog.category[place]))
        age_days = (at - catalog.published_at[place]) / DAY_US
        holds = {
            f"watched:{watched[row]}": watched[row] is not None,
            creator: shopper.counts.get(creator, 0.0) >= config.creator_events,
            category: shopper.counts.get(category, 0.0) >= config.category_events,
            "new": 0 <= age_days <= config.new_days,
            "popular": sources[row] in config.popular_sources,
            "exploration": bool(explored[row]),
        }
        found.append([reason for reason, true in holds.items() if true])
    return found


def reason_text(reason: str, titles: Mapping[str, str]) -> str:
    """The reason in plain English, as the end of "You see this …"; `titles` are names by video or creator id.

    A creator or video without a name is not called by its id. Raises RankError for a code that there is none
    of.
    """
    code, _, what = reason.partition(":")
    name = titles.get(what)
    match code:
        case "watched" if what:
            return f"because you watched {name}" if name else "because of a video that you watched"
        case "creator" if what:
            return f"because you like videos by {name}" if name else "because you like this creator's videos"
        case "category" if what:
            return f"because you like {what}"
        case "popular" if not what:
            return "because it is popular"
        case "new" if not what:
            return "because it is new"
        case "exploration" if not what:
            return "as something different to try"
        case _:
            raise RankError(f"phrase: {reason!r} is not a reason", fix="give a code of RANKED.reasons")


def _reason_code(code: str, names: Sequence[str], place: int) -> str:
    """The reason's code, as profiles count it; "" where there is no name, which nothing is counted under."""
    return f"{code}:{names[place]}" if place >= 0 else ""


def _most_alike(
    places: RowIndices, catalog: CatalogArrays, shopper: ShopperContext, least: float
) -> list[str | None]:
    """Of each video, the watched one that is most like it, or None where none is alike enough."""
    names = sorted(shopper.history, key=lambda name: (-shopper.history[name], name))
    history = catalog.find(names)
    history = history[history >= 0]
    history = history[catalog.vectors[history].any(axis=1)]
    if not len(history) or not len(places):
        return [None] * len(places)
    cosines = catalog.vectors[places] @ catalog.vectors[history].T
    # A video is no reason for itself.
    cosines[places[:, None] == history] = -1.0
    best = cosines.argmax(axis=1)
    enough = cosines[np.arange(len(places)), best] >= least
    return [
        catalog.video_ids[int(history[place])] if good else None
        for place, good in zip(best, enough, strict=True)
    ]
