"""cluster.yaml, and the on-premise variant in its comments, by Ray's own schema and defaults."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
ONLY_AWS = ("available_node_types", "head_node_type", "max_workers", "provider", "auth")


def on_premise() -> dict[str, Any]:
    """The file after the edits that its last comment asks for."""
    config = {key: value for key, value in yaml.safe_load(TEXT).items() if key not in ONLY_AWS}
    block = TEXT.split("# ---- On-premise")[1].split("\n#\n")[1]
    return config | yaml.safe_load("\n".join(line.removeprefix("#") for line in block.splitlines()))


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    ready = prepare_config(config)
    # The launcher adds this itself before it validates.
    validate_config({"cluster_synced_files": [], **ready})
    return ready


def test_the_cloud_cluster_validates() -> None:
    ready = prepared(yaml.safe_load(TEXT))
    assert ready["head_node_type"] in ready["available_node_types"]
    assert ready["available_node_types"]["cpu"]["max_workers"] == 8
    for kind in ready["available_node_types"].values():
        assert kind["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/")


def test_the_on_premise_cluster_validates() -> None:
    ready = prepared(on_premise())
    assert ready["provider"]["type"] == "local"
    assert next(iter(ready["available_node_types"].values()))["max_workers"] == 2


@pytest.mark.parametrize("config", [yaml.safe_load(TEXT), on_premise()], ids=["cloud", "on-premise"])
def test_setup_installs_this_checkout_from_its_lock(config: dict[str, Any]) -> None:
    commands = "\n".join(config["setup_commands"])
    for file in ("requirements.lock",):
        assert f"~/vrec/{file}" in commands
        assert (ROOT / file).is_file()
    assert config["file_mounts"] == {"/home/ubuntu/vrec": ".", "/home/ubuntu/secrets": "secrets"}
    assert "~/vrec/deploy/node-env.sh" in commands.replace("$HOME", "~")
    assert (ROOT / "jobs" / "embed.py").is_file()


def test_an_unknown_key_would_be_seen() -> None:
    with pytest.raises(Exception, match="max_wrokers"):
        prepared({**yaml.safe_load(TEXT), "max_wrokers": 3})
