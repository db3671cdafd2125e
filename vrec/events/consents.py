"""CONSENTS: answers of shoppers, and tables without those who do not consent."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import DataWarning, EventsError
from vrec.core.schema import DOMAIN_PREFIX, STRING, TIMESTAMP, TableColumn, TableSchema
from vrec.events.columns import as_text, as_time, is_missing_id
from vrec.events.formats import load_columns
from vrec.events.polars_tables import describe_invalid, from_polars, to_polars
from vrec.privacy.consent.table import PURPOSES, Purpose
from vrec.privacy.pseudonyms import is_pseudonym

CONSENTS = TableSchema(
    "CONSENTS",
    (
        TableColumn("user_id", STRING),
        TableColumn("purpose", STRING),
        TableColumn("given", pa.bool_()),
        TableColumn("at", TIMESTAMP),
    ),
)
"""One row per answer of a shopper about a purpose; the last one of each counts."""
_FIX = "write the columns as docs/tables.md says for CONSENTS: GET /v1/consents has its rows"
_FORM_FIX = {
    True: "give the log that `vrec pseudonymise EVENTS` writes with the key and tenant of the service",
    False: "give CONSENTS that `vrec pseudonymise CONSENTS` writes with the key and tenant of the log",
}
"""What to do by whether the ids of CONSENTS are pseudonyms."""
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
"""Texts and numbers that `given` may have, in lower case."""


def read_consents(uri: str) -> pa.Table:
    """Read CONSENTS from Parquet, CSV, TSV or JSON lines at a path or URI.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    expected = tuple(column.name for column in CONSENTS.columns)
    frame = load_columns(uri, lambda names: {name: name for name in expected if name in names})
    if absent := [name for name in expected if name not in frame.columns]:
        raise EventsError(f"{uri}: no column {', '.join(absent)}", fix=_FIX)
    columns: list[pl.Series] = []
    problems: list[str | None] = []
    for name in expected:
        raw = frame[name].cast(pl.String) if frame[name].dtype == pl.Boolean else frame[name]
        column, problem = as_time(raw) if name == "at" else as_text(raw)
        if problem is None:
            problem = _problem(frame, name, column)
        if name == "given" and problem is None:
            column = column.str.to_lowercase().is_in(TRUE).alias(name)
        columns.append(column)
        problems.append(problem)
    if told := [problem for problem in problems if problem]:
        raise EventsError(f"{uri}: {'; '.join(told)}", fix=_FIX)
    return from_polars(pl.DataFrame(columns), CONSENTS, f"consents {uri}")


def _problem(frame: pl.DataFrame, name: str, column: pl.Series) -> str | None:
    match name:
        case "at":
            return describe_invalid(frame, name, column.is_null(), "missing")
        case "user_id":
            return describe_invalid(frame, name, is_missing_id(column) | column.is_null(), "missing")
        case "purpose":
            unknown = ~column.is_in(PURPOSES).fill_null(value=False)
            return describe_invalid(frame, name, unknown, f"that are none of {', '.join(PURPOSES)}")
        case _:
            unknown = ~column.str.to_lowercase().is_in([*TRUE, *FALSE]).fill_null(value=False)
            return describe_invalid(frame, name, unknown, "that are neither true nor false")


@dataclass(frozen=True, slots=True)
class ShopperForms:
    """Facts about the shoppers of EVENTS, or of some shards of them, by which answers are checked."""

    pseudonyms: frozenset[bool]
    """Whether ids are pseudonyms: both values where some are."""
    answered: frozenset[str]
    """Those with an answer about fits other than the default."""

    def __or__(self, other: "ShopperForms") -> "ShopperForms":
        """Return the facts of both."""
        return ShopperForms(self.pseudonyms | other.pseudonyms, self.answered | other.answered)


