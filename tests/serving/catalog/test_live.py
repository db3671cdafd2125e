"""A bundle with the edits since: each row stands alone, and another bundle supersedes field by field."""

import asyncio
import threading
import time

import numpy as np
import pytest

from tests.serving.catalog.journals import Cards, added, bundle_of, removed, updated
from tests.serving.catalog.small import VIDEOS_ROWS, video
from vrec.core.errors import OutputError
from vrec.serving.catalog.clock import Stamp
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.catalog.registers import JournalState, Register, pack_state
from vrec.serving.messages import JournalPosition

TICK_S = 0.02


def now_us():
    return time.time_ns() // 1000


class Place:
    """Bundles by URI, and nodes over one data folder."""

    def __init__(self, folder):
        self.folder, self.bundles = folder, {}
        self.refuse = set()

    def bundle(self, version, rows, made_at=None):
        time.sleep(TICK_S)
        bundle = bundle_of(rows, version, now_us() if made_at is None else made_at)
        self.bundles[bundle.uri] = bundle
        time.sleep(TICK_S)
        return bundle.uri

    def load(self, uri):
        bundle = self.bundles[uri]
        return bundle, Cards.of(bundle, self.refuse)

    async def node(self, uri):
        live = LiveCatalog(str(self.folder), self.load, remembers=True)
        await live.move(uri)
        return live


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def allow(_):
    return None


def card(live, name):
    return live.value.cards[name]


def test_a_newer_bundle_supersedes_field_by_field_and_an_older_edit_never_freezes_a_video(place):
    first = place.bundle("b1", [video("a", title="one", price=1.0, available=True)])

    async def run():
        live = await place.node(first)
        await live.edit(updated("a", available=False, title="edited"), allow)
        assert (card(live, "a")["available"], card(live, "a")["title"]) == (False, "edited")
        # A bundle leaves out what was edited before it, and changes what was never edited.
        second = place.bundle("b2", [video("a", title="two", price=2.0, available=True)])
        await live.edit(updated("a", price=3.0), allow)
        await live.move(second)
        found = card(live, "a")
        assert (found["title"], found["price"], found["available"]) == ("two", 3.0, True)
        # Back to the bundle before: its edits count again.
        await live.move(first)
        found = card(live, "a")
        assert (found["title"], found["price"], found["available"]) == ("edited", 3.0, False)

    asyncio.run(run())


def test_a_deleted_video_is_back_with_a_newer_bundle_and_stays_away_with_an_older(place):
    first = place.bundle("b1", VIDEOS_ROWS)

    async def run():
        live = await place.node(first)
        await live.edit(removed("a"), allow)
        same = place.bundle("b0", VIDEOS_ROWS, made_at=1)
        newer = place.bundle("b2", VIDEOS_ROWS)
        await live.edit(removed("b"), allow)
        for uri, there in ((first, set()), (same, set()), (newer, {"a"})):
            await live.move(uri)
            assert live.value.cards.keys() & {"a", "b"} == there

    asyncio.run(run())


def test_an_added_video_stays_until_it_is_deleted_or_two_bundles_have_it(place):
    first = place.bundle("b1", [video("a")])

    async def run():
        live = await place.node(first)
        await live.edit(added("n", title="mine"), allow)
        assert await live.compact(force=True)
        lacking = place.bundle("b2", [video("a")])
        await live.move(lacking)
        assert card(live, "n")["title"] == "mine"
        having = [place.bundle(f"b{n}", [video("a"), video("n", title="shop")]) for n in (3, 4)]
        for uri in having:
            await live.move(uri)
            assert card(live, "n")["title"] == "shop"
            assert await live.compact(force=True)
        await live.move(place.bundle("b5", [video("a")]))
        assert set(live.value.cards) == {"a"}
        fresh = await place.node(live.served.bundle.uri)
        assert fresh.value.plain() == live.value.plain()

    asyncio.run(run())


def test_a_vector_goes_with_its_video_and_an_update_keeps_it(place):
    vector = np.array([[0.6, 0.8]], np.float32)
    first = place.bundle("b1", [video("a")])

    async def run():
        live = await place.node(first)
        await live.edit(added("n", {"fused": vector}, {"fused": "f@1"}), allow)
        await live.edit(updated("n", title="t"), allow)
        assert card(live, "n")["vectors"] == {"fused": vector.tolist()}
        await live.edit(removed("n"), allow)
        await live.edit(added("n"), allow)
        assert card(live, "n")["vectors"] == {}

    asyncio.run(run())


