"""Deployment of the application, its settings and its failures, without Ray."""

import contextlib
import os
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import RayTaskError

from tests.serving.deployments.test_profiles import event, events
from vrec.config.serve import ExperimentConfig, ServeConfig
from vrec.core.errors import BundleError, PrivacyError, ServeError, StoreError
from vrec.privacy.door.door import Door
from vrec.profiles.stores.redis.store import RedisConfig
from vrec.serving import app as app_module
from vrec.serving import deploy, running_settings
from vrec.serving.app import build, check_host, deployments
from vrec.serving.deployments.api import DRAIN_TIMEOUT_S
from vrec.serving.service_record import RECORD


def status(state, message="", **deployments):
    """An application's status as Serve reports it."""
    parts = {
        name: SimpleNamespace(message=text, replica_states={}, status=state)
        for name, text in deployments.items()
    }
    return SimpleNamespace(status=state, message=message, deployments=parts)


@pytest.fixture
def reports(monkeypatch):
    """A list of the applications' states, which Serve reports one after the other; the last one stays."""
    states = []

    def next_report():
        state = states.pop(0) if len(states) > 1 else states[0]
        return SimpleNamespace(applications={} if state is None else {"vrec": state})

    monkeypatch.setattr(deploy.serve, "status", next_report)
    monkeypatch.setattr(deploy, "POLL_S", 0.0)
    return states


def test_the_start_ends_when_the_application_runs(reports):
    reports += [None, status("NOT_STARTED"), status("DEPLOYING"), status("RUNNING"), status("UNHEALTHY")]
    deploy.wait_until_running()
    assert [one.status for one in reports] == ["UNHEALTHY"]


@pytest.mark.parametrize("state", ["DEPLOY_FAILED", "UNHEALTHY"])
def test_an_application_that_failed_is_not_waited_for(reports, state):
    reports += [status("DEPLOYING"), status(state, "no room")]
    with pytest.raises(ServeError, match=r"^the service did not start: no room\b") as error:
        deploy.wait_until_running()
    assert error.value.fix == "see the message, and start it again"


def test_an_application_that_never_runs_is_given_up(reports, monkeypatch):
    monkeypatch.setattr(deploy, "START_TIMEOUT_S", 0.02)
    reports += [status("DEPLOYING")]
    with pytest.raises(ServeError, match=r"did not start in 0\.02 s") as error:
        deploy.wait_until_running()
    assert "serve.replicas" in (error.value.fix or "")


def test_the_cause_of_a_failed_start_is_the_last_error_of_vrec():
    trace = (
        "Traceback:\n  File x\nvrec.core.errors.BundleError: bad bundle\n"
        "vrec.core.errors.StoreError: /srv: no room"
    )
    generic = "see the message, and start it again"
    found = deploy._start_error(status("UNHEALTHY", "replicas died", Ranking=trace, Api=""))
    assert found == ("/srv: no room", generic)
    found = deploy._start_error(status("UNHEALTHY", "died", Ranking=f"{trace}\nFix: make room\nmore", Api=""))
    assert found == ("/srv: no room", "make room")
    assert deploy._start_error(status("UNHEALTHY", "a\n b ", Api="c")) == ("a b c", generic)
    assert len(deploy._start_error(status("UNHEALTHY", "x" * 900))[0]) == 500


def test_paths_are_made_absolute_and_uris_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ServeConfig.model_validate(
        {"bundle": "b", "data": "d", "store": {"kind": "sqlite", "path": "s"}}
    )
    found = deploy.with_absolute_paths(config)
    assert [found.bundle, found.data, found.store.path] == [str(tmp_path / name) for name in "bds"]
    assert (config.bundle, config.store.path) == ("b", "s")
    remote = ServeConfig.model_validate({"bundle": "s3://b/x", "data": "s3://d", "store": {"kind": "redis"}})
    found = deploy.with_absolute_paths(remote)
    assert (found.bundle, found.data) == ("s3://b/x", "s3://d")
    assert isinstance(found.store, RedisConfig)
    assert found.store == remote.store


ARMS = ExperimentConfig().model_dump(mode="json")


