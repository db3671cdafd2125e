"""Biases of an int8 graph: they lose what the rounded weights add, no more and no less."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from tests.compression.small import PX, SmallNetwork, missed, pictures
from vrec.compression.export import to_onnx
from vrec.compression.quantize import QuantizeConfig, static_int8
from vrec.encoders.runtime import onnx_runner

NETWORK = SmallNetwork(3)
SHOWN = pictures(64)


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_onnx(NETWORK, PX)


@pytest.fixture(scope="module")
def plain(graph) -> bytes:
    return static_int8(graph, SHOWN, QuantizeConfig(correct_bias=False))


@pytest.fixture(scope="module")
def better(graph) -> bytes:
    return static_int8(graph, SHOWN, QuantizeConfig())


def stem(graph: bytes, place: int) -> tuple[np.ndarray, np.ndarray]:
    """What the first convolution's input at a `place` stands for in float, and the steps that it goes by."""
    model = onnx.load_model_from_string(graph)
    stored = {part.name: numpy_helper.to_array(part) for part in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    layer = next(node for node in model.graph.node if node.op_type == "Conv")
    whole, scale, _ = (stored[name] for name in made[layer.input[place]].input)
    return whole * scale.reshape(-1, *[1] * (whole.ndim - 1)), scale


@pytest.mark.slow
def test_a_bias_loses_what_the_rounded_weights_add_on_average(plain, better):
    weights, _ = stem(plain, 1)
    assert np.array_equal(weights, stem(better, 1)[0])
    wrong = torch.from_numpy(weights).float() - NETWORK.stem.weight.detach()
    planes = torch.from_numpy(SHOWN).permute(0, 3, 1, 2).float() / 128 - 1
    # The weights' errors on the pictures, at every place, those at the edges among them.
    added = nn.functional.conv2d(planes, wrong, stride=2, padding=1).mean((0, 2, 3)).numpy()
    (before, step), (after, _) = stem(plain, 2), stem(better, 2)
    assert np.abs(added / step).max() > 5
    assert np.abs((after - before + added) / step).max() < 0.6  # a bias is a whole number of steps


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_features_of_other_pictures_come_nearer(graph, plain, better, runtime):
    new = pictures(40, seed=1)
    wanted, before, after = (onnx_runner(form, runtime, PX, 1)[0](new) for form in (graph, plain, better))
    assert missed(after, wanted) < 0.9 * missed(before, wanted)
    shift_before, shift_after = (float(((form - wanted).mean(0) ** 2).sum()) for form in (before, after))
    assert shift_after < 0.6 * shift_before


@pytest.mark.slow
def test_a_convolution_without_a_bias_is_left_as_it_is():
    class Bare(nn.Module):
        """(N, S, S, 3) uint8 to (N, 4) float32."""

        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Conv2d(3, 4, 3, bias=False)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return self.only(given.permute(0, 3, 1, 2).float() / 128 - 1).mean((2, 3))

    graph = to_onnx(Bare(), PX)
    assert static_int8(graph, SHOWN, QuantizeConfig()) == static_int8(
        graph, SHOWN, QuantizeConfig(correct_bias=False)
    )
