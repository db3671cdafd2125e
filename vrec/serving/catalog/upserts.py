"""Choice between the update and the addition of videos, many at a time."""

from collections.abc import Callable, Sequence
from typing import Literal

from vrec.core.errors import VrecError
from vrec.serving.messages import CatalogEdit, VideoUpsert

UpsertResult = Literal["add", "update"] | VrecError


def choose_upserts(
    upserts: Sequence[VideoUpsert], is_known: Callable[[str], bool]
) -> tuple[list[UpsertResult], list[CatalogEdit]]:
    """Choose the edit of each upsert.

    Args:
        upserts: Upserts in their order; a later one sees those before it.
        is_known: Function that tells whether the catalog has a video.

    Returns:
        The kind of edit of each upsert or the reason why there is none, and the edits.
    """
    results: list[UpsertResult] = []
    edits: list[CatalogEdit] = []
    added: set[str] = set()
    for upsert in upserts:
        name = upsert.update.video_id
        if name in added or is_known(name):
            results.append("update")
            edits.append(upsert.update)
        elif isinstance(upsert.addition, VrecError):
            results.append(upsert.addition)
        else:
            results.append("add")
            edits.append(upsert.addition)
            added.add(name)
    return results, edits
