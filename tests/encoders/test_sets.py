"""Sets of encoders with encoders of a line each: who is asked about what, and where rows go."""

import numpy as np
import pytest

from vrec.core.types import MODALITIES, Clip
from vrec.encoders.build import EncodersConfig, EncoderSet
from vrec.encoders.config import EmbedConfig
from vrec.encoders.fusion import INPUT_MODALITIES, ModalityFusion, ModalityFusionConfig, ModalityWeights

SOUND = np.linspace(-0.5, 0.5, 100, dtype=np.float32)
FRAMES = np.zeros((1, 4, 4, 3), np.uint8)


class Numbered:
    """Encoder whose rows are unit vectors by the last digit of the video's id."""

    def __init__(self, modality: str, dim: int = 3) -> None:
        self.modality, self.dim, self.name, self.asked = modality, dim, f"{modality}@1", []

    def encode(self, clips):
        self.asked.append([clip.video_id for clip in clips])
        return np.eye(self.dim, dtype=np.float32)[[int(clip.video_id[-1]) for clip in clips]]


def test_one_list_of_modalities_and_the_fusion_is_not_its_own_input():
    assert INPUT_MODALITIES == ("frames", "audio", "text")
    assert {*INPUT_MODALITIES, "fused"} == set(MODALITIES)
    assert set(ModalityWeights.model_fields) == set(INPUT_MODALITIES)


def test_only_clips_that_have_a_modality_are_encoded_and_rows_keep_their_place():
    encoders = Numbered("frames"), Numbered("audio"), Numbered("text")
    clips = [
        Clip("v2", frames=FRAMES),
        Clip("v0", audio=SOUND, text=" \n"),
        Clip("v1", frames=FRAMES[:0], text="red"),
        Clip("v0"),
    ]
    found = EncoderSet(encoders, ModalityFusionConfig(kind="concat")).encode(clips)
    assert [encoder.asked for encoder in encoders] == [[["v2"]], [["v0"]], [["v1"]]]
    assert [row is not None for row in found["fused"]] == [True, True, True, False]
    assert found["fused"][0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert found["fused"][1].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert found["fused"][2].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_an_encoder_without_clips_is_not_asked():
    encoder = Numbered("audio")
    found = EncoderSet([encoder], None).encode([Clip("v0", text="red")])
    assert found == {"audio": [None]}
    assert not encoder.asked


def test_a_video_with_nothing_but_a_modality_without_share_has_no_fused_vector():
    weights = ModalityWeights(audio=0)
    some = EncoderSet([Numbered("frames"), Numbered("audio")], ModalityFusionConfig(weights=weights))
    found = some.encode([Clip("v0", audio=SOUND), Clip("v1", frames=FRAMES, audio=SOUND)])
    assert found["audio"][0] is not None
    assert found["fused"][0] is None
    assert found["fused"][1].tolist() == [0, 1, 0, 0, 0, 0]


def test_names_and_dims_follow_the_encoders():
    some = EncoderSet([Numbered("text", 2), Numbered("frames", 5)], ModalityFusionConfig())
    assert some.dims == {"text": 2, "frames": 5, "fused": 7}
    assert EncoderSet([], ModalityFusionConfig()).names == {}


def test_blocks_are_shares_by_hand_and_an_absent_modality_costs_its_share():
    names, dims = {"frames": "a", "audio": "b", "text": "c"}, dict.fromkeys(("frames", "audio", "text"), 2)
    fusion = ModalityFusion(ModalityFusionConfig(), names, dims)
    one = np.array([1.0, 0.0], np.float32)
    full = fusion.fuse({m: [one] for m in dims})[0]
    assert full.tolist() == pytest.approx(np.sqrt([1 / 2.5, 0, 0.5 / 2.5, 0, 1 / 2.5, 0]).tolist())
    silent = fusion.fuse({"frames": [one], "audio": [None], "text": [one]})[0]
    assert silent.tolist() == pytest.approx(np.sqrt([0.5, 0, 0, 0, 0.5, 0]).tolist())
    assert float(full @ silent) == pytest.approx(np.sqrt(2 / 2.5))


def test_the_network_of_the_frames():
    assert EncodersConfig(frames=None).cnn is None
    assert EncodersConfig().cnn == EncodersConfig().frames


def test_frames_are_decoded_in_the_size_that_the_network_takes():
    with pytest.raises(ValueError, match=r"frame_px is 96 and embed.decode.frame_px 224"):
        EmbedConfig.model_validate({"encoders": {"frames": {"frame_px": 96}}})
    both = {"encoders": {"frames": {"frame_px": 96}}, "decode": {"frame_px": 96}, "audio": {}}
    assert EmbedConfig.model_validate(both).media().decode.frame_px == 96
    # Without a network any size is taken.
    assert EmbedConfig.model_validate({"encoders": {"frames": None}, "decode": {"frame_px": 64}})


def test_decoding_gets_its_settings():
    config = EmbedConfig.model_validate({"sample": {"frames": 3}, "quality": {}})
    media = config.media()
    assert (media.sample, media.decode) == (config.sample, config.decode)
    assert (media.audio, media.quality) == (config.audio, config.quality)
    assert media.sample.frames == 3
