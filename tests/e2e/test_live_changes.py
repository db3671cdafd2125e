"""Changes of a running service over HTTP under load: moves to bundles and A/B tests, of one tenant alone."""

import json
import shutil
import time
import urllib.error
import urllib.request

import pyarrow as pa
import pytest
import yaml

from tests.bundles import CONFIG, parts_of, shop, text_embeddings, write_shop_bundle
from tests.e2e.conftest import start, vrec
from tests.e2e.service_load import ServiceLoad
from tests.serving.tenants.service import DEFAULT, key_entries, secret_of
from tests.web_files import free_port
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ExperimentConfig
from vrec.serving.experiments import assign_arm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]
TENANT = "shop-a"
MOST_S = 90
"""Seconds after which a move counts as hanging."""
FREE = {"requests_per_second": 100_000, "burst": 100_000}


class MovableService:
    """A service with a tenant, whose bundles are in one folder.

    `one` and `two` are sound, `bad` is damaged, and `other` is of another encoder."""

    def __init__(self, folder, bundle):
        self.folder, self.port, self.process = folder, free_port(), None
        bundles = folder / "bundles"
        shutil.copytree(bundle.uri, bundles / "one")
        other = write_shop_bundle(bundles / "two", BundleConfig(neighbours=10, popular=10))
        shutil.copytree(bundles / "two", bundles / "bad")
        # The manifest is whole, so that only loading it can tell.
        (damaged,) = bundles.glob("bad/ranker/*.npz")
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
        fused, texts = shop().embeddings, text_embeddings(shop().videos)
        names = pa.repeat("another", fused.num_rows)
        renamed = fused.set_column(
            fused.schema.get_field_index("encoder"), fused.schema.field("encoder"), names
        )
        write_bundle(str(bundles / "other"), parts_of(shop(), renamed, texts), CONFIG)
        self.versions = {"one": bundle.version, "two": other.version}
        keys = folder / "keys"
        keys.write_text(key_entries(DEFAULT, TENANT))
        self.env = {"VREC_API_KEYS_FILE": str(keys)}
        place = {"bundle": str(bundles / "one"), "bundles": str(bundles)}
        self.settings = {
            **place, "port": self.port, "replicas": {"encoder": 0}, "security": FREE,
            "tenants": {TENANT: place | {"limits": FREE | {"concurrent": 100}}},
        }  # fmt: skip

    def arguments(self):
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump({"serve": self.settings}))
        return ["serve", "--data", self.folder / "data", "--config", file]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def load(self, tenant):
        return ServiceLoad(self.url, 2, {"X-API-Key": secret_of(tenant)})

    def send(self, tenant, method, path, body=None, headers=None):
        """Return status, content and headers of the reply to a request with a tenant's key."""
        given = {"X-API-Key": secret_of(tenant), "Content-Type": "application/json"} | (headers or {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.load(reply), dict(reply.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def bundles(self, tenant):
        status, content, _ = self.send(tenant, "GET", "/v1/bundles")
        assert status == 200, content
        return content

    def begin(self, tenant, name):
        return self.send(tenant, "POST", "/v1/bundles:move", {"bundle": name})

    def move(self, tenant, name):
        """Move a tenant, and return the end of the move."""
        until = time.monotonic() + MOST_S
        while (begun := self.begin(tenant, name))[0] == 409:
            # The process of the move before is about to end.
            assert time.monotonic() < until, begun
            time.sleep(0.1)
        assert begun[0] == 202, begun
        while (found := self.bundles(tenant))["move"]["state"] == "running":
            assert time.monotonic() < until, found
            time.sleep(0.1)
        assert found["move"]["bundle"] == name
        return found


@pytest.fixture(scope="module")
def service(shop_bundle, tmp_path_factory):
    service = MovableService(tmp_path_factory.mktemp("moves"), shop_bundle)
    service.process = start(*service.arguments(), env=service.env)
    line = service.process.stdout.readline()
    if "serves" not in line:
        service.process.kill()
        raise AssertionError(line + service.process.stderr.read())
    yield service
    if service.process.poll() is None:
        service.process.terminate()
        service.process.wait(60)


def test_a_service_moves_and_rolls_back_under_load_and_a_refused_bundle_changes_nothing(service):
    before = service.bundles(DEFAULT)
    assert {one["name"]: one["problem"] for one in before["bundles"]} == dict.fromkeys(
        ["bad", "one", "other", "two"]
    )
    assert (before["in_service"]["name"], before["move"]) == ("one", None)
    with service.load(DEFAULT) as load, service.load(TENANT) as other:
        time.sleep(1)
        status, content, _ = service.begin(DEFAULT, "two")
        assert (status, content["state"], content["why"]) == (202, "running", None)
        for tenant in (DEFAULT, TENANT):
            status, content, _ = service.begin(tenant, "one")
            assert (status, content["type"]) == (409, "urn:vrec:problem:move-runs")
        until = time.monotonic() + MOST_S
        while (found := service.bundles(DEFAULT))["move"]["state"] == "running":
            assert time.monotonic() < until, found
            time.sleep(0.1)
        assert (found["move"]["state"], found["move"]["why"]) == ("done", None)
        assert (found["in_service"]["name"], found["in_service"]["version"]) == (
            "two",
            service.versions["two"],
        )
        assert found["in_service"]["previous"] == service.versions["one"]
        refused = service.move(DEFAULT, "bad")
        assert refused["move"]["state"] == "failed"
        assert "bad/ranker" in refused["move"]["why"]
        assert str(service.folder) not in refused["move"]["why"]
        assert (refused["refused"], refused["in_service"]["name"]) == (None, "two")
        # Of another encoder than the profiles: the deployments themselves refuse it.
        refused = service.move(DEFAULT, "other")
        assert (refused["move"]["state"], refused["in_service"]["name"]) == ("failed", "two")
        assert "made with the encoder" in refused["refused"]["why"]
        back = service.move(DEFAULT, "one")
        assert (back["move"]["state"], back["refused"]) == ("done", None)
        assert back["in_service"]["name"] == "one"
        time.sleep(1)
    assert (load.failed(), other.failed()) == ([], [])
    assert len(load.done) > 50
    assert [load.versions[0], load.versions[-1]] == [service.versions["one"]] * 2
    assert set(load.versions) == set(service.versions.values())
    assert set(other.versions) == {service.versions["one"]}
    entries = service.send(DEFAULT, "GET", "/v1/audit?limit=1000")[1]["entries"]
    moved = [one["target"] for one in entries if one["operation"] == "move_bundle" and one["status"] == 202]
    assert moved == [{"bundle": name} for name in ("one", "other", "bad", "two")]


def test_a_tenant_moves_alone_and_the_command_moves_back_what_its_settings_name(service):
    with service.load(DEFAULT) as load, service.load(TENANT) as other:
        time.sleep(1)
        found = service.move(TENANT, "two")
        assert (found["move"]["state"], found["in_service"]["name"]) == ("done", "two")
        refused = service.move(TENANT, "bad")
        assert refused["move"]["state"] == "failed", refused
        assert refused["in_service"]["name"] == "two"
        assert service.move(TENANT, "two")["refused"] is None
        time.sleep(1)
    assert (load.failed(), other.failed()) == ([], [])
    assert set(load.versions) == {service.versions["one"]}
    assert other.versions[-1] == service.versions["two"]
    assert service.bundles(DEFAULT)["in_service"]["name"] == "one"
    assert service.bundles(DEFAULT)["move"]["bundle"] == "one", "a tenant's move is no other's"
    # The settings' file names the bundle of before, as of all tenants.
    code, out, err = vrec(*service.arguments(), env=service.env)
    assert (code, f"tenants changed: {TENANT}" in out) == (0, True), err
    assert service.bundles(TENANT)["in_service"]["name"] == "one"


def test_a_command_with_fewer_settings_waits_for_the_move_that_runs_and_has_the_last_word(service):
    short = ["serve", "--data", service.folder / "data", "--bundle"]
    assert service.move(DEFAULT, "one")["in_service"]["name"] == "one"
    while service.begin(DEFAULT, "two")[0] != 202:
        time.sleep(0.1)
    # It names neither the port, nor serve.bundles, serve.replicas, serve.security and the tenants.
    code, out, err = vrec(*short, service.folder / "bundles" / "one", env=service.env)
    assert (code, out.startswith("vrec moved to"), service.url in out) == (0, True, True), err
    found = service.bundles(DEFAULT)
    assert (found["move"]["bundle"], found["move"]["state"]) == ("two", "done")
    time.sleep(3)
    assert service.bundles(DEFAULT)["in_service"]["name"] == "one"
    assert service.bundles(TENANT)["in_service"]["name"] == "one"
    code, _, err = vrec(*short, service.folder / "none", "--set", "serve.refresh_s=3", env=service.env)
    assert (code, "the bundle is missing" in err, "other settings" in err) == (1, True, False), err


TWO = [{"name": "ranked", "share": 0.5}, {"name": "plain", "share": 0.5, "order": "popular"}]


def test_an_experiment_starts_and_stops_without_losing_a_request(service):
    config = ExperimentConfig.model_validate({"salt": "e2e", "arms": TWO})
    with service.load(DEFAULT) as load, service.load(TENANT) as other:
        time.sleep(1)
        first = service.send(DEFAULT, "GET", "/v1/experiment")
        body, asked = {"salt": "e2e", "arms": TWO}, time.time()
        condition = {"If-Match": first[2]["etag"]}
        status, started, headers = service.send(DEFAULT, "PUT", "/v1/experiment", body, condition)
        begun = time.time()
        assert (status, started["changed_by"], started["is_running"]) == (200, "shop", True)
        assert service.send(DEFAULT, "PUT", "/v1/experiment", body, condition)[0] == 412
        time.sleep(3)
        figures = service.send(DEFAULT, "GET", "/v1/arms")[1]
        assert [arm["name"] for arm in figures["arms"]] == ["ranked", "plain"]
        stopping = time.time()
        path, condition = "/v1/experiment?winner=plain", {"If-Match": headers["etag"]}
        status, stopped, _ = service.send(DEFAULT, "DELETE", path, headers=condition)
        over = time.time()
        assert (status, [arm["name"] for arm in stopped["arms"]]) == (200, ["plain"])
        time.sleep(2)
    assert (load.failed(), other.failed()) == ([], [])
    lists = [(at, answer) for at, _, answer in load.done if answer and "arm" in answer]
    assert {answer["arm"] for at, answer in lists if at < asked - 1} == {"ranked"}
    during = [answer for at, answer in lists if begun < at < stopping - 1]
    assert {answer["arm"] for answer in during} == {"ranked", "plain"}
    assert all(answer["arm"] == assign_arm(answer["user"], config).name for answer in during)
    assert {answer["arm"] for at, answer in lists if at > over} == {"plain"}
    assert {answer["arm"] for _, _, answer in other.done if answer and "arm" in answer} == {"ranked"}
    # The command with the settings of the start is no change of the A/B test.
    code, _, err = vrec(*service.arguments(), env=service.env)
    assert code == 0, err
    assert service.send(DEFAULT, "GET", "/v1/experiment")[1] == stopped
    service.settings["arms"] = {"salt": "file", "arms": TWO}
    code, _, err = vrec(*service.arguments(), env=service.env)
    assert code == 0, err
    changed = service.send(DEFAULT, "GET", "/v1/experiment")[1]
    assert (changed["salt"], changed["source"]) == ("file", "settings")
