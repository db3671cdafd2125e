"""Cutting: which rows of EVENTS a report's findings leave out."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from vrec.robustness.gates.catalog import CatalogFacts
from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.features import feature_codes
from vrec.robustness.gates.findings import HOUR_US, GateFinding

_CONTENT = ("user_id", "video_id", "kind", "value", "position", "request_id", "at")
BATCH = 1 << 16


def can_cut(finding: GateFinding) -> bool:
    """Return whether a fault is in rows or hours that can be left out."""
    return finding.table == "EVENTS" and bool(finding.hours or finding.drop)


def cut_rows(
    events: pl.DataFrame, findings: Sequence[GateFinding], facts: CatalogFacts | None, config: GatesConfig
) -> pl.Series:
    """Return (N,) bool, which events the findings leave out.

    Args:
        events: EVENTS.
        findings: Faults for which `can_cut` holds.
        facts: Catalog, or None.
        config: Bounds of the rules for rows.
    """
    hours = sorted({hour for finding in findings if not finding.drop for hour in finding.hours})
    hour = events["at"].to_physical() // HOUR_US
    bad = hour.is_in(hours)
    rules = {finding.drop for finding in findings if finding.drop}
    if "twins" in rules:
        later = ~events.select(pl.struct(_CONTENT).is_first_distinct()).to_series()
        bad |= later
        rules.discard("twins")
    if rules:
        found = np.zeros(events.height, bool)
        for first in range(0, events.height, BATCH):
            part = events.slice(first, BATCH)
            codes = feature_codes(part if facts is None else facts.join(part), facts, config)
            for rule in rules & codes.keys():
                found[first : first + part.height] |= codes[rule] == 1
        bad |= pl.Series(found)
    return bad
