"""Another key for all that a store keeps: as if it had been the key from the beginning, wherever it stops."""

import uuid
from contextlib import closing, suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from tests.profiles.stores.rewriting import assert_same
from vrec.assistant.answers import Answer
from vrec.assistant.dialogue import DialogueState
from vrec.config.serve import ServeConfig
from vrec.core.errors import ConfigError, PrivacyError
from vrec.privacy.consent.table import PURPOSES, ConsentAnswer, ConsentTable
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.door import Door
from vrec.profiles.links import AccountLink, LinkTable, UnknownLink
from vrec.profiles.stores.codec import table_from_rows
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.conversation.hand_overs import HandOverTable, hand_over_of
from vrec.serving.conversation.messages import AssistantReply, ShopperMessage
from vrec.serving.conversation.record import Conversation, pack_conversation, unpack_conversation
from vrec.serving.conversation.table import ConversationTable
from vrec.serving.deployments.rekeying import rekey_shopper
from vrec.serving.door.job import raw_ids, rekey, rekey_all
from vrec.serving.messages import unranked_item

KEEP, DAY = 2**62, 86_400_000_000
ENVIRONMENT = {"NEW": "n" * 32, "OLD": "o" * 32}
BEFORE = Door(DoorConfig(key="OLD"), "default", ENVIRONMENT)
BOTH = Door(DoorConfig(key="NEW", old_key="OLD"), "default", ENVIRONMENT)
AFTER = Door(DoorConfig(key="NEW"), "default", ENVIRONMENT)
USERS, SESSIONS, ACCOUNTS = ("ann", "bob"), ("session:s", "session:t"), ("domain:social:a", "domain:social:b")
IDS = (*USERS, *SESSIONS, *ACCOUNTS)
KINDS = ("click", "watch", "like", "unlike", "purchase", "refund")
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.sampled_from(IDS), st.sampled_from(KINDS)),
        st.tuples(st.just("join"), st.sampled_from(SESSIONS), st.sampled_from(USERS)),
        st.tuples(st.just("link"), st.sampled_from(USERS), st.sampled_from(ACCOUNTS)),
        st.tuples(st.just("revoke"), st.sampled_from(USERS), st.just("")),
        st.tuples(st.just("refuse"), st.sampled_from((*USERS, *SESSIONS)), st.sampled_from(PURPOSES)),
        st.tuples(st.just("talk"), st.sampled_from((*USERS, *SESSIONS)), st.just("")),
    ),
    min_size=1,
    max_size=12,
)
ENOUGH = (
    ("event", "session:s", "like"), ("event", "ann", "purchase"), ("event", "domain:social:a", "watch"),
    ("join", "session:s", "ann"), ("link", "ann", "domain:social:a"), ("link", "bob", "domain:social:b"),
    ("revoke", "bob", ""), ("event", "session:s", "refund"), ("event", "session:t", "click"),
    ("refuse", "ann", "train"), ("refuse", "session:t", "link"), ("talk", "ann", ""),
    ("talk", "session:t", ""), ("event", "bob", "click"),
)  # fmt: skip
"""Deeds of which each leaves something to move."""


class Killed(BaseException):
    pass


