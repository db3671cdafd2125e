"""`vrec robustness suspects` and `release`: shoppers who behave abnormally, and appeals."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import SourceError
from vrec.core.table_batches import check_out, open_table
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.behavior.suspects import find_suspects
from vrec.robustness.behavior.table import SUSPECTS, carry_over, read_suspects, release, write_suspects

_log = logging.getLogger(__name__)

SHOWN = 20
"""Suspects in the summary."""


def write_suspicions(
    inputs: InputPaths,
    out: str,
    settings: Settings,
    *,
    before: str | None = None,
    devices: str | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """Judge the shoppers of a log, write SUSPECTS to `out` and return a summary.

    Shoppers in quarantine are judged too: by `events.quarantine` nobody could be found innocent.

    Args:
        inputs: Events, and VIDEOS for the lengths of films.
        out: Path or URI of the table.
        settings: `robustness.suspects` has the threshold.
        before: Earlier table, whose releases stay; `out` itself if it is there and None is given.
        devices: Table of `user_id` and `device`, if the shop knows them.
        at: Time of the detection; now by default.

    Raises:
        EventsError, SchemaError, SourceError: A table cannot be read.
        ConfigError, OutputError: The table cannot be written.
    """
    check_out(out, SUSPECTS.arrow(), source=inputs.events)
    earlier = _earlier(out, before)
    events = settings.events.model_copy(update={"of": "video", "quarantine": None})
    data = read_inputs(inputs, events, settings.fit.modality)
    content = data.content
    log = BehaviorLog.from_events(
        data.events, None if content is None else content.videos, has_clock=data.has_clock
    )
    _log.info("judging %s shoppers", f"{len(log.shoppers):,}")
    at = at or datetime.now(UTC)
    found = find_suspects(log, settings.robustness.suspects, at, None if devices is None else _read(devices))
    if earlier is not None:
        found = carry_over(found, earlier)
    write_suspects(out, found)
    return _summary(found) | {"events": data.name, "out": out}


def release_suspects(table: str, user_ids: Sequence[str], *, at: datetime | None = None) -> dict[str, Any]:
    """Release shoppers by hand in the table at a path or URI, and return a summary.

    Raises:
        SourceError: The table cannot be read.
        ConfigError: A shopper is not in it.
        OutputError: It cannot be written.
    """
    released = release(read_suspects(table), user_ids, at or datetime.now(UTC))
    write_suspects(table, released)
    return _summary(released) | {"out": table}


def _earlier(out: str, before: str | None) -> pa.Table | None:
    if before is not None:
        return read_suspects(before)
    try:
        return read_suspects(out)
    except SourceError as error:
        if "no such file" in str(error):
            return None
        raise


def _read(uri: str) -> pa.Table:
    batches = open_table(uri)
    return pa.Table.from_batches(batches, batches.schema)


def _summary(suspects: pa.Table) -> dict[str, Any]:
    held = suspects.filter(pc.less(suspects["weight"], 1.0)).sort_by([("score", "descending")])
    return {
        "shoppers": suspects.num_rows,
        "suspects": held.num_rows,
        "released": suspects.num_rows - suspects["released_at"].null_count,
        "first": held.select(["user_id", "weight", "score", "reasons"]).slice(0, SHOWN).to_pylist(),
    }