@pytest.mark.parametrize("at_start", [True, False])
def test_each_row_stands_alone(place, at_start):
    """One row that cannot be applied costs no other, now or when the next bundle comes."""
    first = place.bundle("b1", [video(name, title="old") for name in "abcdefgh"])
    place.refuse.add("c")
    stamp = Stamp(now_us() * 2, 0, "n")
    odd = {
        "e": {"tags": Register(stamp, 0, 5)},
        "g": {"uri": Register(stamp, 0, None)},
        "h": {"nonsense": Register(stamp, 0, 1)},
    }

    async def run():
        live = await place.node(first)
        writer = CatalogJournal(str(place.folder))
        for name in "abcdf":
            writer.append(updated(name, title="new"))
        (place.folder / "changes" / "odd.msgpack").write_bytes(pack_state(JournalState(odd)))
        if at_start:
            live = await place.node(first)
        else:
            await live.follow(force=True)
        for state in (
            live,
            await place.node(place.bundle("b2", [video(n, title="old") for n in "abcdefgh"], 2)),
        ):
            titles = {name: one["title"] for name, one in state.value.cards.items()}
            assert titles == dict.fromkeys("abdf", "new") | dict.fromkeys("cegh", "old")

    asyncio.run(run())


def test_an_edit_is_refused_over_the_state_that_all_acknowledged_edits_give(place):
    first = place.bundle("b1", [video("a")])

    async def run():
        one, other = await place.node(first), await place.node(first)
        await one.edit(removed("a"), allow)
        seen = []
        await other.edit(added("a"), lambda state: seen.append(set(state.cards)))
        assert seen == [set()]

        def forbid(_):
            raise KeyError("no")

        before = other.journal.revision
        with pytest.raises(KeyError):
            await other.edit(removed("a"), forbid)
        assert (other.journal.revision, set(other.value.cards)) == (before, {"a"})

    asyncio.run(run())


def test_a_node_reaches_the_position_of_another_before_it_answers(place):
    first = place.bundle("b1", [video("a")])

    async def run():
        one, other = await place.node(first), await place.node(first)
        for number in range(3):
            await one.edit(updated("a", title=str(number)), allow)
            await other.reach(one.journal.position)
            assert card(other, "a")["title"] == str(number)
        listed = []
        sound = other.journal.read
        other.journal.read = lambda **more: listed.append(1) or sound(**more)
        await other.reach(one.journal.position)
        await other.reach(None)
        assert listed == []
        other.journal.read = lambda **_: (_ for _ in ()).throw(OutputError("away"))
        with pytest.raises(OutputError):
            await other.reach(JournalPosition("another", 1))

    asyncio.run(run())


def test_nobody_waits_for_edits_after_a_position_that_is_reached(place):
    first = place.bundle("b1", [video("a")])

    async def run():
        one, other = await place.node(first), await place.node(first)
        await one.edit(updated("a", title="1"), allow)
        position = one.journal.position
        await other.reach(position)
        await one.edit(updated("a", title="2"), allow)
        entered, go_on = asyncio.Event(), threading.Event()
        loop, sound = asyncio.get_running_loop(), other._catch_up

        def slow(state):
            loop.call_soon_threadsafe(entered.set)
            go_on.wait()
            return sound(state)

        other._catch_up = slow
        following = asyncio.create_task(other.follow(force=True))
        await entered.wait()
        try:
            async with asyncio.timeout(30):
                await other.reach(position)
            assert card(other, "a")["title"] == "1"
            waiting = asyncio.create_task(other.reach(one.journal.position))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        finally:
            go_on.set()
        await asyncio.gather(following, waiting)
        assert card(other, "a")["title"] == "2"

    asyncio.run(run())


def test_edits_go_on_while_another_bundle_is_loaded_and_are_in_it(place):
    first = place.bundle("b1", [video("a")])
    second = place.bundle("b2", [video("a")])

    async def run():
        live = await place.node(first)
        entered, go_on = asyncio.Event(), asyncio.Event()
        loop, sound = asyncio.get_running_loop(), place.load

        def slow(uri):
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return sound(uri)

        live._load_bundle = slow
        moving = asyncio.create_task(live.move(second))
        await entered.wait()
        await live.edit(updated("a", title="meanwhile"), allow)
        assert card(live, "a")["title"] == "meanwhile"
        go_on.set()
        assert await moving
        assert live.served.bundle.version == "b2"
        assert card(live, "a")["title"] == "meanwhile"

    asyncio.run(run())
