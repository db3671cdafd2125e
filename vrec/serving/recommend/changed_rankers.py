"""Rankers of changed videos: few, although a change copies few videos."""

from collections.abc import Sequence
from dataclasses import dataclass

from vrec.core.pauses import pause_if_due
from vrec.ranking.base import ProfileRanker

MERGED_FROM = 4
"""Rankers of changed videos are merged if the larger one has at most this many times the smaller one's."""


@dataclass(frozen=True, slots=True)
class ChangedRanker:
    """Ranker that knows some changed videos and no others."""

    ids: dict[str, None]
    ranker: ProfileRanker


def add_ranker(
    rankers: Sequence[ChangedRanker], ids: Sequence[str], ranker: ProfileRanker
) -> tuple[ChangedRanker, ...]:
    """Return rankers of changed videos with one of more of them, whose videos replace theirs.

    Each is MERGED_FROM times as large as the next.
    """
    found = [*rankers, ChangedRanker(dict.fromkeys(ids), ranker)]
    while len(found) > 1 and MERGED_FROM * len(found[-1].ids) >= len(found[-2].ids):
        older, newer = found[-2:]
        both = older.ids | newer.ids
        found[-2:] = [ChangedRanker(both, older.ranker.restricted_to(list(both), newer.ranker))]
        pause_if_due()
    return tuple(found)
