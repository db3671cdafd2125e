"""Routes of live streams: their life over HTTP, its refusals, and lists that have only what is live."""

from datetime import datetime

import pytest

from tests.serving.http.client import call, call_json
from vrec.core.errors import StoreError

ANN = {"streamer_id": "ann", "title": "Shoes now", "tags": ["shoes"], "product_ids": ["p1"], "language": "en"}


def put(app, name="s1", **more):
    return call_json(app, "PUT", f"/v1/streams/{name}", {**ANN, **more})


def beat(app, name="s1", **body):
    return call_json(app, "POST", f"/v1/streams/{name}/beat", body)


def end(app, name="s1"):
    return call(app, "DELETE", f"/v1/streams/{name}")


def recommended(app, **more):
    return call_json(app, "POST", "/v1/recommend", {"user_id": "u", **more}).json["items"]


def ids(items):
    return [item["video_id"] for item in items]


@pytest.fixture
def timed(made):
    """Return an app whose streams have a clock that the test turns, in seconds."""
    app, shop = made(live={"expiry_s": 30})
    clock = {"s": 1_000.0}
    shop.streams._now = lambda: round(clock["s"] * 1e6)
    return app, clock


def test_a_stream_begins_changes_and_ends(made):
    app, _ = made()
    started = put(app, source="https://cdn/x.m3u8")
    assert started.status == 201
    assert {name: started.json[name] for name in ("live", "title", "product_ids", "source", "ended_at")} == {
        "live": True, "title": "Shoes now", "product_ids": ["p1"], "source": "https://cdn/x.m3u8",
        "ended_at": None,
    }  # fmt: skip
    told = beat(app, viewers=12, chats=3, product_ids=["p2", "p2"])
    assert (told.status, told.json["viewers"], told.json["product_ids"]) == (200, 12, ["p2"])
    assert beat(app).json["viewers"] == 12
    again = put(app, title="Hats now")
    assert (again.status, again.json["title"], again.json["viewers"]) == (200, "Hats now", 12)
    assert (again.json["product_ids"], again.json["source"]) == (["p1"], None)
    assert again.json["started_at"] == started.json["started_at"]
    assert call(app, "GET", "/v1/streams/s1").json == again.json | {"content": None}
    assert call(app, "GET", "/v1/videos/s1").json["kind"] == "live"
    (item,) = recommended(app, kind="stream")
    assert (item["video_id"], item["creator_id"], item["kind"]) == ("s1", "ann", "live")
    assert item["live"] == {name: again.json[name] for name in ("started_at", "viewers", "product_ids")}
    assert end(app).status == end(app).status == 204
    assert recommended(app, kind="stream") == []
    over = call(app, "GET", "/v1/streams/s1").json
    assert over["live"] is False
    assert datetime.fromisoformat(over["ended_at"]) >= datetime.fromisoformat(over["beat_at"])
    assert put(app).status == 201
    assert call(app, "GET", "/v1/streams/s1").json["viewers"] is None


@pytest.mark.parametrize(
    ("name", "body", "status", "kind", "where"),
    [
        ("s1", {"streamer_id": "bob"}, 409, "stream-taken", ["streamer_id"]),
        ("mugs%2F1", {"streamer_id": "ann"}, 409, "stream-taken", ["stream_id"]),
        ("s2", {}, 422, "invalid-request", ["streamer_id"]),
        ("s2", {"streamer_id": "ann", "viewers": 3}, 422, "invalid-request", ["viewers"]),
        ("s2", {"streamer_id": "ann", "language": "?"}, 422, "invalid-request", ["language"]),
        ("s2", {"streamer_id": "ann", "tags": ["a"] * 51}, 422, "invalid-request", ["tags"]),
        ("s2%2Fsimilar", {"streamer_id": "ann"}, 422, "invalid-request", ["stream_id"]),
    ],
)
def test_what_cannot_start_is_refused_by_its_field(made, name, body, status, kind, where):
    app, _ = made()
    put(app)
    reply = call_json(app, "PUT", f"/v1/streams/{name}", body)
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{kind}")
    assert [one["where"] for one in reply.json["errors"]] == where
    assert ids(call(app, "GET", "/v1/streams").json["streams"] and recommended(app, kind="stream")) == ["s1"]


