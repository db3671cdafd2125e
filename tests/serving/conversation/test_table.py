"""Conversations in both kinds of stores: they move with a session, grow old, and go without a trace."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.assistant.answers import Answer
from vrec.assistant.dialogue import DialogueState
from vrec.serving.conversation.messages import AssistantReply, ShopperMessage
from vrec.serving.conversation.record import (
    MAX_ANSWERS,
    MAX_TURNS,
    Conversation,
    pack_conversation,
    unpack_conversation,
)
from vrec.serving.conversation.table import CONVERSATIONS_TABLE, ConversationTable
from vrec.serving.messages import unranked_item

DAY = 86_400_000_000
NAMES = iter(range(1_000_000))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def opened(request, tmp_path_factory):
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("db")
        store = SqlitePlace(folder).open()
        yield store, folder
        store.close()
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    store = RedisPlace(server).open()
    yield store, None
    store.close()
    server.stop()


def reply(text="Hello!"):
    items = (unranked_item("v", 1.0, "assistant"),)
    return AssistantReply(Answer("cards", "en", text, ("v",)), DialogueState(seen=("v",)), items, "b")


def talk(*messages, at=1, start=None):
    conversation = start or Conversation()
    for number, text in enumerate(messages):
        conversation = conversation.after(ShopperMessage(text, f"r-{text}", text), reply(text), at + number)
    return conversation


def said(table, user, now=0):
    _, record = table.read(user, now)
    return [turn.message for turn in unpack_conversation(record).turns] if record else []


@given(messages=st.lists(st.text(max_size=20), max_size=2 * MAX_TURNS))
@settings(max_examples=20)
def test_a_record_is_bounded_and_reads_as_it_was_written(messages):
    conversation = talk(*messages)
    assert unpack_conversation(pack_conversation(conversation)) == conversation
    assert [turn.message for turn in conversation.turns] == messages[-MAX_TURNS:]
    assert len(conversation.answers) == min(MAX_ANSWERS, len(messages))
    assert conversation.number == len(messages)
    for record in (b"", b"2{}", b"1{", b"1{}" * 2, b"1[]"):
        assert unpack_conversation(record) is None


def test_a_turn_is_written_over_the_conversation_that_it_follows_alone(opened):
    table, user = ConversationTable(opened[0], DAY), f"u{next(NAMES)}"
    first = table.put(user, pack_conversation(talk("a")), 0)
    assert first is not None
    assert table.put(user, pack_conversation(talk("b")), 0) is None
    assert table.put(user, pack_conversation(talk("a", "b")), first) > first
    assert said(table, user) == ["a", "b"]


def test_a_session_brings_its_turns_in_order_also_those_that_come_too_late(opened):
    store, _ = opened
    table, user, session = ConversationTable(store, DAY), f"u{next(NAMES)}", f"session:s{next(NAMES)}"
    table.put(session, pack_conversation(talk("b", at=20)), 0)
    table.put(user, pack_conversation(talk("a", "c", at=10)), 0)
    store.join(session, user)
    # A turn of the session that was answered before it joined, and is written now.
    store.put_state(CONVERSATIONS_TABLE, session, pack_conversation(talk("b", "d", at=20)))
    table.join(session, user)
    assert said(table, user) == said(table, session) == ["a", "c", "b", "d"]
    _, record = table.read(user, 0)
    assert [turn.number for turn in unpack_conversation(record).turns] == [1, 2, 3, 4]
    assert not store.states(CONVERSATIONS_TABLE, [session])
    assert table.forget(session)
    assert said(table, user) == []
    assert not table.forget(user)


def test_an_old_conversation_counts_as_none_and_is_removed(opened):
    table, old, new = ConversationTable(opened[0], DAY), f"u{next(NAMES)}", f"u{next(NAMES)}"
    now = time.time_ns() // 1000
    table.put(old, pack_conversation(talk("a", at=now - 2 * DAY)), 0)
    table.put(new, pack_conversation(talk("b", at=now)), 0)
    assert (said(table, old, now), said(table, new, now)) == ([], ["b"])
    while table.clean(now):
        pass
    assert list(opened[0].states(CONVERSATIONS_TABLE, [old, new])) == [new]


def test_after_an_erasure_no_file_has_what_the_shopper_wrote(opened):
    store, folder = opened
    if folder is None:
        pytest.skip("a Redis file keeps it until it is rewritten")
    table, user, secret = ConversationTable(store, DAY), f"u{next(NAMES)}", "my-secret-wish-4711"
    table.put(user, pack_conversation(talk(secret)), 0)
    assert secret.encode() in b"".join(one.read_bytes() for one in folder.iterdir())
    table.forget(user)
    store.erase(user)
    assert secret.encode() not in b"".join(one.read_bytes() for one in folder.iterdir())
