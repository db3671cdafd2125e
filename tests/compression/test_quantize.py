"""Int8 graphs: truly int8, near the features that they round, on both runtimes."""

import numpy as np
import onnx
import pytest
import torch

from tests.compression.small import PX, SmallNetwork, missed, pictures, small_graph
from vrec.compression.export import to_onnx
from vrec.compression.quantize import QuantizeConfig, dynamic_int8, static_int8, sums_overflow
from vrec.core.errors import CompressError
from vrec.encoders.runtime import onnx_runner


@pytest.fixture
def graph() -> bytes:
    return small_graph()


def run(graph: bytes, runtime: str = "onnxruntime") -> np.ndarray:
    return onnx_runner(graph, runtime, PX, 1)[0](pictures(20, seed=1))


def weight_bytes(graph: bytes) -> dict[str, int]:
    """How many numbers of each type the weights of convolutions are."""
    model = onnx.load_model_from_string(graph)
    found: dict[str, int] = {}
    for part in model.graph.initializer:
        if len(part.dims) == 4:
            name = onnx.TensorProto.DataType.Name(part.data_type)
            found[name] = found.get(name, 0) + int(np.prod(part.dims))
    return found


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_static_int8_is_near_what_it_rounds(graph, runtime):
    rounded = static_int8(graph, pictures(64), QuantizeConfig())
    assert 0 < missed(run(rounded, runtime), run(graph)) < 0.05
    kinds = weight_bytes(rounded)
    assert kinds["INT8"] > 0
    assert "FLOAT" not in kinds


def test_dynamic_int8_is_near_what_it_rounds(graph):
    rounded = dynamic_int8(graph)
    # One scale for all channels of a convolution: a depthwise one loses more than it does in static form.
    assert 0 < missed(run(rounded), run(graph)) < 0.3
    kinds = weight_bytes(rounded)
    assert kinds["UINT8"] > 0
    assert "FLOAT" not in kinds


@pytest.mark.slow
def test_a_loud_channel_does_not_drown_the_others():
    # One scale for the whole tensor would leave all other channels of the stem with one or two levels.
    network = SmallNetwork()
    with torch.no_grad():
        network.stem.weight[0] *= 300
        network.blocks[0][0].weight[:, 0] /= 300
    graph = to_onnx(network, PX)
    rounded = static_int8(graph, pictures(64), QuantizeConfig(seed=3))
    model = onnx.load_model_from_string(rounded)
    scales = [np.prod(part.dims) for part in model.graph.initializer if part.name.endswith("weight_scale")]
    assert max(scales, default=0) >= 8


def test_calibration_pictures_are_drawn_by_the_seed_and_the_range_is_theirs(graph):
    dark = np.zeros((200, PX, PX, 3), np.uint8)
    some = static_int8(graph, pictures(64), QuantizeConfig(pictures=8))
    assert some == static_int8(graph, pictures(64), QuantizeConfig(pictures=8))
    assert some != static_int8(graph, pictures(64), QuantizeConfig(pictures=8, seed=1))
    blind = static_int8(graph, dark, QuantizeConfig())
    assert missed(run(blind), run(graph)) > 5 * missed(run(some), run(graph))


@pytest.mark.parametrize("calibration", ["percentile", "entropy"])
def test_other_calibrations_are_near_too(graph, calibration):
    rounded = static_int8(graph, pictures(16), QuantizeConfig(calibration=calibration))
    assert missed(run(rounded), run(graph)) < 0.1


def test_what_cannot_be_rounded_is_said(graph):
    none = np.zeros((0, PX, PX, 3), np.uint8)
    with pytest.raises(CompressError, match="needs pictures to calibrate on"):
        static_int8(graph, none, QuantizeConfig())
    with pytest.raises(CompressError, match=r"\(2, 40, 40, 3\), want uint8 \(N, 32, 32, 3\)"):
        static_int8(graph, pictures(2, 40), QuantizeConfig())
    with pytest.raises(CompressError, match="cannot quantize this network"):
        dynamic_int8(b"no graph at all")


@pytest.mark.parametrize(
    ("machine", "flags", "overflow"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", False),
        ("x86_64", "fpu avx2 avx_vnni", False),
        ("AMD64", "fpu avx2", True),
        ("x86_64", None, True),
        ("aarch64", None, False),
    ],
)
def test_sums_overflow_on_x86_that_does_not_say_it_has_vnni(machine, flags, overflow, tmp_path):
    told = tmp_path / "cpuinfo"
    if flags is not None:
        told.write_text(f"processor: 0\nflags: {flags}\n")
    assert sums_overflow(machine, told) == overflow
