"""The files for Serve's own tools: by Serve's schema, by ours, and as `vrec serve` makes them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ray.exceptions import GetTimeoutError
from ray.serve.schema import ServeDeploySchema

from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.profiles.stores.redis.store import RedisConfig
from vrec.serving import deploy as run
from vrec.serving.app import build, deployments
from vrec.serving.deploy import application_schema

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "serve_configs").glob("*.yaml"))


def read(file):
    return ServeDeploySchema.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def shop_of(file):
    """Return vrec's application, the last one."""
    return read(file).applications[-1]


def test_there_are_files():
    assert [file.stem for file in FILES] == ["dev", "language_model", "prod"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_vrec_serve_would(file):
    app = shop_of(file)
    config = ServeConfig.model_validate(app.args)
    made = ServeDeploySchema.model_validate({"applications": [application_schema(config)]}).applications[0]
    assert (app.name, app.route_prefix, app.import_path) == (made.name, made.route_prefix, made.import_path)
    assert [d.name for d in app.deployments] == [d.name for d in made.deployments] == deployments(config)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_bundle_is_said_once(file):
    app = shop_of(file)
    bundles = [d.user_config["bundle"] for d in app.deployments]
    assert len(set(bundles)) == 1
    code = [line for line in file.read_text().splitlines() if not line.strip().startswith("#")]
    assert "\n".join(code).count(bundles[0]) == 1
    assert "bundle" not in app.args


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_service_knows_where_it_listens_and_logs_json(file):
    found = read(file)
    config = ServeConfig.model_validate(found.applications[-1].args)
    assert (found.http_options.host, found.http_options.port) == (config.host, config.port)
    assert found.logging_config.encoding == "JSON"


def test_the_assistant_asks_the_language_model_that_runs_beside_it():
    """vLLM is not here: its engine is checked by Ray's own schema alone."""
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

    found = read(ROOT / "serve_configs" / "language_model.yaml")
    model, _ = found.applications
    llm = ServeConfig.model_validate(
        shop_of(ROOT / "serve_configs" / "language_model.yaml").args
    ).assistant.llm
    assert model.import_path == "ray.serve.llm:build_openai_app"
    address = f"http://{found.http_options.host}:{found.http_options.port}{model.route_prefix}"
    assert llm.url == f"{address}/v1/chat/completions"
    (config,) = (LLMConfig.model_validate(one) for one in model.args["llm_configs"])
    assert config.model_id == llm.model


def test_dev_fits_two_cores():
    size = ServeConfig.model_validate(read(ROOT / "serve_configs" / "dev.yaml").applications[0].args).replicas
    assert size.ranking_most is None
    shares = ("api", "ranking", "profiles", "encoder")
    assert sum(getattr(size, name) * getattr(size, f"{name}_cpus") for name in shares) <= 2


def test_prod_grows_shares_a_store_and_needs_keys(monkeypatch):
    (app,) = read(ROOT / "serve_configs" / "prod.yaml").applications
    config = ServeConfig.model_validate(app.args)
    assert isinstance(config.store, RedisConfig)
    assert config.replicas.ranking_most > config.replicas.ranking > 1
    assert config.replicas.api > 1
    assert config.replicas.encoder_gpus == 0
    monkeypatch.delenv(config.security.keys_variable, raising=False)
    with pytest.raises(ServeError, match="has no keys"):
        build(config)
    monkeypatch.setenv(config.security.keys_variable, "shop:read:" + "0" * 64)
    build(config)


@pytest.mark.parametrize(
    "tenants", [{}, {"shop-b": {"bundle": "b", "handover": {"url": "https://d.example"}}}]
)
def test_hand_overs_are_not_posted_without_a_secret(tenants, monkeypatch):
    own = {} if tenants else {"assistant": {"handover": {"url": "https://desk.example/in"}}}
    config = ServeConfig.model_validate({"bundle": "b", "tenants": tenants, **own})
    monkeypatch.setenv(config.security.keys_variable, "shop:read:" + "0" * 64)
    name = "VREC_HAND_OVER_SECRET_SHOP_B" if tenants else "VREC_HAND_OVER_SECRET"
    with pytest.raises(ServeError, match=f"{name} has fewer than 32 characters"):
        build(config)
    monkeypatch.setenv(name, "s" * 32)
    build(config)


def test_serve_that_does_not_start_is_said_in_words(monkeypatch, tmp_path):
    def away(**_):
        raise GetTimeoutError("Get timed out:\nsome objects are not ready.")

    monkeypatch.setattr(run.serve, "start", away)
    monkeypatch.setattr(run.serve, "status", lambda: SimpleNamespace(applications={}))
    monkeypatch.setattr(run, "_ray_address", lambda: "127.0.0.1:1")
    monkeypatch.setattr(run, "http_address", lambda: None)
    monkeypatch.setattr(run.serve, "shutdown", lambda: None)
    with pytest.raises(ServeError, match=r"Serve did not start: GetTimeoutError: Get timed out: some"):
        run.deploy_service(ServeConfig(bundle=str(tmp_path), data=str(tmp_path)))


@pytest.mark.parametrize(
    ("given", "followed"),
    [
        ({}, False),
        ({"security": {"media_roots": ["s3://bucket/videos/"]}}, False),
        ({"security": {"media_roots": ["s3://bucket/", "https://cdn.example/"]}}, True),
        ({"security": {"media_roots": ["/srv/streams"]}}, True),
        ({"security": {"media_roots": ["/srv/streams"]}, "replicas": {"encoder": 0}}, False),
        ({"security": {"media_roots": ["/srv/streams"]}, "live": {"streams_per_follower": 0}}, False),
    ],
)
def test_streams_are_followed_where_they_can_be_read_and_embedded(given, followed):
    assert ("StreamContent" in deployments(ServeConfig.model_validate(given))) == followed
