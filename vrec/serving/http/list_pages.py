"""Pages of a list of recommendations: a cursor holds the videos of the pages before.

Each page is the best of what is left when it is requested. So no video comes twice, and none that stays
eligible is missed by a client that goes on to the end, however profile, catalog and bundle change. The cursor
of a slot also holds the videos of the other slots.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from vrec.serving.http.cursors import decode_cursor, encode_cursor, refused_cursor
from vrec.serving.http.schemas.requests import ListPage, RecommendRequest
from vrec.serving.messages import ListResult

MAX_PAGED = 1_000
"""Videos after which a list has no further page."""


class ShownVideos(NamedTuple):
    """Ids of the videos that a list has no more."""

    before: Sequence[str] = ()
    """On its pages before."""
    elsewhere: Sequence[str] = ()
    """In other slots of the same call."""


def shown_before(body: RecommendRequest, page: ListPage) -> ShownVideos:
    """Return the videos on the pages before; raise HttpProblem for a cursor of another list."""
    position = decode_cursor(page.cursor, _common(body, page.request_id), list, "page.cursor")
    if [type(videos) for videos in position] != [list, list]:
        raise refused_cursor("page.cursor", "it is not a cursor of a list: send `next_cursor` as it came")
    return ShownVideos(*position)


def next_cursor(
    body: RecommendRequest, request_id: str, shown: ShownVideos, result: ListResult, *, is_last: bool = False
) -> str | None:
    """Return the cursor of the next page; None after the last page, an empty one or MAX_PAGED videos."""
    if is_last:
        return None
    videos = [*shown.before, *(item.video_id for item in result.items)]
    if not result.items or len(videos) >= MAX_PAGED:
        return None
    return encode_cursor(_common(body, request_id), [videos, list(shown.elsewhere)])


def _common(body: RecommendRequest, request_id: str) -> list[Any]:
    fields = body.model_dump(mode="json", exclude={"k", "exclude", "explain", "page"})
    return ["recommend", request_id, sorted(fields.items())]
