"""What a learned vector keeps of the features, against the fusion and against NumPy's decomposition."""

import numpy as np
import pytest

from tests.encoders.learned.catalogues import of_topics, unit
from vrec.encoders.fusion import ModalityFusion, ModalityFusionConfig
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.heads.config import AnyHeadConfig, GatedHeadConfig, MeanHeadConfig, VaeHeadConfig

COUNT, WIDTH = 40, 24 + 10 + 16
# Some lack a modality: those are compared by what they have.
FEATURES, _ = of_topics(COUNT, seed=3, has={"audio": np.arange(COUNT) % 3 > 0, "text": np.arange(COUNT) != 5})


def encoded(config: AnyHeadConfig) -> np.ndarray:
    weights = {name: weight.numpy() for name, weight in init_head(config, FEATURES, 0).state_dict().items()}
    vectors, able = LearnedEncoder.from_weights(config, FEATURES, weights).encode_features(FEATURES)
    assert able.all()
    return vectors.astype(np.float64)


def fused(modalities: tuple[str, ...] = ("frames", "audio", "text")) -> np.ndarray:
    """The library's own fusion of features less the catalogue's mean."""
    parts = {}
    for m in modalities:
        frames = FEATURES.frames[:, 0].astype(np.float64).mean(axis=1)
        rows = frames if m == "frames" else getattr(FEATURES, m)
        there = FEATURES.has[m]
        centred = rows.astype(np.float64) - rows[there].astype(np.float64).mean(axis=0)
        parts[m] = [row if has else None for row, has in zip(unit(centred), there, strict=True)]
    names = {m: FEATURES.names[m] for m in parts}
    dims = {m: len(rows[0] if rows[0] is not None else rows[1]) for m, rows in parts.items()}
    return ModalityFusion(ModalityFusionConfig(), names, dims).fuse(parts).astype(np.float64)


@pytest.mark.parametrize(
    "config", [GatedHeadConfig(dim=8), VaeHeadConfig(dim=8, layer=6)], ids=lambda one: one.kind
)
@pytest.mark.parametrize("keep", [0.25, 0.9])
def test_two_videos_are_as_alike_as_the_shares_of_both_say(config, keep):
    """Where all numbers are kept, the cosine is the mean of the learned and the fused ones, by share."""
    learned = encoded(config.model_copy(update={"keep": 0.0}))
    both = encoded(config.model_copy(update={"keep": keep, "kept_dim": 4096}))
    assert both.shape == (COUNT, 8 + WIDTH)
    wanted = (1 - keep) * learned @ learned.T + keep * fused() @ fused().T
    assert np.allclose(both @ both.T, wanted, atol=1e-5)


def test_a_head_of_frames_keeps_those_of_the_frames():
    both, own = encoded(MeanHeadConfig(dim=4)), fused(("frames",))
    learned = encoded(MeanHeadConfig(dim=4, keep=0))
    assert both.shape == (COUNT, 4 + 24)
    assert np.allclose(2 * both @ both.T - learned @ learned.T, own @ own.T, atol=1e-5)


def test_fewer_numbers_are_the_principal_components():
    kept = encoded(GatedHeadConfig(dim=8, kept_dim=6))[:, 8:]
    vectors = np.linalg.svd(_weighted(), full_matrices=False)[2][:6]
    wanted = unit(_weighted() @ vectors.T)
    assert np.allclose(2 * kept @ kept.T, wanted @ wanted.T, atol=1e-4)


def _weighted() -> np.ndarray:
    """Blocks times √share, rows not brought to length 1: what has more modalities counts for more."""
    shares = {"frames": 1.0, "audio": 0.5, "text": 1.0}
    there = np.stack([FEATURES.has[m] for m in shares], axis=1)
    return fused() * np.sqrt(there @ np.array(list(shares.values())))[:, None]