def test_each_deployment_has_the_settings_that_may_change():
    config = ServeConfig.model_validate({"bundle": "/b", "replicas": {"encoder": 0}, "refresh_s": 3})
    schema = deploy.application_schema(config)
    assert schema["deployments"] == [
        {"name": name, "user_config": {"bundle": "/b", "arms": ARMS}}
        for name in ("Profiles", "Ranking", "Api")
    ]
    assert not schema["args"].keys() & deploy.CHANGEABLE
    assert schema["args"]["refresh_s"] == 3
    assert (schema["name"], schema["route_prefix"]) == ("vrec", "/")
    assert schema["logging_config"] == {"encoding": "JSON"}


class FakeServe:
    """What deploy_service does with Serve, noted down."""

    def __init__(self, monkeypatch, before, refusal=None, args=None):
        self.calls, self.refusal, self.listens, self.user_config = [], refusal, None, {}
        self.reports = [before, status("RUNNING")]
        monkeypatch.setattr(deploy, "http_address", lambda: self.listens)
        monkeypatch.setattr(deploy.serve, "shutdown", lambda: self.calls.append(("shutdown",)))
        monkeypatch.setattr(running_settings, "http_address", lambda: self.listens)
        monkeypatch.setattr(running_settings, "deployed_application", lambda _: self.deployed(args))
        monkeypatch.setattr(deploy, "only_change", self.only_change)
        monkeypatch.setattr(deploy, "_ray_address", lambda: "127.0.0.1:1")
        monkeypatch.setattr(deploy.serve, "delete", lambda name: self.calls.append(("delete", name)))
        monkeypatch.setattr(deploy.serve, "start", lambda **options: self.calls.append(("start", options)))
        monkeypatch.setattr(deploy.serve, "status", self.status)
        monkeypatch.setattr(deploy, "deploy_applications", lambda c: self.calls.append(("deploy", c)))
        monkeypatch.setattr(deploy, "blocking_handle", self.handle)

    @contextlib.contextmanager
    def only_change(self):
        self.calls.append(("lock",))
        yield
        self.calls.append(("unlock",))

    def deployed(self, args):
        return {"args": args, "deployments": [{"name": "Api", "user_config": self.user_config}]}

    def status(self):
        state = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        return SimpleNamespace(applications={} if state is None else {"vrec": state})

    def handle(self, name, application):
        self.calls.append(("handle", name, application))
        result = SimpleNamespace(result=lambda: self.refusal)
        refusal = SimpleNamespace(remote=lambda tenant: result)
        none = SimpleNamespace(remote=lambda: SimpleNamespace(result=dict))
        found = SimpleNamespace(refusal=refusal, refusals=none, options=lambda **_: found)
        return found


@pytest.mark.parametrize("ranking", [0, 2])
@pytest.mark.parametrize("before", [None, status("RUNNING")], ids=["new", "again"])
def test_a_deployment_says_where_it_is_and_whether_it_ran_before(tmp_path, monkeypatch, ranking, before):
    config = ServeConfig.model_validate(
        {"bundle": str(tmp_path), "data": str(tmp_path), "port": 8123, "replicas": {"ranking": ranking}}
    )
    fake = FakeServe(monkeypatch, before, args=args_of(config))
    report = deploy.deploy_service(config)
    assert report.pop("seconds") >= 0
    assert report == {
        "url": "http://127.0.0.1:8123",
        "bundle": str(tmp_path),
        "reloaded": before is not None,
    }
    if before is not None:
        # No move to another bundle runs meanwhile.
        assert (fake.calls.pop(0), fake.calls.pop()) == (("lock",), ("unlock",))
    start, deployed, handle = fake.calls
    assert start == ("start", {"http_options": {"host": "127.0.0.1", "port": 8123}})
    assert [one.name for one in deployed[1].applications] == ["vrec"]
    # The bundle's smoke requests run where the ranker is.
    assert handle == ("handle", "Ranking" if ranking else "Api", "vrec")


