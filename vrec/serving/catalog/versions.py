"""Versions of videos, so that an editor does not overwrite what another one changed meanwhile."""

from collections.abc import Mapping
from typing import Any

from vrec.core.digest import digest


def card_version(card: Mapping[str, Any]) -> str:
    """Return a text that is the same for two rows of VIDEOS only if all their fields are."""
    return digest({name: str(value) for name, value in sorted(card.items())})
