"""`vrec privacy rekey`: every listed shopper moved from the old key's pseudonym to the new key's."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, PrivacyError, StoreError
from vrec.core.schema import DOMAIN_PREFIX, SESSION_PREFIX
from vrec.core.table_batches import open_table
from vrec.privacy.door.door import Door
from vrec.privacy.door.key_check import KeyStates, check_store_key, end_rekeying
from vrec.privacy.id_columns import id_texts
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.conversation.hand_overs import HandOverTable
from vrec.serving.conversation.table import ConversationTable
from vrec.serving.deploy import APPLICATION_NAME, with_absolute_paths
from vrec.serving.deployments.own_store import name_of_store
from vrec.serving.deployments.rekeying import rekey_shopper
from vrec.serving.door.backend import open_door
from vrec.serving.ray_internals import blocking_handle
from vrec.serving.tenants.context import DEFAULT_TENANT

logger = logging.getLogger("vrec.privacy")

PAIRS_PER_CALL = 200
"""Shoppers that one call moves; a service answers other calls meanwhile."""
ROWS_PER_CALL = 50_000
"""Events that one call reads to count those of nobody who is listed."""
CALL_TIMEOUT_S = 120.0
Move = Callable[[Sequence[tuple[str, str]]], int]
"""Moves shoppers, given as pairs of present and new id, and returns how many had events."""
Export = Callable[[int, int], tuple[pa.Table, int]]
"""Returns the next EVENTS of the log after a cursor, and the next cursor."""


def rekey(
    config: ServeConfig, ids: Sequence[str], tenant: str = DEFAULT_TENANT, *, in_service: bool = False
) -> dict[str, Any]:
    """Move all listed shoppers, sessions and accounts to their pseudonyms under the new key.

    What was moved before stays; a job that was cut off is completed by another one.

    Args:
        config: Settings of the service, with `privacy.key` and `privacy.old_key`.
        ids: Tables with the shop's own ids.
        tenant: Tenant whose shop it is.
        in_service: Whether the service runs on the Ray that this process is connected to, and is to move
            them; else the store is opened here.

    Returns:
        The number of `listed` ids, of those that were `moved` now, and of the shoppers in the log of none of
        the ids (`unlisted`): they came under the new key since, or stay under the old one.

    Raises:
        ConfigError: There is no old key in the settings, or no such tenant; or no service runs on the data
            folder, and the settings name no bundle or a store that is not there.
        PrivacyError: A key is missing, short, the same or not the store's, or a table has no ids.
        StoreError: The store cannot be opened or written.
        SourceError: A table cannot be read.
    """
    has_bundle, config = bool(config.bundle), with_absolute_paths(config)
    if tenant != DEFAULT_TENANT:
        if tenant not in config.tenants:
            raise ConfigError(f"serve.tenants has no {tenant}", fix="name one of serve.tenants, or none")
        config = config.of_tenant(tenant)
    if config.privacy.old_key is None:
        raise ConfigError(
            "serve.privacy.old_key is not set",
            fix="name the variables of both keys in serve.privacy.key and serve.privacy.old_key, as in the "
            "settings of the service",
        )
    door = open_door(config, tenant)
    assert door is not None
    if not in_service:
        _check_places(config, has_bundle=has_bundle)
    keys = config.privacy, tenant or config.privacy.tenant, name_of_store(config)
    with _served(tenant) if in_service else _opened(config) as (move, export, states):
        check_store_key(states, *keys)
        done = rekey_all(door, raw_ids(ids), move, export)
        end_rekeying(states, *keys)
    return done


def rekey_all(door: Door, ids: Collection[str], move: Move, export: Export) -> dict[str, Any]:
    """Move listed shoppers, and count those in the log that are none of them; see `rekey`.

    Sessions come last: by then the accounts that they have joined are moved.

    Args:
        door: Door with both keys.
        ids: The shop's own ids; those of sessions and of accounts elsewhere with their prefixes.
        move: Moves shoppers.
        export: Reads the log.
    """
    ordered = sorted(ids, key=lambda one: (one.startswith(SESSION_PREFIX), one))
    pairs, moved = ((door.before_key(one), door.shopper(one)) for one in ordered), 0
    for number, part in enumerate(_parts(pairs, PAIRS_PER_CALL)):
        moved += move(part)
        if number % 50 == 49:
            logger.info("%d of %d ids are done", (number + 1) * PAIRS_PER_CALL, len(ordered))
    known, others, cursor = {door.shopper(one) for one in ids}, set[str](), 0
    while True:
        table, cursor = export(cursor, ROWS_PER_CALL)
        if not table.num_rows:
            break
        others |= set(pc.unique(table.column("user_id")).to_pylist()) - known
    return {"listed": len(ids), "moved": moved, "unlisted": len(others)}


def raw_ids(uris: Sequence[str]) -> set[str]:
    """Return the ids in tables: user_id, session_id, and other_user_id of an other_domain, with prefixes.

    Raises:
        PrivacyError: A table has none of these columns, or other_user_id without other_domain, or numbers
            that are no ids.
        SourceError: A table cannot be read.
    """
    found: set[str] = set()
    for uri in uris:
        table = open_table(uri)
        names = table.schema.names
        if not {"user_id", "session_id", "other_user_id"} & set(names):
            raise PrivacyError(
                f"{uri}: none of the columns user_id, session_id, other_user_id", fix="correct --ids"
            )
        if "other_user_id" in names and "other_domain" not in names:
            raise PrivacyError(
                f"{uri}: other_user_id without other_domain",
                fix="add the column other_domain, the domain of each account, as in LINKS",
            )
        for batch in table:
            users, sessions, others, domains = (
                _texts(batch, name, uri)
                for name in ("user_id", "session_id", "other_user_id", "other_domain")
            )
            found |= {*users, *(SESSION_PREFIX + one for one in sessions)}
            if "other_domain" in names:
                pairs = zip(domains, others, strict=True)
                found |= {f"{DOMAIN_PREFIX}{domain}:{one}" for domain, one in pairs if domain and one}
    return found - {"", SESSION_PREFIX}


def _texts(batch: pa.RecordBatch, name: str, uri: str) -> list[str]:
    if name not in batch.schema.names:
        return []
    texts = pc.utf8_trim_whitespace(id_texts(batch, name, uri))
    return [text or "" for text in texts.to_pylist()]


def _parts(pairs: Iterator[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    while part := list(islice(pairs, size)):
        yield part


def _check_places(config: ServeConfig, *, has_bundle: bool) -> None:
    """Raise ConfigError if the settings lack the bundle, or name a store that is not there."""
    store = config.store.path if isinstance(config.store, SqliteConfig) else None
    if has_bundle and (store is None or Path(store).exists()):
        return
    what = f"there is no store {store}" if has_bundle else "serve.bundle is not set"
    raise ConfigError(
        f"no service runs on serve.data, which is {config.data}, and {what}",
        fix="name what `vrec serve` got as --data and --bundle by --set serve.data=DATA and "
        "--set serve.bundle=BUNDLE",
    )


@contextmanager
def _served(tenant: str) -> Iterator[tuple[Move, Export, KeyStates]]:
    """Yield the calls of the service's own store."""
    handle = blocking_handle("Profiles", APPLICATION_NAME)
    yield (
        lambda pairs: handle.rekey.remote(tenant, list(pairs)).result(timeout_s=CALL_TIMEOUT_S),
        lambda after, limit: handle.export.remote(tenant, after, limit).result(timeout_s=CALL_TIMEOUT_S),
        _ServedStates(handle, tenant),
    )


