"""Hand-overs in both stores: none is lost, twice or left after an erasure; each is posted until confirmed."""

import asyncio
import hashlib
import hmac
import time
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from json_tool import FAULTS, answers, closed_url, json_tool

from tests.contracts.store_places import RedisPlace, SqlitePlace
from vrec.assistant.answers import person_answer
from vrec.assistant.connectors.config import HandOverConfig
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.wording import wording
from vrec.core.errors import ServeError
from vrec.serving.conversation import hand_over_posts
from vrec.serving.conversation.hand_over_posts import HandOverPosts, hand_over_secret
from vrec.serving.conversation.hand_overs import (
    HAND_OVERS_TABLE,
    MAX_CHARS,
    MAX_TURNS,
    SHOPPERS_TABLE,
    WAITING_TABLE,
    HandOver,
    HandOverTable,
    HandOverTurn,
    hand_over_of,
)
from vrec.serving.conversation.messages import AssistantReply, ShopperMessage
from vrec.serving.conversation.record import begin_conversation

DAY = 86_400_000_000
SECRET = "s" * 32


def hand_over(name, user="ann", at=None, turns=1):
    at = time.time_ns() // 1000 if at is None else at
    said = tuple(HandOverTurn(at, f"message {n}", f"answer {n}", ("v/1",)) for n in range(turns))
    return HandOver(name, at, user, "asked", "en", said)


