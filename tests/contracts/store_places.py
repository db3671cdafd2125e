"""Places to keep a store in, each new and empty, and Redis servers of the tests' own."""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from functools import cache
from pathlib import Path

import pytest
import redis

from vrec.core.types import CatalogContent
from vrec.profiles.stores.factory import RedisConfig, SqliteConfig, open_store
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

CONFIG = ProfilesConfig(remember=8)
"""Few are remembered, so that most late events come later than that."""


@cache
def world():
    """A small shop's events in the order of (at, event_id), and its catalogue."""
    found = simulate(SimulationConfig(users=12, videos=15, days=40, slots=4, click_rate=0.3, dim=4))
    events = found.events.sort_by([("at", "ascending"), ("event_id", "ascending")]).combine_chunks()
    return events, CatalogContent(found.videos, found.embeddings)


@cache
def catalogue():
    return video_metadata(world()[1])


def facts(video_ids):
    return {name: catalogue()[name] for name in video_ids if name in catalogue()}


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
