"""Kinds of events over the real deployments in one process: their effects on lists, profiles and figures."""

import asyncio

import pytest

from tests.serving.http.test_whole import ids, over

OWN_KINDS = {
    "save": {"counts_as": "positive", "weight": 2.0},
    "report": {"counts_as": "negative", "weight": 1.0},
    "zoom": {"counts_as": "neutral"},
}


def sender(send):
    """Return a function that sends one event of anna's and gives the reply."""
    numbers = iter(range(10_000))

    async def act(kind, video_id, **more):
        one = {"event_id": f"e{next(numbers)}", "user_id": "anna", "video_id": video_id, "kind": kind, **more}
        return await send("POST", "/v1/events", one)

    return act


async def listed(send, shopper="anna"):
    return ids(await send("POST", "/v1/recommend", {"user_id": shopper, "k": 100}))


@pytest.mark.parametrize("kind", ["hide", "dislike"])
def test_a_video_that_did_not_please_is_left_out_until_unhide(tmp_path, shop_bundle, kind):
    async def scenario(send, graph):
        act, first = sender(send), (await listed(send))[0]
        assert (await act(kind, first)).status == 202
        assert first not in await listed(send)
        assert first in await listed(send, "bert")
        await act("unhide", first)
        assert first in await listed(send)
        counts = (await send("GET", "/v1/profiles/anna")).json["counts"]
        assert f"event:{kind}" not in counts
        assert counts["event:unhide"] == 1

    over(tmp_path, shop_bundle, scenario)


def test_unlike_and_refund_leave_the_profile_that_there_was(tmp_path, shop_bundle):
    async def scenario(send, graph):
        act, (first, second, *_) = sender(send), await listed(send)
        await act("click", second, at="2026-01-01T00:00:00Z")
        before = (await send("GET", "/v1/profiles/anna")).json
        assert before["history"]
        for kind, end in (("like", "unlike"), ("purchase", "refund")):
            await act(kind, first, value=3.0)
            between = (await send("GET", "/v1/profiles/anna")).json
            assert first in [entry["video_id"] for entry in between["history"]]
            await act(end, first)
            after = (await send("GET", "/v1/profiles/anna")).json
            assert after["history"] == before["history"]
            kept = {
                key: n
                for key, n in after["counts"].items()
                if key.startswith(("cat", "cre", "bought", "inter"))
            }
            assert kept == {key: before["counts"][key] for key in kept}
            assert f"event:{kind}" not in after["counts"]
            assert first in await listed(send), "a refunded video may be recommended again"

    over(tmp_path, shop_bundle, scenario)


def test_a_refund_takes_the_conversion_back(tmp_path, shop_bundle):
    async def scenario(send, graph):
        act, shown = sender(send), await send("POST", "/v1/recommend", {"user_id": "anna", "k": 3})
        of = {"video_id": ids(shown)[0], "request_id": shown.json["request_id"]}
        conversions = []
        for kind in ("impression", "purchase", "refund"):
            await act(kind, **of)
            await asyncio.sleep(0.2)
            conversions.append((await send("GET", "/v1/arms")).json["arms"][0]["conversions"])
        assert conversions == [0, 1, 0]

    over(tmp_path, shop_bundle, scenario)


def test_own_kinds_count_as_declared_and_others_are_refused(tmp_path, shop_bundle):
    async def scenario(send, graph):
        act, (first, second, third, *_) = sender(send), await listed(send)
        for kind, name in (("save", first), ("report", second), ("zoom", third)):
            assert (await act(kind, name)).json == {"new": 1, "repeated": 0, "unused": 0, "refused": 0}
        profile = (await send("GET", "/v1/profiles/anna")).json
        assert [(one["video_id"], one["weight"]) for one in profile["history"]] == [(first, 2.0)]
        assert profile["counts"]["taste_weight"] == pytest.approx(1.0, rel=1e-3)
        refused = await act("gaze", first)
        assert (refused.status, refused.json["errors"][0]["where"]) == (422, "kind")
        assert "'save'" in refused.json["errors"][0]["detail"]
        kinds = (await send("GET", "/openapi.json")).json["components"]["schemas"]["EventKind"]["enum"]
        assert {"refund", "save", "report", "zoom"} <= set(kinds)

    over(tmp_path, shop_bundle, scenario, own_kinds=OWN_KINDS)