@pytest.fixture(params=["sqlite", "redis"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return SqlitePlace(tmp_path)
    return RedisPlace(request.getfixturevalue("server"))


def all_of(table):
    found, cursor = {}, 0
    while True:
        page, following = table.after(cursor, 2)
        if not page:
            return found
        found |= {one.hand_over_id: one for one in page}
        cursor = following


def test_hand_overs_survive_the_store_and_are_read_in_pages(place):
    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        for n in range(5):
            table.add(hand_over(f"h{n}", f"u{n % 2}"), is_posted=True)
        table.add(hand_over("h0", "u0", turns=3), is_posted=True)
    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        found = all_of(table)
        assert sorted(found) == [f"h{n}" for n in range(5)]
        assert len(found["h0"].turns) == 1  # sent again, it stays as it was
        assert [one.hand_over_id for one in table.waiting()] == [f"h{n}" for n in range(5)]


def test_a_transcript_is_bounded(place):
    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        long = hand_over("h", turns=MAX_TURNS + 5)
        turns = tuple(replace(turn, message="m" * 5_000, answer="a" * 5_000) for turn in long.turns)
        table.add(replace(long, turns=turns), is_posted=False)
        kept = table.find("h")
    assert len(kept.turns) == MAX_TURNS
    assert (
        {len(turn.message) for turn in kept.turns} == {len(turn.answer) for turn in kept.turns} == {MAX_CHARS}
    )


def test_old_ones_are_removed_and_those_never_confirmed_are_named(place):
    with closing(place.open()) as store:
        table, now = HandOverTable(store, DAY), 100 * DAY
        table.add(hand_over("confirmed", at=now - 2 * DAY), is_posted=True)
        table.confirm(table.claim(table.waiting()[0], now), now)
        table.add(hand_over("lost", at=now - 2 * DAY), is_posted=True)
        table.add(hand_over("new", at=now), is_posted=True)
        assert table.clean(now) == ["lost"]
        assert sorted(all_of(table)) == ["new"]
        assert set(store.states(SHOPPERS_TABLE, ["ann"])) == {"ann"}
        table.forget("ann")
        assert everything(store) == []


def everything(store):
    tables = (HAND_OVERS_TABLE, SHOPPERS_TABLE, WAITING_TABLE)
    return [row for table in tables for row in store.states_after(table, 0, 100)]


def test_an_addition_that_broke_off_is_completed_when_it_is_sent_again(place):
    with closing(place.open()) as store:
        table, one = HandOverTable(store, DAY), hand_over("h")
        table.add(one, is_posted=False)  # as if it broke off before the waiting one was written
        table.add(one, is_posted=True)
        assert [waiting.hand_over_id for waiting in table.waiting()] == ["h"]


def test_a_first_message_that_is_sent_again_before_its_turn_is_stored_is_handed_over_once(place):
    answer = person_answer(wording("en"), asked=True)
    reply = AssistantReply(answer, DialogueState(), (), "v1")

    def handed_over(request_id, version=0, **changes):
        message = ShopperMessage(
            **{"message_id": "m1", "request_id": request_id, "text": "a person"} | changes
        )
        begun = begin_conversation("ann", message, version)
        return hand_over_of("ann", message, begun.after(message, reply, time.time_ns() // 1000))

    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        table.add(handed_over("r1"), is_posted=True)  # the replica dies before it writes the turn
        table.add(handed_over("r2"), is_posted=True)
        assert len(all_of(table)) == len(table.waiting()) == 1
    ids = {
        handed_over("r1").hand_over_id,
        handed_over("r1", text="hello").hand_over_id,
        handed_over("r1", message_id="m2").hand_over_id,
        handed_over("r1", version=7).hand_over_id,
    }
    assert len(ids) == 4


def test_one_process_at_a_time_posts_a_hand_over(place):
    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        table.add(hand_over("h"), is_posted=True)
        (seen,) = table.waiting()
        claimed = table.claim(seen, 5)
        assert claimed is not None
        assert table.claim(seen, 6) is None
        table.postpone(claimed, 7)
        (again,) = table.waiting()
        assert (again.attempts, again.due_at) == (1, 7)


class Store(RuleBasedStateMachine):
    """Shoppers and sessions whose hand-overs are added, joined, confirmed and erased."""

    @initialize(folder=st.uuids())
    def begin(self, folder):
        self.store = SqlitePlace(FOLDER[0]).open()
        self.table = HandOverTable(self.store, DAY)
        self.owner, self.kept, self.senders = {}, {}, []

    def teardown(self):
        self.store.close()

    def who(self, name):
        return self.owner.get(name, name)

    @rule(user=st.sampled_from(["ann", "bob", "session:s", "session:t"]), again=st.booleans())
    def add(self, user, again):
        if not again:
            self.senders.append(user)
        name = f"h{len(self.senders)}"
        if again and name not in self.kept:
            return
        self.table.add(hand_over(name, self.senders[-1]), is_posted=True)
        self.kept.setdefault(name, [self.who(user), False])

    @rule(session=st.sampled_from(["session:s", "session:t"]), user=st.sampled_from(["ann", "bob"]))
    def join(self, session, user):
        if session in self.owner:
            return
        self.store.join(session, user)
        self.table.join(session, user)
        self.owner[session] = user
        for held in self.kept.values():
            held[0] = self.who(held[0])

    @rule()
    def confirm_first(self):
        for one in self.table.waiting()[:1]:
            self.table.confirm(self.table.claim(one, 1), 2)
            self.kept[one.hand_over_id][1] = True

    @rule(user=st.sampled_from(["ann", "bob", "session:s", "session:t"]))
    def erase(self, user):
        self.table.forget(user)
        gone = {user, self.who(user)}
        self.kept = {name: held for name, held in self.kept.items() if held[0] not in gone}

    @invariant()
    def all_is_as_it_should_be(self):
        found = all_of(self.table)
        assert {name: [one.user_id, one.confirmed_at is not None] for name, one in found.items()} == self.kept
        waiting = {one.hand_over_id for one in self.table.waiting()}
        assert waiting == {name for name, (_, confirmed) in self.kept.items() if not confirmed}


FOLDER = []


def test_any_order_of_additions_joins_confirmations_and_erasures(tmp_path):
    FOLDER[:] = [tmp_path]
    run_state_machine_as_test(
        Store, settings=settings(max_examples=15, stateful_step_count=15, deadline=None)
    )


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(hand_over_posts, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(hand_over_posts, "LOOK_S", 0.05)
    monkeypatch.setattr(hand_over_posts, "LEASE_S", 0.3)


def posting(table, url, seconds=None, until=None, timeout_s=20):
    """Post until a condition holds."""

    async def run():
        posts = HandOverPosts(lambda: table, HandOverConfig(url=url, timeout_s=timeout_s), SECRET)
        task = asyncio.create_task(posts.run())
        end = time.monotonic() + (seconds or 60)
        while time.monotonic() < end and not (until and until()):
            await asyncio.sleep(0.02)
        task.cancel()
        await posts.close()
        assert until is None or until()

    asyncio.run(run())


def test_a_post_is_signed_and_says_all(place, fast):
    with closing(place.open()) as store, json_tool(answers({"ok": True})) as desk:
        table = HandOverTable(store, DAY)
        table.add(hand_over("h", "session:s", turns=2), is_posted=True)
        posting(table, desk.url, until=lambda: not table.waiting())
        (post,) = desk.requests
        assert table.find("h").confirmed_at is not None
    assert post.method == "POST"
    assert post.headers["x-vrec-hand-over"] == "h"
    at, signature = (part.partition("=")[2] for part in post.headers["x-vrec-signature"].split(","))
    signed = hmac.new(SECRET.encode(), f"{at}.".encode() + post.body, hashlib.sha256).hexdigest()
    assert signature == signed
    assert abs(int(at) - time.time()) < 60
    body = post.json
    assert (body["user_id"], body["session_id"], body["reason"]) == (None, "s", "asked")
    assert [turn["message"] for turn in body["turns"]] == ["message 0", "message 1"]
    assert SECRET not in post.body.decode() + str(post.headers)


@pytest.mark.parametrize(
    "fault",
    [
        name
        for name in FAULTS
        if name
        not in (
            "slow bytes",
            "endless stream",
            "ends early",
            "is compressed",
            "HTML",
            "HTML called JSON",
            "invalid JSON",
            "deep JSON",
            "no UTF-8",
            "empty",
            "null",
            "a list",
            "too big",
        )
    ],
)
def test_a_desk_that_fails_is_asked_until_it_confirms(fault, tmp_path, fast, caplog):
    fails = 3

    def reply(handler):
        (FAULTS[fault] if len(handler.server.requests) <= fails else answers({}))(handler)

    with closing(SqlitePlace(tmp_path).open()) as store, json_tool(reply) as desk:
        table = HandOverTable(store, DAY)
        table.add(hand_over("h"), is_posted=True)
        posting(table, desk.url, until=lambda: not table.waiting(), timeout_s=1)
        assert {post.headers["x-vrec-hand-over"] for post in desk.requests} == {"h"}
        assert len(desk.requests) == fails + 1
    assert SECRET not in caplog.text


def test_what_waits_is_posted_after_a_restart_and_each_once(tmp_path, fast):
    place = SqlitePlace(tmp_path)
    with closing(place.open()) as store:
        table = HandOverTable(store, DAY)
        for n in range(7):
            table.add(hand_over(f"h{n}"), is_posted=True)
        posting(table, closed_url(), seconds=0.5)
        assert len(table.waiting()) == 7
    with closing(place.open()) as store, json_tool(answers(None)) as desk:
        table = HandOverTable(store, DAY)
        posting(table, desk.url, until=lambda: not table.waiting())
        assert sorted(post.headers["x-vrec-hand-over"] for post in desk.requests) == [
            f"h{n}" for n in range(7)
        ]


def test_one_that_is_refused_for_ever_does_not_hold_up_others(tmp_path, fast):
    def reply(handler):
        bad = handler.got.headers["x-vrec-hand-over"] == "h0"
        answers({}, 400 if bad else 204)(handler)

    with closing(SqlitePlace(tmp_path).open()) as store, json_tool(reply) as desk:
        table = HandOverTable(store, DAY)
        for n in range(5):
            table.add(hand_over(f"h{n}"), is_posted=True)
        posting(table, desk.url, until=lambda: len(table.waiting()) == 1)
        assert table.waiting()[0].hand_over_id == "h0"


def test_a_hand_over_that_was_erased_is_not_posted(tmp_path, fast):
    with closing(SqlitePlace(tmp_path).open()) as store, json_tool(answers({})) as desk:
        table = HandOverTable(store, DAY)
        table.add(hand_over("h"), is_posted=True)
        table.add(hand_over("other", "bob"), is_posted=True)
        table.forget("ann")
        posting(table, desk.url, until=lambda: not table.waiting())
        assert [post.headers["x-vrec-hand-over"] for post in desk.requests] == ["other"]


def test_an_address_needs_a_secret():
    config = HandOverConfig(url="https://desk.example/in")
    for environment in ({}, {"VREC_HAND_OVER_SECRET": "short"}):
        with pytest.raises(ServeError, match="VREC_HAND_OVER_SECRET has fewer than 32"):
            hand_over_secret(config, environment)
    assert hand_over_secret(config, {"VREC_HAND_OVER_SECRET": SECRET}) == SECRET
    assert hand_over_secret(HandOverConfig(), {}) == ""
