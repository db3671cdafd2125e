"""Conversations over the deployments, without Ray: turns that meet, shoppers that join, current prices."""

import asyncio
import random
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.serving.catalog.journals import removed, updated
from tests.serving.deployments.test_graph import Graph, ask
from vrec.serving.conversation import served
from vrec.serving.conversation.messages import ShopperMessage
from vrec.serving.deployments.protocol import BackendUnavailable


def message(text, message_id=None, **more):
    return ShopperMessage(message_id or text, f"list-{message_id or text}", text, **more)


def turn_ids(turn):
    return [item.video_id for item in turn.reply.items]


def test_turns_at_the_same_time_follow_each_other(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        say = graph.api.conversations.answer
        turns = await asyncio.gather(*(say("ann", message("under 50", f"m{n}")) for n in range(12)))
        assert sorted(turn.number for turn in turns) == list(range(1, 13))
        kept = await graph.api.conversations.get("ann")
        assert {turn.message_id for turn in kept.turns} == {f"m{n}" for n in range(12)}

    asyncio.run(run())


def test_turns_of_two_replicas_follow_each_other(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        other = type(graph.api)(graph.api._config, graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        apis = [graph.api, other]
        calls = (apis[n % 2].conversations.answer("ann", message("hats", f"m{n}")) for n in range(8))
        turns = await asyncio.gather(*calls)
        assert sorted(turn.number for turn in turns) == list(range(1, 9))
        # The same message at both is one turn.
        again = await asyncio.gather(*(api.conversations.answer("ann", message("hats", "x")) for api in apis))
        assert [turn.number for turn in again] == [9, 9]
        await other.close()

    asyncio.run(run())


def test_a_turn_that_fails_leaves_nothing_and_its_repetition_is_answered(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        graph.ranking.broken = BackendUnavailable("it restarts")
        with pytest.raises(BackendUnavailable):
            await graph.api.conversations.answer("ann", message("hats"))
        assert await graph.api.conversations.get("ann") is None
        graph.ranking.broken = None
        assert (await graph.api.conversations.answer("ann", message("hats"))).number == 1

    asyncio.run(run())


def test_a_price_that_changed_a_moment_ago_is_in_the_answer_and_a_removed_video_is_not(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        say = graph.api.conversations.answer
        first = await say("ann", message("", "open"))
        assert len(first.reply.items) >= 2
        name, gone = turn_ids(first)[:2]
        await graph.api.change(updated(name, price=77.5))
        await graph.api.change(removed(gone))
        told = await say("ann", message("how much is the first one?"))
        assert "77.5" in told.reply.answer.text
        assert told.cards[name]["price"] == 77.5
        cheap = await say("bob", message("over 77 and under 78"))
        assert turn_ids(cheap) == [name]
        await graph.api.change(updated(name, available=False))
        assert name not in turn_ids(await say("bob", message("over 77 and under 78", "again")))
        assert (
            "not available"
            in (await say("ann", message("how much is the first one?", "x"))).reply.answer.text
        )
        assert gone not in turn_ids(await say("ann", message("", "more")))

    asyncio.run(run())


def test_a_new_video_with_a_new_category_is_found_by_its_name(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        row = shop_bundle.parts.videos.to_pylist()[0]
        fields = {key: value for key, value in row.items() if key != "video_id"}
        edit = updated("new/1")
        fields |= {"category": "zithers", "title": "A lovely zither", "available": True, "expires_at": None}
        await graph.api.change(replace(edit, kind="add", fields=fields))
        turn = await graph.api.conversations.answer("ann", message("zithers"))
        assert turn_ids(turn) == ["new/1"]
        assert turn.reply.answer.constraints[0].key == "category:zithers"

    asyncio.run(run())


def test_erasure_removes_the_conversation_and_the_session_brings_it_along(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        conversations = graph.api.conversations
        await conversations.answer("session:s", message("hats"))
        await conversations.answer("ann", message("mugs"))
        await graph.api.join("session:s", "ann")
        kept = await conversations.get("ann")
        assert [turn.message for turn in kept.turns] == ["hats", "mugs"]
        assert (await conversations.get("session:s")) == kept
        await graph.api.erase("ann")
        assert await conversations.get("ann") is None
        assert await conversations.get("session:s") is None

    asyncio.run(run())


async def ranked_categories(graph, shop_bundle, user_id):
    """Return the categories of the whole feed of a shopper, best first."""
    category_of = {row["video_id"]: row["category"] for row in shop_bundle.parts.videos.to_pylist()}
    answer = await graph.api.recommend(ask(user_id, k=len(category_of)))
    return [category_of[item.video_id] for item in answer.items]


async def check_that_feeds_follow(graph, shop_bundle, search):
    """Check that feeds of shoppers without history move to what they search for, until they are erased.

    How much one list of 20 moves depends on the hour, which the ranker knows, so the share in it is summed
    over all categories. The mean place in the whole feed falls for each.
    """
    categories = sorted({row["category"] for row in shop_bundle.parts.videos.to_pylist()} - {None})
    assert len(categories) >= 5
    share_before = share_after = 0
    for asked in categories:
        before = await ranked_categories(graph, shop_bundle, asked)
        await search(asked)
        assert (await graph.api.profile(asked)).counts["event:search"] == 1
        after = await ranked_categories(graph, shop_bundle, asked)
        assert sorted(after) == sorted(before)
        places = [[n for n, name in enumerate(feed) if name == asked] for feed in (before, after)]
        assert np.mean(places[1]) < np.mean(places[0]), asked
        share_before += before[:20].count(asked)
        share_after += after[:20].count(asked)
        assert await graph.api.erase(asked) >= 1
        assert await ranked_categories(graph, shop_bundle, asked) == before
    assert share_after > share_before


def test_the_feed_follows_what_was_asked_for_until_it_is_erased(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)

        async def search(asked):
            turn = await graph.api.conversations.answer(asked, message(f"show me {asked}"))
            assert turn.reply.answer.kind == "cards"

        await check_that_feeds_follow(graph, shop_bundle, search)
        await graph.api.conversations.answer("u", message("show me category-0"))
        await graph.api.conversations.answer("u", message("cheaper", "again"))
        assert (await graph.api.profile("u")).counts["event:search"] == 1

    asyncio.run(run())


def drawn_edit(rng, catalog, row, number):
    """Draw a change of the catalog, apply it to the model, and return the edit."""
    name = rng.choice(sorted(catalog))
    match rng.choice(["price", "price", "sold out", "back", "remove", "add", "expire"]):
        case "price":
            catalog[name]["price"] = price = round(rng.uniform(1, 99), 2)
            return updated(name, price=price)
        case "sold out":
            catalog[name]["available"] = False
            return updated(name, available=False)
        case "back":
            catalog[name] |= {"available": True, "expires_at": None}
            return updated(name, available=True, expires_at=None)
        case "remove":
            del catalog[name]
            return removed(name)
        case "expire":
            catalog[name]["expires_at"] = past = datetime(2020, 1, 1, tzinfo=UTC)
            return updated(name, expires_at=past)
    fields = {key: value for key, value in row.items() if key != "video_id"}
    fields |= {
        "price": float(rng.randint(1, 99)),
        "available": True,
        "expires_at": None,
        "published_at": None,
    }
    catalog[f"new/{number}"] = dict(fields)
    return replace(updated(f"new/{number}"), kind="add", fields=fields)


@pytest.mark.parametrize("seed", [0, 1])
def test_cards_are_the_catalog_as_it_is_whatever_changes_between_messages(tmp_path, shop_bundle, seed):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        rng, cards, counted = random.Random(seed), 0, 0
        catalog = {row["video_id"]: dict(row) for row in shop_bundle.parts.videos.to_pylist()}
        first = next(iter(catalog.values()))
        messages = ["", first["category"], "under 60", "over 20", "any price", "show me more", "start again"]
        for step in range(60):
            await graph.api.change(drawn_edit(rng, catalog, first, step))
            turn = await graph.api.conversations.answer("ann", message(rng.choice(messages), f"m{step}"))
            price = turn.reply.state.query.price
            for item in turn.reply.items:
                row, cards = catalog[item.video_id], cards + 1
                assert turn.cards[item.video_id]["price"] == pytest.approx(row["price"], rel=1e-6), step
                assert row["available"], step
                assert row["expires_at"] is None or row["expires_at"] > datetime.now(UTC), step
                if turn.reply.answer.kind == "cards" and "price" not in turn.reply.answer.relaxed:
                    assert price.least is None or row["price"] >= price.least, step
                    assert price.most is None or row["price"] <= price.most, step
            if (found := re.match(r"(\d+) found", turn.reply.answer.text)) is not None:
                counted += 1
                fit = fitting(catalog, turn.reply.state.query)
                assert int(found[1]) == len(fit), (step, fit)
        assert cards > 60
        assert counted > 10

    asyncio.run(run())


def fitting(catalog, query):
    """Return the videos of a catalog that fit the category and the prices of a query."""
    now, price = datetime.now(UTC), query.price
    return [
        name
        for name, row in catalog.items()
        if row["available"]
        and (row["expires_at"] is None or row["expires_at"] > now)
        and (row["published_at"] is None or row["published_at"] <= now)
        and row["category"] in (query.wanted.category or [row["category"]])
        and (price.least is None or row["price"] > price.least)
        and (price.most is None or row["price"] < price.most)
    ]


def test_the_assistant_answers_again_after_it_could_not_read_the_catalog_once(
    tmp_path, shop_bundle, monkeypatch
):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        with monkeypatch.context() as patch:
            patch.setattr(served, "BundleAssistant", None)  # a call of it fails
            with pytest.raises(TypeError):
                await graph.api.conversations.answer("ann", message("hats"))
        assert (await graph.api.conversations.answer("ann", message("hats"))).number == 1
        await graph.move(shop_bundle.uri)
        assert (await graph.api.conversations.answer("ann", message("under 50"))).number == 2

    asyncio.run(run())
