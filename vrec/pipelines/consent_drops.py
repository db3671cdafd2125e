"""Events that a command leaves out, since their shoppers do not consent to fits."""

import logging
from dataclasses import dataclass

from vrec.core.errors import EventsError
from vrec.core.masking import mask_credentials

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConsentDrops:
    """Events that a command left out, since their shoppers do not consent to fits."""

    shoppers: int
    """Shoppers with events."""
    events: int
    not_in_log: int = 0
    """Shoppers whose answers about fits are not the default, and who have no events."""

    def __str__(self) -> str:
        """Return it in words."""
        left = f"{self.events:,} events of {self.shoppers:,} shoppers without consent to fits are left out"
        if not self.not_in_log:
            return left
        return f"{left}; {self.not_in_log:,} other shoppers with answers about fits are not in the log"


def consent_drops(users: tuple[int, int], events: tuple[int, int], absent: int, uri: str) -> ConsentDrops:
    """Return what the consents at `uri` left out.

    Args:
        users: Shoppers with events, before and after.
        events: Their events, before and after.
        absent: Shoppers with answers and without events.
        uri: The table of consents.

    Raises:
        EventsError: Nothing is left.
    """
    if events[0] and not events[1]:
        raise EventsError(
            f"{mask_credentials(uri)}: no shopper with events consents to fits",
            fix="check the table given to --consent, and events.consent_default",
        )
    drops = ConsentDrops(users[0] - users[1], events[0] - events[1], absent)
    _log.info("%s", drops)
    return drops
