"""What each kind of head is for, shown on drawn features with a planted truth, on clips it has not seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.encoders.learned.catalogues import backwards, moving, of_topics
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureTensors
from vrec.encoders.learned.heads.config import (
    AnyHeadConfig,
    GatedHeadConfig,
    GruHeadConfig,
    MeanHeadConfig,
    VaeHeadConfig,
)
from vrec.encoders.learned.heads.gated import GatedHead
from vrec.encoders.learned.heads.modality_inputs import drop_modalities, modality_mask
from vrec.encoders.learned.heads.vae import VaeHead, kl_divergence, product_of_experts
from vrec.encoders.learned.train import EncoderTrainer
from vrec.encoders.learned.training_config import EncoderTrainingConfig


def trained(config: AnyHeadConfig, features: FeatureSet, **changed) -> LearnedEncoder:
    training = EncoderTrainingConfig.model_validate(
        {"epochs": 20, "batch_size": 64, "learning_rate": 3e-3, "device": "cpu"} | changed
    )
    trainer = EncoderTrainer(init_head(config, features, training.seed), features=features, config=training)
    head = trainer.run()
    return LearnedEncoder.from_weights(config, features, {n: w.numpy() for n, w in head.state_dict().items()})


def rows(encoder: LearnedEncoder, features: FeatureSet) -> np.ndarray:
    vectors, able = encoder.encode_features(features)
    assert able.all()
    return vectors


def view(features: FeatureSet, number: int) -> FeatureSet:
    return replace(features, frames=np.ascontiguousarray(features.frames[:, number : number + 1]))


SIZE = {"dim": 16}
HELD_OUT = moving(150, seed=2)


@pytest.fixture(scope="module")
def by_kind() -> dict[str, LearnedEncoder]:
    seen = moving(400, seed=1)
    return {
        "gru": trained(GruHeadConfig(hidden=24, **SIZE), seen),
        "mean": trained(MeanHeadConfig(**SIZE), seen),
        "gated": trained(GatedHeadConfig(frames="gru", hidden=24, **SIZE), seen),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gru", "gated"])
def test_a_gru_finds_another_view_nearer_than_the_clip_played_backwards(by_kind, kind):
    one, other = (rows(by_kind[kind], view(HELD_OUT, number)) for number in (0, 1))
    back = rows(by_kind[kind], backwards(view(HELD_OUT, 1)))
    forth = (one * other).sum(axis=1)
    assert np.mean(forth > (one * back).sum(axis=1) + 0.1) > 0.95
    # And it still finds the clip among all others.
    assert np.mean((one @ other.T).argmax(axis=1) == np.arange(len(one))) > 0.9


@pytest.mark.slow
def test_the_mean_of_frames_cannot_tell_a_clip_from_its_reverse(by_kind):
    forth, back = (rows(by_kind["mean"], some) for some in (HELD_OUT, backwards(HELD_OUT)))
    assert np.abs(forth - back).max() < 1e-5
    assert (
        np.mean((forth @ rows(by_kind["mean"], view(HELD_OUT, 1)).T).argmax(axis=1) == np.arange(150)) > 0.9
    )


@pytest.mark.slow
def test_direction_can_be_read_from_a_grus_vectors_and_not_from_the_means(by_kind):
    """A linear map, fitted on other clips, tells forwards from backwards on clips that are new to all."""
    shown = moving(150, seed=3)
    right = {}
    for kind in ("gru", "mean"):
        known, asked = (
            np.concatenate([rows(by_kind[kind], some), rows(by_kind[kind], backwards(some))])
            for some in (shown, HELD_OUT)
        )
        label = np.repeat([0, 1], 150)
        right[kind] = LogisticRegression(C=100).fit(known, label).score(asked, label)
    assert right["gru"] > 0.97
    assert right["mean"] < 0.6


@pytest.mark.slow
def test_frames_beyond_the_length_are_not_seen(by_kind):
    features = moving(6, seed=4)
    lengths = np.array([1, 2, 3, 5, 8, 8], np.int16)
    for encoder in by_kind.values():
        found = []
        for fill in (0, 7):
            frames = features.frames.copy()
            frames[np.broadcast_to(np.arange(8) >= lengths[:, None, None], frames.shape[:3])] = fill
            found.append(rows(encoder, replace(features, frames=frames, lengths=lengths)))
        assert np.abs(found[0] - found[1]).max() < 1e-6
        short = encoder.encode_parts([features.frames[3, 0, :5].astype(np.float32)], {})
        assert np.abs(short[0] - found[0][3]).max() < 1e-5


def test_gates_are_equal_at_first_and_sum_to_one_over_what_is_there():
    features, _ = of_topics(8, seed=0, has={"audio": np.arange(8) % 2 == 0, "text": np.arange(8) < 5})
    head = init_head(GatedHeadConfig(**SIZE), features, 0).eval()
    assert isinstance(head, GatedHead)
    batch = FeatureTensors(features, torch.device("cpu"), head.dims).take(np.arange(8))
    has = modality_mask(batch, head.dims)
    gates = head.gates(head.parts(batch), has).detach().numpy()
    assert np.allclose(gates, has.numpy() / has.numpy().sum(axis=1, keepdims=True), atol=1e-6)
    head.gate[2].weight.data.normal_()
    gates = head.gates(head.parts(batch), has).detach().numpy()
    assert np.allclose(gates.sum(axis=1), 1, atol=1e-6)
    assert not gates[~has.numpy()].any()


def test_dropped_modalities_are_never_all():
    torch.manual_seed(0)
    has = torch.tensor([[True, True, True], [True, False, False], [False, False, False]]).repeat(500, 1)
    kept = drop_modalities(has, 0.5)
    assert not (kept & ~has).any()
    assert torch.equal(kept.any(dim=1), has.any(dim=1))
    # Of eight equally likely draws the one that hides all three hides none.
    assert float(kept[::3].float().mean()) == pytest.approx(0.625, abs=0.03)


def test_the_product_of_experts_is_that_of_gaussians_by_hand():
    rng = np.random.default_rng(0)
    means, log_variances = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 2))
    has = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
    found = product_of_experts(*(torch.from_numpy(a) for a in (means, log_variances, has)))
    for row in range(4):
        # Multiplied one after another, beginning with the prior.
        mean, variance = np.zeros(2), np.ones(2)
        for m in range(3):
            if has[row, m]:
                other = np.exp(log_variances[row, m])
                mean = (mean * other + means[row, m] * variance) / (variance + other)
                variance = variance * other / (variance + other)
        assert np.allclose(found[0][row], mean)
        assert np.allclose(found[1][row], np.log(variance))
    prior = torch.distributions.Normal(torch.zeros(4, 2), torch.ones(4, 2))
    posterior = torch.distributions.Normal(found[0], torch.exp(0.5 * found[1]))
    wanted = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    assert np.allclose(kl_divergence(*found), wanted)


def test_beta_rises_and_the_elbo_counts_what_is_there():
    features, _ = of_topics(6, seed=0)
    head = init_head(VaeHeadConfig(beta=2.0, warmup_epochs=4, dropout=0, **SIZE), features, 0)
    assert isinstance(head, VaeHead)
    assert [head.beta(epoch) for epoch in (1, 2, 4, 9)] == [0.5, 1.0, 2.0, 2.0]
    batch = FeatureTensors(features, torch.device("cpu"), head.dims).take(np.arange(6))
    for weight in head.parameters():
        weight.data.zero_()
    # All decoders say nothing and all experts are N(0, 1), so that only what is to be explained is left.
    unexplained = 0.0
    for m in head.dims:
        target = head.scaled[m](getattr(batch, m))
        unexplained += 64 * float(((target.mean(dim=1) if m == "frames" else target) ** 2).mean())
    kl = [-8 * np.log(1 / (1 + n)) + 8 * (1 / (1 + n) - 1) for n in (3, 1, 1, 1)]
    torch.manual_seed(0)
    without, with_kl = (head.negative_elbo(batch, beta).item() for beta in (0.0, 1.0))
    assert without == pytest.approx(unexplained, rel=1e-4)
    assert with_kl - without > 0.8 * np.mean(kl)


@pytest.fixture(scope="module")
def vae() -> LearnedEncoder:
    features, _ = of_topics(400, seed=1, noise=0.1)
    config = VaeHeadConfig(layer=64, warmup_epochs=5, **SIZE)
    return trained(config, features, epochs=60, patience=60)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["frames", "audio", "text"])
def test_a_vaes_vector_without_a_modality_is_nearest_to_the_same_videos(vae, missing):
    features, _ = of_topics(120, seed=2, noise=0.1)
    lacking, _ = of_topics(120, seed=2, noise=0.1, has={missing: np.zeros(120, bool)})
    full, part = rows(vae, features), rows(vae, lacking)
    cosines = part @ full.T
    others = cosines[~np.eye(120, dtype=bool)].reshape(120, 119)
    assert np.mean(np.diag(cosines) > others.max(axis=1)) > 0.9
    assert np.mean(np.diag(cosines)) > 0.8