@pytest.mark.parametrize("keeps", [False, True])
def test_tenants_are_kept_where_none_are_given_and_what_changes_is_told(tmp_path, monkeypatch, keeps):
    monkeypatch.setenv("VREC_API_KEYS", "a/web:read:" + "0" * 64)
    config, old = config_in(tmp_path), {"bundle": str(tmp_path), "currency": "EUR"}
    fake = FakeServe(monkeypatch, status("RUNNING"), args=args_of(config))
    fake.user_config = {"bundle": str(tmp_path), "tenants": {"a": old, "b": old}}
    report = deploy.deploy_service(config if keeps else config_in(tmp_path, tenants={}))
    (schema,) = [call[1] for call in fake.calls if call[0] == "deploy"]
    deployments = schema.applications[0].deployments
    found = {name for one in deployments for name in one.user_config.get("tenants", {})}
    assert found == ({"a", "b"} if keeps else set())
    assert report.get("tenants") == (None if keeps else {"added": [], "changed": [], "removed": ["a", "b"]})
    other = config_in(tmp_path, tenants={"a": {**old, "currency": "CNY"}, "c": old})
    assert deploy.deploy_service(other)["tenants"] == {"added": ["c"], "changed": ["a"], "removed": ["b"]}


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("where", ["args", "user_config", "nowhere"])
def test_the_experiment_of_the_settings_is_kept_where_none_is_given(tmp_path, monkeypatch, keeps, where):
    config, own = config_in(tmp_path), ExperimentConfig(salt="own").model_dump(mode="json")
    fake = FakeServe(monkeypatch, status("RUNNING"), args=args_of(config) | {"arms": own} if where == "args"
                     else args_of(config))  # fmt: skip
    fake.user_config = {"bundle": "/b"} | ({"arms": own} if where == "user_config" else {})
    deploy.deploy_service(config if keeps else config_in(tmp_path, arms={"salt": "new"}))
    (schema,) = [call[1] for call in fake.calls if call[0] == "deploy"]
    found = {one.user_config["arms"]["salt"] for one in schema.applications[0].deployments}
    kept = "vrec" if where == "nowhere" else "own"
    assert found == {kept if keeps else "new"}


def args_of(config):
    """The settings with which an application of that config is deployed."""
    return deploy.application_schema(deploy.with_absolute_paths(config))["args"]


def config_in(folder, **more):
    return ServeConfig.model_validate({"bundle": str(folder), "data": str(folder)} | more)


def test_a_refused_bundle_is_an_error_with_its_own_fix(tmp_path, monkeypatch):
    config = config_in(tmp_path)
    refusal = ("/b: other encoder", "take a new serve.data")
    FakeServe(monkeypatch, status("RUNNING"), refusal, args_of(config))
    with pytest.raises(
        BundleError, match=r"/b: other encoder\. The bundle before it stays in service"
    ) as error:
        deploy.deploy_service(config)
    assert error.value.fix == "take a new serve.data"
    # Where none was in service, none stays, nor does a Serve that this start began.
    for listens, last in ((None, ("shutdown",)), ((config.host, config.port), ("delete", "vrec"))):
        fake = FakeServe(monkeypatch, None, refusal)
        fake.listens = listens
        with pytest.raises(BundleError, match=r"^/b: other encoder$"):
            deploy.deploy_service(config)
        assert fake.calls[-1] == last
        assert not (tmp_path / RECORD).exists()


def test_a_taken_port_is_said_in_words(tmp_path, monkeypatch):
    def taken(**_):
        raise RayTaskError("ready", "RuntimeError: Failed to bind to address '127.0.0.1:8000'.", ValueError())

    FakeServe(monkeypatch, None)
    monkeypatch.setattr(deploy.serve, "start", taken)
    with pytest.raises(
        ServeError, match=r"^cannot listen on 127\.0\.0\.1:8000: another program does"
    ) as error:
        deploy.deploy_service(config_in(tmp_path))
    assert "set serve.host and serve.port" in error.value.fix


@pytest.mark.parametrize("state", ["DEPLOY_FAILED", "UNHEALTHY", "DELETING"])
def test_a_failed_application_is_deleted_before_it_is_deployed_again(tmp_path, monkeypatch, state):
    config = config_in(tmp_path)
    fake = FakeServe(monkeypatch, status(state, Api="died"), args=args_of(config))
    assert not deploy.deploy_service(config)["reloaded"]
    assert [call[0] for call in fake.calls] == ["lock", "delete", "start", "deploy", "handle", "unlock"]


