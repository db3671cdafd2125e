"""Questions of customer service, which the shop's documents answer."""

from vrec.assistant.commands import Command
from vrec.assistant.query import FACETS
from vrec.assistant.understanding.utterance import Utterance

_SAID_BESIDE_SERVICE: frozenset[Command] = frozenset({"detail", "cart", "more", "thanks", "greeting"})
"""Commands whose words stand in questions of customer service too, such as "how much is delivery"."""


def may_be_service(said: Utterance) -> bool:
    """Return whether a message may ask for what the shop's documents say."""
    if said.references or said.prices:
        return False
    if not said.asks_service:
        return said.is_question and not said.commands and not said.asks_for_products
    wants = any(said.wanted.of(facet) for facet in FACETS if facet != "word")
    beside = _SAID_BESIDE_SERVICE | ({"order"} if said.asks_how else set())
    return beside.issuperset(said.commands) and not (
        wants and (said.asks_for_products or not said.is_question)
    )