def test_without_a_declaration_own_kinds_are_refused(tmp_path, shop_bundle):
    async def scenario(send, graph):
        refused = await sender(send)("save", "any")
        assert (refused.status, refused.json["errors"][0]["where"]) == (422, "kind")

    over(tmp_path, shop_bundle, scenario)


def test_a_removed_event_leaves_lists_figures_and_counts(tmp_path, shop_bundle):
    async def scenario(send, graph):
        act, shown = sender(send), await send("POST", "/v1/recommend", {"user_id": "anna", "k": 3})
        of = {"video_id": ids(shown)[0], "request_id": shown.json["request_id"]}
        await act("impression", **of)
        await act("click", **of)
        await asyncio.sleep(0.2)
        before = (await send("GET", "/v1/arms")).json
        counts = await graph.profiles.node.video_counts([of["video_id"]])
        await act("purchase", value=4.0, **of)
        await asyncio.sleep(0.2)
        assert (await send("GET", "/v1/arms")).json["arms"][0]["conversions"] == 1
        assert of["video_id"] not in await listed(send)
        assert (await send("DELETE", "/v1/events/e2")).status == 204
        assert of["video_id"] in await listed(send)
        await asyncio.sleep(0.3)
        assert (await send("GET", "/v1/arms")).json == before
        again = await graph.profiles.node.video_counts([of["video_id"]])
        assert (again[1] == counts[1]).all()
        _, changed, values = await graph.profiles.node.video_counts_since(counts[0])
        assert changed == [of["video_id"]]
        assert (values == counts[1]).all()
        await act("click", video_id=ids(shown)[1])
        await asyncio.sleep(0.2)
        assert (await send("GET", "/v1/arms")).json["complete"]

    over(tmp_path, shop_bundle, scenario)


def test_a_shopper_in_plain_words(tmp_path, shop_bundle):
    videos = {row["video_id"]: row for row in shop_bundle.parts.videos.to_pylist()}

    async def scenario(send, graph):
        act, shown = sender(send), await listed(send)
        liked = shown[:3]
        # Of another category than all that are liked: a like and a dislike of one category cancel out.
        known = {videos[name]["category"] for name in liked}
        disliked = next(name for name in shown if videos[name]["category"] not in known)
        for name in liked:
            await act("like", name)
        await act("purchase", liked[0], value=3.0)
        await act("watch", liked[1], value=5.0)
        await act("dislike", disliked)
        found = (await send("GET", "/v1/users/anna")).json
        assert found["counts"] == {"dislike": 1, "like": 3, "purchase": 1, "watch": 1}
        assert (found["events"], found["bought"], found["hidden"]) == (6, [liked[0]], [disliked])
        assert found["watched_s"] == pytest.approx(5.0)
        names = [one["name"] for one in found["categories"]]
        assert {videos[name]["category"] for name in (*liked, disliked)} <= set(names)
        assert found["taste"]["videos"] == 3
        assert "6 events" in found["summary"][0]
        assert any(sentence.startswith("Most liked categories: ") for sentence in found["summary"])
        assert any("Does not want to see 1 video" in sentence for sentence in found["summary"])
        assert [row["kind"] for row in found["recent"]][:2] == ["dislike", "watch"]

    over(tmp_path, shop_bundle, scenario)


def test_lists_of_a_joined_session_are_the_account_s(tmp_path, shop_bundle):
    async def scenario(send, graph):
        act, first = sender(send), (await listed(send))[0]
        await act("hide", first)
        session = {"session_id": "visit", "k": 100}
        assert first in ids(await send("POST", "/v1/recommend", session))
        assert (await send("POST", "/v1/users/anna/sessions", {"session_id": "visit"})).status == 200
        assert first not in ids(await send("POST", "/v1/recommend", session))

    over(tmp_path, shop_bundle, scenario)