def test_an_unhealthy_application_that_answers_is_not_deleted(tmp_path, monkeypatch):
    config, before = config_in(tmp_path), status("UNHEALTHY", Api="one died")
    before.deployments["Api"].replica_states["RUNNING"] = 1
    fake = FakeServe(monkeypatch, before, args=args_of(config))
    assert deploy.deploy_service(config)["reloaded"]
    assert "delete" not in [call[0] for call in fake.calls]


def test_other_settings_than_the_bundle_are_refused_where_they_are_named(tmp_path, monkeypatch):
    config = config_in(tmp_path)
    fake = FakeServe(monkeypatch, status("RUNNING"), args=args_of(config))
    with pytest.raises(ServeError, match=r"other settings: serve\.currency, serve\.refresh_s\. Only bundles"):
        deploy.deploy_service(config_in(tmp_path, refresh_s=3, currency="EUR", arms={"salt": "x"}))
    fake.listens = ("127.0.0.1", 9)
    with pytest.raises(ServeError, match=r"listens on 127\.0\.0\.1:9, not on 127\.0\.0\.1:8000"):
        deploy.deploy_service(config_in(tmp_path, port=8000))
    assert {call[0] for call in fake.calls} == {"lock"}


RUNS = {
    "bundles": "/srv/bundles", "refresh_s": 3.0, "currency": "EUR", "store": {"kind": "redis", "prefix": "s"},
    "security": {"burst": 7, "cors_origins": ["https://shop.example"]}, "replicas": {"ranking": 0, "api": 2},
    "candidates": {"most": 200, "new": 5}, "own_kinds": {}, "host": "127.0.0.2", "port": 9,
}  # fmt: skip


@given(st.sets(st.sampled_from(sorted(RUNS))), st.sampled_from(["burst", "cors_origins"]))
def test_what_is_not_named_stays_as_it_runs(names, kept):
    """Any part of the settings of the start moves the service, and changes nothing else."""
    runs = config_in("/srv", **RUNS)
    named = {name: RUNS[name] for name in names}
    if "security" in named:
        named["security"] = {name: value for name, value in RUNS["security"].items() if name != kept}
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake = FakeServe(monkeypatch, status("RUNNING"), args=args_of(runs))
        fake.listens = (runs.host, runs.port)
        place = {"bundle": "/next", "data": "/srv"}
        report = deploy.deploy_service(ServeConfig.model_validate(place | named))
        assert (report["url"], report["reloaded"]) == ("http://127.0.0.2:9", True)
        (schema,) = [call[1] for call in fake.calls if call[0] == "deploy"]
        assert schema.applications[0].args == args_of(runs)
        assert {one.user_config["bundle"] for one in schema.applications[0].deployments} == {"/next"}
        other = {"currency": "CNY"} | {name: value for name, value in named.items() if name != "currency"}
        with pytest.raises(ServeError, match=r"with other settings: serve\.currency\. Only"):
            deploy.deploy_service(ServeConfig.model_validate(place | other))


def test_a_recorded_service_that_does_not_run_is_not_started(tmp_path, monkeypatch):
    fake = FakeServe(monkeypatch, None)
    with pytest.raises(ServeError, match="does not run the service"):
        deploy.deploy_service(config_in(tmp_path), reload_only=True)
    assert fake.calls == []


