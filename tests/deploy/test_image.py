"""Dockerfile, its locks, and compose.yaml. There is no Docker here: what can be checked without one is."""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

from tests.deploy.commands import parses
from tests.e2e.ray_head import free_port
from vrec.core.errors import StoreError
from vrec.pipelines.cluster import KEEPALIVE_ENVIRONMENT
from vrec.profiles.stores.redis.store import RedisConfig, RedisStore
from vrec.profiles.update import ProfilesConfig
from vrec.serving.http.keys import ApiKeyring

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy" / "image"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


class Instruction(NamedTuple):
    """Instruction of a Dockerfile."""

    name: str
    value: str


def instructions() -> list[Instruction]:
    """Parse the Dockerfile: comments go, also between continued lines, and these are joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return [Instruction(*line.split(None, 1)) for line in re.sub(r"\\\n\s*", "", text).splitlines()]


DOCKERFILE = instructions()


def values(name: str) -> list[str]:
    return [one.value for one in DOCKERFILE if one.name == name]


def copied_from_context() -> list[str]:
    return [source for value in values("COPY") if "--from" not in value for source in shlex.split(value)[:-1]]


def sent_to_docker(path: str) -> bool:
    """Return whether .dockerignore lets a path into the build, as Docker reads it: the last match counts."""
    parts, sent = path.split("/"), True
    folders = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        names = parts if pattern.startswith("**/") else folders
        # `*` does not match a slash.
        own = [name for name in names if name.count("/") == pattern.removeprefix("**/").count("/")]
        if (
            pattern
            and not pattern.startswith("#")
            and any(fnmatch(name, pattern.removeprefix("**/")) for name in own)
        ):
            sent = line.startswith("!")
    return sent


def requirements_tool():
    spec = importlib.util.spec_from_file_location("image_requirements", IMAGE / "requirements.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["image_requirements"] = module
    spec.loader.exec_module(module)
    return module


def printed_requirements(kind: str, capsys) -> list[str]:
    requirements_tool().main(["--torch", kind, str(ROOT / "requirements.lock")])
    return capsys.readouterr().out.splitlines()


def test_the_dockerfile_has_known_instructions_and_no_shell_left_open():
    assert {one.name for one in DOCKERFILE} <= {
        *("ARG", "FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "EXPOSE"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    for script in values("RUN"):
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, script


def test_what_it_copies_exists_and_is_sent_to_docker():
    sources = copied_from_context()
    assert len(sources) > 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert sent_to_docker(source), source


@pytest.mark.parametrize(
    "path", ["secrets/api_keys", ".git/config", "demo-out/store.db", "tests/bundles.py", ".venv/x"]
)
def test_nothing_else_is_sent_to_docker(path):
    assert not sent_to_docker(path)


def test_the_image_runs_as_nobody_in_particular():
    final = DOCKERFILE[[n for n, one in enumerate(DOCKERFILE) if one.name == "FROM"][-1] :]
    users = [number for number, one in enumerate(final) if one.name == "USER"]
    assert [final[number].value for number in users] == ["10001:10001"]
    # What follows is run and started by that user; nothing installs after it.
    assert not [
        one for one in final[users[0] :] if one.name == "RUN" and ("apt" in one.value or "pip" in one.value)
    ]


def test_everything_is_installed_by_hash():
    for script in values("RUN"):
        for command in re.findall(r"pip install [^&;]*", script):
            assert "--require-hashes" in command or "--no-index" in command, command
            assert "--no-deps" in command
    assert not any(re.search(r"curl|wget|add-apt", script) for script in values("RUN"))


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_requirements_are_closed_and_have_nothing_else(kind, capsys):
    lines = [line for line in printed_requirements(kind, capsys) if not line.startswith(" ")]
    names = {Requirement(line.removesuffix(" \\")).name for line in lines}
    if kind == "cpu":
        names |= {"torch", "torchaudio", "torchvision"}
    for name in ("pytest", "sphinx", "ruff", "moto", "playwright"):
        assert name not in names
    missing = set()
    for name in names:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform or Python
            continue
        for one in map(Requirement, needed):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                missing |= {one.name.lower().replace("_", "-")} - names
    cuda = {name for name in missing if name.startswith(("nvidia", "cuda", "triton"))}
    assert missing - cuda == set()
    assert bool(cuda) == (kind == "cpu")


def test_every_requirement_has_a_hash(capsys):
    lines = printed_requirements("cpu", capsys)
    for locked in ("torch-cpu.lock", "build.lock"):
        lines += (IMAGE / locked).read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    packages = re.split(r"\n(?=\S)", "\n".join(lines))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)


def test_torch_for_cpus_has_the_versions_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = dict(
        re.findall(r"^(torch\w*)==(\S+)\+cpu ", (IMAGE / "torch-cpu.lock").read_text(), re.MULTILINE)
    )
    assert set(found) == set(requirements_tool().TORCH)
    for name, version in found.items():
        assert re.search(rf"^{name}=={re.escape(version)} ", lock, re.MULTILINE), (
            f"{name} of the lock is another"
        )


def test_the_smoke_command_of_the_image_works_here(tmp_path):
    assert "bash deploy/image/smoke.sh" in values("RUN")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = ["bash", str(IMAGE / "smoke.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this environment works" in done.stdout


def test_compose_mounts_files_that_exist_and_secrets_that_are_made():
    made = (ROOT / "deploy" / "make-secrets.sh").read_text(encoding="utf-8")
    for secret in COMPOSE["secrets"].values():
        folder, name = secret["file"].removeprefix("./").split("/")
        assert folder == "secrets"
        assert re.search(rf"\b{name}\b", made)
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for volume in service["volumes"]:
            source = volume.rpartition(":/")[0].split(":/")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("${BUNDLE"):
                assert source in COMPOSE["volumes"]
        # Reached from this machine alone, and never as the newest of whatever there is.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert not service["image"].endswith(":latest")
        assert set(service.get("depends_on", ())) <= set(COMPOSE["services"])


def test_nodes_notice_lost_machines_as_soon_as_commands_do():
    exported = (ROOT / "deploy" / "node-env.sh").read_text(encoding="utf-8")
    for name, value in KEEPALIVE_ENVIRONMENT.items():
        assert f"{name}={value}" in exported
        assert f"{name}={value}" in values("ENV")[-1]


def test_compose_starts_the_service_with_settings_that_exist():
    service = COMPOSE["services"]["vrec"]
    assert parses(service["command"]) is None
    assert service["build"]["args"].keys() <= {value.partition("=")[0] for value in values("ARG")}
    for variable, path in service["environment"].items():
        assert variable.startswith("VREC_")
        assert variable.endswith("_FILE")
        assert path.removeprefix("/run/secrets/") in service["secrets"]


def test_prometheus_and_grafana_find_the_service():
    scrape = yaml.safe_load((ROOT / "deploy/compose/prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = scrape["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert COMPOSE["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    provisioning = ROOT / "deploy/compose/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/vrec.yaml").read_text())["providers"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert any(mount.startswith(f"./deploy/grafana.json:{provider['options']['path']}/") for mount in mounts)


def test_the_secrets_are_made_once_and_open_the_service(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", str(ROOT / "deploy" / "make-secrets.sh")]
    environment = {
        **os.environ,
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "REDIS_HOST": "r",
    }

    def make() -> tuple[str, dict[str, str]]:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout, {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}

    said, made = make()
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    keyring = ApiKeyring.from_environment({"KEYS": made["api_keys"].replace("\n", ",").strip(",")}, "KEYS")
    (shop,) = re.findall(r"API key of shop: (\S+)", said)
    assert keyring.find(shop).scopes == {"read", "events"}
    assert keyring.find(made["metrics_key"]).scopes == {"read"}
    assert keyring.find(made["loop_key"]).scopes == {"read", "manage"}
    assert made["redis_url"] == f"redis://:{made['redis_password']}@r:6379/0"
    assert all(text == text.strip() for name, text in made.items() if name != "api_keys")
    assert make() == ("", made)


def test_redis_as_it_is_configured_is_durable_enough(tmp_path, monkeypatch):
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs redis-server")
    port = free_port()
    options = ("--port", str(port), "--dir", str(tmp_path), "--requirepass", "pw")
    server = subprocess.Popen(
        [found, str(ROOT / "deploy" / "redis.conf"), *options], stdout=subprocess.DEVNULL
    )
    monkeypatch.setenv("URL", f"redis://:pw@127.0.0.1:{port}/0")
    try:
        for _ in range(100):
            try:
                RedisStore(RedisConfig(url_variable="URL"), lambda _: {}, ProfilesConfig()).close()
                break
            except StoreError as error:
                refused = error
                time.sleep(0.1)
        else:
            raise refused
    finally:
        server.kill()
        server.wait()
