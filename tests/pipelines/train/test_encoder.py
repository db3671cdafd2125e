"""Training encoders: from videos and events to a folder, with the same weights after a kill."""

import json
import shutil
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ray.train import Checkpoint

from vrec.cli.main import run
from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, FitError
from vrec.core.tables import read_embeddings
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.vectors import unit_rows
from vrec.pipelines.inputs import InputPaths
from vrec.pipelines.train.data_parallel import CHECKPOINTS, train_epochs, train_in_process
from vrec.pipelines.train.encoder import (
    EncoderInputs,
    build_training_task,
    mean_pool_frames,
    read_training_interactions,
    run_encoder_trial,
    train_encoder,
)
from vrec.training.epochs import SINGLE_WORKER

SMALL = [
    "train.encoder.learned={kind: gated, dim: 8}",
    "train.encoder.training={epochs: 3, batch_size: 64}",
    "train.encoder.behavior.als.factors=4",
    "embed.sample.frames=4",
    "train.encoder.features.views=1",
    "embed.workers=1",
]
SETTINGS = load_settings(overrides=SMALL)


def changed(**training: Any) -> Settings:
    encoder = SETTINGS.train.encoder
    update = {"training": encoder.training.model_copy(update=training)}
    train = SETTINGS.train.model_copy(update={"encoder": encoder.model_copy(update=update)})
    return SETTINGS.model_copy(update={"train": train})


@pytest.fixture(scope="module")
def features(shop, tmp_path_factory) -> str:
    """The folder of features of the shop's videos: their content vectors, as text."""
    table = shop.simulation.embeddings
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    made = FeatureSet.from_embeddings(table["entity_id"].to_pylist(), {"text": vectors}, {"text": "drawn"})
    folder = str(tmp_path_factory.mktemp("features"))
    made.save(folder)
    return folder


@pytest.fixture(scope="module")
def material(shop, features) -> EncoderInputs:
    return EncoderInputs(FeatureSet.load(features), read_training_interactions(shop.where, SETTINGS))


def test_events_align_an_encoder_and_the_report_counts_what_taught_it(shop, features, tmp_path):
    done = train_encoder(shop.where, None, features, str(tmp_path), SETTINGS)
    assert json.loads(json.dumps(done)) == done
    assert done["objective"] == "aligned"
    seen = done["behaviour"]
    assert seen["pairs"] > 100
    assert 0 < seen["targets"] == seen["paired"] <= seen["videos"] <= 60
    encoder = LearnedEncoder.load(str(tmp_path))
    assert encoder.name == done["model"]
    assert encoder.artifact.metrics == done["validation"]
    assert encoder.artifact.data["pairs"] == seen["pairs"]
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == []


