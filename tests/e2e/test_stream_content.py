"""Content of live streams on a real Ray: lists that follow it, killed followers and dead playlists."""

import contextlib
import json
import signal
import time
import urllib.error
import urllib.request
import uuid

import psutil
import pytest

from tests.e2e.conftest import served, service_config
from tests.e2e.page_shop import DRAW
from tests.hls_streams import drawn, live_playlist, write_hls
from tests.web_files import web_files
from vrec.synthetic.videos import plan_catalog

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WAIT_S = 170


def send(url, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
        return json.loads(content) if content else None


class Show:
    """Live playlists on a web server, each of which shows a category until it is told to show another."""

    def __init__(self, server, files):
        self.server, self.files, self.number = server, files, 0

    def show(self, stream, category):
        """Let a stream's playlist go on with three new segments of a category."""
        self.number += 3
        names = [f"{category}{number}.ts" for number in range(3)]
        self.server.files[f"{stream}.m3u8"] = live_playlist(names, self.number)

    def source(self, stream):
        return f"{self.server.root}/ok/{stream}.m3u8"


@pytest.fixture(scope="module")
def show(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("hls"), {}
    for category in ("sneakers", "mugs"):
        files |= write_hls(folder / category, drawn(category, 1), category).files
    with web_files(files) as server:
        yield Show(server, files)


@pytest.fixture(scope="module")
def url(ray_cluster, page_shop, show, tmp_path_factory):
    folder = tmp_path_factory.mktemp("content")
    config = service_config(
        folder,
        page_shop.uri,
        replicas={"ranking": 0, "follower_cpus": 0.1},
        security={"requests_per_second": 10_000, "burst": 10_000, "media_roots": [show.server.root]},
        live={
            **{"expiry_s": 3_600, "window_s": 3, "refresh_s": 0.5, "backoff_s": 1},
            "streams_per_follower": 2,
        },
    )
    with served(config, ray_cluster) as url:
        yield url


def until(condition, url, *streams):
    """Wait for what comes by itself."""
    began = time.monotonic()
    while not (found := condition()):
        told = {name: send(url, "GET", f"/v1/streams/{name}")["content"] for name in streams}
        assert time.monotonic() - began < WAIT_S, told
        time.sleep(0.2)
    return found


def embedded_since(url, stream, since):
    def look():
        content = send(url, "GET", f"/v1/streams/{stream}")["content"]
        return content is not None and (content["embedded_at"] or "") > since

    return look


def order(url, user):
    body = {"user_id": user, "k": 2, "kind": "stream"}
    return [item["video_id"] for item in send(url, "POST", "/v1/recommend", body)["items"]]


def followers(ray_cluster):
    """Processes of followers, of this cluster alone."""
    raylet = psutil.Process(ray_cluster.head_node.all_processes["raylet"][0].process.pid)
    found = set()
    for one in raylet.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "ContentFollower" in " ".join(one.cmdline()):
                found.add(one.pid)
    return found


def test_lists_follow_what_streams_show_now_and_outlive_killed_followers(url, show, ray_cluster):
    for name in [one.video_id for one in plan_catalog(DRAW) if one.category == "mugs"][:4]:
        one = {"event_id": uuid.uuid4().hex, "user_id": "fan", "video_id": name}
        send(url, "POST", "/v1/events", {**one, "kind": "like"})
    show.show("a", "mugs")
    show.show("b", "sneakers")
    for name in "ab":
        send(url, "PUT", f"/v1/streams/{name}", {"streamer_id": name, "source": show.source(name)})
    until(embedded_since(url, "a", ""), url, *"ab")
    until(embedded_since(url, "b", ""), url, *"ab")
    until(lambda: order(url, "fan") == ["a", "b"], url, *"ab")
    # Both streams are of one follower, which is killed; what they show changes while there is none.
    (before,) = followers(ray_cluster)
    psutil.Process(before).send_signal(signal.SIGKILL)
    show.show("a", "sneakers")
    show.show("b", "mugs")
    until(lambda: order(url, "fan") == ["b", "a"], url, *"ab")
    assert len(followers(ray_cluster) - {before}) == 1

    # A playlist that is dead, and one that is not allowed, cost a row each, and the others go on.
    sources = {"dead": show.source("none"), "other": "file:///etc/passwd", "silent": None}
    for name, source in sources.items():
        send(url, "PUT", f"/v1/streams/{name}", {"streamer_id": name, "source": source})
    for name, error in (("dead", "VanishedVideo"), ("other", "SourceRefused")):

        def failed(name=name):
            content = send(url, "GET", f"/v1/streams/{name}")["content"]
            return content if content and content["failures"] >= 2 else None

        content = until(failed, url, *sources)
        assert content["error"] == error
        assert (content["embedded_at"], bool(content["reason"] and content["fix"])) == (None, True)
        assert content["retry_at"] is not None
    assert send(url, "GET", "/v1/streams/silent")["content"] is None
    assert len(followers(ray_cluster)) == 2
    since = send(url, "GET", "/v1/streams/a")["content"]["embedded_at"]
    show.show("a", "mugs")
    until(embedded_since(url, "a", since), url, *"ab", *sources)

    # What is over is followed no more, and its followers end.
    for name in ("a", "b", *sources):
        send(url, "DELETE", f"/v1/streams/{name}")
    until(lambda: not followers(ray_cluster), url)
