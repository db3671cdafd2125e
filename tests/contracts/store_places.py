"""Places to keep a store in, each new and empty, and Redis servers of the tests' own."""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest
import redis

from vrec.profiles.stores.factory import RedisConfig, SqliteConfig, open_store
from vrec.testing.store_profiles import CONFIG, facts


class SqlitePlace:
    """A database in a folder."""

    def __init__(self, folder: Path, build=None, **settings) -> None:
        self.config = SqliteConfig(path=str(folder / f"{uuid.uuid4().hex}.db"), **settings)
        self.build = build or open_store

    def open(self):
        return self.build(self.config, facts, CONFIG)


class RedisPlace:
    """A prefix on a server."""

    def __init__(self, server: "RedisServer", **settings) -> None:
        self.config = RedisConfig(prefix=uuid.uuid4().hex, url_variable=server.variable, **settings)

    def open(self):
        return open_store(self.config, facts, CONFIG)


class RedisServer:
    """A server on a port of its own; it can be killed and started again on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("no redis-server here: `apt-get install redis-server` has it")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.variable = f"VREC_TEST_REDIS_{self.port}"
        os.environ[self.variable] = self.url
        data = ("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self.command = [found, "--port", str(self.port), "--bind", "127.0.0.1", *data, *options]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.RedisError:
                time.sleep(0.05)
        else:
            raise AssertionError("redis-server does not start")
        client.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        os.environ.pop(self.variable, None)
