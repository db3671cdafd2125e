"""Tables of suspects: weights of shoppers with reasons, and their release by hand."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import ConfigError, SourceError
from vrec.core.schema import STRING, TIMESTAMP, TableColumn, TableSchema
from vrec.core.table_batches import open_table, write_table

SUSPECTS = TableSchema(
    "SUSPECTS",
    (
        TableColumn("user_id", STRING),
        TableColumn("weight", pa.float64()),
        TableColumn("score", pa.float64()),
        TableColumn("reasons", STRING),
        TableColumn("since", TIMESTAMP),
        TableColumn("released_at", TIMESTAMP, nullable=True),
    ),
)
"""Table of shoppers by how suspicious they are. `weight` is what they count, 1 for all but suspects;
`reasons` are separated by `; `; `since` is the time of the detection that made a shopper a suspect;
`released_at` that of a release by hand, after which the weight is 1 in every later table too."""


def read_suspects(uri: str) -> pa.Table:
    """Return the SUSPECTS at a path or URI.

    A table that somebody else made may have `user_id` and `weight` alone.

    Raises:
        SourceError: The table cannot be read, lacks one of these columns, has weights outside 0 to 1 or a
            shopper twice.
    """
    batches = open_table(uri)
    table = pa.Table.from_batches(batches, batches.schema)
    if missing := [name for name in ("user_id", "weight") if name not in table.column_names]:
        raise SourceError(
            f"{uri}: no column {' or '.join(missing)}", fix="give a table of `vrec robustness suspects`"
        )
    rows = table.num_rows
    given = {name: table[name] for name in table.column_names}
    columns: list[pa.ChunkedArray | pa.Array] = []
    for column in SUSPECTS.columns:
        assert isinstance(column.type, pa.DataType)
        default = {"score": 0.0, "reasons": "", "since": datetime.fromtimestamp(0)}.get(column.name)
        found = given.get(column.name, pa.nulls(rows, column.type))
        try:
            found = found.cast(column.type)
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{uri}: the column {column.name} cannot be read ({error})",
                fix="give a table of `vrec robustness suspects`",
            ) from None
        if default is not None:
            found = pc.fill_null(found, pa.scalar(default).cast(column.type))
        columns.append(found)
    read = pa.Table.from_arrays(columns, schema=SUSPECTS.arrow())
    _check(read, uri)
    return read


def _check(table: pa.Table, uri: str) -> None:
    weights = np.asarray(table["weight"].fill_null(np.nan), np.float64)
    wrong = np.flatnonzero(~((weights >= 0) & (weights <= 1)))
    if len(wrong) or table["user_id"].null_count:
        name = table["user_id"][int(wrong[0])].as_py() if len(wrong) else None
        raise SourceError(
            f"{uri}: a weight or id is wrong, such as that of {name}",
            fix="give each shopper an id and a weight from 0 to 1",
        )
    if len(pc.unique(table["user_id"])) < table.num_rows:
        raise SourceError(f"{uri}: a user_id is there twice", fix="give each shopper one row")


def write_suspects(out: str, suspects: pa.Table) -> None:
    """Write SUSPECTS to a path or URI, whole or not at all; raises ConfigError or OutputError."""
    write_table(out, suspects.schema, iter(suspects.to_batches()), source="")


def quarantined(suspects: pa.Table) -> pa.Array:
    """Return the ids of SUSPECTS with the weight 0, ascending."""
    ids = suspects.filter(pc.equal(suspects["weight"], 0.0))["user_id"].combine_chunks()
    return ids.take(pc.sort_indices(ids))


def release(suspects: pa.Table, user_ids: Sequence[str], at: datetime) -> pa.Table:
    """Return SUSPECTS in which some shoppers are released: they count in full.

    Args:
        suspects: SUSPECTS.
        user_ids: Shoppers to release.
        at: Time of the release.

    Raises:
        ConfigError: A shopper is not in the table.
    """
    wanted = pa.array(list(user_ids), pa.string())
    if absent := [
        name.as_py() for name in wanted if not pc.is_in(name, value_set=suspects["user_id"]).as_py()
    ]:
        raise ConfigError(
            f"no suspect of the id {', '.join(absent)}", fix="give ids as they are in the table's user_id"
        )
    chosen = pc.is_in(suspects["user_id"], value_set=wanted)
    time = pa.scalar(at, TIMESTAMP)
    columns = {name: suspects[name] for name in suspects.column_names}
    columns["weight"] = pc.if_else(chosen, 1.0, suspects["weight"])
    columns["released_at"] = pc.if_else(chosen, time, suspects["released_at"])
    return pa.table(columns, schema=SUSPECTS.arrow())


def carry_over(suspects: pa.Table, before: pa.Table) -> pa.Table:
    """Return SUSPECTS with an earlier table's releases, and its `since` for those who still are suspects.

    A released shopper stays so, whatever a later detection finds, also one without later events.
    """
    place = np.asarray(pc.index_in(suspects["user_id"], value_set=before["user_id"]).fill_null(-1))
    known = pa.array(place, pa.int64(), mask=place < 0)
    released = pc.take(before["released_at"].combine_chunks(), known)
    was_suspect = pc.less(pc.take(before["weight"].combine_chunks(), known), 1.0)
    still = pc.and_(pc.fill_null(was_suspect, False), pc.less(suspects["weight"], 1.0))
    since = pc.if_else(still, pc.take(before["since"].combine_chunks(), known), suspects["since"])
    columns = {name: suspects[name] for name in suspects.column_names}
    columns["weight"] = pc.if_else(pc.is_valid(released), 1.0, suspects["weight"])
    columns["released_at"], columns["since"] = released, since
    carried = pa.table(columns, schema=SUSPECTS.arrow())
    gone = pc.invert(pc.is_in(before["user_id"], value_set=suspects["user_id"]))
    rest = before.filter(pc.and_(gone, pc.is_valid(before["released_at"])))
    return pa.concat_tables([carried, rest])
