"""Behaviour: what shoppers watch together comes together, also of videos that nobody has watched yet."""

import numpy as np
import pytest
import torch

from tests.encoders.learned.catalogues import feature_set, unit
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureTensors
from vrec.encoders.learned.heads.config import AnyHeadConfig, GatedHeadConfig, MeanHeadConfig, VaeHeadConfig
from vrec.encoders.learned.heads.gated import GatedHead
from vrec.encoders.learned.heads.modality_inputs import modality_mask
from vrec.encoders.learned.losses import co_watch_loss
from vrec.encoders.learned.train import EncoderTrainer
from vrec.encoders.learned.training_config import EncoderObjectiveConfig, EncoderTrainingConfig

GROUPS, SEEN, COLD = 8, 320, 120


def shop(seed: int = 0) -> tuple[FeatureSet, np.ndarray]:
    """Videos whose looks are loud and tell nothing of who watches them, and quietly tell that too.

    In picture and text alike; the sound is noise. Gives features and the group of shoppers of each.
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(0, GROUPS, SEEN + COLD)
    signs = rng.normal(size=(GROUPS, 6))[group]
    frames, text = (
        np.concatenate([3 * rng.normal(size=(len(group), 20)), signs], axis=1) @ rng.normal(size=(26, 32))
        for _ in range(2)
    )
    shown = frames[:, None, None, :] + rng.normal(size=(len(group), 2, 3, 32))
    return feature_set(shown, rng.normal(size=(len(group), 16)), text), group


FEATURES, GROUP = shop()
COLD_ROWS = np.arange(SEEN, SEEN + COLD)


def behavior(targets: bool) -> BehaviorSignals:
    """The first videos were watched, by shoppers of one group each; the last ones by nobody."""
    rng = np.random.default_rng(1)
    left, right = (rng.integers(0, SEEN, 40_000) for _ in range(2))
    kept = np.flatnonzero((GROUP[left] == GROUP[right]) & (left != right))[:3000]
    left, right = left[kept], right[kept]
    popularity = np.bincount(np.append(left, right), minlength=len(GROUP)).astype(np.float64)
    vectors = np.zeros((len(GROUP), 10), np.float32)
    tastes = rng.normal(size=(GROUPS, 10))
    vectors[:SEEN] = (tastes[GROUP] + 0.3 * rng.normal(size=(len(GROUP), 10)))[:SEEN]
    known = np.arange(len(GROUP)) < SEEN
    return BehaviorSignals(left, right, popularity, vectors if targets else None, known if targets else None)


def aligned(
    config: AnyHeadConfig, *, targets: bool = False, epochs: int = 12, **objective
) -> tuple[LearnedEncoder, dict[str, float]]:
    training = EncoderTrainingConfig.model_validate(
        {
            "objective": {"kind": "aligned", **objective},
            "epochs": epochs,
            "learning_rate": 5e-3,
            "device": "cpu",
            "weight_decay": 0.01,
        }
    )
    trainer = EncoderTrainer(
        init_head(config, FEATURES, 0), features=FEATURES, behavior=behavior(targets), config=training
    )
    mrr = {"before": trainer.validate()["mrr"]}
    head = trainer.run()
    weights = {name: weight.numpy() for name, weight in head.state_dict().items()}
    return LearnedEncoder.from_weights(config, FEATURES, weights), mrr | {"after": trainer.validate()["mrr"]}


def same_group(vectors: np.ndarray) -> float:
    """The share of cold videos' ten nearest videos, of all, that the same shoppers will watch."""
    cosines = vectors[COLD_ROWS] @ vectors.T
    cosines[np.arange(COLD), COLD_ROWS] = -2
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    return float((GROUP[nearest] == GROUP[COLD_ROWS][:, None]).mean())


def raw() -> np.ndarray:
    frames = FEATURES.frames[:, 0].astype(np.float64).mean(axis=1)
    blocks = [unit(frames - frames.mean(axis=0)), unit(FEATURES.text - FEATURES.text.mean(axis=0))]
    return unit(np.concatenate(blocks, axis=1))


# What is learned, and nothing beside it.
CONFIGS = [
    MeanHeadConfig(dim=16, keep=0),
    GatedHeadConfig(dim=16, keep=0),
    VaeHeadConfig(dim=16, layer=48, keep=0),
]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_cold_videos_come_to_lie_among_those_that_the_same_shoppers_watch(config):
    encoder, mrr = aligned(config)
    assert same_group(raw()) < 0.25
    assert same_group(encoder.encode_features(FEATURES)[0]) > 0.65
    assert mrr["after"] > 2 * mrr["before"]


def test_watched_pairs_have_a_temperature_of_their_own():
    config = EncoderTrainingConfig(objective=EncoderObjectiveConfig(kind="aligned", watched_temperature=0.7))
    head = init_head(MeanHeadConfig(dim=16), FEATURES, 0)
    trainer = EncoderTrainer(head, features=FEATURES, behavior=behavior(False), config=config)
    objective, pairs = trainer.objective.eval(), trainer.batches.pair_batch(np.arange(50))
    left, right = objective.head(pairs.left), objective.head(pairs.right)
    wanted = co_watch_loss(left, right, pairs.rows, temperature=0.7, log_q=pairs.log_q)
    assert objective(None, pairs)["co_watch"].item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("distillation", ["likeness", "vector"])
def test_collaborative_vectors_teach_where_cold_videos_belong(distillation):
    """Weighed so that the contrast of pairs is nothing beside them."""
    encoder, _ = aligned(
        MeanHeadConfig(dim=16, keep=0),
        targets=True,
        epochs=24,
        distillation=distillation,
        distillation_weight=1e4,
    )
    assert same_group(encoder.encode_features(FEATURES)[0]) > same_group(raw()) + 0.2


@pytest.mark.slow
def test_gates_learn_to_leave_out_a_modality_that_is_noise():
    """What is watched together goes by picture and text, never by sound: of cold videos it weighs little."""
    encoder, _ = aligned(GatedHeadConfig(dim=16), epochs=24, unwatched_weight=0.0)
    assert isinstance(encoder.head, GatedHead)
    batch = FeatureTensors(FEATURES, torch.device("cpu"), encoder.head.dims).take(COLD_ROWS)
    with torch.no_grad():
        gates = encoder.head.gates(encoder.head.parts(batch), modality_mask(batch, encoder.head.dims)).numpy()
    weight = dict(zip(encoder.head.dims, gates.mean(axis=0), strict=True))
    assert weight["audio"] < 0.1
    assert min(weight["frames"], weight["text"]) > 0.25
