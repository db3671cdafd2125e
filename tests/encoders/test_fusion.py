"""Fusion as arithmetic on cosines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vrec.encoders.fusion import ModalityFusion, ModalityFusionConfig, ModalityWeights, fusion_name
from vrec.encoders.vectors import unit_rows

NAMES = {"frames": "cnn@0", "audio": "audio@0", "text": "text@0"}
DIMS = {"frames": 6, "audio": 3, "text": 4}
SHARES = st.floats(0.01, 10)


def random_parts(seed: int, count: int) -> dict:
    rng = np.random.default_rng(seed)
    return {m: list(unit_rows(rng.normal(size=(count, dim)))) for m, dim in DIMS.items()}


@given(st.integers(0, 2**32 - 1), SHARES, SHARES, SHARES)
def test_cosine_is_the_mean_of_cosines_weighted_by_share(seed, frames, audio, text):
    shares = {"frames": frames, "audio": audio, "text": text}
    parts = random_parts(seed, 2)
    fusion = ModalityFusion(ModalityFusionConfig(weights=ModalityWeights(**shares)), NAMES, DIMS)
    a, b = fusion.fuse(parts)
    expected = sum(shares[m] * float(parts[m][0] @ parts[m][1]) for m in DIMS) / sum(shares.values())
    assert float(a @ b) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 2**32 - 1), st.lists(st.sets(st.sampled_from(sorted(DIMS)), min_size=1), min_size=1))
def test_any_mix_of_absent_modalities_gives_unit_rows_with_zero_blocks(seed, present):
    parts = random_parts(seed, len(present))
    for m in DIMS:
        parts[m] = [row if m in keep else None for row, keep in zip(parts[m], present, strict=True)]
    fused = ModalityFusion(ModalityFusionConfig(), NAMES, DIMS).fuse(parts)
    assert fused.dtype == np.float32
    assert np.allclose(np.linalg.norm(fused, axis=1), 1, atol=1e-6)
    for row, keep in zip(fused, present, strict=True):
        blocks = dict(zip(DIMS, np.split(row, [6, 9]), strict=True))
        assert {m for m, block in blocks.items() if block.any()} == keep


@given(st.integers(0, 2**32 - 1))
def test_two_videos_that_have_only_one_modality_compare_by_it_alone(seed):
    parts = random_parts(seed, 2)
    alone = {**parts, "audio": [None, None], "text": [None, None]}
    a, b = ModalityFusion(ModalityFusionConfig(), NAMES, DIMS).fuse(alone)
    assert float(a @ b) == pytest.approx(float(parts["frames"][0] @ parts["frames"][1]), abs=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_rows_do_not_depend_on_their_batch(seed):
    parts = random_parts(seed, 5)
    parts["audio"][2] = None
    fusion = ModalityFusion(ModalityFusionConfig(kind="concat"), NAMES, DIMS)
    together = fusion.fuse(parts)
    for i in range(5):
        assert np.array_equal(fusion.fuse({m: [rows[i]] for m, rows in parts.items()})[0], together[i])


def test_scale_of_the_parts_is_irrelevant():
    parts = random_parts(0, 3)
    scaled = {**parts, "audio": [row * 7 for row in parts["audio"]]}
    fusion = ModalityFusion(ModalityFusionConfig(), NAMES, DIMS)
    assert np.allclose(fusion.fuse(parts), fusion.fuse(scaled), atol=1e-6)


def test_concat_gives_every_modality_the_same_share():
    parts = random_parts(1, 2)
    equal = ModalityFusionConfig(weights=ModalityWeights(frames=3, audio=3, text=3))
    concat = ModalityFusion(ModalityFusionConfig(kind="concat"), NAMES, DIMS).fuse(parts)
    assert np.allclose(concat, ModalityFusion(equal, NAMES, DIMS).fuse(parts), atol=1e-6)


def test_nothing_to_fuse_is_an_error_and_no_videos_is_not():
    fusion = ModalityFusion(ModalityFusionConfig(), NAMES, DIMS)
    parts = random_parts(0, 2)
    with pytest.raises(ValueError, match="row 1 has no modality"):
        fusion.fuse({m: [rows[0], None] for m, rows in parts.items()})
    assert fusion.fuse({m: [] for m in DIMS}).shape == (0, 13)
    with pytest.raises(ValueError, match="at least one encoder with a share above 0"):
        ModalityFusion(
            ModalityFusionConfig(weights=ModalityWeights(audio=0)), {"audio": "audio@0"}, {"audio": 3}
        )


def test_wrong_parts_are_refused():
    fusion = ModalityFusion(ModalityFusionConfig(), NAMES, DIMS)
    parts = random_parts(0, 2)
    with pytest.raises(ValueError, match="unequal counts"):
        fusion.fuse({**parts, "audio": parts["audio"][:1]})
    with pytest.raises(ValueError, match="want"):
        fusion.fuse({"frames": parts["frames"]})
    with pytest.raises(ValueError, match=r"audio vectors have shape \(6,\), want \(3,\)"):
        fusion.fuse({**parts, "audio": parts["frames"]})


def test_name_follows_shares_and_parts():
    base = fusion_name(ModalityFusionConfig(), NAMES)
    assert base == fusion_name(ModalityFusionConfig(), dict(reversed(NAMES.items())))
    assert base != fusion_name(ModalityFusionConfig(kind="concat"), NAMES)
    assert base != fusion_name(ModalityFusionConfig(weights=ModalityWeights(audio=0.3)), NAMES)
    assert base != fusion_name(ModalityFusionConfig(), {**NAMES, "audio": "audio@1"})
    assert base != fusion_name(ModalityFusionConfig(), {"frames": "cnn@0", "audio": "audio@0"})


def test_weights_where_they_have_no_effect_are_refused():
    with pytest.raises(ValidationError, match="no effect with kind=concat"):
        ModalityFusionConfig.model_validate({"kind": "concat", "weights": {"audio": 0.5}})
