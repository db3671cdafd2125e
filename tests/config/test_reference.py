"""docs/settings.md against the code, and every setting against its use."""

import ast
from pathlib import Path

import pytest
import yaml

from vrec.config.load import load_settings
from vrec.config.reference import list_settings, render_reference
from vrec.config.settings import Settings
from vrec.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = list_settings()


def test_the_page_is_the_code_s():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == render_reference(), "run `make settings`"


def test_every_key_says_what_it_does():
    assert [entry.key for entry in ENTRIES if len(entry.description) < 5] == []


def test_defaults_of_the_page_are_what_the_settings_hold():
    found = Settings().model_dump(mode="json")
    leaves = 0
    for entry in ENTRIES:
        if entry.is_group or entry.kind:
            continue
        value = found
        for part in entry.key.split("."):
            value = value[part] if isinstance(value, dict) and part in value else ...
        if value is ...:
            continue
        leaves += 1
        assert entry.default == value or yaml.safe_load(entry.default) == value, entry.key
    assert leaves > 300


def test_every_plain_setting_takes_its_own_default():
    for entry in ENTRIES:
        if entry.is_group or entry.kind or entry.default in ("", "null"):
            continue
        try:
            assert load_settings(overrides=[f"{entry.key}={entry.default}"])
        except ConfigError as error:
            # A pair such as a rate and its strength goes together.
            if "field required" not in str(error):
                pytest.fail(f"{entry.key}={entry.default}: {error}")


def test_every_setting_is_read_somewhere():
    """A field that no code reads by its name is a setting that changes nothing."""
    read = set()
    for file in (ROOT / "vrec").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
    names = {entry.key.rpartition(".")[2] for entry in ENTRIES}
    # Weights by event kind and by attribute are read by the name of the column that they weigh.
    by_column = set(Settings().events.interest.model_dump()) | set(
        Settings().retrieval.content.attributes.model_dump()
    )
    assert names - read - by_column == set()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "retrieval.ease.l2=4",
            "retrieval.ease.l2: unknown; retrieval.ease has regularization, binary, max_videos, ",
        ),
        ("embd={batch_size: 3}", "embd: unknown; did you mean embed?"),
        ("train.workers=2", "train.workers: unknown; did you mean train.ranker.workers?"),
        ("encoder.learned.dim=3", "encoder: unknown; did you mean train.encoder?"),
        ("train.ranker.network.widht=3", "did you mean train.ranker.network.width?"),
        ("train.ranker.network={kind: dcn, widht: 3}", "did you mean train.ranker.network.width?"),
        ("speed=9", "speed: unknown; the settings have embed, events, "),
    ],
)
def test_a_hint_is_a_key_of_the_same_sort(override, message):
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=[override])
    assert message in str(caught.value)


def test_a_group_without_its_kind_has_the_default_s():
    settings = load_settings(overrides=["train.ranker.network.width=4", "evaluate.split.test_share=0.3"])
    assert (settings.train.ranker.network.kind, settings.train.ranker.network.width) == ("din", 4)
    assert (settings.evaluate.split.kind, settings.evaluate.split.test_share) == ("time", 0.3)
    assert load_settings(overrides=["evaluate.split.kind=last"]).evaluate.split.kind == "last"
