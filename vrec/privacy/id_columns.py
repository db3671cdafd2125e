"""Pseudonyms in whole tables: every column of ids of EVENTS, LINKS and FOLLOWS, in batches."""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from vrec.core.casts import FLOAT_ID, ID_FIX, PLACEHOLDERS, text_column
from vrec.core.compute import pc
from vrec.core.errors import DataWarning, PrivacyError
from vrec.core.schema import DOMAIN_PREFIX
from vrec.core.table_batches import TableBatches
from vrec.privacy.pseudonyms import SEALED_PREFIX, IdKind, LinkSeal, Pseudonymizer, is_pseudonym

ID_KINDS: Mapping[str, IdKind] = {"user_id": "user", "session_id": "session", "event_id": "event"}
"""Columns of ids in the row's own domain. An event_id may be a digest of the row, by which a guess of
who it was could be confirmed."""
OTHER_USER, OTHER_DOMAIN = "other_user_id", "other_domain"
FRIEND, ENTITY = "entity_id", "entity"
"""Columns of FOLLOWS; an entity_id is a shopper's where entity is `user`."""

MissingIds = Literal["refuse", "drop", "keep"]
"""What is done with ids that stand for a missing one, as by `events.read.missing_ids`."""
Rename = Callable[[str, IdKind, str], str]
"""Function from a domain, a kind of id and an id to the id that takes its place."""


