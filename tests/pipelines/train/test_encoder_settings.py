"""Settings of an encoder's training: each that a trial may vary changes its outcome; runs and their names."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.vectors import unit_rows
from vrec.pipelines.train.encoder import (
    EncoderInputs,
    EncoderTrainingTask,
    build_training_task,
    run_encoder_trial,
    run_name,
    trains_in_process,
)
from vrec.pipelines.tune.targets import encoder_target
from vrec.training.epochs import SINGLE_WORKER

TRAINING = "train.encoder.training"
BASE: dict[str, Any] = {
    "train.encoder.learned": {"kind": "gated", "dim": 4},
    f"{TRAINING}.epochs": 2,
    f"{TRAINING}.batch_size": 16,
    f"{TRAINING}.validation": 0.25,
    f"{TRAINING}.objective.unwatched_weight": 0.5,
    "train.encoder.behavior.als": {"factors": 3, "iterations": 2},
    "train.encoder.behavior.least_users": 1,
}
CHANGES: dict[str, Any] = {
    "learning_rate": 0.05,
    "batch_size": 8,
    "epochs": 3,
    "weight_decay": 0.5,
    "objective.temperature": 0.5,
    "objective.watched_temperature": 1.0,
    "objective.audio_agreement": 3.0,
    "objective.popularity_correction": False,
    "objective.distillation": "none",
    "objective.distillation_weight": 9.0,
    "objective.unwatched_weight": 0.0,
}


def settings(**changes: Any) -> Settings:
    whole = BASE | {f"train.encoder.{key}": value for key, value in changes.items()}
    return patch_settings(Settings(), whole)


@pytest.fixture(scope="module")
def inputs() -> EncoderInputs:
    """40 videos with frames and sound; 28 of them were watched, some by many, some by few."""
    rng = np.random.default_rng(0)
    has: dict[Any, Any] = {name: np.full(40, name != "text") for name in ("frames", "audio", "text")}
    features = FeatureSet(
        tuple(f"v{i:02}" for i in range(40)),
        rng.normal(0, 1, (40, 2, 2, 6)).astype(np.float16),
        np.full(40, 2, np.int16),
        unit_rows(rng.normal(0, 1, (40, 5))),
        np.zeros((40, 0), np.float32),
        has,
        {"frames": "drawn", "audio": "drawn"},
    )
    chance = 1 / np.arange(1, 29)
    rows = [
        {"user_id": f"u{user}", "video_id": f"v{video:02}", "weight": 1.0, "at": moment(20 * user + i)}
        for user in range(30)
        for i, video in enumerate(rng.choice(28, 5, replace=False, p=chance / chance.sum()))
    ]
    return EncoderInputs(features, pa.Table.from_pylist(rows, schema=INTERACTIONS.arrow()))


def moment(minutes: int) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)


def test_every_setting_that_a_trial_may_vary_is_tested_here():
    tunable = {key.removeprefix(f"{TRAINING}.") for key in encoder_target("", None, Settings()).tunable}
    assert tunable == {*CHANGES, "patience", "train.encoder.learned"}


@pytest.fixture(scope="module")
def base_values(inputs) -> list[float]:
    return list(run_encoder_trial(inputs, settings()))


def trained_weights(inputs: EncoderInputs, given: Settings) -> dict[str, np.ndarray]:
    trainer = build_training_task(inputs, given)[0].trainer(SINGLE_WORKER)
    while not trainer.done:
        trainer.run_epoch()
        trainer.validate()
    return {name: tensor.numpy().copy() for name, tensor in trainer.network.state_dict().items()}


@pytest.fixture(scope="module")
def base_weights(inputs) -> dict[str, np.ndarray]:
    return trained_weights(inputs, settings())


@pytest.mark.parametrize("key", CHANGES)
def test_each_setting_of_training_changes_the_weights(inputs, base_weights, key):
    found = trained_weights(inputs, settings(**{f"training.{key}": CHANGES[key]}))
    assert any(not np.array_equal(found[name], weights) for name, weights in base_weights.items())


def test_the_same_settings_give_the_same_weights(inputs, base_weights):
    found = trained_weights(inputs, settings())
    assert all(np.array_equal(found[name], weights) for name, weights in base_weights.items())


def test_training_without_progress_ends_after_its_patience(inputs):
    """With steps so large that nothing is learned."""
    found = settings(**{"training.epochs": 50, "training.patience": 2, "training.learning_rate": 1.0})
    assert len(list(run_encoder_trial(inputs, found))) < 50


def test_another_head_gives_other_values(inputs, base_values):
    assert len(base_values) == 2
    assert list(run_encoder_trial(inputs, settings())) == base_values
    assert list(run_encoder_trial(inputs, settings(**{"learned.dim": 8}))) != base_values


def test_events_align_unless_another_objective_is_named(inputs):
    task, summary = build_training_task(inputs, settings())
    assert task.config.training.objective.kind == "aligned"
    assert summary is not None
    assert task.behavior is summary.behavior
    named = settings(**{"training.objective.kind": "self_supervised"})
    task, summary = build_training_task(inputs, named)
    assert (task.config.training.objective.kind, task.behavior, summary) == ("self_supervised", None, None)
    task, summary = build_training_task(replace(inputs, interactions=None), settings())
    assert (task.config.training.objective.kind, task.behavior, summary) == ("self_supervised", None, None)
    with pytest.raises(FitError, match="learns from what was watched"):
        build_training_task(
            replace(inputs, interactions=None), settings(**{"training.objective.kind": "aligned"})
        )


def test_examples_are_pairs_or_videos_times_epochs(inputs):
    aligned, summary = build_training_task(inputs, settings())
    assert summary is not None
    assert aligned.examples == 2 * summary.pairs > 80
    assert build_training_task(replace(inputs, interactions=None), settings())[0].examples == 80


@pytest.mark.parametrize(
    ("changes", "in_process"),
    [
        ({}, True),
        ({"alone_below": 0}, False),
        ({"alone_below": 80}, False),
        ({"alone_below": 81}, True),
        ({"workers": 1}, True),
        ({"workers": 2}, False),
        ({"gpus_per_worker": 0.5}, False),
    ],
)
def test_small_trainings_without_workers_stay_in_the_process(inputs, changes, in_process):
    task, _ = build_training_task(replace(inputs, interactions=None), settings(**changes))
    assert trains_in_process(task) is in_process


def test_only_runs_of_the_same_data_and_settings_share_a_name(inputs):
    def name(some: EncoderInputs = inputs, **changes: Any) -> str:
        return run_name(build_training_task(some, settings(**changes))[0])

    base = name()
    assert name() == base
    assert name(failures=7, alone_below=0, workers=3, wait_s=5) == base, "what changes no weights"
    others = [
        name(**{"training.seed": 1}),
        name(**{"learned.dim": 8}),
        name(replace(inputs, interactions=None)),
        name(replace(inputs, interactions=inputs.interactions.slice(1))),
        name(replace(inputs, features=inputs.features.select(range(39)))),
        name(**{"behavior.targets": "none"}),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_targets_that_differ_alone_are_another_run(inputs):
    task, _ = build_training_task(inputs, settings())
    assert task.behavior is not None
    assert task.behavior.targets is not None
    other = replace(task.behavior, targets=task.behavior.targets + np.float32(1))
    changed = EncoderTrainingTask(task.config, task.features, other)
    assert run_name(changed) != run_name(task)
