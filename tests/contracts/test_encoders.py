"""Every encoder against the battery of the Encoder protocol."""

import tempfile
from functools import cache

import pytest

from tests.contracts.learned import drawn_features, write_encoder
from vrec.core.protocols import Encoder
from vrec.core.types import Clip
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.encoders.learned.config import GruEncoderConfig
from vrec.encoders.learned.embedding import LearnedFrameEncoder
from vrec.encoders.learned.heads.config import AnyHeadConfig, GruHeadConfig, MeanHeadConfig
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.testing.encoders import CHECKS


def learned(config: AnyHeadConfig) -> Encoder:
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(folder, config, drawn_features(("frames",)))
        return LearnedFrameEncoder(GruEncoderConfig(model=folder))


ENCODERS = {
    "cnn": lambda: CnnEncoder(CnnEncoderConfig()),
    "cnn-attention": lambda: CnnEncoder(CnnEncoderConfig(pooling="attention")),
    "cnn-torch": lambda: CnnEncoder(CnnEncoderConfig(backend="torch", batch_frames=5)),
    "gru": lambda: learned(GruHeadConfig(dim=32, hidden=16)),
    "learned-mean": lambda: learned(MeanHeadConfig(dim=32)),
    "audio": lambda: AudioEncoder(AudioEncoderConfig()),
    "text": lambda: TextEncoder(TextEncoderConfig()),
}
SLOW = {"cnn-attention", "cnn-torch", "gru"}
"""Encoders that take longest, and differ from `cnn` in one setting, or from `learned-mean` in the head."""


@cache
def build(kind: str) -> Encoder:
    return ENCODERS[kind]()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in ENCODERS]
)
def test_encoder_holds_the_contract(kind: str, check, clips: list[Clip]):
    check(build(kind), clips)
