"""The record of the running service: found while it runs, stale after any end."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.serving.service_record import (
    AUTH_MODE,
    RECORD,
    ServiceRecord,
    check_port,
    find_record,
    read_record,
    remove_record,
    write_record,
)


@pytest.fixture
def ray_socket():
    """A socket that listens, as a Ray would."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@pytest.fixture
def config(tmp_path):
    return ServeConfig(data=str(tmp_path))


def record_of(config, listening, owns_ray=True):
    return ServiceRecord.of(config, f"127.0.0.1:{listening.getsockname()[1]}", owns_ray=owns_ray)


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("owns_ray", [True, False])
def test_a_running_service_is_found(config, ray_socket, owns_ray):
    assert find_record(config) is None
    record = record_of(config, ray_socket, owns_ray)
    write_record(config.data, record)
    assert read_record(config.data) == record
    assert find_record(config) == record


def test_a_record_is_stale_once_its_process_or_its_ray_is_gone(config, ray_socket):
    record = record_of(config, ray_socket)
    write_record(config.data, replace(record, process=ended_process()))
    assert find_record(config) is None
    ray_socket.close()
    for process in (os.getpid(), None):
        write_record(config.data, replace(record, process=process))
        assert find_record(config) is None


@pytest.mark.parametrize(
    ("asked", "asks"), [("token", True), ("TOKEN", True), ("disabled", False), (None, False)]
)
def test_a_client_sends_the_token_to_a_ray_that_asks_for_it_unless_told_otherwise(
    config, ray_socket, monkeypatch, asked, asks
):
    def set_mode(mode):
        monkeypatch.delenv(AUTH_MODE, raising=False) if mode is None else monkeypatch.setenv(AUTH_MODE, mode)

    set_mode(asked)
    record = record_of(config, ray_socket)
    assert record.asks_for_token is asks
    for own, then in [(None, "token" if asks else None), ("disabled", "disabled")]:
        set_mode(own)
        record.prepare_connection()
        assert os.environ.get(AUTH_MODE) == then


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "{}", '{"ray_address": 1}'], ids=lambda text: text or "empty"
)
def test_a_damaged_record_counts_as_none(config, tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    assert find_record(config) is None


@pytest.mark.parametrize("address", ["", "local", "127.0.0.1", "127.0.0.1:x", ":6379"])
def test_a_record_without_an_address_counts_as_none(config, tmp_path, ray_socket, address):
    found = {"host": "127.0.0.1", "port": 8000, "machine": "m", "process": None, "asks_for_token": False}
    found["ray_address"] = address
    (tmp_path / RECORD).write_text(json.dumps(found))
    assert find_record(config) is None


def test_another_place_and_another_machine_are_refused(config, ray_socket):
    record = record_of(config, ray_socket)
    write_record(config.data, record)
    with pytest.raises(
        ServeError, match=r"in service at 127\.0\.0\.1:8000, not at 127\.0\.0\.1:8001"
    ) as error:
        find_record(config.model_copy(update={"port": 8001}))
    assert "serve.port=8000" in error.value.fix
    # An address that is not set is that of the service.
    moved = replace(record, host="127.0.0.2", port=9)
    write_record(config.data, moved)
    assert find_record(config) == moved
    with pytest.raises(ServeError, match=r"in service at 127\.0\.0\.2:9, not at 127\.0\.0\.2:8000"):
        find_record(config.model_copy(update={"port": 8000}))
    write_record(config.data, replace(record, machine="elsewhere"))
    with pytest.raises(ServeError, match="says that elsewhere serves it"):
        find_record(config)


def test_only_ones_own_record_is_removed(config, tmp_path, ray_socket):
    record = record_of(config, ray_socket)
    write_record(config.data, replace(record, process=1))
    remove_record(config.data)
    assert (tmp_path / RECORD).exists()
    for process in (os.getpid(), None):
        write_record(config.data, replace(record, process=process))
        remove_record(config.data)
        assert not (tmp_path / RECORD).exists()
    remove_record(config.data)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path, ray_socket):
    config = ServeConfig(data=str(tmp_path / "file" / "data"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ServeError, match=r"cannot write service\.json") as error:
        write_record(config.data, record_of(config, ray_socket))
    assert "--data" in error.value.fix
    assert find_record(config) is None


def test_a_taken_port_is_refused_and_a_free_one_is_not(ray_socket):
    port = ray_socket.getsockname()[1]
    with pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
        check_port(ServeConfig(port=port))
    # Another address of the same port is another place.
    check_port(ServeConfig(port=port, host="127.0.0.2"))
    ray_socket.close()
    check_port(ServeConfig(port=port))
    with pytest.raises(ServeError, match=r"cannot listen on 192\.0\.2\.1"):
        check_port(ServeConfig(host="192.0.2.1"))