def test_beats_of_many_streams_are_one_request_and_none_hinders_another(timed):
    app, clock = timed
    for name in ("s1", "s2", "s3"):
        put(app, name)
    end(app, "s2")
    body = {"beats": [{"stream_id": name, "viewers": 5} for name in ("s2", "none", "s3", "s1")]}
    clock["s"] += 29
    reply = call_json(app, "POST", "/v1/streams:beat", body)
    assert [(one["stream_id"], one["outcome"]) for one in reply.json["beats"]] == [
        ("s2", "over"), ("none", "unknown"), ("s3", "live"), ("s1", "live"),
    ]  # fmt: skip
    clock["s"] += 29
    for name in ("s1", "s3"):
        told = call(app, "GET", f"/v1/streams/{name}").json
        assert (told["live"], told["viewers"]) == (True, 5)
    for beats in ([], [{"stream_id": "s1"}, {"stream_id": "s1"}], [{"viewers": 3}]):
        reply = call_json(app, "POST", "/v1/streams:beat", {"beats": beats})
        assert reply.status == 422
        assert reply.json["errors"][0]["where"].startswith("beats")


def test_beats_and_ends_of_what_is_not_live_are_refused(made):
    app, _ = made()
    for reply in (beat(app), end(app), call(app, "GET", "/v1/streams/s1")):
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-stream")
    put(app)
    for body, where in (({"viewers": -1}, "viewers"), ({"viewers": 1.5}, "viewers"), ({"x": 1}, "x")):
        reply = beat(app, **body)
        assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, [where])
    end(app)
    reply = beat(app, viewers=1)
    assert (reply.status, reply.json["type"]) == (409, "urn:vrec:problem:stream-over")
    assert "PUT /v1/streams" in reply.json["detail"]


def test_a_stream_without_a_beat_is_over_by_the_clock(timed):
    app, clock = timed
    put(app)
    clock["s"] += 29.9
    assert beat(app).status == 200
    clock["s"] += 29.9
    assert ids(recommended(app, kind="stream")) == ["s1"]
    clock["s"] += 0.2
    assert recommended(app, kind="stream") == []
    assert call(app, "GET", "/v1/streams").json == {"streams": [], "found": 0, "next_cursor": None}
    over = call(app, "GET", "/v1/streams/s1").json
    assert (over["live"], over["ended_at"]) == (False, "1970-01-01T00:17:39.900000Z")
    assert beat(app).status == 409
    assert end(app).status == 204
    assert call(app, "GET", "/v1/streams/s1").json["ended_at"] == over["ended_at"]


def test_pages_of_the_live_streams_repeat_and_miss_nothing(made):
    app, _ = made()
    for number in range(7):
        put(app, f"s{number}")
    end(app, "s3")
    seen, query = [], "?limit=2"
    while query:
        page = call(app, "GET", f"/v1/streams{query}").json
        seen += [one["stream_id"] for one in page["streams"]]
        if len(seen) == 2:
            end(app, "s4")
            put(app, "s00")
        query = page["next_cursor"] and f"?limit=2&cursor={page['next_cursor']}"
    assert seen == ["s0", "s1", "s2", "s5", "s6"]
    for query in ("limit=0", "limit=201", "cursor=x", "page=1"):
        reply, where = call(app, "GET", f"/v1/streams?{query}"), query.partition("=")[0]
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, where)


