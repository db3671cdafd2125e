"""Pseudonyms of the ids in requests, as `vrec pseudonymise` makes them in tables."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import PrivacyError
from vrec.core.schema import DOMAIN_PREFIX
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.pseudonyms import Pseudonymizer, is_pseudonym, read_key

SHOP = "shop"
"""Domain of the shop's own ids."""
MAX_DOMAINS = 256
"""Domains whose derived keys are kept; more, which callers may name, are derived again."""


class KnownId(str):
    """Id that has passed the door already, as it came from the store."""

    __slots__ = ()


class DoorIds:
    """Pseudonyms of one tenant's ids under one key."""

    def __init__(self, key: bytes, tenant: str) -> None:
        """Derive the keys; raises PrivacyError for a key of fewer than 32 bytes."""
        self._key, self._tenant = key, tenant
        self._shop = Pseudonymizer(key, tenant, SHOP)
        self._events = Pseudonymizer(key, tenant, SHOP, "event")
        self._domains: OrderedDict[str, Pseudonymizer] = OrderedDict()

    def shopper(self, user_id: str) -> str:
        """Return the pseudonym of a shopper's id in events and profiles.

        Args:
            user_id: A user id, `session:` and a session's id, or `domain:`, a domain, a colon and the id of
                an account there; the prefixes stay.
        """
        if isinstance(user_id, KnownId):
            return str(user_id)
        if user_id.startswith(DOMAIN_PREFIX):
            domain, colon, account = user_id.removeprefix(DOMAIN_PREFIX).partition(":")
            if colon:
                return f"{DOMAIN_PREFIX}{domain}:{self.account(domain, account)}"
        return self._shop(user_id)

    def shoppers(self, user_ids: Sequence[str]) -> list[str]:
        """Return the pseudonyms of many shoppers; see `shopper`."""
        distinct = list(dict.fromkeys(user_ids))
        made = dict(zip(distinct, self._shop.many(distinct), strict=True))
        return [
            self.shopper(one) if one.startswith(DOMAIN_PREFIX) or isinstance(one, KnownId) else made[one]
            for one in user_ids
        ]

    def account(self, domain: str, user_id: str) -> str:
        """Return the pseudonym of an account's id in another domain, without a prefix."""
        made = self._domains.pop(domain, None) or Pseudonymizer(self._key, self._tenant, domain)
        self._domains[domain] = made
        if len(self._domains) > MAX_DOMAINS:
            self._domains.popitem(last=False)
        return made(user_id)

    def event(self, event_id: str) -> str:
        """Return the pseudonym of an event's or message's id."""
        return self._events(event_id)

    def events(self, event_ids: Sequence[str]) -> list[str]:
        """Return the pseudonyms of many events' ids."""
        return self._events.many(event_ids)


def check_pseudonyms(events: pa.Table) -> None:
    """Check that all shoppers of EVENTS are pseudonyms.

    Raises:
        PrivacyError: One is not; the message does not name it.
    """
    for user_id in pc.unique(events.column("user_id")).to_pylist():
        if not is_pseudonym(user_id.rpartition(":")[2] if user_id.startswith(DOMAIN_PREFIX) else user_id):
            raise PrivacyError(
                "the events have the shop's own ids, and the service knows shoppers by pseudonyms alone",
                fix="give the table that `vrec pseudonymise` writes with the key and tenant of the service",
            )


def open_ids(
    config: DoorConfig, tenant: str, environment: Mapping[str, str] | None = None
) -> tuple[DoorIds | None, DoorIds | None]:
    """Return the pseudonyms under the key and under the old one, None for those that the settings lack.

    Args:
        config: The settings.
        tenant: Tenant in the pseudonyms.
        environment: The environment variables; None takes those of the process.

    Raises:
        PrivacyError: A key is missing, short or unreadable, or the old key is the new one.
    """
    if config.key is None:
        return None, None
    key = read_key(config.key, environment)
    if config.old_key is None:
        return DoorIds(key, tenant), None
    old_key = read_key(config.old_key, environment)
    if key == old_key:
        raise PrivacyError(
            f"{config.old_key} holds the same key as {config.key}",
            fix="put a new key into serve.privacy.key's variable, or leave serve.privacy.old_key out",
        )
    return DoorIds(key, tenant), DoorIds(old_key, tenant)
