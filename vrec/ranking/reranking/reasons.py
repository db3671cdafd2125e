"""Reasons for a video in a list: codes of facts that hold, and their English texts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.events.interactions import DAY_US
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext


class ReasonsConfig(BaseConfig):
    """Thresholds from which a fact is a reason."""

    watched_cosine: float = Field(default=0.6, gt=0, le=1)
    """Least cosine of content vectors at which a video counts as similar to a watched one. Typical cosines
    depend on the encoder."""
    creator_events: float = Field(default=3.0, gt=0)
    """Least number of interest events in a creator's videos that make the creator a reason."""
    category_events: float = Field(default=5.0, gt=0)
    """Least number of interest events in a category's videos that make the category a reason."""
    new_days: float = Field(default=14.0, ge=0)
    """Days after publication during which a video is new."""
    popular_sources: frozenset[str] = frozenset({"popular"})
    """Values of RECOMMENDATIONS.source whose candidates are popular videos."""


def find_reasons(
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: ReasonsConfig,
    *,
    sources: Sequence[str],
    explored: npt.NDArray[np.bool_],
    at: int,
) -> list[list[str]]:
    """Find all reasons that hold for each of N videos, the most personal first.

    The reasons are `watched:VIDEO`, the most similar of the other videos watched (of equals the one watched
    last, then by id); `creator:ID` and `category:NAME`, by the shopper's counts; `new`; `popular`; and
    `exploration`.

    Args:
        catalog_rows: (N,) rows of the videos in the catalog.
        catalog: Catalog of the videos.
        shopper: History and counts of the shopper.
        config: Thresholds.
        sources: (N,) RECOMMENDATIONS.source of the videos.
        explored: (N,) whether exploration, and not the score, put the video in its slot.
        at: Time of the request in µs since 1970.
    """
    watched = _most_similar(catalog_rows, catalog, shopper, config.watched_cosine)
    reasons: list[list[str]] = []
    for row, catalog_row in enumerate(catalog_rows):
        creator = _reason_code("creator", catalog.creators, int(catalog.creator[catalog_row]))
        category = _reason_code("category", catalog.categories, int(catalog.category[catalog_row]))
        age_days = (at - catalog.published_at[catalog_row]) / DAY_US
        holds = {
            f"watched:{watched[row]}": watched[row] is not None,
            creator: shopper.counts.get(creator, 0.0) >= config.creator_events,
            category: shopper.counts.get(category, 0.0) >= config.category_events,
            "new": 0 <= age_days <= config.new_days,
            "popular": sources[row] in config.popular_sources,
            "exploration": bool(explored[row]),
        }
        reasons.append([reason for reason, true in holds.items() if true])
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
    name = titles.get(subject)
    match code:
        case "watched" if subject:
            return f"because you watched {name}" if name else "because of a video that you watched"
        case "creator" if subject:
            return f"because you like videos by {name}" if name else "because you like this creator's videos"
        case "category" if subject:
            return f"because you like {subject}"
        case "popular" if not subject:
            return "because it is popular"
        case "new" if not subject:
            return "because it is new"
        case "exploration" if not subject:
            return "as something different to try"
        case _:
            raise RankError(f"reason_text: {reason!r} is not a reason", fix="pass a code of RANKED.reasons")


def _reason_code(kind: str, names: Sequence[str], code: int) -> str:
    """Return the reason as profiles count it; "" without a name, which never has a count."""
    return f"{kind}:{names[code]}" if code >= 0 else ""


def _most_similar(
    catalog_rows: RowIndices, catalog: CatalogArrays, shopper: ShopperContext, min_cosine: float
) -> list[str | None]:
    """Return the most similar watched video of each video, None where none is similar enough."""
    names = sorted(shopper.history, key=lambda name: (-shopper.history[name], name))
    history = catalog.find(names)
    history = history[history >= 0]
    history = history[catalog.vectors[history].any(axis=1)]
    if not len(history) or not len(catalog_rows):
        return [None] * len(catalog_rows)
    cosines = catalog.vectors[catalog_rows] @ catalog.vectors[history].T
    # A video is not a reason for itself.
    cosines[catalog_rows[:, None] == history] = -1.0
    best = cosines.argmax(axis=1)
    similar = cosines[np.arange(len(catalog_rows)), best] >= min_cosine
    return [
        catalog.video_ids[int(history[index])] if is_similar else None
        for index, is_similar in zip(best, similar, strict=True)
    ]
