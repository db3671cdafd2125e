"""What stores keep of shoppers: all of it is told, and all of it goes."""

import asyncio
import re
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vrec
from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.config.serve import ServeConfig
from vrec.privacy.consent.table import ConsentAnswer, ConsentTable
from vrec.profiles.links import AccountLink, LinkTable
from vrec.profiles.stores.codec import table_from_rows
from vrec.profiles.stores.sqlite.tables import RECORDS, STATES, TABLES
from vrec.serving.conversation.hand_overs import HandOver, HandOverTurn
from vrec.serving.conversation.record import Conversation, pack_conversation
from vrec.serving.deployments.held import HELD_IN, OF_NOBODY, counts_of
from vrec.serving.deployments.stored_shoppers import StoredShoppers
from vrec.serving.trends.searches import (
    PERIODS_LOG,
    SEARCHES_LOG,
    SearchSent,
    end_search_period,
    hash_shopper,
    pack_searches,
)

USERS = ("shopper-anna", "shopper-bob")
NOW = 2_000_000_000_000_000
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(("event", "follow", "session", "consent", "link", "talk", "hand over", "search")),
    ),
    max_size=14,
)
PART = {
    "event": "events", "follow": "follows", "session": "sessions", "consent": "consents", "link": "links",
    "talk": "conversation", "hand over": "hand_overs", "search": "searches",
}  # fmt: skip


class Shoppers(StoredShoppers):
    def __init__(self, store):
        super().__init__(ServeConfig())
        self._opened = store


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def new_store(request, tmp_path_factory):
    """Return a function that opens an empty store, and one that returns all of its bytes."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield lambda: SqlitePlace(folder).open(), lambda _: b"".join(p.read_bytes() for p in folder.iterdir())
        return
    server = RedisServer(folder)

    def content(store):
        keys = store._db.keys(f"{store._prefix}:*")
        return b"".join(keys) + b"".join(store._db.dump(key) for key in keys)

    yield lambda: RedisPlace(server).open(), content
    server.stop()


def send(store, user, number, kind="like", video="v1"):
    row = (f"e{number}", user, video, kind, None, None, None, None, "shop", NOW + number)
    store.apply(table_from_rows([row]))


def join_session(store, user, number):
    send(store, f"session:{user}-{number}", number)
    asyncio.run(Shoppers(store).join(f"session:{user}-{number}", user))


def talk(store, user, number):
    version, _ = asyncio.run(Shoppers(store).conversation(user))
    record = pack_conversation(Conversation(at=NOW + number))
    Shoppers(store)._conversations.put(user, record, version)


def hand_over(store, user, number):
    turn = HandOverTurn(NOW, f"I am {user}", "A person comes.")
    one = HandOver(f"h{number}", NOW, user, "asked", "en", (turn,))
    Shoppers(store)._hand_overs.add(one, is_posted=bool(number % 2))


def search(store, user, number):
    if not store.records_before(PERIODS_LOG, None, 1):
        end_search_period(store)
    ((period, record),) = store.records_before(PERIODS_LOG, None, 1)
    sent = SearchSent("hats", hash_shopper(msgpack.unpackb(record)[1], user), period, NOW + number)
    store.append_record(SEARCHES_LOG, pack_searches([sent]))


DO = {
    "event": send,
    "follow": lambda store, user, number: send(store, user, number, "follow", f"creator:c{number}"),
    "session": join_session,
    "consent": lambda store, user, number: ConsentTable(store).put(
        user, {"train": ConsentAnswer(bool(number % 2), NOW + number, "key")}
    ),
    "link": lambda store, user, number: LinkTable(store).add(
        AccountLink(user, f"d{number}", f"account-{user}", NOW)
    ),
    "talk": talk,
    "hand over": hand_over,
    "search": search,
}


def record_of(store, user):
    held = asyncio.run(Shoppers(store).held(user))
    events, _ = store.events_of(user, None, 1_000)
    return {name: part for name, part in held.items() if name != "profile"} | {"events": events.to_pylist()}


@given(deeds=DEEDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_that_shoppers_did_is_told_and_goes_with_their_erasure(new_store, deeds):
    open_store, content = new_store
    with closing(open_store()) as store:
        for number, (user, deed) in enumerate(deeds):
            DO[deed](store, user, number)
        first, second = USERS
        told, other = record_of(store, first), record_of(store, second)
        filled = {PART[deed] for user, deed in deeds if user == first}
        filled |= {"events"} if filled & {"follows", "sessions"} else set()
        assert {name for name, count in counts_of(told).items() if count} == filled
        receipt = asyncio.run(Shoppers(store).erase_with_receipt(first, "digest"))
        assert {name: receipt.counts[name] for name in told} == counts_of(told)
        assert not any(counts_of(record_of(store, first)).values())
        # Whose search it was is known of nobody any more.
        assert record_of(store, second) | {"searches": []} == other | {"searches": []}
        assert first.encode() not in content(store)
        assert asyncio.run(Shoppers(store).receipts(None, 1)) == [receipt]


def test_every_table_and_log_is_known_to_have_something_of_a_shopper_or_nothing():
    named = {
        name for sql in (TABLES, RECORDS, STATES) for name in re.findall(r"TABLE IF NOT EXISTS (\w+)", sql)
    }
    for file in Path(vrec.__file__).parent.rglob("*.py"):
        named.update(re.findall(r'^[A-Z_]+_(?:TABLE|LOG) = "([^"]+)"', file.read_text(), re.M))
    assert named == HELD_IN.keys() | OF_NOBODY.keys()
    assert not HELD_IN.keys() & OF_NOBODY.keys()


def test_whatever_names_a_shopper_is_in_a_table_of_the_record(new_store):
    open_store, _ = new_store
    user = USERS[0]
    with closing(open_store()) as store:
        for number, deed in enumerate(PART):
            DO[deed](store, user, number)
        for table in [*HELD_IN, *OF_NOBODY]:
            states = store.states_after(table, 0, 1_000)
            records = store.records_after(table, 0, 1_000)
            found = [key.encode() + state for _, key, state in states] + [record for _, record in records]
            assert any(user.encode() in one for one in found) <= (table in HELD_IN), table