class Dying:
    """A store whose process dies before one of its writes."""

    WRITES = frozenset({"rename", "put_state", "put_states", "drop_state", "join"})

    def __init__(self, store, writes):
        self._store, self.left = store, writes

    def __getattr__(self, name):
        if name in self.WRITES:
            if self.left == 0:
                raise Killed
            self.left -= 1
        return getattr(self._store, name)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def new_store(request, tmp_path_factory):
    """Return a function that opens an empty store."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield lambda: SqlitePlace(folder, fold_after=3).open()
        return
    server = RedisServer(folder)
    yield lambda: RedisPlace(server, fold_after=3).open()
    server.stop()


def tables(store):
    return ConversationTable(store, KEEP), HandOverTable(store, KEEP)


def do(store, door, deeds, first=0):
    """Do what shoppers do, with a door before the store."""
    conversations, hand_overs = tables(store)
    for number, (deed, who, what) in enumerate(deeds, first):
        user, at = door.shopper(who), 1_700_000_000_000_000 + number * DAY
        if deed == "event":
            row = (f"e{number}", user, f"v{number % 3}", what, 2.0, None, None, None, "shop", at)
            store.apply(table_from_rows([row]))
        elif deed == "join":
            if store.owners([user])[user] == user:
                ConsentTable(store).prepare_join(user, door.shopper(what))
                store.join(user, door.shopper(what))
                ConsentTable(store).join(user, door.shopper(what))
                conversations.join(user, door.shopper(what))
                hand_overs.join(user, door.shopper(what))
        elif deed == "link":
            link = AccountLink(user, "social", door.shopper(what).rpartition(":")[2], at)
            held = [one for one in LinkTable(store).of(user) if one.revoked_at is None]
            taken = [one for one in everything(store, door)["links"] if one.account == link.account]
            if not held and not taken:
                LinkTable(store).add(link)
        elif deed == "revoke":
            with suppress(UnknownLink):
                LinkTable(store).revoke(user, "social", at)
        elif deed == "refuse":
            ConsentTable(store).put(user, {what: ConsentAnswer(False, at)})
        else:
            talk(store, user, number, at)


def talk(store, user, number, at):
    conversations, hand_overs = tables(store)
    message = ShopperMessage(f"m{number}", f"r{number}", f"hello {number}")
    answer = Answer("person", "en", "A person comes.", ("v1",), hand_over=True, hand_over_reason="asked")
    reply = AssistantReply(answer, DialogueState(seen=("v1",)), (unranked_item("v1", 1.0, "assistant"),), "b")
    version, record = conversations.read(user, at)
    before = unpack_conversation(record) if record else Conversation(f"c{number}")
    after = before.after(message, reply, at)
    hand_overs.add(hand_over_of(user, message, after), is_posted=False)
    conversations.put(user, pack_conversation(after), version)


def everything(store, door):
    """Return all that the store keeps, without the order of its changes."""
    conversations, hand_overs = tables(store)
    names = [door.shopper(one) for one in IDS]
    return {
        "log": store.export(0, 1_000)[0].to_pylist(),
        "profiles": store.get("user", names),
        "videos": store.get("video", ["v0", "v1", "v2"]),
        "owners": store.owners(names),
        "consents": {one: ConsentTable(store).of(one) for one in names},
        "links": sorted(LinkTable(store).after(0, 1_000)[0], key=repr),
        "talks": {one: unpack_conversation(conversations.read(one, 0)[1]) for one in names},
        # Their ids stay those that the shop's address knows.
        "hand_overs": sorted(
            (replace(one, hand_over_id="") for one in hand_overs.after(0, 1_000)[0]), key=lambda one: one.at
        ),
    }


def assert_all_same(found, expected):
    for part in ("profiles", "videos"):
        held, wanted = found.pop(part), expected.pop(part)
        assert held.keys() == wanted.keys()
        for name, profile in wanted.items():
            assert_same(held[name], profile)
    assert found == expected


def moved_by(store, ids=IDS):
    def move(pairs):
        return sum(rekey_shopper(store, *tables(store), *pair) for pair in pairs)

    return rekey_all(BOTH, ids, move, store.export)


def compare(new_store, deeds, writes, later=()):
    """Move all, killed before a write and begun anew; compare with a store that always had the new key."""
    with closing(new_store()) as store, closing(new_store()) as other:
        do(store, BEFORE, deeds)
        do(store, AFTER, later, len(deeds))
        with suppress(Killed):
            moved_by(Dying(store, writes))
        moved_by(store)
        do(other, AFTER, [*deeds, *later])
        assert_all_same(everything(store, AFTER), everything(other, AFTER))
        assert not store.get("user", [BEFORE.shopper(one) for one in IDS])
        return moved_by(store)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds=DEEDS, writes=st.integers(0, 40))
def test_a_move_that_is_cut_off_and_run_again_is_as_if_the_key_had_never_been_another(
    new_store, deeds, writes
):
    assert compare(new_store, deeds, writes)["moved"] == 0


def test_every_write_may_be_the_last_one(new_store):
    with closing(new_store()) as store:
        do(store, BEFORE, ENOUGH)
        dying = Dying(store, 10_000)
        assert moved_by(dying)["moved"] == 4
        count = 10_000 - dying.left
        first = int(isinstance(store, SqliteStore))
    # The writes are those of both kinds of stores: each stops at every other one.
    for writes in range(first, count, 2):
        compare(new_store, ENOUGH, writes)


def test_what_came_under_the_new_key_meanwhile_is_joined_with_it(new_store):
    later = [("event", "ann", "click"), ("event", "bob", "like"), ("event", "domain:social:a", "like")]
    compare(new_store, ENOUGH, 3, later)


def test_who_is_not_listed_stays_and_is_counted(new_store):
    with closing(new_store()) as store:
        do(store, BEFORE, ENOUGH)
        done = moved_by(store, ["ann", "session:s"])
        assert (done["listed"], done["moved"], done["unlisted"]) == (2, 1, 3)
        assert store.get("user", [BEFORE.shopper("bob")])
        assert moved_by(store)["unlisted"] == 0


def test_ids_are_those_of_users_sessions_and_accounts(tmp_path):
    path = str(tmp_path / f"{uuid.uuid4().hex}.parquet")
    columns = {"user_id": [1, None, 2], "session_id": ["s", "", None]}
    links = {"other_user_id": ["a", None, "b"], "other_domain": ["social", "social", None]}
    pq.write_table(pa.table(columns | links), path)
    assert raw_ids([path]) == {"1", "2", "session:s", "domain:social:a"}
    pq.write_table(pa.table({"name": ["x"]}), path)
    with pytest.raises(PrivacyError, match="none of the columns user_id"):
        raw_ids([path])
    pq.write_table(pa.table({"user_id": ["1"], "other_user_id": ["a"]}), path)
    with pytest.raises(PrivacyError, match="other_user_id without other_domain"):
        raw_ids([path])


@pytest.mark.parametrize(
    ("privacy", "tenant", "kind", "words"),
    [
        ({"key": "NEW"}, "", ConfigError, "old_key is not set"),
        ({"key": "NEW", "old_key": "ABSENT"}, "", PrivacyError, "ABSENT is not set"),
        ({"key": "NEW", "old_key": "SHORT"}, "", PrivacyError, "SHORT has 5 bytes"),
        ({"key": "NEW", "old_key": "SAME"}, "", PrivacyError, "the same key"),
        ({"key": "NEW", "old_key": "OLD"}, "shop-b", ConfigError, "serve.tenants has no shop-b"),
    ],
)
def test_keys_that_are_missing_short_or_the_same_are_refused(
    monkeypatch, tmp_path, privacy, tenant, kind, words
):
    for name, value in {**ENVIRONMENT, "SHORT": "short", "SAME": "n" * 32}.items():
        monkeypatch.setenv(name, value)
    config = ServeConfig.model_validate({"data": str(tmp_path), "privacy": privacy})
    with pytest.raises(kind, match=words):
        rekey(config, ["ids.csv"], tenant)


def test_places_that_the_settings_lack_are_named_and_no_store_is_made(monkeypatch, tmp_path):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    given = {"data": str(tmp_path / "other"), "privacy": {"key": "NEW", "old_key": "OLD"}}
    for more, words in (({}, "serve.bundle is not set"), ({"bundle": "b"}, "there is no store")):
        config = ServeConfig.model_validate(given | more)
        with pytest.raises(ConfigError, match=f"serve.data, which is .*other, and {words}") as caught:
            rekey(config, ["ids.csv"])
        assert "--set serve.data=DATA" in str(caught.value.fix)
    assert not list(tmp_path.iterdir())
