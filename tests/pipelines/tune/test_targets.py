"""What a trial sees: the part that may be learned from, and nothing that was in the test part."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.shop import RANKER_OVERRIDES
from vrec.config.load import load_settings
from vrec.config.patch import patch_settings
from vrec.core.compute import pc
from vrec.encoders.learned.features import FeatureSet
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.pipelines.evaluate.validation import train_test_split, validation_split
from vrec.pipelines.inputs import InputData, InputPaths, input_fingerprint, read_inputs
from vrec.pipelines.tune.targets import (
    encoder_target,
    ranker_trial_data,
    recommender_trial_data,
    run_ranker_trial,
    run_recommender_trial,
)
from vrec.ranking.labels import split_log

SETTINGS = load_settings(overrides=["train.ranker.shards=2", *RANKER_OVERRIDES])


@pytest.fixture(scope="module")
def material(shop) -> InputData:
    return read_inputs(shop.where, SETTINGS.events, "fused")


def poisoned(table: pa.Table, since, seed: int) -> pa.Table:
    """The rows since a moment with each other's videos; their number and times are as they were."""
    frame = pl.from_arrow(table).with_row_index("row")
    late = frame.filter(pl.col("at") >= since)
    videos = late["video_id"].to_numpy()[np.random.default_rng(seed).permutation(late.height)]
    swapped = late.with_columns(pl.Series("video_id", videos, dtype=late.schema["video_id"]))
    assert not swapped["video_id"].equals(late["video_id"])
    whole = pl.concat([frame.filter(pl.col("at") < since), swapped]).sort("row").drop("row")
    return whole.to_arrow().cast(table.schema)


CF = ({}, {"retrieval.item_knn.shrink": 20.0, "events.interest.half_life_days": 5.0})


def test_trials_of_a_recommender_never_see_the_test_part(material):
    parts = train_test_split(material, SETTINGS)
    other = replace(material, interactions=poisoned(material.interactions, parts.cutoff, seed=0))
    assert train_test_split(other, SETTINGS).test != parts.test
    found, same = (recommender_trial_data(each, SETTINGS) for each in (material, other))
    assert found.inner.train.equals(same.inner.train)
    assert found.inner.test.equals(same.inner.test)
    assert pc.max(found.inner.train["at"]).as_py() < found.inner.cutoff
    assert pc.max(found.inner.test["at"]).as_py() < parts.cutoff
    for changes in CF:
        settings = patch_settings(SETTINGS, changes)
        first, second = (list(run_recommender_trial("item_knn", each, settings)) for each in (found, same))
        assert first == second
        assert 0 < first[0] < 1
    # Did anything reach what trials see, they would tell.
    fewer = found.inner.train.slice(found.inner.train.num_rows // 2)
    worse = replace(found, inner=replace(found.inner, train=fewer))
    assert list(run_recommender_trial("item_knn", worse, SETTINGS)) != list(
        run_recommender_trial("item_knn", found, SETTINGS)
    )


def test_what_fades_interest_is_followed(material):
    found = recommender_trial_data(material, SETTINGS)
    assert (
        len(
            {
                tuple(run_recommender_trial("item_knn", found, patch_settings(SETTINGS, changes)))
                for changes in CF
            }
        )
        == 2
    )


def test_the_trial_of_a_recommender_is_evaluates_own(material):
    """The figure is what a fit on the same rows by hand comes to: hits over the ideal gain, user by user."""
    inner = validation_split(train_test_split(material, SETTINGS).train, SETTINGS)
    from vrec.retrieval.registry import build_recommender

    model = build_recommender("popular", SETTINGS.retrieval).fit(
        aggregate_interactions(inner.train, SETTINGS.events.interest, inner.cutoff)
    )
    wanted: dict[str, set[str]] = {}
    for row in inner.test.to_pylist():
        wanted.setdefault(row["user_id"], set()).add(row["video_id"])
    gained = dict.fromkeys(wanted, 0.0)
    for row in model.recommend(sorted(wanted), 10).to_pylist():
        if row["video_id"] in wanted[row["user_id"]]:
            gained[row["user_id"]] += 1 / np.log2(row["rank"] + 1)
    ideal = {u: sum(1 / np.log2(r + 1) for r in range(1, min(10, len(v)) + 1)) for u, v in wanted.items()}
    expected = np.mean([gained[user] / ideal[user] for user in wanted])
    (score,) = run_recommender_trial("popular", recommender_trial_data(material, SETTINGS), SETTINGS)
    assert score == pytest.approx(expected)


def test_trials_of_the_ranker_never_see_the_test_part(material, local_ray):
    shown = material.events.filter(pc.equal(material.events["kind"], "impression"))
    at = np.asarray(shown["at"].cast(pa.int64()))
    cut = split_log(at, SETTINGS.train.ranker.split).test_from
    since = pa.scalar(cut, pa.timestamp("us", "UTC")).as_py()
    events = poisoned(material.events, since, seed=0)
    interactions = weigh_events(events, SETTINGS.events.interest, material.content.videos)
    other = replace(material, events=events, interactions=interactions)
    found, same = (ranker_trial_data(each, SETTINGS) for each in (material, other))
    for part in ("train", "valid"):
        assert getattr(found, part)[1].at.max() < cut
    for changes in ({}, {"train.ranker.training.learning_rate": 0.01}):
        settings = patch_settings(SETTINGS, changes)
        assert list(run_ranker_trial(found, settings)) == list(run_ranker_trial(same, settings))
    assert len(list(run_ranker_trial(found, SETTINGS))) == 2


def test_trials_of_an_encoder_never_see_the_test_part(shop, material, tmp_path):
    table = shop.simulation.embeddings
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    features = FeatureSet.from_embeddings(
        table["entity_id"].to_pylist(), {"text": vectors}, {"text": "drawn"}
    )
    features.save(str(tmp_path / "features"))
    cut = train_test_split(material, SETTINGS).cutoff
    pq.write_table(poisoned(material.events, cut, seed=0), tmp_path / "EVENTS.parquet")
    small = load_settings(
        overrides=[
            "train.encoder.learned={kind: gated, dim: 8}",
            "train.encoder.training={epochs: 2, batch_size: 64}",
        ]
    )
    found = []
    for events in (shop.where.events, str(tmp_path / "EVENTS.parquet")):
        subject = encoder_target(str(tmp_path / "features"), InputPaths(events), small)
        data = subject.read()
        found.append((data.fingerprint, list(subject.run_trial(data.prepare(), small))))
    assert found[0] == found[1]
    alone = encoder_target(str(tmp_path / "features"), None, small).read()
    assert alone.fingerprint != found[0][0]
    assert len(found[0][1]) == 2


def test_other_data_have_another_fingerprint(material):
    other = replace(material, events=material.events.slice(1))
    assert input_fingerprint(material) == input_fingerprint(replace(material, name="elsewhere"))
    assert input_fingerprint(material) != input_fingerprint(other)
    assert input_fingerprint(material) != input_fingerprint(replace(material, content=None))
