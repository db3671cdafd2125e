"""Settings of training, artifacts and the choice of features of learned encoders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.learned.catalogues import NAMES, of_topics
from tests.encoders.learned.test_train import FEATURES, trainer
from vrec.compression.network import CompressedNetworkInfo, load_network, save_network
from vrec.core.errors import ConfigError, FitError, ModelError
from vrec.encoders.digest import arrays_digest
from vrec.encoders.learned import validation
from vrec.encoders.learned.artifact import EncoderArtifact, read_encoder_artifact
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.config import LearnedFusionConfig, resolve_learned_fusion
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.config import GatedHeadConfig, GruHeadConfig, MeanHeadConfig
from vrec.training.epochs import TrainingWorker

MEAN = MeanHeadConfig(dim=4)


def test_settings_of_training_reach_the_optimizer_and_the_steps():
    some = trainer(MEAN, behavior=None, learning_rate=0.02, weight_decay=0.3, batch_size=16, validation=0.2)
    group = some.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.3)
    usable = int(FEATURES.has["frames"].sum())
    assert some.batches.examples == usable - round(0.2 * usable)
    result = some.run_epoch()
    assert (result.epoch, result.examples) == (1, some.batches.examples)
    assert len(list(some.steps(some.batches.examples, 16))) == -(-some.batches.examples // 16)
    assert not some.objective.mixed_precision


def test_training_stops_after_so_many_epochs_without_a_lower_loss():
    some = trainer(MEAN, behavior=None, epochs=30, patience=2, learning_rate=1.0)
    some.run()
    assert some.epoch - some.best_epoch == 2 or some.epoch == 30


def test_without_held_out_videos_the_training_loss_is_the_validation_loss():
    some = trainer(MEAN, behavior=None, validation=0)
    result, found = some.run_epoch(), some.validate()
    assert found == {"total": result.losses["total"]}
    assert "too small" in some.no_validation_reason
    assert trainer(MEAN, behavior=None).no_validation_reason is None


def test_held_out_videos_without_pairs_do_not_judge():
    topic = np.zeros(90, np.int64)
    held = trainer(MEAN, behavior=None, validation=0.1).batches.split.held_out
    apart = np.setdiff1d(np.flatnonzero(FEATURES.has["frames"]), held)
    few = BehaviorSignals(apart[:6], apart[1:7], np.ones(len(topic)))
    some = trainer(MEAN, behavior=few, objective={"kind": "aligned"}, validation=0.1, batch_size=4)
    assert len(some.batches.split.held_out) == len(held)
    assert "fewer than two pairs" in some.no_validation_reason


def test_each_worker_needs_two_examples_per_step():
    two = FEATURES.select([1, 2])
    assert trainer(MEAN, features=two, behavior=None).batches.examples == 2
    with pytest.raises(
        FitError, match=r"2 examples, 32 per step, for 2 workers: each worker needs at least 2"
    ):
        trainer(MEAN, features=two, behavior=None, worker=TrainingWorker(0, 2))
    with pytest.raises(FitError, match="examples, 5 per step, for 3 workers"):
        trainer(MEAN, behavior=None, batch_size=5, worker=TrainingWorker(0, 3))


def test_unwatched_videos_are_taken_only_where_they_have_a_weight():
    for weight, taken in ((0.0, False), (0.1, True)):
        some = trainer(MEAN, objective={"kind": "aligned", "unwatched_weight": weight})
        views, _ = some.batches.batch(np.arange(8), np.random.default_rng(0))
        assert (views is not None) == taken


def test_validation_losses_are_means_over_videos_whatever_the_batches():
    some = trainer(MEAN, objective={"kind": "aligned", "popularity_correction": False}, validation=0.3)
    some.objective.eval()
    pairs = some.batches.split.held_out_pairs[:7]
    some.batches.split = replace(some.batches.split, held_out_pairs=pairs)
    found = validation.validation_metrics(some.objective, some.batches, 4)
    parts = [some.objective(None, some.batches.pair_batch(rows)) for rows in (pairs[:4], pairs[4:])]
    for name in ("co_watch", "distillation", "total"):
        wanted = (4 * parts[0][name].item() + 3 * parts[1][name].item()) / 7
        assert found[name] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("aligned", [False, True])
def test_the_reciprocal_rank_does_not_depend_on_blocks(aligned, monkeypatch):
    kind = {"objective": {"kind": "aligned"}} if aligned else {}
    whole = trainer(MEAN, validation=0.3, **kind).validate()["mrr"]
    monkeypatch.setattr(validation, "BLOCK", 5)
    assert trainer(MEAN, validation=0.3, **kind).validate()["mrr"] == pytest.approx(whole)


def test_a_ranking_by_hand():
    queries, candidates = torch.eye(3), torch.tensor([[3.0, 0, 1], [2.0, 5, 1], [1.0, 5, 1]])
    targets = torch.tensor([1, 1, 0])
    # Ranks: 2; 1 and 2 tie, 1.5; all three tie, 2.
    found = validation.mean_reciprocal_rank(queries, candidates, targets, None)
    assert found == pytest.approx((1 / 2 + 1 / 1.5 + 1 / 2) / 3)
    found = validation.mean_reciprocal_rank(queries, candidates, targets, torch.tensor([0, 2, 2]))
    assert found == pytest.approx((1 + 1 + 1 / 1.5) / 3)


def artifact(embed=None, **changed) -> EncoderArtifact:
    given = {
        "config": {"kind": "gru", "dim": 8},
        "dims": {"frames": 5},
        "names": {"frames": NAMES["frames"]},
        "embed": embed or {},
        "weights": {"a": np.ones(3, np.float32)},
        "data": {"videos": 2},
        "metrics": {"mrr": 0.5},
    }
    return EncoderArtifact(**given | changed)


def test_the_length_of_vectors_is_what_is_learned_and_what_is_kept():
    assert artifact().dim == 8
    assert artifact(weights={"kept.components": np.zeros((5, 3), np.float32)}).dim == 11


def test_names_tell_all_that_vectors_depend_on():
    others = [
        artifact(),
        artifact(config={"kind": "gru", "dim": 9}),
        artifact(dims={"frames": 6}),
        artifact(names={"frames": "cnn@1"}),
        artifact(weights={"a": np.zeros(3, np.float32)}),
    ]
    assert len({other.name for other in others}) == 5
    assert artifact(data={}, metrics={}, embed={"x": 1}).name == artifact().name


def test_features_of_other_encoders_are_incompatible():
    assert artifact().incompatibility(NAMES) is None
    assert (
        artifact().incompatibility({"frames": "cnn@1"})
        == f"was trained on frames of {NAMES['frames']}, not of cnn@1"
    )
    assert artifact().incompatibility({}).endswith("not of none")


def test_a_saved_artifact_comes_back_and_one_without_inputs_is_refused(tmp_path):
    artifact().save(str(tmp_path / "good"))
    again = read_encoder_artifact(str(tmp_path / "good"))
    assert (again.config, again.dims, again.names) == (artifact().config, artifact().dims, artifact().names)
    assert (again.data["videos"], again.metrics, again.name) == (2, {"mrr": 0.5}, artifact().name)
    for number, changed in enumerate(
        [{"dims": {}, "names": {}}, {"names": {}}, {"dims": {"frames": 5, "text": 2}}]
    ):
        artifact(**changed).save(str(tmp_path / str(number)))
        with pytest.raises(ModelError, match="does not name its input features"):
            read_encoder_artifact(str(tmp_path / str(number)))


def test_a_compressed_network_moves_with_its_encoder(tmp_path):
    info = CompressedNetworkInfo("static", 160, 5, "openvino", True, "efficientnet_lite0")
    save_network(str(tmp_path / "network"), b"graph", info)
    embed = {
        "encoders": {"frames": {"weights": f"compressed:{tmp_path}/network", "frame_px": 160}},
        "workers": 1,
    }
    artifact(embed).save(str(tmp_path / "made"))
    (tmp_path / "made").rename(tmp_path / "moved")
    found = read_encoder_artifact(str(tmp_path / "moved")).embed
    assert found == {
        **embed,
        "encoders": {"frames": {"weights": f"compressed:{tmp_path}/moved/network", "frame_px": 160}},
    }
    assert load_network(str(tmp_path / "moved" / "network")) == (b"graph", info)


def test_array_digests_follow_names_types_shapes_numbers_and_header():
    base = {"a": np.arange(4, dtype=np.int32), "b": np.zeros(2)}
    others = [
        base,
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].astype(np.uint32), "b": base["b"]},
        {"a": base["a"].reshape(2, 2), "b": base["b"]},
        {"a": base["a"][::-1], "b": base["b"]},
    ]
    assert len({arrays_digest(other) for other in others} | {arrays_digest(base, header="x")}) == 6
    assert arrays_digest(dict(reversed(base.items()))) == arrays_digest(base)


@pytest.mark.parametrize(
    ("frames", "cnn", "by_frame"),
    [
        ("cnn@000000000000", "cnn@000000000000", True),
        ("gru@1", "cnn@000000000000", True),
        ("cnn@000000000000", "cnn@2", False),
        ("cnn@000000000000", None, False),
    ],
)
def test_a_fusion_takes_the_networks_features_or_the_encoders_vectors(frames, cnn, by_frame, tmp_path):
    features, _ = of_topics(8, seed=0)
    config = GatedHeadConfig(dim=4)
    weights = {n: w.numpy() for n, w in init_head(config, features, 0).state_dict().items()}
    LearnedEncoder.from_weights(config, features, weights).save(str(tmp_path))
    given = LearnedFusionConfig(model=str(tmp_path))
    assert resolve_learned_fusion(given, NAMES | {"frames": frames}, cnn)[1] == by_frame
    with pytest.raises(ConfigError, match=r"the fusion .* was trained on"):
        resolve_learned_fusion(given, NAMES | {"frames": frames, "text": "text@9"}, cnn)


def test_a_video_without_input_is_named_by_its_row():
    config = GruHeadConfig(dim=4, hidden=3)
    features, _ = of_topics(8, seed=0)
    weights = {n: w.numpy() for n, w in init_head(config, features, 0).state_dict().items()}
    encoder = LearnedEncoder.from_weights(config, features, weights, data={"more": 1}, metrics={"mrr": 1.0})
    with pytest.raises(ValueError, match="row 1 has no modality of frames"):
        encoder.encode_parts([np.ones((2, 24), np.float32), None], {"text": [None, np.ones(16, np.float32)]})
    assert encoder.encode_parts([], {}).shape == (0, encoder.dim)
    about = {"features": features.fingerprint, "videos": 8, "more": 1}
    assert (encoder.artifact.data, encoder.artifact.metrics) == (about, {"mrr": 1.0})


def test_a_catalog_of_one_video_has_features(tmp_path):
    one = FeatureSet.from_embeddings(["v"], {"text": np.array([[0.0, 2.0]])}, NAMES)
    one.save(str(tmp_path))
    again = FeatureSet.load(str(tmp_path))
    assert (len(again), again.dims, again.text.tolist()) == (1, {"text": 2}, [[0.0, 1.0]])
    with pytest.raises(FitError, match=r"has.text. is not"):
        replace(one, has=dict(one.has) | {"text": np.array([1])})
    with pytest.raises(FitError, match="lengths is int64"):
        replace(one, lengths=np.zeros(1, np.int64))
