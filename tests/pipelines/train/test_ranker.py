"""Training a ranker on a real Ray: the same examples and weights as without one, also after a kill."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.pipelines.shop import RANKER_OVERRIDES
from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.types import CatalogContent
from vrec.pipelines.train.data_parallel import CHECKPOINTS, train_in_process, train_network
from vrec.pipelines.train.impressions import build_examples
from vrec.pipelines.train.ranker import RankerTrainingTask, train_ranker
from vrec.profiles.update import video_metadata
from vrec.ranking.features.arrays import concatenate_features
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.labels import hash_user_id
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.registry import build_trainer
from vrec.ranking.replay import replay_requests, replay_video_counts

OVERRIDES = [
    *RANKER_OVERRIDES,
    "train.ranker.shards=3",
    "train.ranker.training={epochs: 6, patience: 6, batch_size: 256}",
]
SETTINGS = load_settings(overrides=OVERRIDES)


@pytest.fixture(scope="module")
def content(shop) -> CatalogContent:
    return CatalogContent(shop.simulation.videos, shop.simulation.embeddings)


@pytest.fixture(scope="module")
def examples(shop, content, local_ray):
    return build_examples(shop.simulation.events, content, SETTINGS.train.ranker)


def test_shards_give_the_examples_of_one_replay(shop, content, examples):
    log, facts = shop.simulation.events, video_metadata(content)
    states = replay_video_counts(log, facts, SETTINGS.train.ranker.profiles)
    requests = list(replay_requests(log, states, facts, SETTINGS.train.ranker.profiles))
    whole = FeatureBuilder(examples.space, examples.catalog).build(requests)
    parts = (examples.train, examples.validation, examples.test)
    found = concatenate_features([part.features for part in parts])
    assert len(found) == len(whole)

    def rows(features, users, at):
        """One line of numbers for each impression, sorted: the order of shards means nothing."""
        request = features.request
        blocks = (
            features.video[:, None],
            features.position[:, None],
            features.candidate,
            features.user[request],
            features.history[request],
            features.history_dense[request].reshape(len(request), -1),
        )
        table = np.concatenate([np.stack([users, at], axis=1), *blocks], axis=1)
        return table[np.lexsort(table.T[::-1])]

    names = np.array([hash_user_id(r.user.entity_id) for r in requests])
    at = np.array([r.context.at for r in requests])
    expected = rows(whole, names[whole.request], at[whole.request])
    users = np.concatenate([part.labels.user for part in parts])
    times = np.concatenate([part.labels.at for part in parts])
    assert np.array_equal(rows(found, users, times), expected)


def test_parts_follow_in_time_and_labels_end_where_the_test_begins(examples):
    train, validation, test = (part.labels for part in (examples.train, examples.validation, examples.test))
    assert train.at.max() < validation.at.min() <= validation.at.max() < test.at.min()
    window = SETTINGS.train.ranker.labels.conversion_window_hours * 3600e6
    assert (validation.at[validation.mature] + window < test.at.min()).all()
    seen = set(examples.train.video_ids.to_pylist())
    cold = [video not in seen for video in examples.test.video_ids.to_pylist()]
    assert examples.cold.tolist() == cold
    assert 0 < sum(cold) < len(cold)


def test_training_here_gives_the_weights_of_a_trainer_and_keeps_nothing(examples, tmp_path):
    train, valid = ((part.features, part.labels) for part in (examples.train, examples.validation))
    _, alone = build_trainer(SETTINGS.train.ranker.model, examples.space.shape, train, valid)
    expected = alone.run().state_dict()
    found = train_in_process(RankerTrainingTask(SETTINGS.train.ranker, train, valid), "run", str(tmp_path))
    assert found.weights.keys() == expected.keys()
    assert all(np.array_equal(found.weights[name], tensor.numpy()) for name, tensor in expected.items())
    assert (found.epochs, found.best_epoch, found.resumed_from) == (alone.epoch, alone.best_epoch, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_training_whose_worker_is_killed_ends_with_the_weights_of_one_that_was_not(examples, tmp_path):
    parts: dict[str, Any] = {
        "train": (examples.train.features, examples.train.labels),
        "valid": (examples.validation.features, examples.validation.labels),
    }
    # Steps so small that epochs take longer than Ray takes to note a checkpoint.
    training = SETTINGS.train.ranker.training.model_copy(update={"batch_size": 8})
    config = SETTINGS.train.ranker.model.model_copy(update={"training": training})
    _, alone = build_trainer(config, examples.space.shape, **parts)
    expected = {name: tensor.numpy() for name, tensor in alone.run().state_dict().items()}

    killer = threading.Thread(target=kill_after_a_checkpoint, args=(tmp_path / CHECKPOINTS / "run",))
    killer.start()
    lesson = RankerTrainingTask(SETTINGS.train.ranker.model_copy(update=dict(config)), **parts)
    trained = train_network(lesson, "run", str(tmp_path))
    killer.join()
    assert trained.resumed_from >= 1
    assert trained.epochs == alone.epoch
    assert trained.best_epoch == alone.best_epoch
    assert trained.losses == pytest.approx(alone.validate())
    for name, weights in expected.items():
        assert np.array_equal(trained.weights[name], weights), name


def kill_after_a_checkpoint(run: Path) -> None:
    """SIGKILL to the process that trains, once Ray has noted a checkpoint of it."""
    noted = run / "checkpoint_manager_snapshot.json"
    while not (noted.exists() and "checkpoint_2" in noted.read_text()):
        time.sleep(0.02)
    for process in psutil.process_iter(["name", "cmdline"]):
        if "RayTrainWorker" in " ".join(process.info["cmdline"] or []):
            os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_trains_with_two_workers_and_leaves_a_ranker(shop, examples, tmp_path, local_ray):
    settings = load_settings(overrides=[*OVERRIDES, "train.ranker.workers=2"])
    done = train_ranker(shop.where, str(tmp_path), settings)
    assert done["workers"] == 2
    assert done["impressions"]["test"] == len(examples.test.labels)
    ranker = NetworkRanker.load(str(tmp_path))
    report = json.loads((tmp_path / "test.json").read_text())
    assert ranker.metrics == report["ranker"]["overall"]["metrics"] == done["test"]["ranker"]
    assert report["ranker"]["overall"]["metrics"]["click_auc"] > 0.5
    assert not (tmp_path / CHECKPOINTS).exists()


def test_a_log_without_clicks_is_refused(shop, local_ray):
    events = shop.simulation.events
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    with pytest.raises(RankError, match="click"):
        build_examples(shown, CatalogContent(shop.simulation.videos), SETTINGS.train.ranker)
