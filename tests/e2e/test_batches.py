"""A batch as an actor on a real Ray: lists are those of single requests, and cancelling leaves nothing."""

import io
import json
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import served, service_config
from tests.e2e.test_serve import event, post, url_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
USERS = [f"u{n}" for n in range(30)]


@pytest.fixture(scope="module")
def service(ray_cluster, shop_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    config = service_config(
        folder,
        shop_bundle.uri,
        replicas={"encoder": 0, "api_cpus": 0.1, "ranking_cpus": 0.1, "profiles_cpus": 0.1},
        batches={"cpus": 0.2},
        security={"requests_per_second": 10_000, "burst": 10_000},
    )
    with served(config, ray_cluster):
        yield config


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def state_of(url, batch_id):
    return json.loads(get(f"{url}/v1/batches/{batch_id}"))


def until(url, batch_id, wanted):
    end = time.monotonic() + 200
    while not wanted(state := state_of(url, batch_id)):
        assert time.monotonic() < end, state
        time.sleep(0.3)
    return state


def batch_actors():
    import ray

    return [name for name in ray.util.list_named_actors() if name.startswith("vrec-batch-")]


def test_lists_are_those_of_single_requests_and_the_actor_ends(service, shop_bundle):
    url = url_of(service)
    videos = shop_bundle.parts.videos.column("video_id").to_pylist()
    likes = [event(user, videos[n % len(videos)], "like") for n, user in enumerate(USERS)]
    assert post(f"{url}/v1/events", {"events": likes})[0] == 202
    status, made = post(f"{url}/v1/batches", {"k": 5})
    assert status == 202
    state = until(url, made["batch_id"], lambda one: one["state"] not in ("queued", "running"))
    assert (state["state"], state["users"], state["done"]) == ("done", 30, 30), state
    table = pq.read_table(io.BytesIO(get(f"{url}/v1/batches/{made['batch_id']}/result")))
    lists = {}
    for row in table.to_pylist():
        lists.setdefault(row["user_id"], []).append(row["video_id"])
    assert list(lists) == USERS
    for user, found in lists.items():
        body = json.dumps({"user_id": user, "k": 5}).encode()
        headers = {"Content-Type": "application/json", "X-Request-ID": made["batch_id"]}
        single = json.loads(
            urllib.request.urlopen(
                urllib.request.Request(f"{url}/v1/recommend", body, headers), timeout=30
            ).read()
        )
        assert (found, single["degraded"]) == ([one["video_id"] for one in single["items"]], False)
    end = time.monotonic() + 30
    while batch_actors():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_batch_that_is_cancelled_half_way_ends_without_a_file(service):
    url = url_of(service)
    _, made = post(f"{url}/v1/batches", {"user_ids": [f"v{n}" for n in range(50_000)]})
    until(url, made["batch_id"], lambda one: one["done"] > 5)
    request = urllib.request.Request(f"{url}/v1/batches/{made['batch_id']}", method="DELETE")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 204
    end = time.monotonic() + 60
    while batch_actors():
        assert time.monotonic() < end
        time.sleep(0.2)
    state = state_of(url, made["batch_id"])
    assert (state["state"], 5 < state["done"] < 50_000) == ("cancelled", True)
    assert not list(Path(service.data, "batches").glob(f"*{made['batch_id']}*parquet*"))
