"""Creators of the backend as bodies of responses."""

from typing import Any

from vrec.serving.creators.entries import CreatorEntry, CreatorList
from vrec.serving.http.schemas.creators import CreatorFiguresResponse

FIGURES = tuple(CreatorFiguresResponse.model_fields)


def creator_body(entry: CreatorEntry) -> dict[str, Any]:
    """Return a CreatorProfile as a dict."""
    figures = None if entry.figures is None else {name: entry.figures[name] for name in FIGURES}
    return {
        "creator_id": entry.creator_id,
        "about": about_creator(entry),
        "videos": entry.videos,
        "streams": entry.streams,
        "is_new": entry.is_new,
        "figures": figures,
    }


def creator_list_body(found: CreatorList, request_id: str) -> dict[str, Any]:
    """Return a RecommendCreatorsResponse as a dict."""
    creators = [
        {
            **creator_body(entry),
            "position": position,
            "score": one.score,
            "propensity": one.propensity,
            "source": one.source,
        }
        for position, (one, entry) in enumerate(zip(found.creators, found.entries, strict=True))
    ]
    return {
        "request_id": request_id,
        "bundle": found.bundle,
        "degraded": bool(found.degraded),
        "why": list(found.degraded),
        "creators": creators,
    }


def about_creator(entry: CreatorEntry) -> str:
    """Return a creator's profile in plain words, such as "12 videos, mostly mugs; 34 followers"."""
    figures, parts = entry.figures, [_count(entry.videos, "video")]
    if entry.streams:
        parts[0] += f" ({_count(entry.streams, 'live stream')})"
    if figures is None:
        return f"{parts[0]}; new here"
    if figures["category"]:
        parts[0] += f", mostly {figures['category']}"
    if figures["videos_per_week"] >= 1:
        parts.append(f"about {_count(round(figures['videos_per_week']), 'video')} a week")
    if figures["viewers"]:
        parts.append(f"{figures['completion_rate']:.0%} of the watches are complete")
        parts.append(f"{figures['repeat_viewers']:.0%} of the viewers come back")
    if figures["followers"]:
        parts.append(_count(figures["followers"], "follower"))
    if entry.is_new:
        parts.append("not seen much yet")
    return "; ".join(parts)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
