"""Check that a store is opened with the key of pseudonyms under which it was written.

Under another key every shopper is a stranger: what the store has of them, such as refusals, is not found.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgpack

from vrec.core.errors import PrivacyError, StoreError
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.pseudonyms import derive_key, read_key

KEYS_TABLE = "privacy_keys"
"""Table of the store with the check values of its keys."""
ATTEMPTS = 10
"""Attempts of a change, each of which fails if another process changes the check values meanwhile."""
_CHECKS = "checks"
_WORD = b"the key of this store"
_FIX = (
    "give serve.privacy.key the variable of the key with which the store was written; to change it, name "
    "that one in serve.privacy.old_key and run `vrec privacy rekey`; if it is lost, begin another store"
)


class KeyReader(Protocol):
    """Part of a StateTable that reading check values needs."""

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """See StateTable."""
        ...


class KeyStates(KeyReader, Protocol):
    """Part of a StateTable that check values need."""

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """See StateTable."""
        ...


def check_value(key: bytes, tenant: str) -> bytes:
    """Return a value that tells whether another key is the same, and from which none can be computed.

    Args:
        key: The secret.
        tenant: Tenant in the pseudonyms.

    Returns:
        HMAC-SHA-256 of a fixed word under a key derived for this purpose: 32 bytes.
    """
    return hmac.digest(derive_key(key, "check", tenant), _WORD, hashlib.sha256)


def check_store_key(
    states: KeyStates,
    config: DoorConfig,
    tenant: str,
    store: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Check that a store knows its shoppers under the keys of the settings, and note those of a new store.

    With an old key, the store needs it until `end_rekeying`.

    Args:
        states: The store.
        config: The settings.
        tenant: Tenant in the pseudonyms.
        store: Name of the store in the error.
        environment: The environment variables; None takes those of the process.

    Raises:
        PrivacyError: Shoppers are under another key than those of the settings, or a key cannot be read.
        StoreError: The store cannot be read or written.
    """
    for _ in range(ATTEMPTS):
        version, noted, given = _matched(states, config, tenant, store, environment)
        if not given or noted[:1] == given[:1]:
            return
        if _put(states, given, version):
            return
    raise StoreError(f"{store}: the check values of keys are changed faster than they can be written")


def require_store_key(states: KeyReader, config: DoorConfig, tenant: str, store: str) -> None:
    """Check the keys of a store as `check_store_key` does, and note nothing; errors are those of it."""
    _matched(states, config, tenant, store, None)


def _matched(
    states: KeyReader, config: DoorConfig, tenant: str, store: str, environment: Mapping[str, str] | None
) -> tuple[int, list[bytes], list[bytes]]:
    """Return the version of a store's check values, the values, and those of the settings.

    Raises:
        PrivacyError: The settings lack the key of one of the store's.
    """
    names = [name for name in (config.key, config.old_key) if name is not None]
    given = [check_value(read_key(name, environment), tenant) for name in names]
    version, noted = _noted(states)
    if not set(noted) <= set(given):
        raise PrivacyError(_reason(names, noted, store), fix=_FIX)
    return version, noted, given


def end_rekeying(states: KeyStates, config: DoorConfig, tenant: str, store: str) -> None:
    """Note that all shoppers are under the key, so that the store needs the old one no longer.

    Args:
        states: The store.
        config: The settings, with a key.
        tenant: Tenant in the pseudonyms.
        store: Name of the store in the error.

    Raises:
        PrivacyError: As in `check_store_key`.
        StoreError: The store cannot be read or written.
    """
    assert config.key is not None
    value = check_value(read_key(config.key), tenant)
    for _ in range(ATTEMPTS):
        check_store_key(states, config, tenant, store)
        if _put(states, [value], _noted(states)[0]):
            return
    raise StoreError(f"{store}: the check values of keys are changed faster than they can be written")


def _reason(names: Sequence[str], noted: Sequence[bytes], store: str) -> str:
    if not names:
        return f"{store} was written with a key of pseudonyms, and serve.privacy.key is not set"
    given_names = " and ".join(names)
    if len(noted) > 1:
        return (
            f"{store} has shoppers under two keys until `vrec privacy rekey` has run to its end, and "
            f"{given_names} {'have' if len(names) > 1 else 'has'} not both"
        )
    return f"{store} was written with another key of pseudonyms than {given_names}"


def _noted(states: KeyReader) -> tuple[int, list[bytes]]:
    """Return the version of the check values, 0 without any, and the values: the key's, the old one's."""
    version, packed = states.states(KEYS_TABLE, [_CHECKS]).get(_CHECKS, (0, b""))
    return version, list(msgpack.unpackb(packed)) if version else []


def _put(states: KeyStates, values: Sequence[bytes], version: int) -> bool:
    packed = msgpack.packb(list(values))
    assert packed is not None  # it is None for streaming packers only
    return states.put_state(KEYS_TABLE, _CHECKS, packed, expected=version) is not None