@dataclass(frozen=True)
class ShopperConsents:
    """Last answers of shoppers."""

    consents: pa.Table
    """CONSENTS."""
    default: bool
    """Whether a shopper who has not answered consents."""

    @cached_property
    def _last(self) -> pl.DataFrame:
        # Of answers of the same moment the refusal counts.
        rows = to_polars(self.consents).sort("at", "given", descending=[False, True])
        return rows.unique(["user_id", "purpose"], keep="last", maintain_order=True)

    def keep(self, table: pa.Table, purpose: Purpose, column: str = "user_id") -> pa.Table:
        """Return the rows of a table whose shoppers, in a column, consent to a purpose, in their order."""
        differing = self._differing(purpose)
        if self.default and differing.is_empty():
            return table
        users = pl.Series(table.column(column).combine_chunks())
        is_other = users.is_in(differing.implode())
        return table.filter(pa.array((~is_other if self.default else is_other).to_numpy()))

    def _differing(self, *purposes: Purpose) -> pl.Series:
        """Return the shoppers whose answer about one of some purposes is not the default."""
        answers = self._last.filter(pl.col("purpose").is_in(purposes) & (pl.col("given") != self.default))
        return answers.get_column("user_id").unique(maintain_order=True)

    def forms_of(self, users: pa.Array) -> ShopperForms:
        """Return the facts about distinct shoppers, before anybody is left out."""
        ids = pl.Series(users, dtype=pl.String)
        answered = ids.filter(ids.is_in(self._differing("train").implode()))
        return ShopperForms(frozenset(map(_has_pseudonym, ids)), frozenset(answered))

    def count_absent(self, events: ShopperForms, uri: str, log: str) -> int:
        """Return how many shoppers answered about fits otherwise than the default and are not in EVENTS.

        Args:
            events: Facts about the shoppers of EVENTS.
            uri: Name of CONSENTS in messages.
            log: Name of EVENTS in messages.

        Raises:
            EventsError: The answers of some shoppers are under pseudonyms and nobody in EVENTS is, or the
                reverse, so that these answers would leave nobody out.
        """
        for pseudonyms in (True, False):
            lost = [one for one in self._differing("train", "link") if _has_pseudonym(one) == pseudonyms]
            if lost and events.pseudonyms == {not pseudonyms}:
                raise EventsError(_form_problem(len(lost), uri, log, pseudonyms), fix=_FORM_FIX[pseudonyms])
        answered = self._differing("train")
        absent = len(answered) - len(events.answered)
        if self.default and absent and absent == len(answered):
            warnings.warn(
                f"{uri}: none of the {absent:,} shoppers who refuse fits is in {log}, so that nobody is left "
                "out. That is right for a log that a service exported, which is without them; for another "
                "log, check that its ids are those of CONSENTS",
                DataWarning,
                stacklevel=2,
            )
        return absent

    def keep_links(self, links: pa.Table) -> pa.Table:
        """Return the rows of LINKS whose shoppers consent to links, and to fits."""
        return self.keep(self.keep(links, "link"), "train")

    def keep_follows(self, follows: pa.Table) -> pa.Table:
        """Return the rows of FOLLOWS whose shoppers consent to fits, as do the friends who are followed."""
        mine = self.keep(follows, "train")
        is_friend = pc.equal(mine.column("entity"), "user")
        if not pc.any(is_friend).as_py():
            return mine
        refused = set(mine.column("entity_id").to_pylist())
        refused -= set(self.keep(mine, "train", "entity_id").column("entity_id").to_pylist())
        of_refused = pc.is_in(mine.column("entity_id"), value_set=pa.array(sorted(refused), pa.string()))
        return mine.filter(pc.invert(pc.and_(is_friend, of_refused)))


def _has_pseudonym(user_id: str) -> bool:
    return is_pseudonym(user_id.rpartition(":")[2] if user_id.startswith(DOMAIN_PREFIX) else user_id)


def _form_problem(count: int, uri: str, log: str, pseudonyms: bool) -> str:
    mine, other = ("pseudonyms", "none") if pseudonyms else ("no pseudonyms", "all of them")
    return (
        f"{uri} does not fit {log}: the ids of {count:,} shoppers with answers are {mine}, and of the log's "
        f"ids {other} are"
    )
