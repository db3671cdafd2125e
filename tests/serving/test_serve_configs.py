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


def test_there_are_files():
    assert [file.stem for file in FILES] == ["dev", "prod"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_vrec_serve_would(file):
    (app,) = read(file).applications
    config = ServeConfig.model_validate(app.args)
    made = ServeDeploySchema.model_validate({"applications": [application_schema(config)]}).applications[0]
    assert (app.name, app.route_prefix, app.import_path) == (made.name, made.route_prefix, made.import_path)
    assert [d.name for d in app.deployments] == [d.name for d in made.deployments] == deployments(config)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_bundle_is_said_once(file):
    (app,) = read(file).applications
    bundles = [d.user_config["bundle"] for d in app.deployments]
    assert len(set(bundles)) == 1
    code = [line for line in file.read_text().splitlines() if not line.strip().startswith("#")]
    assert "\n".join(code).count(bundles[0]) == 1
    assert "bundle" not in app.args


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_service_knows_where_it_listens_and_logs_json(file):
    found = read(file)
    config = ServeConfig.model_validate(found.applications[0].args)
    assert (found.http_options.host, found.http_options.port) == (config.host, config.port)
    assert found.logging_config.encoding == "JSON"


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
