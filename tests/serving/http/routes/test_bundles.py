"""Bundles over HTTP: the list, and what cannot be moved to. Moves of a service are in tests/e2e."""

import asyncio
import json
import shutil
import time

import pytest

from tests.serving.http.client import call, call_json
from vrec.config.serve import ServeConfig
from vrec.core.tables import MANIFEST
from vrec.serving.bundle_moves import BundleMove, UnknownBundle, read_move, write_move
from vrec.serving.deployments import bundles as module

BUNDLES, MOVE = "/v1/bundles", "/v1/bundles:move"


@pytest.fixture
def folder(tmp_path, shop_bundle):
    """A folder with a bundle, and a folder without one."""
    folder = tmp_path / "bundles"
    shutil.copytree(shop_bundle.uri, folder / "2026-01-01")
    (folder / "broken").mkdir()
    return folder


def test_the_list_has_the_service_and_all_folders(made, folder, shop_bundle):
    app, _ = made(bundles=str(folder))
    served = call(app, "GET", BUNDLES).json
    assert [one["name"] for one in served["bundles"]] == ["2026-01-01", "broken"]
    good, broken = served["bundles"]
    assert (good["version"], good["in_service"], good["problem"]) == (shop_bundle.version, False, None)
    assert broken["problem"] == f"no {MANIFEST} there, so the bundle is missing or incomplete"
    assert served["in_service"]["version"] == "shop-1"
    assert (served["in_service"]["name"], served["refused"], served["move"]) == (None, None, None)
    assert str(folder) not in json.dumps(served)


def test_without_a_folder_there_is_nothing_to_move_to(made, folder):
    app, _ = made()
    served = call(app, "GET", BUNDLES).json
    assert (served["bundles"], served["problem"]) == (
        [], "no folder of bundles is named: serve.bundles is not set",
    )  # fmt: skip
    reply = call_json(app, "POST", MOVE, {"bundle": "2026-01-01"})
    assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-bundle")
    assert "serve.bundles is not set. Fix: start the service with serve.bundles" in reply.json["detail"]


@pytest.mark.parametrize(
    ("tenant", "setting"), [("", "serve.bundles"), ("shop-a", "serve.tenants.shop-a.bundles")]
)
def test_what_lacks_a_folder_names_its_own_setting(tmp_path, tenant, setting):
    for folder, problem in ((None, "is not set"), (tmp_path / "none", "names does not exist")):
        config = ServeConfig(data=str(tmp_path), bundles=None if folder is None else str(folder))
        bundles = module.BundleOperations(config, tenant)
        assert f"{setting} {problem}" in asyncio.run(bundles.problem())
        assert asyncio.run(bundles.summaries()) == []
        with pytest.raises(UnknownBundle, match=f"{setting} {problem}") as error:
            asyncio.run(bundles.move("a"))
        assert setting in error.value.fix
    (tmp_path / "none").mkdir()
    assert asyncio.run(bundles.problem()) is None


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("none", 404, "unknown-bundle"), (".", 404, "unknown-bundle"), ("..", 404, "unknown-bundle"),
        ("broken", 422, "unreadable-bundle"), ("2026-01-01", 409, "cannot-move"),
        ("../bundles/2026-01-01", 422, "invalid-request"), ("a/b", 422, "invalid-request"),
        ("", 422, "invalid-request"), ("x" * 256, 422, "invalid-request"), (7, 422, "invalid-request"),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_to_is_refused(made, folder, name, status, kind):
    app, _ = made(bundles=str(folder))
    reply = call_json(app, "POST", MOVE, {"bundle": name})
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{kind}"), reply.body
    if status == 409:
        assert "does not run on Ray Serve" in reply.json["detail"]
    assert call(app, "GET", BUNDLES).json["move"] is None


def test_the_audit_log_says_which_bundle(made, folder):
    app, _ = made(bundles=str(folder))
    call_json(app, "POST", MOVE, {"bundle": "2026-01-01"})
    entry = call(app, "GET", "/v1/audit?limit=1").json["entries"][0]
    assert (entry["operation"], entry["status"]) == ("move_bundle", 409)
    assert entry["target"] == {"bundle": "2026-01-01"}


def test_only_managers_see_bundles(keyed):
    app, _, headers = keyed
    for scope in ("read", "events"):
        assert call(app, "GET", BUNDLES, headers=headers[scope]).status == 403
        assert call_json(app, "POST", MOVE, {"bundle": "a"}, headers[scope]).status == 403


@pytest.mark.parametrize("ended", ["done", "failed", "lost"])
def test_the_last_move_is_told(made, folder, tmp_path, ended):
    app, _ = made(bundles=str(folder), data=str(tmp_path / "data"))
    move = BundleMove("2026-01-01", "running", time.time_ns() // 1000)
    write_move(str(tmp_path / "data"), move)
    if ended != "lost":
        module.record_end(str(tmp_path / "data"), move, "no room" if ended == "failed" else None)
        assert read_move(str(tmp_path / "data")).ended_at >= move.started_at
    found = call(app, "GET", BUNDLES).json["move"]
    why = {"done": None, "failed": "no room", "lost": "the process that moved the service was lost"}
    assert (found["bundle"], found["why"]) == ("2026-01-01", why[ended])
    assert found["state"] == ("done" if ended == "done" else "failed")


def test_a_folder_that_cannot_be_read_is_an_error_of_the_service(made, tmp_path):
    app, _ = made(bundles="nosuch://host/bundles")
    reply = call(app, "GET", BUNDLES)
    assert (reply.status, reply.json["type"]) == (503, "urn:vrec:problem:not-served")
