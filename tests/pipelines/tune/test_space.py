"""Spaces of settings: what a file may say, what it may not, and what is drawn from it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.config.load import load_settings
from vrec.config.patch import explicit_settings, patch_settings, setting_value
from vrec.config.settings import Settings
from vrec.core.errors import ConfigError
from vrec.pipelines.inputs import InputPaths
from vrec.pipelines.tune.space import read_search_space
from vrec.pipelines.tune.targets import encoder_target, ranker_target, recommender_target

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "tune"
NOWHERE = InputPaths("nowhere.parquet")
FOLLOWS = ("retrieval.als", "train.ranker.network")


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_spaces_that_are_shipped_hold_the_defaults_and_nothing_that_settings_refuse(path):
    settings = Settings()
    match path.stem:
        case "ranker":
            subject = ranker_target(NOWHERE, settings)
        case "encoder":
            subject = encoder_target("nowhere", None, settings)
        case model:
            subject = recommender_target(NOWHERE, settings, model)
    space = read_search_space(path, settings, subject.tunable)
    drawn = space.drawn(settings)
    assert drawn is not None
    assert patch_settings(settings, space.values(drawn)) == settings
    for key, distribution in space.distributions.items():
        ends = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
        for end in ends:
            patch_settings(settings, {key: space.dimensions[key].value(end)})


def test_all_that_is_wrong_with_a_space_is_said_at_once(tmp_path):
    text = """
retrieval.als.factor: {log_int: [8, 64]}
retrieval.ease.regularization: {uniform: [1, 2]}
retrieval.als: {choice: [1]}
retrieval.als.alpha: {log_uniform: [0, 1]}
retrieval.als.iterations: {int: [1.5, 3]}
retrieval.als.regularization: {normal: [0, 1]}
retrieval.als.seed: 3
train.ranker.network.widht: {int: [1, 2]}
"""
    with pytest.raises(ConfigError) as told:
        read_search_space(written(tmp_path, text), Settings(), FOLLOWS)
    for part in (
        "retrieval.als.factor: unknown; did you mean retrieval.als.factors?",
        "retrieval.ease.regularization: no trial follows it",
        "retrieval.als: a group of settings",
        "retrieval.als.alpha: log_uniform",
        "retrieval.als.iterations: int: [1.5, 3]: want numbers",
        "retrieval.als.regularization: {'normal': [0, 1]} is no distribution",
        "retrieval.als.seed: 3 is no distribution",
        "widht: unknown; did you mean train.ranker.network.width?",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize("text", ["", "- a list", "a: {b: [1"])
def test_a_file_that_is_no_space_is_refused(tmp_path, text):
    with pytest.raises(ConfigError):
        read_search_space(written(tmp_path, text), Settings(), FOLLOWS)


def test_choices_may_be_anything_that_yaml_holds(tmp_path):
    text = "train.ranker.network.hidden: {choice: [[64], [128, 64], [256, 128]]}"
    space = read_search_space(written(tmp_path, text), Settings(), FOLLOWS)
    choices = space.dimensions["train.ranker.network.hidden"].distribution.choices
    assert space.values({"train.ranker.network.hidden": choices[1]}) == {
        "train.ranker.network.hidden": [128, 64]
    }


def test_settings_outside_the_space_are_not_drawn_from_it(tmp_path):
    text = "retrieval.als.factors: {int: [1, 8]}"
    space = read_search_space(written(tmp_path, text), Settings(), FOLLOWS)
    assert space.drawn(Settings()) is None
    assert space.drawn(load_settings(overrides=["retrieval.als.factors=8"])) == {"retrieval.als.factors": 8}


@given(st.floats(0.001, 10), st.integers(1, 300), st.sampled_from([None, 7.0, 30.0]))
def test_changes_are_those_of_the_command_line(regularization, factors, half_life):
    changes = {
        "retrieval.als.regularization": regularization,
        "retrieval.als.factors": factors,
        "events.interest.half_life_days": half_life,
    }
    given = load_settings(overrides=["retrieval.als.alpha=3", "evaluate.seeds=2"])
    found = patch_settings(given, changes)
    assert {key: setting_value(found, key) for key in changes} == changes
    assert (found.retrieval.als.alpha, found.evaluate.seeds) == (3, 2)
    assert explicit_settings(given) == explicit_settings(patch_settings(given, {}))


def test_a_kind_that_changes_lets_go_of_the_other_ones_settings():
    given = load_settings(overrides=["train.ranker.network={kind: din, attention: [4], width: 4}"])
    found = patch_settings(given, {"train.ranker.network.width": 8})
    assert (found.train.ranker.network.kind, found.train.ranker.network.width) == ("din", 8)
    other = patch_settings(given, {"train.ranker.network.kind": "lr"})
    assert other.train.ranker.network.kind == "lr"
    with pytest.raises(ConfigError, match="width"):
        patch_settings(given, {"train.ranker.network.kind": "lr", "train.ranker.network.width": 8})


def test_a_kind_is_said_only_where_it_must_be():
    """What is left out stays left out: with events, the encoder's objective is `aligned` unless it is set."""
    found = patch_settings(Settings(), {"train.encoder.training.objective.temperature": 0.2})
    assert "kind" not in found.train.encoder.training.objective.model_fields_set
    assert found.train.encoder.learned.kind == Settings().train.encoder.learned.kind


@pytest.mark.parametrize(
    ("key", "given", "wrong"),
    [
        ("retrieval.als.factors", "{choice: [16, 0, 32, many]}", ["0", "'many'"]),
        ("retrieval.als.factors", "{int: [0, 8]}", ["0"]),
        ("train.ranker.network.kind", "{choice: [din, dcn, deep]}", ["deep"]),
        ("train.ranker.network.kind", "{choice: [din, dcn, lr]}", []),
        ("retrieval.als.factors", "{choice: [16, 32]}", []),
    ],
    ids=str,
)
def test_each_value_that_can_be_drawn_is_checked_alone(tmp_path, key, given, wrong):
    path = written(tmp_path, f"{key}: {given}")
    if not wrong:
        read_search_space(path, Settings(), FOLLOWS)
        return
    with pytest.raises(ConfigError) as told:
        read_search_space(path, Settings(), FOLLOWS)
    assert key.removesuffix(".kind") in str(told.value)
    for value in wrong:
        assert value in str(told.value)
    assert "16" not in str(told.value).removeprefix(str(path)), "a value that is good is not named"


def test_choices_of_text_are_checked_as_numbers_are(tmp_path):
    path = written(tmp_path, "retrieval.item_knn.similarity: {choice: [cosine, pearson, euclid]}")
    with pytest.raises(ConfigError, match=r"retrieval\.item_knn\.similarity: .*'euclid'") as told:
        read_search_space(path, Settings(), ("retrieval.item_knn",))
    assert "got 'cosine'" not in str(told.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words"])
def test_a_file_that_holds_no_space_is_told_what_a_space_looks_like(tmp_path, text):
    with pytest.raises(ConfigError, match=r"want settings such as `retrieval\.als\.factors: ") as told:
        read_search_space(written(tmp_path, text), Settings(), FOLLOWS)
    assert "docs/tuning.md" in told.value.fix
