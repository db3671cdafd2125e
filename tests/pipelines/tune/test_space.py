"""Spaces of settings: what a file may say, what it may not, and what is drawn from it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.config.load import load_settings
from vrec.config.patch import differences, value_of, with_changes
from vrec.config.settings import Settings
from vrec.core.errors import ConfigError
from vrec.pipelines.inputs import Where
from vrec.pipelines.tune.space import read_space
from vrec.pipelines.tune.targets import cf_subject, encoder_subject, ranker_subject

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "tune"
NOWHERE = Where("nowhere.parquet")
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
            subject = ranker_subject(NOWHERE, settings)
        case "encoder":
            subject = encoder_subject("nowhere", None, settings)
        case model:
            subject = cf_subject(NOWHERE, settings, model)
    space = read_space(path, settings, subject.follows)
    drawn = space.drawn(settings)
    assert drawn is not None
    assert with_changes(settings, space.values(drawn)) == settings
    for key, distribution in space.distributions.items():
        ends = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
        for end in ends:
            with_changes(settings, {key: space.dimensions[key].value(end)})


def test_all_that_is_wrong_with_a_space_is_said_at_once(tmp_path):
    text = """
retrieval.als.factor: {log_int: [8, 64]}
retrieval.ease.regularisation: {uniform: [1, 2]}
retrieval.als: {choice: [1]}
retrieval.als.alpha: {log_uniform: [0, 1]}
retrieval.als.iterations: {int: [1.5, 3]}
retrieval.als.regularisation: {normal: [0, 1]}
retrieval.als.seed: 3
train.ranker.network.widht: {int: [1, 2]}
"""
    with pytest.raises(ConfigError) as told:
        read_space(written(tmp_path, text), Settings(), FOLLOWS)
    for part in (
        "retrieval.als.factor: unknown; did you mean retrieval.als.factors?",
        "retrieval.ease.regularisation: no trial follows it",
        "retrieval.als: a group of settings",
        "retrieval.als.alpha: log_uniform",
        "retrieval.als.iterations: int: [1.5, 3]: want numbers",
        "retrieval.als.regularisation: {'normal': [0, 1]} is no distribution",
        "retrieval.als.seed: 3 is no distribution",
        "widht: unknown; did you mean train.ranker.network.width?",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize("text", ["", "- a list", "a: {b: [1"])
def test_a_file_that_is_no_space_is_refused(tmp_path, text):
    with pytest.raises(ConfigError):
        read_space(written(tmp_path, text), Settings(), FOLLOWS)


def test_choices_may_be_anything_that_yaml_holds(tmp_path):
    text = "train.ranker.network.hidden: {choice: [[64], [128, 64], [256, 128]]}"
    space = read_space(written(tmp_path, text), Settings(), FOLLOWS)
    choices = space.dimensions["train.ranker.network.hidden"].distribution.choices
    assert space.values({"train.ranker.network.hidden": choices[1]}) == {
        "train.ranker.network.hidden": [128, 64]
    }


def test_settings_outside_the_space_are_not_drawn_from_it(tmp_path):
    text = "retrieval.als.factors: {int: [1, 8]}"
    space = read_space(written(tmp_path, text), Settings(), FOLLOWS)
    assert space.drawn(Settings()) is None
    assert space.drawn(load_settings(overrides=["retrieval.als.factors=8"])) == {"retrieval.als.factors": 8}


@given(st.floats(0.001, 10), st.integers(1, 300), st.sampled_from([None, 7.0, 30.0]))
def test_changes_are_those_of_the_command_line(regularisation, factors, half_life):
    changes = {
        "retrieval.als.regularisation": regularisation,
        "retrieval.als.factors": factors,
        "events.interest.half_life_days": half_life,
    }
    given = load_settings(overrides=["retrieval.als.alpha=3", "evaluate.seeds=2"])
    found = with_changes(given, changes)
    assert {key: value_of(found, key) for key in changes} == changes
    assert (found.retrieval.als.alpha, found.evaluate.seeds) == (3, 2)
    assert differences(given) == differences(with_changes(given, {}))


def test_a_kind_that_changes_lets_go_of_the_other_ones_settings():
    given = load_settings(overrides=["train.ranker.network={kind: din, attention: [4], width: 4}"])
    found = with_changes(given, {"train.ranker.network.width": 8})
    assert (found.train.ranker.network.kind, found.train.ranker.network.width) == ("din", 8)
    other = with_changes(given, {"train.ranker.network.kind": "lr"})
    assert other.train.ranker.network.kind == "lr"
    with pytest.raises(ConfigError, match="width"):
        with_changes(given, {"train.ranker.network.kind": "lr", "train.ranker.network.width": 8})


def test_a_kind_is_said_only_where_it_must_be():
    """What is left out stays left out: with events, the encoder's objective is `aligned` unless it is set."""
    found = with_changes(Settings(), {"encoder.training.objective.temperature": 0.2})
    assert "kind" not in found.encoder.training.objective.model_fields_set
    assert found.encoder.learned.kind == Settings().encoder.learned.kind
