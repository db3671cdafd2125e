"""Scaling, means and masks by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.learned.catalogues import feature_set, of_topics
from vrec.encoders.learned.encoder import init_head
from vrec.encoders.learned.heads import batch as module
from vrec.encoders.learned.heads.batch import (
    FeatureScaler,
    FeatureTensors,
    fit_scaler,
    frames_mean,
    normalize_rows,
    orthogonal_linear,
)
from vrec.encoders.learned.heads.config import GatedHeadConfig, VaeHeadConfig
from vrec.encoders.learned.heads.modality_inputs import drop_modalities, modality_mask
from vrec.encoders.learned.heads.pca_residual import PcaResidual
from vrec.encoders.learned.heads.vae import LOG_VARIANCE

CPU = torch.device("cpu")


@pytest.mark.parametrize("block", [4096, 3])
@pytest.mark.parametrize("modality", ["frames", "audio"])
def test_scaled_features_have_mean_zero_and_a_mean_square_of_one(modality, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    features, _ = of_topics(20, seed=0, has={"audio": np.arange(20) % 3 > 0})
    lengths = np.where(np.arange(20) % 2, 1, 3).astype(np.int16)
    frames = features.frames.copy()
    frames[lengths == 1, :, 1:] = 77  # beyond the length: not seen
    frames[:, 1] = -55  # of another view: not seen
    features = replace(features, frames=frames, lengths=lengths)
    scaler = FeatureScaler(features.dims[modality])
    fit_scaler(scaler, features, modality)
    if modality == "frames":
        rows = np.concatenate([f[0, :n] for f, n in zip(frames, lengths, strict=True)]).astype(np.float32)
    else:
        rows = features.audio[features.has["audio"]]
    scaled = scaler(torch.from_numpy(rows)).numpy()
    assert np.abs(scaled.mean(axis=0)).max() < 1e-4
    assert (scaled**2).mean() == pytest.approx(1, rel=1e-4)
    ratio = scaled / (rows - rows.astype(np.float64).mean(axis=0))
    assert np.median(ratio) == pytest.approx(float(scaler.scale), rel=1e-4)  # one scale for all dimensions


def test_features_that_never_vary_are_centered_and_no_more():
    features = feature_set(np.full((5, 1, 2, 4), 3.0))
    scaler = FeatureScaler(4)
    fit_scaler(scaler, features, "frames")
    assert (scaler.centre.tolist(), float(scaler.scale)) == ([3.0] * 4, 1.0)


def test_a_modality_that_no_video_has_leaves_the_scaler_as_it_was():
    features, _ = of_topics(5, seed=0, has={"audio": np.zeros(5, bool)})
    scaler = FeatureScaler(10)
    fit_scaler(scaler, features, "audio")
    assert not scaler.centre.any()
    assert float(scaler.scale) == 1


def test_the_mean_of_frames_is_over_those_that_are_there():
    frames = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [0.0], [0.0]], [[9.0], [9.0], [9.0]]])
    assert frames_mean(frames, torch.tensor([2, 1, 0])).tolist() == [[2.0], [5.0], [0.0]]


def test_rows_of_zeros_stay_zeros():
    rows = normalize_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64))
    assert rows.dtype == torch.float32
    assert np.allclose(rows, [[0.6, 0.8], [0, 0]])


def test_a_linear_map_to_as_many_numbers_keeps_angles():
    layer = orthogonal_linear(6, 6)
    assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(6), atol=1e-5)
    assert not layer.bias.any()


def test_batches_hold_the_rows_and_views_that_are_asked_for():
    features, _ = of_topics(6, seed=0, has={"text": np.arange(6) != 2})
    tensors = FeatureTensors(features, CPU, features.dims)
    some = tensors.take(np.array([4, 2]), np.array([1, 0]))
    assert torch.equal(some.frames[0], torch.from_numpy(features.frames[4, 1]).float())
    assert torch.equal(some.frames[1], torch.from_numpy(features.frames[2, 0]).float())
    assert torch.equal(some.audio, torch.from_numpy(features.audio[[4, 2]]))
    assert some.has["text"].tolist() == [True, False]
    assert some.lengths.tolist() == [3, 3]
    assert (len(some), tensors.views) == (2, 2)
    both = tensors.take(np.array([4, 2]), 1)
    assert torch.equal(both.frames[1], torch.from_numpy(features.frames[2, 1]).float())


def test_modalities_that_all_videos_lack_are_zeros_of_the_length_a_head_takes():
    bare = feature_set(np.ones((3, 1, 2, 4)))
    some = FeatureTensors(bare, CPU, {"frames": 4, "audio": 7}).take(np.arange(3))
    assert some.audio.shape == (3, 7)
    assert not some.audio.any()


def test_masks_follow_the_order_of_the_modalities_and_any_of_them_is_input():
    audio, text = np.array([1, 0, 0, 1], bool), np.array([0, 1, 0, 1], bool)
    features, _ = of_topics(4, seed=0, has={"frames": np.zeros(4, bool), "audio": audio, "text": text})
    head = init_head(GatedHeadConfig(dim=4), features, 0)
    some = FeatureTensors(features, CPU, head.dims).take(np.arange(4))
    assert list(head.dims) == ["audio", "text"]
    assert modality_mask(some, head.dims).tolist() == [[1, 0], [0, 1], [0, 0], [1, 1]]
    assert modality_mask(some, {"text": 1, "audio": 1}).tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]
    assert head.has_input(some.has).tolist() == [True, True, False, True]


def test_the_chance_to_drop_a_modality():
    torch.manual_seed(0)
    has = torch.ones(4000, 2, dtype=torch.bool)
    assert drop_modalities(has, 0.0).all()
    kept = drop_modalities(has, 0.1).float().mean()
    # Each is dropped with 0.1, except that both are not: 0.1 - 0.01.
    assert float(kept) == pytest.approx(0.91, abs=0.01)


def test_components_are_ordered_by_variance_and_a_video_without_input_is_zeros():
    pca = PcaResidual({"frames": 2, "text": 2}, 3)
    has = {"frames": torch.tensor([True, True, False]), "text": torch.tensor([False, True, False])}
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pca.fit([({"frames": rows, "text": rows}, has)])
    fused = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], float)
    values, vectors = np.linalg.eigh(fused.T @ fused)
    assert np.allclose(np.abs(pca.components.numpy()[:, 0]), np.abs(vectors[:, np.argmax(values)]), atol=1e-6)
    variances = ((fused @ pca.components.numpy()) ** 2).sum(axis=0)
    assert variances[0] >= variances[1] >= variances[2]
    out = pca({"frames": rows, "text": rows}, has)
    assert not out[2].any()
    assert np.allclose(out[:2].norm(dim=1), 1)


def test_what_is_kept_is_no_wider_than_the_features_and_none_where_nothing_is():
    features, _ = of_topics(6, seed=0)
    assert init_head(GatedHeadConfig(dim=4, kept_dim=9), features, 0).kept.components.shape == (50, 9)
    assert init_head(GatedHeadConfig(dim=4, kept_dim=99), features, 0).kept.components.shape == (50, 50)
    assert init_head(GatedHeadConfig(dim=4, keep=0), features, 0).kept is None


def test_experts_are_bounded():
    features, _ = of_topics(5, seed=0)
    head = init_head(VaeHeadConfig(dim=4, layer=6), features, 0).eval()
    some = FeatureTensors(features, CPU, head.dims).take(np.arange(5))
    for scale in (1e6, -1e6):
        for expert in head.experts.values():
            expert[1].bias.data.fill_(scale)
        log_variances = head.expert_posteriors(some)[1]
        assert log_variances.unique().tolist() == [np.sign(scale) * LOG_VARIANCE]
