"""Several shops in one `vrec serve`: more than are in memory at a time, added and moved while it runs."""

import json
import time
import urllib.error
import urllib.request

import pytest
import yaml

from tests.bundles import write_shop_bundle
from tests.e2e.conftest import start, vrec
from tests.serving.tenants.service import DEFAULT, key_entries, secret_of
from tests.web_files import free_port
from vrec.bundle.write import BundleConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]
A, B, C, LATER, BROKEN = "shop-a", "shop-b", "shop-c", "shop-d", "broken"


class Shops:
    """A service with tenants, as a platform's engineer runs it: settings and keys in files."""

    def __init__(self, folder, bundle):
        self.folder, self.bundle, self.port, self.process = folder, bundle, free_port(), None
        self.tenants = {name: {"bundle": bundle.uri} for name in (A, B, C)}
        self.tenants[BROKEN] = {"bundle": str(folder / "nowhere")}
        self.keys = folder / "keys"
        self.keys.write_text(key_entries(DEFAULT, A, B, C, LATER, BROKEN))
        self.env = {"VREC_API_KEYS_FILE": str(self.keys)}

    def arguments(self):
        settings = {
            "port": self.port,
            "tenants": self.tenants,
            "warm_tenants": 2,
            "replicas": {"encoder": 0},
        }
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump({"serve": settings}))
        return ["serve", "--bundle", self.bundle.uri, "--data", self.folder / "data", "--config", file]

    def send(self, tenant, method, path, body=None):
        """Return status, content and headers of the reply to a request with a tenant's key."""
        headers = {"X-API-Key": secret_of(tenant), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def recommend(self, tenant):
        """Return a list once the tenant's bundle is in memory; until then it has the popular videos."""
        until = time.monotonic() + 60
        while True:
            status, content, _ = self.send(tenant, "POST", "/v1/recommend", {"user_id": "ann", "k": 5})
            assert status == 200, content
            found = json.loads(content)
            if not found["degraded"]:
                return found
            assert time.monotonic() < until, found
            time.sleep(0.1)


@pytest.fixture(scope="module")
def shops(shop_bundle, tmp_path_factory):
    shops = Shops(tmp_path_factory.mktemp("tenants"), shop_bundle)
    shops.process = start(*shops.arguments(), env=shops.env)
    line = shops.process.stdout.readline()
    if "serves" not in line:
        shops.process.kill()
        raise AssertionError(line + shops.process.stderr.read())
    yield shops
    if shops.process.poll() is None:
        shops.process.terminate()
        shops.process.wait(60)


def samples(text, name):
    return [line for line in text.splitlines() if line.startswith(name)]


def test_more_shops_than_fit_are_served_each_from_its_own_data(shops):
    bought = {}
    for _ in range(2):
        for name in (A, B, C, DEFAULT):
            found = shops.recommend(name)
            assert not {item["video_id"] for item in found["items"]} & set(bought.get(name, ()))
            video = found["items"][0]["video_id"]
            event = {"event_id": f"e{len(bought.get(name, ()))}", "user_id": "ann", "video_id": video}
            status, content, headers = shops.send(
                name, "POST", "/v1/events", event | {"kind": "purchase", "value": 1.0}
            )
            assert (status, json.loads(content)) == (
                202,
                {"new": 1, "repeated": 0, "unused": 0, "refused": 0},
            )
            assert headers.get("x-vrec-tenant", DEFAULT) == name
            bought.setdefault(name, []).append(video)
    for name in (A, B, C, DEFAULT):
        profile = json.loads(shops.send(name, "GET", "/v1/profiles/ann")[1])
        assert profile["counts"]["event:purchase"] == 2
    # The third shop made the first one leave, again and again.
    until = time.monotonic() + 40
    while time.monotonic() < until:
        metrics = shops.send(DEFAULT, "GET", "/metrics")[1].decode()
        left = samples(metrics, "ray_serve_multiplexed_models_unload_counter")
        if left and sum(float(line.rpartition(" ")[2]) for line in left) >= 2:
            break
        time.sleep(1)
    else:
        raise AssertionError(left)
    own = shops.send(A, "GET", "/metrics")[1].decode()
    # Each process tells its figures at its own time.
    while not samples(own, "ray_vrec_answers_total") and time.monotonic() < until + 40:
        time.sleep(1)
        own = shops.send(A, "GET", "/metrics")[1].decode()
    assert samples(own, "ray_vrec_answers_total")
    assert all(f'tenant="{A}"' in line for line in own.splitlines() if line and line[0] != "#")
    assert B not in metrics
    assert B not in own


def test_a_shop_that_cannot_be_opened_costs_nobody_else_and_says_why(shops):
    status, content, _ = shops.send(BROKEN, "POST", "/v1/recommend", {"user_id": "ann", "k": 5})
    assert status == 503
    assert json.loads(content)["type"] == "urn:vrec:problem:not-served"
    assert b"nowhere" not in content
    assert json.loads(shops.send(A, "GET", "/readyz")[1])["ready"]


def test_shops_come_move_and_go_while_it_runs(shops, tmp_path):
    other = write_shop_bundle(tmp_path / "other", BundleConfig(neighbours=10, popular=10))
    assert shops.send(LATER, "POST", "/v1/recommend", {"user_id": "ann", "k": 5})[0] == 401
    shops.tenants[B] = {"bundle": other.uri}
    shops.tenants[LATER] = {"bundle": other.uri}
    del shops.tenants[C], shops.tenants[BROKEN]
    code, out, err = vrec(*shops.arguments(), env=shops.env)
    assert (code, out.startswith("vrec moved to")) == (0, True), err
    versions = {name: shops.recommend(name)["bundle"] for name in (DEFAULT, A, B, LATER)}
    assert versions == {
        DEFAULT: shops.bundle.version, A: shops.bundle.version, B: other.version, LATER: other.version
    }  # fmt: skip
    assert json.loads(shops.send(A, "GET", "/v1/profiles/ann")[1])["counts"]["event:purchase"] == 2
    assert json.loads(shops.send(B, "GET", "/v1/profiles/ann")[1])["counts"]["event:purchase"] == 2
    assert shops.send(C, "GET", "/v1/profiles/ann")[0] == 401
    assert shops.send(LATER, "GET", "/v1/profiles/ann")[0] == 404
    shops.tenants[B] = {"bundle": str(tmp_path / "missing")}
    code, _, err = vrec(*shops.arguments(), env=shops.env)
    assert code == 3, err
    assert "the tenant shop-b was refused" in err
    assert "missing" in err
    assert shops.recommend(B)["bundle"] == other.version
