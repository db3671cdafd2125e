"""The service on a real Ray, over real HTTP: it moves between bundles under load, and outlives its parts."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.bundles import write_shop_bundle
from tests.e2e.conftest import served, service_config
from vrec.bundle.write import BundleConfig
from vrec.core.errors import BundleError

# Starting the service is slow where the machine does other things as well.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def event(shopper, video, kind="click", **more):
    return {"event_id": uuid.uuid4().hex, "user_id": shopper, "video_id": video, "kind": kind} | more


class Shoppers:
    """Ask and click without pause in a thread of their own, and keep what they were told."""

    def __init__(self, url):
        self.url, self.going, self.lists, self.acknowledged = url, True, [], []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()

    def _run(self):
        while self.going:
            status, answer = post(f"{self.url}/v1/recommend", {"user_id": "ann", "k": 3})
            self.lists.append(
                (status, answer.get("bundle"), answer.get("degraded"), len(answer.get("items", [])))
            )
            one = event("ann", "any")
            if post(f"{self.url}/v1/events", one)[0] == 202:
                self.acknowledged.append(one["event_id"])


@pytest.fixture(scope="module")
def service(ray_cluster, shop_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    limits = {"requests_per_second": 10_000, "burst": 10_000}
    config = service_config(folder, shop_bundle.uri, replicas={"encoder": 0}, security=limits)
    with served(config, ray_cluster):
        yield config


def url_of(config):
    return f"http://{config.host}:{config.port}"


def exported(url):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with urllib.request.urlopen(f"{url}/v1/events?after=0&limit=50000", timeout=30) as answer:
        return pq.read_table(pa.BufferReader(answer.read()))


def test_a_shopper_is_served_and_remembered(service, shop_bundle):
    url = url_of(service)
    status, answer = post(f"{url}/v1/recommend", {"user_id": "eve", "k": 5})
    assert (status, answer["degraded"], answer["bundle"]) == (200, False, shop_bundle.version)
    assert len(answer["items"]) == 5
    bought = answer["items"][0]["video_id"]
    one = event("eve", bought, "purchase", value=9.5, request_id=answer["request_id"], position=0)
    assert post(f"{url}/v1/events", one) == (202, {"new": 1, "repeated": 0, "unused": 0, "refused": 0})
    assert post(f"{url}/v1/events", one) == (202, {"new": 0, "repeated": 1, "unused": 0, "refused": 0})
    answer = post(f"{url}/v1/recommend", {"user_id": "eve", "k": 5})[1]
    assert bought not in [item["video_id"] for item in answer["items"]]
    assert post(f"{url}/v1/recommend", {"user_id": "eve", "k": 0})[0] == 422


def ids_of_answer(url, sent):
    """Return the request ids of the answer to a request, which the server itself may refuse."""
    request = urllib.request.Request(url, headers={"X-Request-ID": sent})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers.get_all("X-Request-ID")
    except urllib.error.HTTPError as error:
        return error.headers.get_all("X-Request-ID") or []


def test_a_bad_request_id_is_neither_echoed_nor_logged(service, ray_cluster):
    url, good = f"{url_of(service)}/v1/arms", f"good-{uuid.uuid4().hex}"
    marks = [f"evil{uuid.uuid4().hex}" for _ in range(3)]
    assert ids_of_answer(url, good) == [good]
    for bad in (f"{marks[0]} x", f"{marks[1]}\x1b[31m", marks[2] + "a" * 64):
        ids = ids_of_answer(url, bad)
        assert len(ids) <= 1
        assert not any(mark in one for mark in marks for one in ids)
    folder = Path(ray_cluster.head_node.get_logs_dir_path()) / "serve"
    logs = "".join(path.read_text(errors="replace") for path in folder.iterdir() if path.is_file())
    assert good in logs
    assert not any(mark in logs for mark in marks)


def test_moving_between_bundles_under_load_fails_no_request(service, shop_bundle, tmp_path):
    from vrec.serving.deploy import deploy_service

    other = write_shop_bundle(tmp_path / "other", BundleConfig(neighbours=10, popular=10))
    broken = tmp_path / "broken"
    shutil.copytree(shop_bundle.uri, broken)
    (broken / "ranker" / "manifest.json").write_text("{}")
    with Shoppers(url_of(service)) as shoppers:
        time.sleep(1)
        assert deploy_service(service.model_copy(update={"bundle": other.uri}))["reloaded"]
        time.sleep(1)
        with pytest.raises(BundleError, match="broken"):
            deploy_service(service.model_copy(update={"bundle": str(broken)}))
        time.sleep(1)
        deploy_service(service)
        time.sleep(1)
    assert {one[0] for one in shoppers.lists} == {200}
    assert {one[2:] for one in shoppers.lists} == {(False, 3)}
    versions = [one[1] for one in shoppers.lists]
    assert versions[0] == versions[-1] == shop_bundle.version
    assert set(versions) == {shop_bundle.version, other.version}


def replica(deployment):
    from ray.serve.context import _get_global_client

    found = _get_global_client().get_serve_details()["applications"]["vrec"]["deployments"][deployment]
    return next((one["pid"] for one in found["replicas"] if one["state"] == "RUNNING"), None)


def test_killed_replicas_cost_neither_an_error_nor_an_acknowledged_event(service):
    url = url_of(service)
    with Shoppers(url) as shoppers:
        time.sleep(1)
        for deployment in ("Ranking", "Profiles"):
            killed = replica(deployment)
            os.kill(killed, signal.SIGKILL)
            until = time.time() + 90
            while replica(deployment) in (killed, None) and time.time() < until:
                time.sleep(0.5)
            time.sleep(3)
    assert {one[0] for one in shoppers.lists} == {200}
    assert all(one[3] == 3 for one in shoppers.lists)
    assert not shoppers.lists[-1][2]
    ids = exported(url).column("event_id").to_pylist()
    assert len(ids) == len(set(ids))
    assert set(shoppers.acknowledged) <= set(ids)


def test_a_killed_replica_loses_no_turn_of_a_conversation(service, shop_bundle):
    url, deadline = f"{url_of(service)}/v1/assistant", time.time() + 200
    category = next(one for one in shop_bundle.parts.videos.column("category").to_pylist() if one)
    messages = [category, "under 60", "not red", "cheaper", f"{category} for my mother", "start again"] * 2

    def say(number):
        """Send a message until it is answered, as a client does after 503 or a broken connection."""
        body = {"user_id": "talks", "message": messages[number], "message_id": f"m{number}"}
        while True:
            with contextlib.suppress(OSError):
                status, answer = post(url, body)
                if status == 200:
                    return answer
                assert status == 503, answer
            assert time.time() < deadline, "not answered"
            time.sleep(0.3)

    answers = []
    for number in range(len(messages)):
        if number in (3, 7):
            os.kill(replica(("Ranking", "Profiles")[number // 7]), signal.SIGKILL)
        answers.append(say(number))
    assert [answer["turn"] for answer in answers] == list(range(1, len(messages) + 1))
    with urllib.request.urlopen(f"{url}/talks", timeout=30) as reply:
        turns = json.load(reply)["turns"]
    assert [turn["message"] for turn in turns] == messages
    assert [turn["text"] for turn in turns] == [answer["text"] for answer in answers]
    # What was asked for before the first kill holds after it.
    assert {"price", "not-color:red"} <= {one["key"] for one in answers[3]["constraints"]}
    assert say(len(messages) - 1)["turn"] == len(messages)
