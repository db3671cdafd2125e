"""Parts to FeatureSets and FeatureSets to one, value for value; features of clips and augmented copies."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.pipelines.embed.test_compact import row
from vrec.config.load import load_settings
from vrec.config.train_encoder import EncoderFeaturesConfig
from vrec.core.errors import EncodeFailed
from vrec.core.tables import StorageFolder
from vrec.core.types import Clip
from vrec.encoders.build import encoder_names
from vrec.encoders.learned.features import FeatureSet
from vrec.media.augment import augment
from vrec.pipelines.embed.checkpoints import build_part
from vrec.pipelines.features.merge import concatenate_feature_sets, merge_parts
from vrec.pipelines.features.run import feature_job
from vrec.pipelines.features.stages import FeatureEncoders, FeatureJob, view_seed


def job(tmp_path, *overrides: str) -> FeatureJob:
    base = ["embed.sample.frames=3", "train.encoder.features.views=1"]
    return feature_job(StorageFolder(str(tmp_path)), load_settings(overrides=[*base, *overrides]))


def test_parts_become_features_by_id_without_those_that_failed(tmp_path):
    two, three = np.arange(2 * 2 * 4, dtype=np.float32), np.arange(2 * 3 * 4, dtype=np.float32)
    sound = np.array([0.6, 0.8], np.float32)
    parts = [
        build_part([row("c", frames=3), row("x", error="TooShort")], [{"frames": three, "audio": sound}, {}]),
        build_part(
            [row("a", frames=2), row("b", frames=0)], [{"frames": two}, {"text": np.ones(1, np.float32)}]
        ),
    ]
    features = merge_parts(parts, job(tmp_path))
    assert features.video_ids == ("a", "b", "c")
    assert features.frames.shape == (3, 2, 3, 4)
    assert features.lengths.tolist() == [2, 0, 3]
    np.testing.assert_array_equal(features.frames[0, :, :2], two.reshape(2, 2, 4))
    np.testing.assert_array_equal(features.frames[2], three.reshape(2, 3, 4))
    assert not features.frames[0, :, 2].any()
    assert not features.frames[1].any()
    np.testing.assert_array_equal(features.audio, [[0, 0], [0, 0], sound])
    assert features.text.tolist() == [[0], [1], [0]]
    assert {m: has.tolist() for m, has in features.has.items()} == {
        "frames": [True, False, True],
        "audio": [False, False, True],
        "text": [False, True, False],
    }
    assert "fused" not in features.names


def drawn(ids: str, *, audio: int) -> FeatureSet:
    rng, count = np.random.default_rng(len(ids) + audio), len(ids)
    sound = rng.normal(size=(count, audio)).astype(np.float32)
    has: Any = {
        "frames": np.ones(count, bool),
        "audio": np.full(count, audio > 0),
        "text": np.zeros(count, bool),
    }
    frames = rng.normal(size=(count, 1, 2, 4)).astype(np.float16)
    rest = np.full(count, 2, np.int16), sound, np.zeros((count, 0), np.float32), has
    return FeatureSet(tuple(ids), frames, *rest, {"frames": "f", "audio": "s"}, {"a": 1})


def test_sets_are_joined_by_id_also_where_one_lacks_a_modality():
    one, other = drawn("bd", audio=3), drawn("ac", audio=0)
    whole = concatenate_feature_sets([one, other])
    assert whole.video_ids == ("a", "b", "c", "d")
    np.testing.assert_array_equal(whole.frames[[1, 3]], one.frames)
    np.testing.assert_array_equal(whole.frames[[0, 2]], other.frames)
    np.testing.assert_array_equal(whole.audio[[1, 3]], one.audio)
    assert not whole.audio[[0, 2]].any()
    assert whole.has["audio"].tolist() == [False, True, False, True]
    assert (whole.names, whole.embed) == (one.names, one.embed)


def test_what_is_stored_and_nothing_else_changes_the_recipe(tmp_path):
    base = job(tmp_path)
    assert job(tmp_path / "elsewhere").recipe == base.recipe
    assert job(tmp_path, "embed.encoders.fusion=null", "train.encoder.learned.dim=9").recipe == base.recipe
    for change in (
        "train.encoder.features.views=2",
        "train.encoder.features.seed=1",
        "embed.sample.frames=4",
    ):
        assert job(tmp_path, change).recipe != base.recipe, change
    assert base.config.encoders.fusion is None
    assert "fused" not in encoder_names(base.config.encoders)


class Cnn:
    """Each frame's mean as its features."""

    def __init__(self, config=None, device="cpu") -> None:
        self.device = device

    def frame_features(self, clips):
        return [clip.frames.reshape(len(clip.frames), -1).mean(axis=1, keepdims=True) for clip in clips]


def encoders(monkeypatch, config: EncoderFeaturesConfig, rest: dict | None = None) -> FeatureEncoders:
    monkeypatch.setattr("vrec.pipelines.features.stages.CnnEncoder", Cnn)
    asked = SimpleNamespace(encode=lambda clips: dict(rest or {}))
    monkeypatch.setattr("vrec.pipelines.features.stages.build_encoders", lambda config: asked)
    return FeatureEncoders(load_settings().embed.encoders, config, device="cuda")


def test_a_clip_and_its_augmented_copies_stand_in_one_row(monkeypatch):
    config = EncoderFeaturesConfig(views=2, seed=5)
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    found = encoders(monkeypatch, config, {"audio": [1, 2]}).encode([Clip("v", frames), Clip("w")])
    assert found["audio"] == [1, 2]
    assert found["frames"][1] is None
    copies = [augment(frames, config.augment, view_seed(5, "v", view)) for view in (0, 1)]
    expected = [block.reshape(3, -1).mean(axis=1) for block in (frames, *copies)]
    np.testing.assert_allclose(found["frames"][0].reshape(3, 3), expected)
    plain = encoders(monkeypatch, EncoderFeaturesConfig(views=0)).encode([Clip("v", frames)])
    assert plain["frames"][0].shape == (3,)


def test_features_beyond_float16_fail_by_name(monkeypatch):
    made = encoders(monkeypatch, EncoderFeaturesConfig(views=0))
    huge = SimpleNamespace(frame_features=lambda clips: [np.full((1, 1), 1e6, np.float32)])
    made._cnn = huge  # type: ignore[assignment]
    with pytest.raises(EncodeFailed, match=r"^bad: .* not finite in float16"):
        made.encode([Clip("bad", np.zeros((1, 2, 2, 3), np.uint8))])


def test_each_copy_of_each_video_has_a_seed_of_its_own():
    seeds = {view_seed(seed, video, view) for seed in (0, 1) for video in ("a", "b") for view in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert view_seed(1, "a", 0) == view_seed(1, "a", 0)
