"""Every encoder against the battery of the Encoder protocol."""

import tempfile
from functools import cache

import pytest

from tests.contracts.encoder_battery import CHECKS
from tests.contracts.learned import drawn_features, write_encoder
from vrec.core.protocols import Clip, Encoder
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig
from vrec.encoders.cnn import CnnConfig, CnnEncoder
from vrec.encoders.learned.config import GruConfig
from vrec.encoders.learned.embedding import LearnedFrames
from vrec.encoders.learned.encoder import LearnedConfig
from vrec.encoders.learned.heads.gru import GruHeadConfig
from vrec.encoders.learned.heads.mean import MeanHeadConfig
from vrec.encoders.text import TextConfig, TextEncoder


def learned(config: LearnedConfig) -> Encoder:
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(folder, config, drawn_features(("frames",)))
        return LearnedFrames(GruConfig(model=folder))


ENCODERS = {
    "cnn": lambda: CnnEncoder(CnnConfig()),
    "cnn-attention": lambda: CnnEncoder(CnnConfig(pooling="attention")),
    "cnn-torch": lambda: CnnEncoder(CnnConfig(backend="torch", batch_frames=5)),
    "gru": lambda: learned(GruHeadConfig(dim=32, hidden=16)),
    "learned-mean": lambda: learned(MeanHeadConfig(dim=32)),
    "audio": lambda: AudioEncoder(AudioEncoderConfig()),
    "text": lambda: TextEncoder(TextConfig()),
}


@cache
def build(kind: str) -> Encoder:
    return ENCODERS[kind]()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoder_holds_the_contract(kind: str, check, clips: list[Clip]):
    check(build(kind), clips)
