"""The joint encoder: a real model of open_clip from a folder, in the space of which words find pictures."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from tests.encoders.moments.joint_checkpoint import write_joint_checkpoint
from tests.films import noise
from vrec.core.errors import ConfigError
from vrec.encoders.build import EncodersConfig, build_encoders
from vrec.encoders.moments.config import JointEncoderConfig, MomentsConfig
from vrec.encoders.moments.encode import MomentEncoder, moment_encoder_names
from vrec.encoders.moments.joint import JointEncoder, joint_name
from vrec.media.moments.decoded import DecodedMoments

WORDS = ["a red zip", "拉链", "", "a pocket inside " * 40]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return write_joint_checkpoint(tmp_path_factory.mktemp("joint"))


@pytest.fixture(scope="module")
def joint(model) -> JointEncoder:
    return JointEncoder(JointEncoderConfig(model=model))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.concatenate([noise(seed, frames=1) for seed in range(40)])


def test_pictures_and_texts_are_those_of_the_model_in_one_space(joint, model, pictures):
    """As open_clip computes them, one at a time; more than a batch of pictures."""
    name = model.replace("local:", "local-dir:")
    net, transform = open_clip.create_model_from_pretrained(name)
    net, tokenize = net.eval(), open_clip.get_tokenizer(name)
    with torch.inference_mode():
        seen = [net.encode_image(transform(Image.fromarray(one))[None], normalize=True) for one in pictures]
        read = [net.encode_text(tokenize([text]), normalize=True) for text in WORDS]
    np.testing.assert_allclose(joint.pictures(pictures), torch.cat(seen).numpy(), atol=1e-5)
    np.testing.assert_allclose(joint.texts(WORDS), torch.cat(read).numpy(), atol=1e-5)
    assert joint.pictures(pictures).shape == (40, joint.texts(WORDS).shape[1])


def test_moments_have_the_pictures_of_the_joint_encoder(joint, model, pictures):
    config = MomentsConfig(joint=JointEncoderConfig(model=model))
    encoders = build_encoders(EncodersConfig.model_validate({"audio": None}))
    spans = np.array([[0.0, 2.0], [2.0, 4.0]])
    encoder = MomentEncoder(encoders, config)
    made = encoder.encode("v", DecodedMoments(spans=spans, frames=pictures[:2]))
    np.testing.assert_allclose(made["frames"].rows, joint.pictures(pictures[:2]), atol=1e-6)
    assert encoder.names["frames"] == joint.name == joint_name(JointEncoderConfig(model=model))
    assert encoder.names["frames"].startswith("joint@")
    assert moment_encoder_names(MomentsConfig(), encoders.names)["frames"] != joint.name


def test_the_name_follows_the_weights_and_not_the_folder(joint, tmp_path):
    same = write_joint_checkpoint(tmp_path / "same")
    other = write_joint_checkpoint(tmp_path / "other", seed=1)
    assert joint_name(JointEncoderConfig(model=same)) == joint.name
    assert joint_name(JointEncoderConfig(model=other)) != joint.name


def test_threads_are_as_before(joint, pictures):
    before = torch.get_num_threads()
    joint.pictures(pictures[:1])
    assert torch.get_num_threads() == before


def test_a_folder_without_a_model_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"there is no open_clip_config\.json"):
            JointEncoder(JointEncoderConfig(model=f"local:{folder}"))


def test_damaged_weights_are_refused(tmp_path):
    model = write_joint_checkpoint(tmp_path)
    weights = Path(tmp_path, "open_clip_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ConfigError, match="its weights could not be loaded"):
        JointEncoder(JointEncoderConfig(model=model))


def test_without_the_library_the_extra_is_named(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ConfigError, match="needs the package open_clip_torch") as caught:
        JointEncoder(JointEncoderConfig(model=model))
    assert "vrec[hub]" in caught.value.fix


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="it is installed")
def test_a_tokenizer_that_lacks_its_library_is_named(tmp_path):
    """SigLIP reads its words by transformers, which open_clip does not bring."""
    model = write_joint_checkpoint(tmp_path)
    config = tmp_path / "open_clip_config.json"
    config.write_text(
        config.read_text().replace('"context_length"', '"hf_tokenizer_name": "t5", "context_length"')
    )
    with pytest.raises(ConfigError, match="transformers") as caught:
        JointEncoder(JointEncoderConfig(model=model))
    assert "vrec[hub]" in caught.value.fix
