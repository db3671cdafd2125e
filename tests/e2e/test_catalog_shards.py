"""A catalog in two shards of two copies on a real Ray: a killed copy costs no request."""

import json
import os
import signal
import time
import urllib.request

import pytest

from tests.e2e.conftest import served, service_config
from tests.e2e.test_serve import Shoppers, post, replica

# Starting the service is slow where the machine does other things as well.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]


def test_a_killed_copy_of_a_shard_costs_no_request(ray_cluster, shop_bundle, tmp_path):
    videos = shop_bundle.parts.videos.num_rows
    replicas = {"encoder": 0, "shard_cpus": 0.1}
    limits = {"requests_per_second": 10_000, "burst": 10_000}
    config = service_config(
        tmp_path,
        shop_bundle.uri,
        replicas=replicas,
        security=limits,
        shard_above=videos // 2,
        ranking_timeout_s=20,
    )
    with served(config, ray_cluster) as url:
        status, first = post(f"{url}/v1/recommend", {"user_id": "ann", "k": 10})
        assert (status, first["degraded"], len(first["items"])) == (200, False, 10)
        with Shoppers(url) as shoppers:
            time.sleep(2)
            killed = replica("CatalogShard1")
            os.kill(killed, signal.SIGKILL)
            until = time.time() + 120
            while replica("CatalogShard1") in (killed, None) and time.time() < until:
                time.sleep(0.5)
            time.sleep(3)
        assert {one[0] for one in shoppers.lists} == {200}
        assert {one[2:] for one in shoppers.lists} == {(False, 3)}
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            assert json.load(answer)["ready"]
