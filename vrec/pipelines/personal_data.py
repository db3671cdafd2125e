"""Commands on personal data in tables: pseudonyms, their change of keys, a search, and anonymous copies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import ConfigError, PrivacyError
from vrec.core.schema import TIMESTAMP
from vrec.core.table_batches import TableBatches, check_out, open_table, write_table
from vrec.events.columns import TIME_FIX, as_time
from vrec.privacy.anonymous.config import AnonymousConfig, TimeColumn
from vrec.privacy.anonymous.export import anonymise_table, check_columns
from vrec.privacy.door.config import FieldRule
from vrec.privacy.door.fields import DoorFields
from vrec.privacy.id_columns import MissingIds, TablePseudonyms, id_texts
from vrec.privacy.pii.columns import redact_table, scan_table
from vrec.privacy.pii.config import PiiScanConfig
from vrec.privacy.pseudonyms import SESSION, read_key

RAW_IDS = ("user_id", "session_id", "other_user_id")
"""Columns from which a rotation takes the shop's own ids."""


@dataclass(frozen=True, slots=True)
class PseudonymOptions:
    """Options of `vrec pseudonymise`; keys are names of environment variables."""

    key: str
    old_key: str | None = None
    link_key: str | None = None
    tenant: str = "default"
    domain: str = "shop"
    columns: tuple[str, ...] = field(default=())
    ids: tuple[str, ...] = field(default=())
    """Tables with the shop's own ids, for a rotation."""
    open_links: bool = False
    surfaces: bool = False
    """Whether `domain` of EVENTS holds surfaces, as in the log of a service."""
    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    """Rules for other columns; a rotation leaves them as they are."""
    missing_ids: MissingIds = "refuse"
    """Handling of ids that stand for a missing one; see TablePseudonyms."""


def pseudonymise(table: str, out: str, options: PseudonymOptions) -> dict[str, Any]:
    """Write a table with pseudonyms in the place of ids, or with those of another key.

    Raises:
        ConfigError: Options that do not go together, or an `out` that is no table.
        PrivacyError: A key is missing or short, or the table has no ids, has pseudonyms already, or has ids
            that stand for a missing one.
        SourceError: A table cannot be read.
        OutputError: The new table cannot be written.
    """
    if (options.old_key is None) != (not options.ids):
        raise ConfigError(
            "--old-key and --ids are given together or not at all",
            fix="to change the key, give both; pseudonyms are found among those of known ids",
        )
    if options.old_key is not None and options.open_links:
        raise ConfigError("--open opens LINKS and changes no key", fix="leave out --open or --old-key")
    link_key = None if options.link_key is None else read_key(options.link_key)
    places = (
        options.tenant,
        options.domain,
        link_key,
        options.columns,
        options.surfaces,
        options.missing_ids,
    )
    new = TablePseudonyms(read_key(options.key), *places)
    old_key = None if options.old_key is None else read_key(options.old_key)
    if link_key is not None and link_key in (new.key, old_key):
        raise PrivacyError(
            "the link key is the key of the pseudonyms", fix="make another one, and keep them apart"
        )
    batches = open_table(table)
    check_out(out, batches.schema, source=table)
    if options.open_links:
        schema, rows = new.open_links(batches)
    elif old_key is None:
        schema, rows = new.apply(batches)
        schema, rows = DoorFields(options.fields, new.key, options.tenant).apply(schema, rows)
    else:
        if old_key == new.key:
            raise PrivacyError("the old key is the new one", fix="make a new key, or leave --old-key out")
        schema, rows = new.rotate(batches, TablePseudonyms(old_key, *places), _raw_ids(options))
    written = write_table(out, schema, rows, source=table)
    return {"out": out, "rows": written, "rotated": old_key is not None, "opened": options.open_links}


def _raw_ids(options: PseudonymOptions) -> set[str]:
    """Return the ids in the tables of `--ids`; a session's also as the user_id that stands for it."""
    found: set[str] = set()
    for uri in options.ids:
        table = open_table(uri)
        names = [name for name in (*RAW_IDS, *options.columns) if name in table.schema.names]
        if not names:
            raise PrivacyError(f"{uri}: none of the columns {', '.join(RAW_IDS)}", fix="correct --ids")
        for batch in table:
            for name in names:
                texts = pc.utf8_trim_whitespace(id_texts(batch, name, uri))
                ids = {text for text in texts.to_pylist() if text}
                found |= ids | ({SESSION + text for text in ids} if name == "session_id" else set())
                found |= {text.removeprefix(SESSION) for text in ids if text.startswith(SESSION)}
    return found


def scan_pii(tables: list[str], config: PiiScanConfig, redact: str | None = None) -> dict[str, Any]:
    """Look for personal data in every column of some tables; with `redact`, write the one table without it.

    Raises:
        ConfigError: There are several tables to redact.
        SourceError: A table cannot be read.
        OutputError: The new table cannot be written.
    """
    if redact is not None and len(tables) != 1:
        raise ConfigError("--redact takes one table", fix="redact the tables one by one")
    found: list[dict[str, Any]] = []
    for uri in tables:
        batches = open_table(uri)
        if redact is not None:
            check_out(redact, batches.schema, source=uri)
        columns = scan_table(batches, config)
        found += [{"table": uri, **row} for one in columns.values() for row in one.rows(config.min_share)]
        if redact is not None:
            schema, rows = redact_table(batches, columns, config)
            write_table(redact, schema, rows, source=uri)
    return {
        "tables": tables,
        "found": [row for row in found if row["values"]],
        "look_alikes": [row for row in found if row["look_alikes"]],
        "out": redact,
    }


def anonymise(table: str, out: str, config: AnonymousConfig) -> dict[str, Any]:
    """Write a table that is k-anonymous and l-diverse, and return what it cost and the risk that is left.

    Raises:
        ConfigError: `out` is no table, or the one that is read.
        PrivacyError: A column is absent or of another kind, or nothing is left.
        SourceError: The table cannot be read.
        OutputError: The new table cannot be written.
    """
    batches = open_table(table)
    check_columns(batches, config)
    # No column of the new table is nested.
    check_out(out, pa.schema([]), source=table)
    found = anonymise_table(_with_times(batches, config), config)
    write_table(out, found.schema, found.batches(), source=table)
    return {"table": table, "out": out, **found.report}


def _with_times(table: TableBatches, config: AnonymousConfig) -> TableBatches:
    """Return a table whose quasi-identifiers of the kind `time` are times, as those of EVENTS are read."""
    names = [name for name, column in config.quasi_identifiers.items() if isinstance(column, TimeColumn)]

    def read() -> Iterator[pa.RecordBatch]:
        for batch in table:
            timed = batch
            for name in names:
                times, problem = as_time(pl.Series(name, batch.column(name)))
                if problem is not None:
                    # Its end repeats a value, which may be personal.
                    what = problem.partition(", such as")[0]
                    raise PrivacyError(f"{table.uri}: {what}", fix=TIME_FIX)
                place = batch.schema.get_field_index(name)
                timed = timed.set_column(place, pa.field(name, TIMESTAMP), times.to_arrow())
            yield timed

    schema = table.schema
    for name in names:
        schema = schema.set(schema.get_field_index(name), pa.field(name, TIMESTAMP))
    return TableBatches(table.uri, schema, read)