def test_who_may_do_what_and_beats_are_not_in_the_audit_log(keyed):
    app, _, headers = keyed
    for key, statuses in (("read", [403, 403, 403, 200, 200]), ("manage", [201, 200, 204, 403, 403])):
        done = [
            call_json(app, "PUT", f"/v1/streams/{key}", ANN, headers[key]),
            call_json(app, "POST", f"/v1/streams/{key}/beat", {}, headers[key]),
            call(app, "DELETE", f"/v1/streams/{key}", headers=headers[key]),
            call(app, "GET", "/v1/streams", headers=headers[key]),
            call(app, "GET", "/v1/streams/manage", headers=headers[key]),
        ]
        # The stream to read is there after the turn of `manage` only.
        assert [one.status for one in done[:4]] == statuses[:4]
    assert call(app, "GET", "/v1/streams/manage", headers=headers["read"]).status == 200
    found = call(app, "GET", "/v1/audit", headers=headers["manage"]).json["entries"]
    assert [one["operation"] for one in found] == ["end_stream", "put_stream", "end_stream", "put_stream"]


def test_a_stream_that_ends_between_choosing_and_answering_is_replaced(made):
    app, shop = made()
    for number in range(4):
        put(app, f"s{number}")
    choose = shop.recommend
    ended = iter(["s0", "s1"])

    async def choose_and_end(query):
        result = await choose(query)
        for name in ended:
            await shop.streams.end(name)
            break
        return result

    shop.recommend = choose_and_end
    # The first list has s0, which ends before it is sent; so has the second one s1, and there is no third.
    assert ids(recommended(app, kind="stream", k=2)) == ["s2"]
    assert ids(recommended(app, kind="stream", k=3)) == ["s2", "s3"]


@pytest.mark.parametrize("path", ["search", "similar", "slots", "trending", "fallback", "recommend"])
def test_no_kind_of_list_has_a_stream_that_is_over(made, path):
    """The lists of this shop have whatever is in the catalog: what is over is found at the last look."""
    app, shop = made()
    put(app, "s1", title="A mug stream", category="mugs")
    put(app, "s2", title="A mug stream", category="mugs")

    def lists():
        if path == "search":
            return [call_json(app, "POST", "/v1/search", {"text": "stream"}).json["items"]]
        if path == "similar":
            return [call(app, "GET", "/v1/videos/mugs%2F1/similar").json["items"]]
        if path == "slots":
            slots = [{"name": "a", "k": 3}, {"name": "b", "k": 5}]
            body = {"user_id": "u", "slots": slots}
            found = call_json(app, "POST", "/v1/recommend:slots", body).json["slots"]
            return [one["items"] for one in found]
        if path == "trending":
            return [call(app, "GET", "/v1/trending").json["items"]]
        if path == "fallback":
            shop.away = StoreError("ranking is away")
            items = recommended(app)
            shop.away = None
            return [items]
        return [recommended(app)]

    if path == "trending":
        for shopper in ("a", "b", "c"):
            for video in ("s1", "s2"):
                event = {"event_id": shopper + video, "user_id": shopper, "video_id": video, "kind": "click"}
                assert call_json(app, "POST", "/v1/events", event).status == 202
    assert {"s1", "s2"} <= {name for one in lists() for name in ids(one)}
    end(app, "s1")
    found = {name for one in lists() for name in ids(one)}
    assert "s1" not in found
    assert "s2" in found


def test_without_the_states_no_list_has_a_stream(made):
    app, shop = made()
    put(app)
    assert "s1" in ids(recommended(app))

    async def away(*_):
        raise StoreError("away")

    shop.states = away
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "u"}).json
    assert len(reply["items"]) == 4
    assert "s1" not in ids(reply["items"])
    assert (reply["degraded"], reply["why"]) == (True, ["streams"])


def test_lists_without_streams_read_no_state(made):
    app, shop = made()
    put(app)
    reads, read = [], shop.states

    async def counted(*call):
        reads.append(call)
        return await read(*call)

    shop.states = counted
    assert len(recommended(app, kinds=["product"])) == 3
    assert reads == []
    assert "s1" in ids(recommended(app))
    assert len(reads) == 1


