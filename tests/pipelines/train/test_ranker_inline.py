"""Training a ranker with tasks that run in this process: splits, labels, figures and names of runs."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.shop import RANKER_OVERRIDES
from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.types import CatalogContent
from vrec.events.shards.manifest import open_shards
from vrec.events.shards.stages import read_shard
from vrec.pipelines.inputs import InputData, input_fingerprint, read_inputs
from vrec.pipelines.shards.run import shard_events
from vrec.pipelines.task_runner import LocalTasks
from vrec.pipelines.train.data_parallel import train_in_process
from vrec.pipelines.train.impressions import (
    ImpressionDataset,
    ReplayedLog,
    build_examples,
    replay_parts,
)
from vrec.pipelines.train.ranker import run_name, train_on_inputs
from vrec.pipelines.tune.targets import RankerTrialData, run_ranker_trial
from vrec.profiles.update import video_metadata
from vrec.ranking.network_ranker import NetworkRanker

OVERRIDES = ["train.ranker.shards=2", *RANKER_OVERRIDES]
SETTINGS = load_settings(overrides=OVERRIDES)


@pytest.fixture(scope="module")
def data(shop) -> InputData:
    return read_inputs(shop.where, SETTINGS.events, "fused")


def content(data: InputData) -> CatalogContent:
    assert data.content is not None
    return data.content


def test_shards_are_as_many_as_set_or_as_the_clusters_cpus(data, inline_ray):
    whole = build_examples(
        data.events,
        content(data),
        load_settings(overrides=[*OVERRIDES, "train.ranker.shards=1"]).train.ranker,
    )
    assert [call["name"] for call in inline_ray].count("_examples") == 1
    inline_ray.clear()
    default = load_settings(overrides=OVERRIDES[1:]).train.ranker
    sharded = build_examples(data.events, content(data), default)
    assert [call["name"] for call in inline_ray].count("_examples") == 2
    assert same_examples(whole, sharded)


def arrays_of(value: object) -> dict[str, np.ndarray]:
    names = [n for n in getattr(value, "__dataclass_fields__", ()) if n not in ("catalog", "shape")]
    return {name: getattr(value, name) for name in names}


def same_examples(one: ImpressionDataset, other: ImpressionDataset) -> bool:
    """Whether the space and all examples are the same, to the bit and in order."""
    same = [one.space.digest == other.space.digest, one.split == other.split]
    for split in ("train", "validation", "test"):
        mine, its = getattr(one, split), getattr(other, split)
        same.append(len(mine.labels) == len(its.labels) > 0)
        same.append(mine.video_ids.equals(its.video_ids))
        for part in ("features", "labels", "rates"):
            arrays, others = arrays_of(getattr(mine, part)), arrays_of(getattr(its, part))
            same += [
                (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())
                for a, b in zip(arrays.values(), others.values(), strict=True)
            ]
    return all(same) and one.cold.tobytes() == other.cold.tobytes()


@pytest.mark.parametrize("count", [1, 16])
def test_shards_on_disk_give_the_examples_of_the_file_to_the_bit(data, shop, inline_ray, tmp_path, count):
    settings = load_settings(overrides=[*OVERRIDES, f"events.shards.count={count}"])
    whole = build_examples(data.events, content(data), settings.train.ranker)
    shard_events([shop.where.events], str(tmp_path / "shards"), settings.events)
    table = open_shards(str(tmp_path / "shards"))
    assert table is not None
    assert len(table.files) == count
    parts = [(file.rows, read_shard(str(tmp_path / "shards"), file)) for file in table.files]
    end = max(file.last for file in table.files)
    facts = video_metadata(content(data))
    log = ReplayedLog(content(data), facts, settings.train.ranker, whole.split, end, sample=1)
    assert same_examples(whole, replay_parts(parts, log, LocalTasks()))


def test_splits_are_of_the_shares_that_are_set(data, inline_ray):
    shares = ["train.ranker.split={validation_share: 0.3, test_share: 0.4}"]
    config = load_settings(overrides=[*OVERRIDES, *shares]).train.ranker
    examples = build_examples(data.events, content(data), config)
    sizes = [len(getattr(examples, split).labels) for split in ("train", "validation", "test")]
    shown = data.events.filter(pc.equal(data.events["kind"], "impression")).num_rows
    assert sum(sizes) == shown
    assert np.array(sizes) / shown == pytest.approx([0.3, 0.3, 0.4], abs=0.01)
    assert len(examples.cold) == sizes[2]
    window_us = 6 * 3_600_000_000
    for labels in (examples.train.labels, examples.validation.labels):
        assert labels.at.max() < examples.split.test_from
        assert (labels.at[labels.mature] + window_us < examples.split.test_from).all()
    assert not examples.validation.labels.mature.all(), "the last of them are too near the test"


def test_the_summary_is_of_the_ranker_that_is_saved(data, inline_ray, tmp_path):
    done = train_on_inputs(data, str(tmp_path), SETTINGS.train.ranker, train=train_in_process)
    assert json.loads(json.dumps(done)) == done
    report = json.loads((tmp_path / "test.json").read_text())
    assert done["test"]["ranker"] == report["ranker"]["overall"]["metrics"]
    assert done["test"]["rates"] == report["rates"]["overall"]["metrics"]
    assert done["test"]["ranker"] != done["test"]["rates"]
    above = done["click_auc_above_rates"]
    assert above == report["against_rates"]["auc"]
    assert above["low"] <= above["value"] <= above["high"]
    assert above["value"] == pytest.approx(
        done["test"]["ranker"]["click_auc"] - done["test"]["rates"]["click_auc"], abs=1e-9
    )
    ranker = NetworkRanker.load(str(tmp_path))
    assert ranker.metrics == done["test"]["ranker"]
    assert done["unjudged"] == report["unjudged"]
    assert (done["epochs"], done["workers"], done["resumed_from"]) == (2, 1, 0)
    examples = build_examples(data.events, content(data), SETTINGS.train.ranker)
    assert done["impressions"] == {
        split: len(getattr(examples, split).labels) for split in ("train", "validation", "test")
    }
    assert done["cold"] == examples.cold.sum()


def test_a_trial_gives_the_negative_of_the_loss(data, inline_ray):
    examples = build_examples(data.events, content(data), SETTINGS.train.ranker)
    train, valid = ((split.features, split.labels) for split in (examples.train, examples.validation))
    values = list(run_ranker_trial(RankerTrialData(train, valid), SETTINGS))
    assert len(values) == 2
    assert all(value < 0 for value in values)
    changed = load_settings(overrides=[*OVERRIDES, "train.ranker.training.learning_rate=0.05"])
    assert list(run_ranker_trial(RankerTrialData(train, valid), changed)) != values


def test_only_runs_of_the_same_log_and_settings_share_a_name(data):
    config = SETTINGS.train.ranker
    base = run_name(input_fingerprint(data), config)
    assert run_name(input_fingerprint(replace(data, name="else")), config) == base
    workers = {"workers": 3, "cpus_per_worker": 2.0, "failures": 9, "wait_s": 5.0}
    assert run_name(input_fingerprint(data), config.model_copy(update=workers)) == base
    # As many events with the same last moment, but of other videos.
    videos = pa.array(data.events["video_id"].to_pylist()[::-1])
    events = data.events.set_column(data.events.schema.get_field_index("video_id"), "video_id", videos)
    others = [
        run_name(input_fingerprint(replace(data, events=events)), config),
        run_name(input_fingerprint(replace(data, content=None)), config),
        run_name(input_fingerprint(data), config.model_copy(update={"shards": 9})),
    ]
    assert len({base, *others}) == 4


def test_a_log_without_purchases_is_trained_without_their_head_and_says_so(
    data, inline_ray, tmp_path, caplog
):
    caplog.set_level("INFO", "vrec")
    overrides = [*OVERRIDES, "train.ranker.labels.conversion_kinds=[share]"]
    config = load_settings(overrides=overrides).train.ranker
    done = train_on_inputs(data, str(tmp_path / "r"), config, train=train_in_process)
    assert list(done["heads_left_out"]) == ["conversion"]
    assert "the head conversion is left out: 0 of " in caplog.text
    ranker = NetworkRanker.load(str(tmp_path / "r"))
    assert ranker.config.heads.heads == ("click", "watch")


def test_a_log_without_impressions_is_refused_in_words(data, inline_ray, tmp_path):
    clicks = data.events.filter(pc.not_equal(data.events.column("kind"), "impression"))
    with pytest.raises(RankError, match="is an impression") as caught:
        train_on_inputs(
            replace(data, events=clicks), str(tmp_path / "r"), SETTINGS.train.ranker, train=train_in_process
        )
    assert "vrec recommend" in caught.value.fix


@pytest.mark.parametrize("heads", ["[click, conversion]", "[click, watch, conversion]"])
def test_a_head_that_is_asked_for_and_cannot_be_learned_is_refused_before_anything_is_replayed(
    data, inline_ray, tmp_path, heads
):
    overrides = [
        *OVERRIDES,
        "train.ranker.labels.conversion_kinds=[share]",
        f"train.ranker.heads.heads={heads}",
    ]
    config = load_settings(overrides=overrides).train.ranker
    with pytest.raises(RankError, match=r"of [0-9,]+ mature impressions are converted") as caught:
        train_on_inputs(data, str(tmp_path / "r"), config, train=train_in_process)
    assert "train.ranker.labels.conversion_kinds" in caught.value.fix
    assert not inline_ray