@dataclass(frozen=True)
class TablePseudonyms:
    """Pseudonyms of the ids of one tenant's tables."""

    key: bytes
    tenant: str = "default"
    domain: str = "shop"
    """Domain of rows that name none."""
    link_key: bytes | None = None
    """Key of LINKS."""
    columns: Collection[str] = ()
    """Further columns of user ids."""
    surfaces: bool = False
    """Whether `domain` of EVENTS holds surfaces, as in the log of a service, and so says nothing of ids."""
    missing_ids: MissingIds = "refuse"
    """Handling of users such as `NaN` or `NULL`: `refuse` raises an error; `drop` leaves out the rows whose
    user_id is one or is missing, and makes nulls of those in other columns; `keep` takes them as ids."""
    _made: dict[tuple[str, IdKind], Pseudonymizer] = field(default_factory=dict)

    def rename(self, domain: str, kind: IdKind, text: str) -> str:
        """Return the pseudonym of an id; raises PrivacyError for one that is a pseudonym already."""
        if is_pseudonym(_of_account(domain, kind, text)[2]):
            raise PrivacyError(
                f"the table has pseudonyms already, such as {text}",
                fix="give the table with the shop's own ids; to change the key, give --old-key and --ids",
            )
        return self.pseudonym(domain, kind, text)

    def pseudonym(self, domain: str, kind: IdKind, text: str) -> str:
        """Return the pseudonym of an id, whatever its form.

        A user id that a service has stored for an account in another domain keeps the prefix that says so.
        """
        prefix, domain, text = _of_account(domain, kind, text)
        if (domain, kind) not in self._made:
            self._made[domain, kind] = Pseudonymizer(self.key, self.tenant, domain, kind)
        return prefix + self._made[domain, kind](text)

    def seal(self) -> LinkSeal:
        """Return the seal of LINKS; raises PrivacyError without a link key."""
        if self.link_key is None:
            raise PrivacyError(
                "LINKS joins the shop's data with those of other domains, and there is no link key",
                fix="give --link-key, the name of the variable that holds it; keep it apart from --key",
            )
        return LinkSeal(self.link_key, self.tenant)

    def apply(self, table: TableBatches) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return a table's columns and rows with pseudonyms in the place of ids.

        Ids are without the spaces around them, as fits read them; one of spaces alone is empty.

        Raises:
            PrivacyError: No column holds ids, one has another type, pseudonyms are there already, there are
                links and no link key, or an id stands for a missing one. What depends on rows is raised while
                they are read.
        """
        return self._with_ids(self._plain(table), self.rename, self._sealing(table))

    def _plain(self, table: TableBatches) -> TableBatches:
        """Return a table whose ids are text without spaces around it, and rows as `missing_ids` says."""
        kinds, schema = self._id_columns(table), table.schema
        for name in kinds:
            schema = schema.set(schema.get_field_index(name), schema.field(name).with_type(pa.string()))

        def read() -> Iterator[pa.RecordBatch]:
            rows = kept = 0
            floats, others = Counter[str](), Counter[str]()
            for batch in table:
                columns, is_left = list(batch.columns), None
                for name, kind in kinds.items():
                    ids = _trimmed_ids(batch, name, table.uri)
                    if kind == "user" and self.missing_ids != "keep":
                        ids = self._without_placeholders(batch, name, ids, table.uri)
                    if name == "user_id" and self.missing_ids == "drop":
                        is_left = pc.fill_null(pc.not_equal(ids, ""), fill_value=False)
                    columns[schema.get_field_index(name)] = ids
                    count = pc.sum(pc.match_substring_regex(ids, FLOAT_ID)).as_py() or 0
                    floats[name] += count
                    others[name] += len(ids) - ids.null_count - count
                plain = pa.record_batch(columns, schema=schema)
                plain = plain if is_left is None else plain.filter(is_left)
                rows, kept = rows + batch.num_rows, kept + plain.num_rows
                yield plain
            if rows > kept:
                left = f"{rows - kept:,} of {rows:,} rows without a user are left out"
                warnings.warn(f"{table.uri}: {left}", DataWarning, stacklevel=2)
            for name in (name for name in kinds if floats[name] and not others[name]):
                told = (
                    f"all {floats[name]:,} ids in {name} are texts that end in .0, and stay so, where a fit "
                    f"of this table reads whole numbers; if the shop's ids are such, {ID_FIX}"
                )
                warnings.warn(f"{table.uri}: {told}", DataWarning, stacklevel=2)

        return TableBatches(table.uri, schema, read)

    def _without_placeholders(self, batch: pa.RecordBatch, name: str, ids: pa.Array, uri: str) -> pa.Array:
        """Return users with nulls for those that stand for a missing one; `refuse` raises PrivacyError."""
        is_none = pc.or_(
            pc.is_in(pc.utf8_lower(ids), value_set=pa.array(sorted(PLACEHOLDERS))), pc.equal(ids, "NA")
        )
        is_none = pc.fill_null(pc.and_(is_none, _is_user(batch, name)), fill_value=False)
        count = pc.sum(is_none).as_py() or 0
        if count and self.missing_ids == "refuse":
            example = ids.filter(is_none)[0].as_py()
            raise PrivacyError(
                f"{uri}: {name} has {count:,} that stand for a missing id, such as {example!r}",
                fix="leave these rows out with --set events.read.missing_ids=drop; `keep` takes them as ids",
            )
        return pc.if_else(is_none, pa.scalar(None, pa.string()), ids) if count else ids

    def rotate(
        self, table: TableBatches, old: "TablePseudonyms", ids: Collection[str]
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return a table's columns and rows with pseudonyms of this key in place of an old one's.

        A pseudonym cannot be turned back, so it is found among those of known ids. The mapping is in memory
        alone. Ids of events, which name nobody and which nobody lists, become pseudonyms of their old ones.

        Args:
            table: A table with pseudonyms of the old key.
            old: The old key with its tenant.
            ids: The shop's own ids of all users and sessions.

        Raises:
            PrivacyError: A pseudonym is that of none of the ids; nothing of the table is written then.
        """
        mappings: dict[tuple[str, IdKind], dict[str, str]] = {}

        def rename(domain: str, kind: IdKind, text: str) -> str:
            if kind == "event":
                return self.pseudonym(domain, kind, text)
            prefix, domain, text = _of_account(domain, kind, text)
            if (domain, kind) not in mappings:
                mappings[domain, kind] = {
                    old.pseudonym(domain, kind, one): self.pseudonym(domain, kind, one) for one in ids if one
                }
            found = mappings[domain, kind].get(text, "")
            if text and not found:
                raise PrivacyError(
                    f"{text}, a {kind} of the domain {domain}, is the old pseudonym of none of the ids",
                    fix="give --ids with the ids of all shoppers and sessions, and the key, tenant and "
                    "domain that the table was written with",
                )
            return prefix + found

        sealing = self._sealing(table)
        opening = None if sealing is None else old.seal()

        def reseal(domain: str, text: str) -> str:
            assert sealing is not None
            assert opening is not None
            return sealing.seal(rename(domain, "user", opening.open(text, domain)), domain)

        return self._with_ids(table, rename, sealing, reseal)

    def open_links(self, table: TableBatches) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return LINKS with the accounts' pseudonyms legible, so that a fit can join other domains' events.

        Raises:
            PrivacyError: It is no LINKS, or was sealed with another link key.
        """
        if OTHER_USER not in table.schema.names:
            raise PrivacyError(f"{table.uri}: no column {OTHER_USER}", fix="open LINKS, and no other table")
        seal = self.seal()
        return self._with_ids(table, lambda _, __, text: text, seal, lambda d, text: seal.open(text, d))

    def _sealing(self, table: TableBatches) -> LinkSeal | None:
        return self.seal() if OTHER_USER in table.schema.names else None

    def _with_ids(
        self,
        table: TableBatches,
        rename: Rename,
        seal: LinkSeal | None,
        reseal: Callable[[str, str], str] | None = None,
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        kinds = self._id_columns(table)
        schema = table.schema
        for name in kinds:
            schema = schema.set(schema.get_field_index(name), schema.field(name).with_type(pa.string()))

        def account(domain: str, text: str) -> str:
            assert seal is not None
            if text.startswith(SEALED_PREFIX):
                raise PrivacyError(
                    f"{table.uri}: its accounts are sealed already", fix="give LINKS as the shop has it"
                )
            return seal.seal(rename(domain, "user", text), domain)

        def rows() -> Iterator[pa.RecordBatch]:
            for batch in table:
                columns = list(batch.columns)
                for name, kind in kinds.items():
                    at, texts = schema.get_field_index(name), _texts(batch, name)
                    if name == OTHER_USER:
                        columns[at] = _mapped(texts, self._domains(batch, OTHER_DOMAIN), reseal or account)
                    elif name == FRIEND:
                        columns[at] = self._friends(batch, texts, rename)
                    else:
                        columns[at] = _mapped(texts, self._domains(batch), _of_kind(rename, kind))
                yield pa.record_batch(columns, schema=schema)

        return schema, rows()

    def _id_columns(self, table: TableBatches) -> dict[str, IdKind]:
        """Return the kind of each column of ids."""
        names = table.schema.names
        if missing := [name for name in self.columns if name not in names]:
            raise PrivacyError(
                f"{table.uri}: no column {missing[0]}; the table has {', '.join(names)}",
                fix="correct --column",
            )
        kinds: dict[str, IdKind] = {name: kind for name, kind in ID_KINDS.items() if name in names}
        kinds |= dict.fromkeys((name for name in (*self.columns, OTHER_USER) if name in names), "user")
        if FRIEND in names and ENTITY in names:
            kinds[FRIEND] = "user"
        if not set(kinds) - {"event_id"}:
            raise PrivacyError(
                f"{table.uri}: no column of users or sessions; the table has {', '.join(names)}",
                fix="name the columns that hold them by --column",
            )
        if OTHER_USER in kinds and OTHER_DOMAIN not in names:
            raise PrivacyError(
                f"{table.uri}: {OTHER_USER} without {OTHER_DOMAIN}", fix="give LINKS as in docs/tables.md"
            )
        for name in kinds:
            held = table.schema.field(name).type
            if not _holds_ids(held):
                raise PrivacyError(
                    f"{table.uri}: {name} is {held}, which holds no ids", fix="cast ids to text first"
                )
        return kinds

    def _domains(self, batch: pa.RecordBatch, column: str = "domain") -> list[str]:
        if column not in batch.schema.names or (self.surfaces and column == "domain"):
            return [self.domain] * batch.num_rows
        return [domain or self.domain for domain in _texts(batch, column)]

    def _friends(self, batch: pa.RecordBatch, texts: list[str | None], rename: Rename) -> pa.Array:
        domains, entities = self._domains(batch), _texts(batch, ENTITY)
        return pa.array(
            [
                rename(domain, "user", text) if text is not None and entity == "user" else text
                for text, domain, entity in zip(texts, domains, entities, strict=True)
            ],
            pa.string(),
        )


def _of_account(domain: str, kind: IdKind, text: str) -> tuple[str, str, str]:
    """Return the prefix, the domain and the id in a user id: of an account in another domain, its own."""
    if kind == "user" and text.startswith(DOMAIN_PREFIX):
        other, colon, account = text.removeprefix(DOMAIN_PREFIX).partition(":")
        if colon:
            return f"{DOMAIN_PREFIX}{other}:", other, account
    return "", domain, text


def _of_kind(rename: Rename, kind: IdKind) -> Callable[[str, str], str]:
    return lambda domain, text: rename(domain, kind, text)


def _holds_ids(held: pa.DataType) -> bool:
    inner = held.value_type if pa.types.is_dictionary(held) else held
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    return is_text or pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_null(held)


def id_texts(batch: pa.RecordBatch, name: str, uri: str) -> pa.Array:
    """Return a column of ids as text; NaN becomes null.

    Whole numbers become their digits, also where they are stored as floats, as pandas does if a value is
    missing: 7 and 7.0 are the id "7", as in fits. A text stays as it is, "7.0" too.

    Args:
        batch: Rows.
        name: The column.
        uri: Name of the table in the error.

    Raises:
        PrivacyError: A number is not whole, or so large that a float does not hold it exactly.
    """
    column = batch.column(name)
    texts = text_column(pa.chunked_array([column]))
    if texts is None:
        raise PrivacyError(
            f"{uri}: {name} is {column.type}, with numbers that are not whole or 2^53 and more",
            fix=ID_FIX,
        )
    return pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.string())


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    return pc.cast(batch.column(name), pa.string()).to_pylist()


def _is_user(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return (N,) bool, whether a column's text is a user's id; of FOLLOWS it may be a creator's."""
    if name != FRIEND:
        return pa.array([True] * batch.num_rows, pa.bool_())
    return pc.equal(pc.cast(batch.column(ENTITY), pa.string()), "user")


def _trimmed_ids(batch: pa.RecordBatch, name: str, uri: str) -> pa.Array:
    texts = id_texts(batch, name, uri)
    return pc.if_else(_is_user(batch, name), pc.utf8_trim_whitespace(texts), texts)


def _mapped(texts: list[str | None], domains: list[str], change: Callable[[str, str], str]) -> pa.Array:
    """Return texts changed by their domains, each distinct one once; nulls stay."""
    changed: dict[tuple[str, str], str] = {}
    out: list[str | None] = []
    for domain, text in zip(domains, texts, strict=True):
        if text is not None and (domain, text) not in changed:
            changed[domain, text] = change(domain, text)
        out.append(None if text is None else changed[domain, text])
    return pa.array(out, pa.string())
