"""`vrec serve` as a command: it moves the running service to another bundle, drains on SIGTERM, and refuses
before anything starts."""

import os
import signal
import socket
import sqlite3
import time
import urllib.request

import pytest

from tests.bundles import write_shop_bundle
from tests.e2e.conftest import start, vrec
from tests.e2e.service_load import ServiceLoad
from tests.web_files import free_port
from vrec.bundle.write import BundleConfig
from vrec.serving.service_record import RECORD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
END_S = 120
"""Seconds after which a command that was told to end counts as hanging."""


def arguments(bundle, data, port, *more):
    settings = [f"serve.port={port}", "serve.replicas.encoder=0", "serve.security.requests_per_second=100000"]
    settings += ["serve.security.burst=100000", *more]
    return ["serve", "--bundle", bundle, "--data", data, *(x for one in settings for x in ("--set", one))]


@pytest.fixture(scope="module")
def service(shop_bundle, tmp_path_factory):
    """(process, data folder, port) of a `vrec serve` with a Ray of its own."""
    data, port = tmp_path_factory.mktemp("serve") / "data", free_port()
    process = start(*arguments(shop_bundle.uri, data, port))
    line = process.stdout.readline()
    if "serves" not in line:
        process.kill()
        raise AssertionError(line + process.stderr.read())
    yield process, data, port
    if process.poll() is None:
        process.kill()


def test_another_bundle_is_swapped_in_and_what_cannot_be_is_refused_under_load(
    service, shop_bundle, tmp_path
):
    _, data, port = service
    other = write_shop_bundle(tmp_path / "other", BundleConfig(neighbours=10, popular=10))
    with ServiceLoad(f"http://127.0.0.1:{port}") as shop:
        time.sleep(1)
        code, out, err = vrec(*arguments(other.uri, data, port))
        assert (code, out.startswith("vrec moved to")) == (0, True), err
        time.sleep(1)
        code, _, err = vrec(*arguments(shop_bundle.uri, data, port, "serve.refresh_s=3"))
        assert code == 1
        assert "other settings: serve.refresh_s" in err
        code, _, err = vrec(*arguments(shop_bundle.uri, data, port + 1))
        assert code == 1
        assert f"in service at 127.0.0.1:{port}" in err
        code, _, err = vrec(*arguments(shop_bundle.uri, tmp_path / "else", port))
        assert code == 1
        assert f"cannot listen on 127.0.0.1:{port}" in err
    assert shop.failed() == []
    assert len(shop.done) > 50
    assert (shop.versions[0], shop.versions[-1]) == (shop_bundle.version, other.version)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_answers_head(service, path):
    request = urllib.request.Request(f"http://127.0.0.1:{service[2]}{path}", method="HEAD")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert (answer.status, answer.read()) == (200, b"")


def test_sigterm_finishes_what_runs_and_ends_with_0(service):
    process, data, port = service
    assert (data / RECORD).is_file()
    with ServiceLoad(f"http://127.0.0.1:{port}") as shop:
        time.sleep(2)
        stopped = time.time()
        # Twice, as `timeout` sends it: to the process, and to its group.
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0, err
    assert "the service has ended" in out
    assert shop.failed(until=stopped) == []
    assert {one for one in shop.failed() if isinstance(one, int)} <= {503}
    assert not (data / RECORD).exists()
    with sqlite3.connect(f"file:{data / 'store.db'}?mode=ro", uri=True) as store:
        (stored,) = store.execute("SELECT count(*) FROM events").fetchone()
    assert stored >= len(shop.acknowledged) > 0


def test_a_taken_port_and_a_bad_bundle_are_refused_before_ray_starts(shop_bundle, tmp_path):
    ray_files = tmp_path / "ray"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = vrec(
            *arguments(shop_bundle.uri, tmp_path / "data", port), env={"RAY_TMPDIR": str(ray_files)}
        )
        assert code == 1
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in err
    code, _, err = vrec(
        *arguments(tmp_path / "none", tmp_path / "data", free_port()), env={"RAY_TMPDIR": str(ray_files)}
    )
    assert code == 1
    assert "the bundle is missing" in err
    assert not ray_files.exists()
    assert not (tmp_path / "data").exists()
