"""Every call of the service that names a shopper passes the door; a new one that forgets it fails here."""

import asyncio
import inspect
import re
from dataclasses import replace
from unittest.mock import MagicMock

import pytest

from vrec.assistant.answers import Answer
from vrec.assistant.dialogue import DialogueState
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.door import Door
from vrec.profiles.links import AccountLink
from vrec.serving.conversation.messages import AssistantReply, ConversationTurn, ShopperMessage
from vrec.serving.deployments import backends
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.door import parts
from vrec.serving.door.backend import BackendAtDoor
from vrec.serving.messages import RecommendQuery
from vrec.serving.moments.messages import MomentQuery

PERSONAL = {
    "user_id", "user_ids", "user_key", "query", "queries", "rows", "link", "session", "event_id", "text",
    "message",
}  # fmt: skip
"""Names of parameters that hold, or may hold, ids or texts of shoppers."""
HARMLESS = {("ServingBackend", "videos"), ("LinksBackend", "unused")}
"""Calls of such parameters without personal data: a query of the catalog, and the domains of events."""
PARTS = {
    name: kind for name, kind in vars(backends).items() if name.endswith("Backend") and inspect.isclass(kind)
}


def methods(protocol):
    return {
        name: set(inspect.signature(function).parameters)
        for name, function in vars(protocol).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


def at_door(name):
    return (
        BackendAtDoor
        if name == "ServingBackend"
        else getattr(parts, f"{name.removesuffix('Backend')}AtDoor", None)
    )


@pytest.mark.parametrize(("name", "protocol"), [("ServingBackend", ServingBackend), *PARTS.items()])
def test_calls_that_name_shoppers_are_the_door_s_own(name, protocol):
    own = vars(at_door(name) or object)
    personal = [
        method for method, parameters in methods(protocol).items()
        if parameters & PERSONAL and (name, method) not in HARMLESS
    ]  # fmt: skip
    assert [method for method in personal if method not in own] == []


def test_a_backend_behind_a_door_has_every_part_and_call():
    whole = BackendAtDoor(MagicMock(), Door(DoorConfig(), "t", {}))
    wanted = [(whole, name) for name in vars(ServingBackend) if not name.startswith("_")]
    for name, protocol in PART_NAMES.items():
        part = getattr(whole, name)
        wanted += [(part, method) for method in vars(protocol) if not method.startswith("_")]
    assert [name for held, name in wanted if not hasattr(held, name)] == []


LINK = AccountLink("raw-u", "social", "raw-a", 1)
REPLY = AssistantReply(Answer("talk", "en", "Hello!"), DialogueState(), (), "b")
SAID = ShopperMessage("raw-m", "r", "write to raw@mail.example", remove="word:raw@mail.example", age=17)
ROW = ("raw-e", "raw-u", "v", "purchase", 12.0, None, None, None, "shop", 7)
QUERY = RecommendQuery("r", "raw-u", "feed", 1, 7, age=17)
GIVEN = {
    "user_id": "raw-u", "user_ids": ["raw-u", "raw-v"], "user_key": "session:raw-s",
    "session": "session:raw-s", "event_id": "raw-e", "text": "write to raw@mail.example", "message": SAID,
    "rows": [ROW], "link": LINK, "query": QUERY, "queries": [QUERY],
}  # fmt: skip
OTHERS = {
    "moments": {"query": MomentQuery(1, 7, text="raw@mail.example")},
    # A text with personal data would not be counted at all.
    "searches": {"text": "mugs"},
}
"""Arguments of calls of some parts, where they are others."""
RESULTS = {
    "put": (replace(LINK, user_id="p", other_user_id="p"), True), "revoke": LINK, "of": [],
    "account_of": "domain:social:p", "answer": ConversationTurn("c", 1, "p", "r", REPLY),
    "events_of": (None, None), "profile": None,
}  # fmt: skip
"""Results that the door looks into, by method."""
PART_NAMES = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Backend")).lower(): kind
    for name, kind in PARTS.items()
}


class Behind:
    """What stands behind a door: it notes what reaches it."""

    def __init__(self, protocol, seen):
        self._protocol, self._seen = protocol, seen

    def __getattr__(self, name):
        if name in PART_NAMES:
            return Behind(PART_NAMES[name], self._seen)
        is_async = inspect.iscoroutinefunction(getattr(self._protocol, name))

        def call(*args):
            self._seen.append((name, args[:2] if name == "answer" else args))
            return RESULTS.get(name)

        async def call_async(*args):
            return call(*args)

        return call_async if is_async else call


@pytest.mark.parametrize("part", [None, *PART_NAMES])
def test_nothing_that_was_sent_reaches_what_is_behind_the_door(part):
    fields = {"value": {"kind": "drop"}, "age": {"kind": "bands", "edges": [18]}}
    door = Door(DoorConfig(key="KEY", fields=fields), "t", {"KEY": "k" * 32})
    seen = []
    whole = BackendAtDoor(Behind(ServingBackend, seen), door)
    protocol = ServingBackend if part is None else PART_NAMES[part]
    held, name = (whole, "ServingBackend") if part is None else (getattr(whole, part), protocol.__name__)
    for method, parameters in methods(protocol).items():
        if not parameters & PERSONAL or (name, method) in HARMLESS:
            continue
        given = GIVEN | OTHERS.get(part, {})
        required = [
            one for one in inspect.signature(getattr(protocol, method)).parameters.values()
            if one.name != "self" and one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
        ]  # fmt: skip
        answer = getattr(held, method)(*[given.get(one.name, MagicMock()) for one in required])
        if inspect.iscoroutine(answer):
            asyncio.run(answer)
        assert seen, method
    assert "raw" not in repr(seen)
    assert "12.0" not in repr(seen)
    assert "age=17" not in repr(seen)
