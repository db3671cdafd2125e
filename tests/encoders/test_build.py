"""All encoders together: names without loading, absence, and fusion."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vrec.core.types import Clip
from vrec.encoders.build import EncodersConfig, EncoderSet, build_encoders, encoder_names

NOTHING = Clip("nothing")


@pytest.fixture(scope="module")
def everything() -> EncoderSet:
    return build_encoders(EncodersConfig())


def test_names_and_dims_of_the_set(everything: EncoderSet):
    assert everything.names == encoder_names(EncodersConfig())
    assert list(everything.names) == ["frames", "audio", "text", "fused"]
    assert everything.dims["fused"] == sum(everything.dims[m] for m in ("frames", "audio", "text"))


def test_names_load_neither_torch_nor_openvino():
    code = (
        "import json, sys; from vrec.encoders.build import EncodersConfig, encoder_names;"
        "names = encoder_names(EncodersConfig());"
        "print(json.dumps([names, [m for m in ('torch', 'openvino', 'ray') if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [encoder_names(EncodersConfig()), []]


def test_every_row_is_the_single_encoders_row(everything: EncoderSet, clips: list[Clip]):
    found = everything.encode(clips)
    for clip, *rows in zip(clips, *found.values(), strict=True):
        alone = everything.encode([clip])
        for modality, row in zip(found, rows, strict=True):
            assert np.allclose(alone[modality][0], row, atol=1e-5)


def test_absent_modalities_are_none_and_the_rest_keeps_its_place(everything: EncoderSet, clips: list[Clip]):
    silent = replace(clips[0], audio=np.zeros(16_000, dtype=np.float32))
    mixed = [
        NOTHING,
        replace(clips[1], audio=None, text=None),
        silent,
        replace(clips[2], frames=None, text="  "),
        Clip("only-text", text="红色连衣裙"),
    ]
    found = everything.encode(mixed)
    present = {m: [row is not None for row in rows] for m, rows in found.items()}
    assert present == {
        "frames": [False, True, True, False, False],
        "audio": [False, False, False, True, False],
        "text": [False, False, True, False, True],
        "fused": [False, True, True, True, True],
    }
    assert np.allclose(found["frames"][1], everything.encode([clips[1]])["frames"][0], atol=1e-5)
    assert np.allclose(found["fused"][1][:1280], found["frames"][1], atol=1e-6)


def test_no_clips_give_no_rows(everything: EncoderSet):
    assert everything.encode([]) == {"frames": [], "audio": [], "text": [], "fused": []}


def test_encoders_that_are_left_out(clips: list[Clip]):
    text = EncodersConfig(frames=None, audio=None, fusion=None)
    assert build_encoders(text).encode(clips[:1]).keys() == {"text"}
    alone = build_encoders(EncodersConfig(frames=None, audio=None)).encode(clips[:2])
    assert np.allclose(alone["fused"], alone["text"], atol=1e-6)
    none = EncodersConfig(frames=None, audio=None, text=None)
    assert encoder_names(none) == {}
    assert build_encoders(none).encode(clips) == {}


def test_name_of_the_fused_vector_follows_every_part():
    base = encoder_names(EncodersConfig())
    other = encoder_names(EncodersConfig.model_validate({"audio": {"n_coefficients": 13}}))
    assert {m for m in base if base[m] != other[m]} == {"audio", "fused"}
