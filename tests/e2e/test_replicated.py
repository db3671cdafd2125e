"""Two HTTP replicas over Redis, from a Serve config: moves of the bundle and an A/B test lose no request."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.bundles import write_shop_bundle
from tests.contracts.store_places import RedisServer
from tests.e2e.ray_head import ray_head
from tests.e2e.service_load import ServiceLoad
from tests.web_files import free_port
from vrec.bundle.write import BundleConfig
from vrec.config.serve import ServeConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]
SERVE = str(Path(sys.executable).with_name("serve"))
ARMS = {
    "salt": "e2e",
    "arms": [{"name": "model", "share": 0.5}, {"name": "plain", "share": 0.5, "order": "popular"}],
}


class ReplicatedService:
    """A service as `serve deploy` starts it from a file."""

    def __init__(self, folder, bundle, head):
        bundles = folder / "bundles"
        shutil.copytree(bundle.uri, bundles / "one")
        other = write_shop_bundle(bundles / "two", BundleConfig(neighbours=10, popular=10))
        self.versions = {"one": bundle.version, "two": other.version}
        self.bundles, self.folder, self.port, self.head = bundles, folder, free_port(), head
        self.settings = {
            "data": str(folder / "data"), "bundles": str(bundles), "port": self.port,
            "store": {"kind": "redis", "prefix": folder.name},
            "replicas": {"api": 2, "ranking": 0, "encoder": 0, "api_cpus": 0.1, "profiles_cpus": 0.1},
            "security": {"requests_per_second": 100_000, "burst": 100_000},
        }  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"

    def deploy(self, name):
        """Run `serve deploy` with a file that names a bundle, and return once all parts have it."""
        from vrec.serving.deploy import application_schema

        config = ServeConfig.model_validate(self.settings | {"bundle": str(self.bundles / name)})
        http = {"host": "127.0.0.1", "port": self.port}
        file = self.folder / "serve.yaml"
        text = {"http_options": http, "applications": [application_schema(config)]}
        file.write_text(yaml.safe_dump(text))
        until = time.monotonic() + 400
        # On a busy machine the dashboard gives up a controller that is slow to start; the next call succeeds.
        while self._run("deploy", "-a", self.head.dashboard, str(file)).returncode:
            assert time.monotonic() < until
            time.sleep(2)
        while "status: RUNNING" not in (shown := self._serve("status", "-a", self.head.dashboard)):
            assert time.monotonic() < until, shown
            time.sleep(1)
        return shown

    def _serve(self, *arguments):
        done = self._run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, *arguments):
        environment = {**os.environ, **self.head.token}
        return subprocess.run(
            [SERVE, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def send(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Connection": "close"} | (headers or {})
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.load(reply), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), {}

    def move(self, name):
        """Move to a bundle over HTTP, and return once the move is done."""
        until = time.monotonic() + 200
        while (begun := self.send("POST", "/v1/bundles:move", {"bundle": name}))[0] == 409:
            assert time.monotonic() < until, begun
            time.sleep(0.2)
        assert begun[0] == 202, begun
        while (found := self.send("GET", "/v1/bundles")[1])["move"]["state"] == "running":
            assert time.monotonic() < until, found
            time.sleep(0.2)
        assert (found["move"]["state"], found["move"]["bundle"]) == ("done", name), found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = RedisServer(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def service(server, shop_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicated")
    with ray_head(dashboard=True, VREC_REDIS_URL=server.url) as head:
        made = ReplicatedService(folder, shop_bundle, head)
        made.replicas = made.deploy("one")
        yield made


def test_moves_and_an_experiment_lose_no_request_of_two_replicas(service):
    found = yaml.safe_load(service.replicas)["applications"]["vrec"]["deployments"]["Api"]
    assert found["replica_states"] == {"RUNNING": 2}
    with ServiceLoad(service.url) as load:
        service.move("two")
        # Another bundle than the file's: the same file again goes back to it, and a later move goes on.
        service.deploy("one")
        time.sleep(1)
        service.move("two")
        etag = service.send("GET", "/v1/experiment")[2]["ETag"]
        status, _, headers = service.send("PUT", "/v1/experiment", ARMS, {"If-Match": etag})
        assert status == 200
        time.sleep(3)
        stop = {"If-Match": headers["ETag"]}
        assert service.send("DELETE", "/v1/experiment?winner=plain", headers=stop)[0] == 200
        service.move("one")
        time.sleep(1)
    assert load.failed() == []
    assert not [answer for _, _, answer in load.done if answer and answer.get("degraded")]
    assert len(load.acknowledged) > 20
    versions = load.versions
    assert {versions[0], versions[-1]} == {service.versions["one"]}
    assert set(versions) == set(service.versions.values())
    arms = {answer["arm"] for _, _, answer in load.done if answer and "arm" in answer}
    assert {"model", "plain"} <= arms
