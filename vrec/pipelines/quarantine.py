"""Shoppers in quarantine: their events are left out of all that commands count and fit."""

import logging
from dataclasses import dataclass

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.core.masking import mask_credentials
from vrec.robustness.behavior.table import quarantined, read_suspects

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuarantineDrops:
    """Events that a command left out, since their shoppers are in quarantine."""

    shoppers: int
    """Shoppers with events."""
    events: int


def without_quarantined(events: pa.Table, uri: str | None) -> tuple[pa.Table, QuarantineDrops | None]:
    """Return EVENTS without those of suspects of weight 0, and how many these are; all without a table.

    Args:
        events: EVENTS.
        uri: Path or URI of a table of `vrec robustness suspects`, if any.

    Raises:
        SourceError: The table cannot be read.
        EventsError: Nothing is left.
    """
    if uri is None:
        return events, None
    out = pc.is_in(events["user_id"], value_set=quarantined(read_suspects(uri)))
    kept = events.filter(pc.invert(out))
    if events.num_rows and not kept.num_rows:
        raise EventsError(
            f"{mask_credentials(uri)}: every shopper with events is in quarantine",
            fix="release shoppers, or give another table in events.quarantine",
        )
    drops = QuarantineDrops(len(pc.unique(events["user_id"].filter(out))), events.num_rows - kept.num_rows)
    _log.info(
        "%s events of %s shoppers in quarantine are left out", f"{drops.events:,}", f"{drops.shoppers:,}"
    )
    return kept, drops
