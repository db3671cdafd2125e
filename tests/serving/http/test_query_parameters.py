"""Query parameters: unknown and repeated ones are refused with the nearest name."""

import pytest

from tests.serving.http.client import call, call_json
from vrec.serving.http.query_parameters import MAX_SHOWN_CHARS

BODIES = {
    "/v1/recommend": {"user_id": "u"},
    "/v1/assistant": {"user_id": "u"},
    "/v1/search": {"text": "red"},
    "/v1/events": {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"},
    "/v1/videos": {"uri": "/x.mp4", "creator_id": "me"},
    "/v1/uploads": {},
    "/v1/streams:beat": {"beats": [{"stream_id": "s"}]},
    "/v1/streams/{stream_id}": {"streamer_id": "ann"},
}


def problems(reply):
    assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:invalid-request"), reply.body
    return {one["where"]: one["detail"] for one in reply.json["errors"]}


def test_every_operation_of_the_interface_refuses_an_unknown_parameter(made):
    app, _ = made()
    paths = [(path, method) for path, methods in app.openapi()["paths"].items() for method in methods]
    interface = [(path, method) for path, method in paths if path.startswith("/v1/")]
    assert len(interface) == 62
    for path, method in interface:
        address = path.replace("{video_id}", "mugs%2F1").replace("{user_id}", "u")
        body = BODIES.get(path) if method == "post" else None
        reply = call_json(app, method.upper(), f"{address}?surprise=1", body)
        assert list(problems(reply)) == ["surprise"], (method, path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/videos/mugs%2F1/similar?K=5", {"K": "did you mean k?"}),
        ("/v1/events?limits=5", {"limits": "did you mean limit?"}),
        ("/v1/events?fromat=arrow&afte=3", {"fromat": "did you mean format?", "afte": "did you mean after?"}),
        ("/v1/events?xyz=5", {"xyz": "known are after, limit, format"}),
        ("/v1/events?limit=1&limit=2", {"limit": "given 2 times"}),
        ("/v1/videos?categories=a&categories=b&limit=1&limit=1", {"limit": "given 2 times"}),
        ("/v1/videos?category=a", {"category": "did you mean categories?"}),
        ("/v1/arms?k=5", {"k": "no query parameters"}),
        (f"/v1/arms?{'x' * 5_000}=1", {"x" * MAX_SHOWN_CHARS + "…": "no query parameters"}),
    ],
)
def test_the_problem_has_the_nearest_name(made, path, words):
    app, _ = made()
    found = problems(call(app, "GET", path))
    assert set(found) == set(words)
    for name, part in words.items():
        assert part in found[name]


def test_known_parameters_work_and_other_paths_ignore_unknown_ones(made):
    app, _ = made()
    assert len(call(app, "GET", "/v1/videos/mugs%2F1/similar?k=1").json["items"]) == 1
    for path in (
        "/healthz?probe=lb",
        "/readyz?probe=lb",
        "/metrics?x=1",
        "/?utm_source=mail",
        "/style.css?v=2",
    ):
        assert call(app, "GET", path).status == 200, path
