"""Deployed settings with another bundle of one tenant: all else stays, whoever deployed it."""

import copy
from pathlib import Path

import pytest
import yaml

from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.serving import redeploy
from vrec.serving.app import deployments
from vrec.serving.deploy import application_schema
from vrec.serving.redeploy import with_bundle
from vrec.serving.tenants.context import DEFAULT_TENANT

FILES = Path(__file__).resolve().parents[2] / "serve_configs"


def user_configs(deployed):
    return {one["name"]: one["user_config"] for one in deployed["deployments"]}


@pytest.mark.parametrize("tenant", [DEFAULT_TENANT, "a"])
def test_one_tenant_has_another_bundle_and_all_else_stays(tenant):
    tenants = {"a": {"bundle": "/a", "currency": "CNY"}, "b": {"bundle": "/b"}}
    config = ServeConfig.model_validate({"bundle": "/main", "tenants": tenants, "refresh_s": 3})
    deployed = application_schema(config)
    before = copy.deepcopy(deployed)
    found, changed = with_bundle(deployed, tenant, "/new")
    assert deployed == before
    wanted = config.model_copy(update={"bundle": "/new"})
    if tenant:
        moved = config.tenants["a"].model_copy(update={"bundle": "/new"})
        wanted = config.model_copy(update={"tenants": config.tenants | {"a": moved}})
    assert changed == application_schema(wanted)
    assert found.tenants == wanted.tenants


def test_a_tenant_that_is_gone_is_named():
    deployed = application_schema(ServeConfig(bundle="/main"))
    with pytest.raises(ServeError, match="the tenant a is not in service any more"):
        with_bundle(deployed, "a", "/new")


def test_a_config_file_need_not_name_all_deployments():
    (deployed,) = yaml.safe_load((FILES / "prod.yaml").read_text())["applications"]
    del deployed["deployments"][1:]
    deployed["deployments"][0]["num_replicas"] = 4
    _, changed = with_bundle(deployed, DEFAULT_TENANT, "/new")
    assert changed["deployments"][0] == {
        "name": "Profiles",
        "num_replicas": 4,
        "user_config": {"bundle": "/new"},
    }
    names = deployments(ServeConfig.model_validate(deployed["args"]))
    assert sorted(user_configs(changed)) == sorted(names)
    assert all(one["bundle"] == "/new" for one in user_configs(changed).values())


@pytest.mark.parametrize("tenant", [DEFAULT_TENANT, "a"])
@pytest.mark.parametrize("meanwhile", [None, "/mine", "/new"])
def test_a_move_overwrites_nothing_that_changed_after_it_began(monkeypatch, tenant, meanwhile):
    config = ServeConfig.model_validate({"bundle": "/main", "tenants": {"a": {"bundle": "/a"}}})
    now = {"application": application_schema(config)}
    deployed = []

    def check(_):
        if meanwhile is not None:
            now["application"] = with_bundle(now["application"], tenant, meanwhile)[1]

    monkeypatch.setattr(redeploy, "deployed_application", lambda _: now["application"])
    monkeypatch.setattr(redeploy, "_check_bundle", check)
    monkeypatch.setattr(redeploy, "deploy_applications", deployed.append)
    monkeypatch.setattr(redeploy, "wait_until_running", lambda: None)
    monkeypatch.setattr(redeploy, "check_refusal", lambda *_, **__: None)
    monkeypatch.setattr(redeploy, "refused_tenants", lambda *_: {})
    if meanwhile is None:
        redeploy.change_bundle(tenant, "/new")
        values = deployed[0].applications[0].deployments[0].user_config
        assert (values["tenants"]["a"] if tenant else values)["bundle"] == "/new"
    else:
        with pytest.raises(ServeError, match="was moved to another bundle meanwhile"):
            redeploy.change_bundle(tenant, "/new")
        assert deployed == []