def test_the_video_of_a_live_stream_changes_by_its_stream_alone(made):
    app, shop = made()
    put(app)
    before = call(app, "GET", "/v1/videos/s1").json
    lines = b'{"video_id": "s1", "kind": "clip"}\n{"video_id": "mugs/1", "title": "Mug"}'

    def bulk():
        return call(app, "POST", "/v1/videos:bulk", lines, {"content-type": "application/x-ndjson"}).json

    new = {"video_id": "s1", "uri": "/x.mp4", "creator_id": "bob"}
    for refused in (
        call(app, "DELETE", "/v1/videos/s1"),
        call_json(app, "PATCH", "/v1/videos/s1", {"kind": "clip"}),
        call_json(app, "PATCH", "/v1/videos/s1", {}),
    ):
        assert (refused.status, refused.json["type"]) == (409, "urn:vrec:problem:stream-live")
        assert "DELETE /v1/streams/" in refused.json["detail"]
        assert "PUT /v1/streams/" in refused.json["detail"]
    assert call_json(app, "POST", "/v1/videos", new).status != 201
    done = bulk()
    assert (done["updated"], done["failed"]) == (1, 1)
    assert "DELETE /v1/streams/" in str(done)
    assert call(app, "GET", "/v1/videos/s1").json == before
    end(app)
    assert bulk()["updated"] == 2
    assert call_json(app, "PATCH", "/v1/videos/s1", {"available": False}).status == 200
    assert call(app, "GET", "/v1/videos/s1").json["kind"] == "clip"
    assert put(app).status == 201
    again = call(app, "GET", "/v1/videos/s1").json
    assert (again["kind"], again["available"]) == ("live", True)
    assert shop.cards_now["s1"]["uri"] == "stream://s1"
    end(app)
    assert call(app, "DELETE", "/v1/videos/s1").status == 204
    assert put(app).status == 201
    assert ids(recommended(app, kind="stream")) == ["s1"]


def test_the_id_of_a_video_is_refused_with_a_fix_that_helps(made):
    app, _ = made()
    detail = put(app, "mugs%2F1").json["detail"]
    assert "DELETE /v1/videos/" in detail
    assert "end that stream" not in detail
    assert call(app, "DELETE", "/v1/videos/mugs%2F1").status == 204
    assert put(app, "mugs%2F1").status == 201


def test_an_id_in_the_namespace_of_creators_is_refused(made):
    app, _ = made()
    reply = put(app, "creator:ann")
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["stream_id"])
    assert "may not begin with creator:" in reply.json["errors"][0]["detail"]
    assert put(app, "a-creator:ann").status == 201


@pytest.mark.parametrize("name", ["a%0Ab", "%0A", "a%0A"])
def test_an_id_with_a_line_break_is_refused_by_its_field(made, name):
    app, _ = made()
    reply = put(app, name)
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["stream_id"])


@pytest.mark.parametrize("name", ["beat", "similar", "a/similar"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_id_that_is_a_path_of_the_service_is_refused_with_the_reason(made, name, method):
    app, _ = made()
    path = f"/v1/streams/{name}"
    reply = call_json(app, method, path, ANN) if method == "PUT" else call(app, method, path)
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["stream_id"])
    assert "a path of the service" in reply.json["errors"][0]["detail"]
    assert call(app, method, "/v1/streams/a%2Fbeat").status == 405


@pytest.mark.parametrize("name", [" ", " p1", "p1 ", "\tp1", ""])
def test_ids_of_streamers_and_products_have_no_spaces_around_them(made, name):
    app, _ = made()
    assert put(app).status == 201
    for reply, where in (
        (put(app, "s2", streamer_id=name), "streamer_id"),
        (put(app, "s2", product_ids=["p1", name]), "product_ids.1"),
        (beat(app, product_ids=[name]), "product_ids.0"),
    ):
        assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, [where])
    assert put(app, "s2", streamer_id="ann b", product_ids=["p 1"]).status == 201
