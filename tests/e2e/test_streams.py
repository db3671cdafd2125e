"""Live streams over real HTTP and a real Ray, with two HTTP replicas: ends that race answers."""

import json
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import served, service_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
STREAMERS, SHOPPERS, ANSWERS = 3, 3, 400


def send(url, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def url(ray_cluster, shop_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    limits = {"requests_per_second": 10_000, "burst": 10_000}
    more = {"replicas": {"encoder": 0, "api": 2}, "security": limits, "live": {"expiry_s": 5}}
    config = service_config(folder, shop_bundle.uri, **more)
    with served(config, ray_cluster) as url:
        yield url


class Race:
    """Streamers who start and end streams, and shoppers who ask, until there are ANSWERS."""

    def __init__(self, url):
        self.url, self.lock = url, threading.Lock()
        self.number, self.answers, self.over, self.seen, self.wrong = 0, 0, set(), set(), []
        self.waits = []

    @property
    def going(self):
        return self.answers < ANSWERS

    def stream(self, pause_s):
        while self.going:
            with self.lock:
                self.number += 1
                name = f"s{self.number}"
            status, _ = send(self.url, "PUT", f"/v1/streams/{name}", {"streamer_id": "ann", "title": "t"})
            assert status == 201
            time.sleep(pause_s)
            assert send(self.url, "DELETE", f"/v1/streams/{name}")[0] == 204
            with self.lock:
                self.over.add(name)

    def shop(self, user):
        body = {"user_id": user, "k": 20}
        while self.going:
            with self.lock:
                before = frozenset(self.over)
            kind = "stream" if self.answers % 2 else "video"
            status, answer = send(self.url, "POST", "/v1/recommend", body | {"kind": kind})
            assert status == 200
            found = {item["video_id"] for item in answer["items"]}
            with self.lock:
                self.answers += 1
                self.wrong += sorted(found & before)
                self.seen |= {name for name in found if name.startswith("s")}


def test_no_answer_has_a_stream_whose_end_was_acknowledged_before_it_was_asked_for(url):
    race = Race(url)
    with ThreadPoolExecutor(STREAMERS + SHOPPERS) as threads:
        tasks = [threads.submit(race.stream, 0.2 * number) for number in range(STREAMERS)]
        tasks += [threads.submit(race.shop, f"u{number}") for number in range(SHOPPERS)]
        for task in tasks:
            task.result()
    assert race.wrong == []
    assert len(race.over) >= 10
    assert len(race.seen) >= 5


def test_a_stream_that_stops_beating_leaves_all_lists_and_one_that_begins_comes_into_them(url):
    def live():
        return {
            item["video_id"]
            for _ in range(4)  # of either replica
            for item in send(url, "POST", "/v1/recommend", {"user_id": "u", "kind": "stream"})[1]["items"]
        }

    assert send(url, "PUT", "/v1/streams/silent", {"streamer_id": "bob"})[0] == 201
    began = time.monotonic()
    while "silent" not in live():
        assert time.monotonic() - began < 30
    assert send(url, "POST", "/v1/streams/silent/beat", {"viewers": 7})[1]["viewers"] == 7
    while "silent" in live():
        assert time.monotonic() - began < 60
    assert send(url, "POST", "/v1/streams/silent/beat", {})[0] == 409
