import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from vrec.config.load import load_settings, setting_keys, validate_settings
from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.core.digest import digest
from vrec.core.errors import ConfigError


def test_a_typo_names_the_nearest_setting():
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=["embed.batchsize=4"])
    assert str(caught.value) == "embed.batchsize: unknown; did you mean embed.batch_size?"


def test_a_setting_in_the_wrong_group_is_found():
    with pytest.raises(ConfigError, match=r"did you mean embed\.decode\.timeout_s\?"):
        load_settings(overrides=["embed.timeout_s=4"])


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=["embed.batch_size=zero", "embed.sample.frames=-1", "speed=9"])
    message = str(caught.value)
    assert "embed.batch_size: " in message
    assert "got 'zero'" in message
    assert "embed.sample.frames: " in message
    assert "speed: unknown" in message


def test_settings_that_contradict_each_other_are_named():
    with pytest.raises(ConfigError, match=r"frames\.frame_px is 224 and embed\.decode\.frame_px 64"):
        load_settings(overrides=["embed.decode.frame_px=64"])
    both = load_settings(overrides=["embed.decode.frame_px=64", "embed.encoders.frames.frame_px=64"])
    assert both.embed.decode.frame_px == 64


def test_yaml_holds_differences_and_overrides_win(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("embed:\n  batch_size: 3\n  sample:\n    frames: 4\n")
    settings = load_settings(file, ["embed.batch_size=5"])
    assert (settings.embed.batch_size, settings.embed.sample.frames) == (5, 4)
    assert settings.embed.decode == Settings().embed.decode
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(tmp_path / "empty.yaml") == Settings()


@pytest.mark.parametrize("text", ["- a\n- b\n", "embed: [1\n", "just words"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_settings(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "absent.yaml")


@pytest.mark.parametrize("override", ["embed.batch_size", "=3", "embed.batch_size.x=3"])
def test_a_malformed_override_is_refused(override):
    with pytest.raises(ConfigError, match=r"batch_size|want name=value"):
        load_settings(overrides=["embed.batch_size=2", override])


def test_every_setting_says_what_it_does():
    def undocumented(model: type[BaseModel], prefix: str) -> list[str]:
        bare = [prefix + n for n, f in model.model_fields.items() if not f.description]
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                bare += undocumented(field.annotation, f"{prefix}{name}.")
        return bare

    assert undocumented(Settings, "") == []
    assert "embed.decode.timeout_s" in setting_keys()


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=5), st.randoms())
def test_a_digest_does_not_depend_on_order(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(value)
    assert digest(value) != digest(value | {"more": 1})


def test_the_store_lies_in_the_data_folder_where_one_can():
    assert load_settings(overrides=["serve.data=here"]).serve.store.path == "here/store.db"
    assert load_settings().serve.store.path == "vrec-data/store.db"
    assert "://" not in load_settings(overrides=["serve.data=s3://bucket/serve"]).serve.store.path
    named = ["serve.data=here", "serve.store.kind=sqlite", "serve.store.path=there.db"]
    assert load_settings(overrides=named).serve.store.path == "there.db"


def test_a_patch_leaves_its_changes_as_they_are():
    group = {"kind": "gated", "dim": 4}
    changes = {"train.encoder.learned": group, "train.encoder.learned.dim": 8}
    assert patch_settings(Settings(), changes).train.encoder.learned.dim == 8
    assert changes == {"train.encoder.learned": {"kind": "gated", "dim": 4}, "train.encoder.learned.dim": 8}


@pytest.mark.parametrize("module", ["vrec.config.load", "vrec.cli.main", "vrec.retrieval.registry"])
def test_settings_are_checked_without_loading_what_they_set(module):
    code = f"import sys, {module}; print({{'torch', 'ray', 'implicit', 'faiss'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_one_declaration_of_own_kinds_serves_every_command():
    kinds = {"save": {"counts_as": "positive", "weight": 2.0}}
    settings = validate_settings({"events": {"interest": {"own_kinds": kinds}}})
    profiles = settings.train.ranker.profiles
    assert profiles.own_kinds == settings.serve.own_kinds == settings.events.interest.own_kinds
    assert (
        profiles.user.interest.half_life_days == Settings().train.ranker.profiles.user.interest.half_life_days
    )
    other = {"zoom": {"counts_as": "neutral"}}
    settings = validate_settings(
        {"events": {"interest": {"own_kinds": kinds}}, "serve": {"own_kinds": other}}
    )
    assert list(settings.serve.own_kinds) == ["zoom"]


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        ({"like": {}}, "like"),
        ({"Save": {}}, "Save"),
        ({"save": {"weight": -1}}, "weight"),
        ({"save": {"counts_as": "good"}}, "counts_as"),
        ([], "own_kinds"),
        ("save", "own_kinds"),
    ],
)
def test_a_wrong_declaration_of_own_kinds_is_named(kinds, word):
    with pytest.raises(ConfigError, match=word):
        validate_settings({"events": {"interest": {"own_kinds": kinds}}})


def test_a_negative_kind_is_no_conversion():
    with pytest.raises(ConfigError, match="conversion_kinds"):
        validate_settings({"train": {"ranker": {"labels": {"conversion_kinds": ["dislike"]}}}})
