"""HEAD: the status and headers of GET at every path, with the same keys, and not in the document."""

import pytest

from tests.serving.http.client import call

PATHS = [
    "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/videos", "/v1/videos?limit=1",
    "/v1/videos/mugs%2F1", "/v1/videos/none", "/v1/videos?limit=0", "/v1/videos/mugs%2F1/similar?k=2",
    "/v1/events?after=0", "/v1/users/ann/profile", "/media/mugs%2F1", "/nowhere",
]  # fmt: skip
VARYING = {"x-request-id", "date"}


def shown(reply):
    return reply.status, {name: value for name, value in reply.headers.items() if name not in VARYING}


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_status_and_headers_of_get(made, path):
    app, _ = made()
    assert shown(call(app, "HEAD", path)) == shown(call(app, "GET", path))


def test_every_path_that_has_get_has_head_and_needs_the_same_key(keyed):
    app, _, headers = keyed
    document = call(app, "GET", "/openapi.json").json
    paths = [path for path, operations in document["paths"].items() if "get" in operations]
    assert "/metrics" in paths
    for path in paths:
        own = path.replace("{video_id}", "mugs%2F1").replace("{", "").replace("}", "")
        for key in ({}, headers["read"], headers["events"], headers["manage"]):
            assert call(app, "HEAD", own, headers=key).status == call(app, "GET", own, headers=key).status
    assert not [path for path, operations in document["paths"].items() if "head" in operations]


def test_a_path_without_get_has_no_head(made):
    reply = call(made()[0], "HEAD", "/v1/recommend")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