class _ServedStates:
    """States of the service's own store."""

    def __init__(self, handle: Any, tenant: str) -> None:
        self._handle, self._tenant = handle, tenant

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        return self._handle.states.remote(self._tenant, table, list(keys)).result(timeout_s=CALL_TIMEOUT_S)

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        call = self._handle.put_states.remote(self._tenant, table, [(key, state, expected)])
        (version,) = call.result(timeout_s=CALL_TIMEOUT_S)
        return version


@contextmanager
def _opened(config: ServeConfig) -> Iterator[tuple[Move, Export, KeyStates]]:
    """Yield the calls of a store that is opened here."""
    bundle = BundleCatalog.load(config.bundle)
    with ExitStack() as stack:
        try:
            profiles = bundle.profiles.with_own_kinds(config.own_kinds)
            store = open_store(config.store, CurrentVideoFacts(bundle).find, profiles)
        except StoreError as error:
            fix = "give --address of the Ray on which the service runs, or stop the service"
            raise StoreError(str(error), fix=fix) from None
        stack.enter_context(closing(store))
        # What is too old is moved too: the service itself removes it.
        keep_us = 2**62
        tables = ConversationTable(store, keep_us), HandOverTable(store, keep_us)
        yield lambda pairs: sum(rekey_shopper(store, *tables, *pair) for pair in pairs), store.export, store