def test_events_are_loaded_in_commits_and_counted_once(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setattr(deploy, "EVENTS_PER_COMMIT", 2)
    config = ServeConfig.model_validate({"bundle": shop_bundle.uri, "data": str(tmp_path)})
    rows = [event(name) for name in ("a", "b", "c", "a", "d")]
    assert deploy.load_events(config, events(*rows)) == 4
    assert deploy.load_events(config, events(*rows, event("e"))) == 1
    assert deploy.load_events(config, events()) == 0


def test_a_service_that_knows_pseudonyms_alone_is_given_no_other_ids(tmp_path, shop_bundle, monkeypatch):
    privacy = {"key": "VREC_PRIVACY_KEY"}
    monkeypatch.setenv("VREC_PRIVACY_KEY", "k" * 32)
    config = ServeConfig.model_validate(
        {"bundle": shop_bundle.uri, "data": str(tmp_path), "privacy": privacy}
    )
    with pytest.raises(PrivacyError, match="the shop's own ids"):
        deploy.load_events(config, events(event("a")))
    door = Door(config.privacy, "default", {"VREC_PRIVACY_KEY": "k" * 32})
    known = [door.shopper(one) for one in ("u1", "session:s", "domain:social:a")]
    rows = [event(f"e{n}", user_id=name) for n, name in enumerate(known)]
    assert deploy.load_events(config, events(*rows)) == 3
    monkeypatch.setenv("VREC_PRIVACY_KEY", "o" * 32)
    with pytest.raises(PrivacyError, match="another key"):
        deploy.load_events(config, events(event("e9", user_id=known[0])))
    monkeypatch.setenv("VREC_PRIVACY_KEY", "k" * 32)
    assert deploy.load_events(config, events(event("e9", user_id=known[0]))) == 1, "it was not taken before"


def test_a_store_in_service_takes_no_events_from_beside_it(tmp_path, shop_bundle, monkeypatch):
    def locked(*_):
        raise StoreError("locked", fix="another fix")

    monkeypatch.setattr(deploy, "open_own_store", locked)
    config = ServeConfig.model_validate({"bundle": shop_bundle.uri, "data": str(tmp_path)})
    with pytest.raises(StoreError, match=r"^locked") as error:
        deploy.load_events(config, events())
    assert error.value.fix == "load events before the service starts, or send them to it over HTTP"


@pytest.mark.parametrize(
    ("running", "owns_ray", "ended"),
    [(True, False, ["serve"]), (True, True, ["ray"]), (False, False, []), (False, True, [])],
)
def test_a_service_ends_with_its_own_ray_and_stays_off_one_of_others(
    monkeypatch, running, owns_ray, ended, tmp_path
):
    calls = []
    monkeypatch.setattr(deploy.ray, "is_initialized", lambda: running)
    monkeypatch.setattr(deploy.serve, "shutdown", lambda: calls.append("serve"))
    monkeypatch.setattr(deploy.ray, "shutdown", lambda: calls.append("ray"))
    monkeypatch.setattr(deploy, "deployed_application", lambda _: None)
    deploy.stop_service(ServeConfig(data=str(tmp_path)), owns_ray=owns_ray)
    assert calls == ended


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_loopback_needs_no_keys(monkeypatch, host):
    monkeypatch.delenv("VREC_API_KEYS", raising=False)
    check_host(ServeConfig(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "shop.example"])
def test_other_addresses_need_keys_in_the_variable_that_the_settings_name(monkeypatch, host):
    monkeypatch.setitem(os.environ, "VREC_API_KEYS", "some")
    monkeypatch.delenv("SHOP_KEYS", raising=False)
    check_host(ServeConfig(host=host))
    config = ServeConfig.model_validate({"host": host, "security": {"keys_variable": "SHOP_KEYS"}})
    with pytest.raises(ServeError, match=re.escape(f"{host}, and SHOP_KEYS has no keys")):
        check_host(config)
    monkeypatch.setenv("SHOP_KEYS", "")
    with pytest.raises(ServeError):
        check_host(config)


@pytest.fixture
def built(monkeypatch):
    """A function that builds an application and returns its deployments: name -> (options, arguments)."""
    found = {}

    class Deployment:
        def __init__(self, options):
            self.name, self.options = options.pop("name"), options

        def bind(self, *args, shards=None):
            found[self.name] = self.options, args
            self.shards = shards
            return self

    fake = SimpleNamespace(
        deployment=lambda kind, **options: Deployment({"kind": kind, **options}),
        ingress=lambda: lambda kind: kind,
    )
    monkeypatch.setattr(app_module, "serve", fake)

    def run(**replicas):
        build(ServeConfig.model_validate({"bundle": "/b", "replicas": replicas}))
        return found

    return run


def test_each_deployment_has_its_replicas_and_resources(built):
    found = built(api=3, ranking=2, profiles=1, encoder=4, api_cpus=0.5, ranking_cpus=2, profiles_cpus=0.3,
                  encoder_cpus=0.7, encoder_gpus=0.25)  # fmt: skip
    sizes = {name: (o["num_replicas"], o["ray_actor_options"]) for name, (o, _) in found.items()}
    assert sizes == {
        "Api": (3, {"num_cpus": 0.5, "num_gpus": 0}),
        "Ranking": (2, {"num_cpus": 2, "num_gpus": 0}),
        "Profiles": (1, {"num_cpus": 0.3, "num_gpus": 0}),
        "Encoder": (4, {"num_cpus": 0.7, "num_gpus": 0.25}),
    }
    assert {options["user_config"]["bundle"] for options, _ in found.values()} == {"/b"}
    assert {args[0].bundle for _, args in found.values()} == {""}
    assert [one.name for one in found["Ranking"][1][1:]] == ["Profiles", "Encoder"]
    *parts, content = found["Api"][1][1:]
    assert [one.name for one in parts] == ["Ranking", "Profiles", "Encoder"]
    assert content is None
    assert found["Encoder"][1][1] == "cuda"
    assert found["Ranking"][0]["max_queued_requests"] == app_module.MAX_QUEUED_REQUESTS == 200
    # A killed replica is missed within a second; the end fits into the 10 seconds of `docker stop`.
    for options, _ in found.values():
        assert (options["health_check_period_s"], options["graceful_shutdown_timeout_s"]) == (1.0, 3.0)
    assert DRAIN_TIMEOUT_S + app_module.STOP_TIMEOUT_S < 10


def test_each_part_of_the_catalog_has_a_deployment_of_as_many_replicas_as_there_are_copies(built):
    found = built(shards=2, shard_copies=3, shard_cpus=0.2)
    ranking = found["Api"][1][1]
    assert [one.name for one in ranking.shards] == ["CatalogShard0", "CatalogShard1"]
    for number, one in enumerate(ranking.shards):
        options, args = found[one.name]
        assert (options["num_replicas"], options["ray_actor_options"]["num_cpus"]) == (3, 0.2)
        assert args[2] == number
    assert built(shards=0)["Api"][1][1].shards == []


def test_without_ranking_replicas_the_http_replicas_have_their_cpus(built):
    found = built(ranking=0, encoder=0, api_cpus=0.25, ranking_cpus=0.5)
    assert set(found) == {"Profiles", "Api"}
    assert found["Api"][0]["ray_actor_options"]["num_cpus"] == 0.75
    profiles = found["Api"][1][2]
    assert (found["Api"][1][1], profiles.name, found["Api"][1][3]) == (None, "Profiles", None)
    assert deployments(ServeConfig.model_validate({"replicas": {"ranking": 0, "encoder": 0}})) == [
        "Profiles",
        "Api",
    ]


def test_an_encoder_without_gpus_runs_on_the_cpu(built):
    assert built()["Encoder"][1][1] == "cpu"


def test_ranking_grows_only_where_its_maximum_is_above_its_minimum(built):
    for most in (None, 1, 2):
        assert built(ranking=2, ranking_most=most)["Ranking"][0]["num_replicas"] == 2
    options = built(ranking=2, ranking_most=5)["Ranking"][0]
    assert "num_replicas" not in options
    assert (options["autoscaling_config"]["min_replicas"], options["autoscaling_config"]["max_replicas"]) == (
        2,
        5,
    )


@pytest.mark.parametrize(
    ("value", "words"), [(None, "KEY_HERE is not set"), ("short", "KEY_HERE has 5 bytes")]
)
def test_a_service_without_its_key_of_pseudonyms_is_not_built(monkeypatch, value, words):
    if value is not None:
        monkeypatch.setenv("KEY_HERE", value)
    with pytest.raises(PrivacyError, match=words):
        build(ServeConfig.model_validate({"privacy": {"key": "KEY_HERE"}}))
