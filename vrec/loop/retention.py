"""Removal of old bundles and of the working files of old runs."""

import contextlib
import re
from collections.abc import Collection

from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri
from vrec.loop.build import BUNDLES, RUNS
from vrec.loop.errors import LoopError
from vrec.loop.journal import LoopJournal
from vrec.loop.promotions import PromotionEntry, rollback_target

_MADE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
"""Name of a bundle that a loop has made; others are never removed."""
_RUN = re.compile(r"\d{8}T\d{6}Z")


def kept_bundles(
    names: Collection[str], entries: list[PromotionEntry], needed: Collection[str | None], keep: int
) -> set[str]:
    """Return the bundles that stay.

    Args:
        names: All bundles in the folder.
        entries: History of promotions.
        needed: The one that the service has, whoever moved it there, and the one that waits to be confirmed;
            None for no such bundle.
        keep: Number of the newest ones that stay in any case.

    Returns:
        Those that no loop has made, the newest ones, the last one promoted, the one before it, and those that
        are needed.
    """
    made = sorted(name for name in names if _MADE.fullmatch(name))
    stay = set(names) - set(made) | set(made[-keep:]) | {name for name in needed if name is not None}
    if entries:
        stay |= {entries[-1].bundle, *([entries[-1].previous] if entries[-1].previous else [])}
        with contextlib.suppress(LoopError):
            stay.add(rollback_target(entries))
    return stay & set(names)


def remove_old(
    folder: StorageFolder,
    journal: LoopJournal,
    entries: list[PromotionEntry],
    in_service: str | None,
    keep: int,
) -> list[str]:
    """Remove old bundles, and runs whose files no step needs; return the names of the bundles.

    A bundle's manifest goes first: what is left of it after a kill is no bundle.
    """
    bundles = StorageFolder(join_uri(folder.uri, BUNDLES))
    names = [name for name in bundles.folders() if not name.startswith(".")]
    pending = None if journal.state.pending is None else journal.state.pending["bundle"]
    gone = sorted(set(names) - kept_bundles(names, entries, (in_service, pending), keep))
    for name in gone:
        bundles.remove(f"{name}/{MANIFEST}")
        bundles.remove_folder(name)
    runs = StorageFolder(join_uri(folder.uri, RUNS))
    found = sorted(name for name in runs.folders() if _RUN.fullmatch(name))
    needed = {
        name.split("/")[1]
        for record in journal.state.steps.values()
        for name in record.files
        if name.startswith(f"{RUNS}/")
    }
    for name in found[:-keep]:
        if name not in needed:
            runs.remove_folder(name)
    return gone
