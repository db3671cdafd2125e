"""Copies in a catalog: who was first, and what is held back from the others."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime


def later_copies(
    groups: Iterable[Sequence[str]], published_at: Mapping[str, datetime | None]
) -> dict[str, str]:
    """Return the first video of its group by later copy.

    The first is the one that was published first; a video without a date is later than those with one, and of
    equal ones the first by id. Videos without an entry in `published_at` do not count.

    Args:
        groups: Ids of near-duplicates.
        published_at: Publishing date of each video of the catalog.
    """
    found: dict[str, str] = {}
    for group in groups:
        known = [video_id for video_id in group if video_id in published_at]
        order = sorted(known, key=lambda video_id: _age(published_at[video_id], video_id))
        found |= dict.fromkeys(order[1:], order[0] if order else "")
    return found


def _age(published_at: datetime | None, video_id: str) -> tuple[bool, float, str]:
    return published_at is None, 0.0 if published_at is None else published_at.timestamp(), video_id
