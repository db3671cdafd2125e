"""`vrec serve` on a Ray that stands already: whatever refuses a start, following the advice makes the same
command work."""

import json
import shutil
import socket
import urllib.request

import pytest
import redis

from tests.contracts.store_places import RedisServer
from tests.e2e.conftest import vrec
from tests.e2e.ray_head import free_port, ray_head
from vrec.serving.service_record import RECORD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture
def server(tmp_path):
    """A Redis as distributions start it: without an AOF."""
    folder = tmp_path / "redis"
    folder.mkdir()
    found = RedisServer(folder, "--appendonly", "no", "--appendfsync", "everysec")
    yield found
    found.stop()


def test_each_refusal_of_a_start_ends_when_its_advice_is_followed(shop_bundle, server, tmp_path):
    """One command, refused for one reason after the other; that the next one shows says that the one before
    was cured."""
    bundle, data, port = tmp_path / "bundle", tmp_path / "data", free_port()
    with ray_head(VREC_REDIS_URL=server.url) as head, socket.socket() as other:
        asked = {"--bundle": bundle, "--data": data, "--address": head.address}
        settings = {"store.kind": "redis", "port": port, "replicas.encoder": 0}

        def serve() -> tuple[int, str, str]:
            options = [word for option in asked.items() for word in option]
            options += [
                word for name, value in settings.items() for word in ("--set", f"serve.{name}={value}")
            ]
            return vrec("serve", *options, env=head.token)

        def refusal() -> str:
            code, out, err = serve()
            assert (code, "vrec serves" in out) == (1, False), err
            assert not (asked["--data"] / RECORD).exists()
            return err

        assert "give the folder that `vrec bundle --out` wrote" in refusal()
        shutil.copytree(shop_bundle.uri, bundle)

        data.mkdir()
        last = {"uri": str(tmp_path / "before"), "version": "v", "encoder": "other@1"}
        (data / "served.json").write_text(json.dumps(last))
        err = refusal()
        assert "and the profiles here with other@1" in err
        assert "serve this one with a new --data and a new store" in err
        assert "make the bundle again" not in err
        asked["--data"] = tmp_path / "new"

        other.bind(("127.0.0.1", port))
        other.listen()
        err = refusal()
        assert f"cannot listen on 127.0.0.1:{port}" in err
        assert "stop what listens there, or set serve.host and serve.port" in err
        # The other program keeps its port, and the service takes another.
        settings["port"] = free_port()

        server.kill()
        assert "start the server or fix the way to it" in refusal()
        server.start()

        err = refusal()
        assert "appendonly is no, want yes; appendfsync is everysec, want always" in err
        with redis.Redis(port=server.port) as client:
            client.config_set("appendonly", "yes")
            client.config_set("appendfsync", "always")

        code, out, err = serve()
        assert (code, out.startswith("vrec serves")) == (0, True), err
        with urllib.request.urlopen(f"http://127.0.0.1:{settings['port']}/readyz", timeout=30) as answer:
            assert json.load(answer)["bundle"] == shop_bundle.version