def test_nothing_after_the_cut_reaches_an_encoder(shop, features, tmp_path):
    log = shop.simulation.events
    cut = log["at"][log.num_rows * 3 // 4]
    settings = load_settings(
        overrides=[*SMALL, f"evaluate.split={{kind: time, test_from: '{cut.as_py().isoformat()}'}}"]
    )
    # Whatever is later is now with other videos.
    videos = pc.if_else(pc.greater_equal(log["at"], cut), log["video_id"][0], log["video_id"])
    turned = log.set_column(log.schema.get_field_index("video_id"), log.schema.field("video_id"), videos)
    path = tmp_path / "EVENTS.parquet"
    pq.write_table(turned, path)
    names = [
        train_encoder(where, None, features, str(tmp_path / "out"), settings)["model"]
        for where in (shop.where, InputPaths(str(path), videos=shop.where.videos))
    ]
    assert names[0] == names[1]


def test_an_objective_that_is_named_is_kept_with_events_or_without(material):
    named = load_settings(overrides=[*SMALL, "train.encoder.training.objective.kind=self_supervised"])
    lesson, watched = build_training_task(material, named)
    assert lesson.config.training.objective.kind == "self_supervised"
    assert watched is None
    aligned = load_settings(overrides=[*SMALL, "train.encoder.training.objective.kind=aligned"])
    with pytest.raises(FitError, match="learns from what was watched"):
        build_training_task(EncoderInputs(material.features, None), aligned)


def test_without_videos_and_features_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(ConfigError, match="nothing to train on"):
        train_encoder(None, None, None, str(tmp_path), SETTINGS)


def test_one_video_is_refused(features, tmp_path):
    FeatureSet.load(features).select([0]).save(str(tmp_path / "one"))
    with pytest.raises(FitError, match="1 video with features"):
        train_encoder(None, None, str(tmp_path / "one"), str(tmp_path / "out"), SETTINGS)


def test_a_trial_gives_one_rank_an_epoch(material):
    found = list(run_encoder_trial(material, SETTINGS))
    assert len(found) == 3
    assert all(0 < value <= 1 for value in found)
    assert found == list(run_encoder_trial(material, SETTINGS))
    with pytest.raises(FitError, match="no trial can be judged"):
        list(run_encoder_trial(material, changed(validation=0.0)))


def test_training_here_gives_the_weights_of_a_trainer(material, tmp_path):
    lesson, _ = build_training_task(material, SETTINGS)
    expected = lesson.trainer(SINGLE_WORKER).run().state_dict()
    found = train_in_process(lesson, "run", str(tmp_path))
    assert found.weights.keys() == expected.keys()
    assert all(np.array_equal(found.weights[name], tensor.numpy()) for name, tensor in expected.items())


@pytest.mark.parametrize("kind", ["mean", "gated", "vae"])
def test_a_head_that_sees_no_order_gives_the_same_for_frames_and_their_mean(kind):
    rng = np.random.default_rng(0)
    lengths = np.array([0, 1, 2, 4, 4], np.int16)
    frames = rng.normal(0, 1, (5, 2, 4, 6)) * (np.arange(4)[:, None] < lengths[:, None, None, None])
    has: dict[Any, Any] = {"frames": lengths > 0, "audio": np.ones(5, bool), "text": np.zeros(5, bool)}
    sound = unit_rows(rng.normal(0, 1, (5, 3)))
    names: dict[Any, str] = {"frames": "drawn", "audio": "drawn"}
    rest = lengths, sound, np.zeros((5, 0), np.float32), has, names
    whole = FeatureSet(tuple("abcde"), frames.astype(np.float16), *rest)
    config = load_settings(
        overrides=[f"train.encoder.learned={{kind: {kind}, dim: 4}}"]
    ).train.encoder.learned
    head = init_head(config, whole, 0)
    weights = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    encoder = LearnedEncoder.from_weights(config, whole, weights)
    (found, able), (wanted, also) = (
        encoder.encode_features(some) for some in (mean_pool_frames(whole), whole)
    )
    assert np.array_equal(able, also)
    assert np.abs(found - wanted).max() < 5e-3


class Lost(Exception):
    """The worker is gone."""


def test_a_training_that_was_cut_short_ends_with_the_weights_of_one_that_was_not(
    material, tmp_path, monkeypatch
):
    """As a worker of Ray does it; that Ray starts one anew after a kill is tested with the ranker."""
    lesson, _ = build_training_task(material, changed(epochs=6, patience=6))
    alone = lesson.trainer(SINGLE_WORKER)
    expected = {name: tensor.numpy() for name, tensor in alone.run().state_dict().items()}

    def kept(metrics, checkpoint):
        with checkpoint.as_directory() as folder:
            shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        if metrics["epoch"] == 2:
            raise Lost

    monkeypatch.setattr("ray.train.report", kept)
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: None)
    with pytest.raises(Lost):
        train_epochs(lesson, 0, 1)
    monkeypatch.setattr("ray.train.report", lambda metrics, checkpoint: None)
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: Checkpoint.from_directory(tmp_path))
    trained = train_epochs(lesson, 0, 1)
    assert trained.resumed_from == 2
    assert (trained.epochs, trained.best_epoch) == (alone.epoch, alone.best_epoch)
    assert trained.losses == pytest.approx(alone.validate())
    assert trained.stopped is None
    for name, weights in expected.items():
        assert np.array_equal(trained.weights[name], weights), name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_trains_on_two_workers_and_embed_runs_what_it_leaves(clips, local_ray, tmp_path, capsys):
    encoder, out = tmp_path / "encoder", tmp_path / "embedded"
    options = ["train.encoder.learned={kind: gru, dim: 8, hidden: 4}", "train.encoder.workers=2", *SMALL[1:]]
    sets = [part for option in options for part in ("--set", option)]
    # Three of the clips are broken: they are listed and cost nothing else.
    assert run(["train", "encoder", "--videos", str(clips), "--out", str(encoder), "--json", *sets]) == 3
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["workers"] == 2
    assert len(done["failures"]) == 3
    assert not (encoder / CHECKPOINTS).exists()
    more = ["--set", "embed.sample.frames=4", *done["use"].split()]
    assert run(["embed", "--videos", str(clips), "--out", str(out), *more]) == 3
    table = read_embeddings(str(out), "frames")
    assert table is not None
    assert set(table["encoder"].to_pylist()) == {done["model"]}
    found = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    wanted, able = LearnedEncoder.load(str(encoder)).encode_features(FeatureSet.load(done["features"]))
    assert able.all()
    assert np.abs(found - wanted).max() < 1e-4
