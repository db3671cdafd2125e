"""Every encoder against the battery of the Encoder protocol."""

from functools import cache

import pytest

from tests.contracts.encoder_battery import CHECKS
from vrec.core.protocols import Clip, Encoder
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig
from vrec.encoders.cnn import CnnConfig, CnnEncoder
from vrec.encoders.text import TextConfig, TextEncoder

ENCODERS = {
    "cnn": lambda: CnnEncoder(CnnConfig()),
    "cnn-attention": lambda: CnnEncoder(CnnConfig(pooling="attention")),
    "cnn-torch": lambda: CnnEncoder(CnnConfig(backend="torch", batch_frames=5)),
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
