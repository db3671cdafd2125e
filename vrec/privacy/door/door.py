"""Door of a shop: what becomes of ids, fields and texts before anything is kept."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.fields import DoorFields
from vrec.privacy.door.ids import open_ids
from vrec.privacy.pii.detect import MAYBE, redact_text
from vrec.privacy.pseudonyms import read_key

_MAYBE = re.compile(MAYBE)


class Door:
    """Functions from what a request says to what may be kept of it.

    With an old key, `before` has the pseudonyms of shoppers who are not moved to the new one yet. The ids of
    events keep the old key as long as there is one, since nobody lists them: so an event that is sent again
    during the rotation is still known.
    """

    def __init__(self, config: DoorConfig, tenant: str, environment: Mapping[str, str] | None = None) -> None:
        """Read the keys.

        Args:
            config: The settings.
            tenant: Tenant in pseudonyms.
            environment: The environment variables; None takes those of the process.

        Raises:
            PrivacyError: A key is missing, short or unreadable, or the old key is the new one.
        """
        self._ids, self.before = open_ids(config, tenant, environment)
        key = None if config.key is None else read_key(config.key, environment)
        self._fields = DoorFields(config.fields, key, tenant)
        self._regions = config.regions if config.redacts else None

    def shopper(self, user_id: str) -> str:
        """Return the id of a shopper, session or account in events and profiles as it is kept."""
        return user_id if self._ids is None else self._ids.shopper(user_id)

    def before_key(self, user_id: str) -> str:
        """Return the id of a shopper, session or account as it was kept under the old key; without one, as it
        is kept now."""
        return self.shopper(user_id) if self.before is None else self.before.shopper(user_id)

    def account(self, domain: str, user_id: str) -> str:
        """Return the id of an account in another domain as it is kept."""
        return user_id if self._ids is None else self._ids.account(domain, user_id)

    def event(self, event_id: str) -> str:
        """Return the id of an event or message as it is kept."""
        ids = self.before or self._ids
        return event_id if ids is None else ids.event(event_id)

    def shoppers(self, user_ids: Sequence[str]) -> list[str]:
        """Return the ids of many shoppers, sessions or accounts as they are kept."""
        return list(user_ids) if self._ids is None else self._ids.shoppers(user_ids)

    def rows(self, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return rows of EVENTS, `at` in µs since 1970, as they are kept."""
        event_ids, user_ids = [row[0] for row in rows], [row[1] for row in rows]
        ids = self.before or self._ids
        if ids is not None:
            event_ids = ids.events(event_ids)
        users = self.shoppers(user_ids)
        named = zip(event_ids, users, rows, strict=True)
        return [self._fields.row((event_id, user_id, *row[2:])) for event_id, user_id, row in named]

    def age(self, age: int | None) -> int | None:
        """Return an age in years as it may be used: that of its band."""
        return self._fields.value("age", age)

    def text(self, text: str) -> str:
        """Return a shopper's text without the personal data that is found in it."""
        if self._regions is None or _MAYBE.search(text) is None:
            return text
        return redact_text(text, self._regions)
