"""docs/operations.md: its commands exist, and those that back up and restore do that."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.contracts.store_places import RedisServer
from tests.deploy.commands import parses
from tests.e2e.ray_head import free_port
from tests.events.rows import events
from vrec.profiles.stores.redis.store import RedisConfig, RedisStore
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)]
INLINE = re.findall(r"`((?:vrec|docker|kubectl|make|redis-cli|serve) [^`]+)`", TEXT)
COMMANDS = [*(line.partition(" #")[0].strip() for block in BLOCKS for line in block), *INLINE]
KUBECTL = {"apply", "cp", "create", "drain", "get", "label", "logs", "replace"}
COMPOSE = {"logs", "ps", "stop", "up"}
CLICKS = events(*({"kind": "click", "event_id": name} for name in "abcde"))


def words_of(command: str) -> list[str]:
    """Return the words of the first program of a command, without variables that are set for it."""
    words = shlex.split(command.split(" | ", maxsplit=1)[0].rsplit(" && ", maxsplit=1)[-1])
    while "=" in words[0] and "/" not in words[0].partition("=")[0]:
        words.pop(0)
    return words


def block_with(start: str) -> list[str]:
    (found,) = [block for block in BLOCKS if block[0].startswith(start)]
    return found


def vrec_exists(words: list[str]) -> bool:
    # A command that is only named lacks its options.
    return (parses(words) or "MissingParameter").startswith("MissingParameter")


def make_exists(words: list[str]) -> bool:
    return re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None


def docker_exists(words: list[str]) -> bool:
    if words[0] != "compose":
        return words == ["image", "prune"]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    if words[1] == "exec":
        (service, shell) = [word for word in words[2:] if word.isalpha()][:2]
        return service in services and shell == "sh"
    return words[1] in COMPOSE and {word for word in words[2:] if word.isalpha()} <= set(services)


def kubectl_exists(words: list[str]) -> bool:
    folders = [ROOT / folder for flag, folder in pairwise(words) if flag == "-k"]
    return words[0] in KUBECTL and all((folder / "kustomization.yaml").is_file() for folder in folders)


def files_exist(words: list[str]) -> bool:
    return all((ROOT / word).is_file() for word in words if word.startswith("deploy/"))


PROGRAMS = {"vrec": vrec_exists, "make": make_exists, "docker": docker_exists, "kubectl": kubectl_exists}
PROGRAMS |= dict.fromkeys(
    ("redis-cli", "redis-server", "sqlite3", "curl", "cp", "serve", "mkdir"), files_exist
)


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("export ")])
def test_a_command_exists(command):
    program, *words = words_of(command)
    if program in PROGRAMS:
        assert PROGRAMS[program](words)
    else:
        assert os.access(ROOT / program, os.X_OK), program


def test_the_jobs_are_those_that_exist():
    (row,) = re.findall(r"^\| `deploy/kuberay/jobs/` \|(.*?):", TEXT, re.MULTILINE)
    folders = {
        file.parent.name for file in (ROOT / "deploy" / "kuberay" / "jobs").glob("*/kustomization.yaml")
    }
    assert set(re.findall(r"`([\w-]+)`", row)) == folders - {"base", "gpu"}


def run(command: str, folder: Path, **variables: str) -> None:
    environment = {**os.environ, **variables}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def stored(store) -> list[str]:
    try:
        return store.export()[0].column("event_id").to_pylist()
    finally:
        store.close()


def redis_store(url: str, monkeypatch) -> RedisStore:
    monkeypatch.setenv("VREC_REDIS_URL", url)
    return RedisStore(RedisConfig(), lambda _: {}, ProfilesConfig())


def test_a_lost_redis_is_restored_from_its_copy(tmp_path, monkeypatch):
    server = RedisServer(tmp_path)
    try:
        store = redis_store(server.url, monkeypatch)
        store.apply(CLICKS)
        store.close()
        (backup,) = block_with("redis-cli -u")
        run(backup, tmp_path, VREC_REDIS_URL=server.url)
    finally:
        server.stop()
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    port = str(free_port())
    steps = [step.replace("6380", port) for step in block_with("mkdir -p restored")]
    is_rewritten = steps[3]
    try:
        for step in steps:
            deadline = time.monotonic() + 20
            while True:
                try:
                    run(step, tmp_path)
                    break
                except AssertionError:
                    # The server takes a moment to start, and another one to write its log.
                    assert time.monotonic() < deadline, step
                    time.sleep(0.1)
            assert step != is_rewritten or (tmp_path / "restored" / "appendonlydir").is_dir()
        deadline = time.monotonic() + 20
        while True:
            try:
                store = redis_store(f"redis://127.0.0.1:{port}/0", monkeypatch)
                break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert stored(store) == list("abcde")
    finally:
        subprocess.run(["redis-cli", "-p", port, "shutdown", "nosave"], check=False, capture_output=True)


def test_the_embedded_store_is_copied_while_it_runs(tmp_path):
    config = SqliteConfig(path=str(tmp_path / "serve-data" / "store.db"))
    store = SqliteStore(config, lambda _: {}, ProfilesConfig())
    store.apply(CLICKS)
    (backup,) = block_with("sqlite3 ")
    if shutil.which("sqlite3"):
        run(backup, tmp_path)
    else:  # the same by the library
        assert backup == 'sqlite3 serve-data/store.db ".backup vrec.db"'
        source, target = (sqlite3.connect(tmp_path / name) for name in ("serve-data/store.db", "vrec.db"))
        source.backup(target)
        source.close()
        target.close()
    store.close()
    restored = SqliteStore(SqliteConfig(path=str(tmp_path / "vrec.db")), lambda _: {}, ProfilesConfig())
    assert stored(restored) == list("abcde")
