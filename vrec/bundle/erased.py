"""Bundles that may hold shoppers who have been erased since."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import CREATOR_MODEL, read_bundle_manifest
from vrec.bundle.summary import list_bundles
from vrec.core.artifact import read_artifact
from vrec.core.errors import SourceError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.schema import STRING, TIMESTAMP, TableColumn, TableSchema
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.events.relation_tables import read_relations

ERASURES = TableSchema("ERASURES", (TableColumn("user_id", STRING), TableColumn("at", TIMESTAMP)))
"""One row per erasure of a shopper, as whoever asked for it has written it down."""
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class HoldingBundle:
    """Bundle that may hold erased shoppers."""

    name: str
    """Name of its folder."""
    made_at: int
    """µs since 1970."""
    log_end: int
    """Time of the last event of the oldest log that it was made of, µs since 1970; `made_at` if its manifest
    does not say."""
    erased: int
    """Shoppers erased after that, who were perhaps in the log."""
    named: int
    """Erased shoppers whose ids the bundle has: those in its models of creators."""


def read_erasures(uri: str) -> pa.Table:
    """Read ERASURES from Parquet, CSV, TSV or JSON lines; raises EventsError, which names all problems."""
    return read_relations(uri, ERASURES, "at", "")


def bundles_with_erased(uri: str, erasures: pa.Table, days: float, now: int) -> list[HoldingBundle]:
    """Return the bundles in a folder that are older than some days and may hold erased shoppers.

    A manifest names nobody. It has the time at which the log ended, and a log that goes on after an erasure
    was exported after it, without the shopper.

    Args:
        uri: Folder of the bundles.
        erasures: ERASURES.
        days: Age of the bundles, in days.
        now: Present time, µs since 1970.

    Raises:
        SourceError: The folder cannot be read.
    """
    try:
        listed = list_bundles(uri)
    except OSError as error:
        raise SourceError(
            f"{mask_credentials(uri)}: {os_error_reason(error)}", fix="give the folder that has the bundles"
        ) from None
    at = np.asarray(erasures.column("at").cast(pa.int64()))
    users = np.asarray(erasures.column("user_id").to_pylist(), dtype=object)
    found: list[HoldingBundle] = []
    for one in listed:
        if one.made_at is None or one.made_at > now - days * DAY_US:
            continue
        folder = join_uri(uri, one.name)
        data = read_bundle_manifest(StorageFolder(folder))["data"]
        log_end = int(data.get("log_end") or one.made_at)
        named = len(_ids_in(folder, data) & set(users))
        erased = len(set(users[at > log_end]))
        if named or erased:
            found.append(HoldingBundle(one.name, one.made_at, log_end, erased, named))
    return found


def _ids_in(folder: str, data: dict[str, Any]) -> set[str]:
    """Return the ids of shoppers in a bundle: those of its model of creators, if it has one."""
    if CREATOR_MODEL not in data["parts"]:
        return set()
    tables = read_artifact(join_uri(folder, CREATOR_MODEL), blobs=False).tables
    return set(tables["users"].column(0).to_pylist()) if "users" in tables else set()
