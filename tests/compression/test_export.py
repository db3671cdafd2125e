"""ONNX graphs give the features of the network that they were written from."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from tests.compression.small import PX, SmallNetwork, features, pictures, small_graph
from vrec.compression.export import require_onnx, to_onnx
from vrec.core.errors import CompressError, ConfigError
from vrec.encoders.runtime import onnx_runner


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_graph_gives_the_features_of_its_network(runtime):
    network, given = SmallNetwork(), pictures(5)
    run, dim = onnx_runner(small_graph(), runtime, PX, 1)
    assert dim == 16
    np.testing.assert_allclose(run(given), features(network, given), atol=1e-4)


def test_a_network_that_cannot_be_exported_is_named_with_the_reason():
    class Odd(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("it looks at the clock")

    with pytest.raises(CompressError, match=r"cannot be exported to ONNX .*"):
        to_onnx(Odd(), PX)


def test_missing_packages_are_all_named_with_what_installs_them(monkeypatch):
    find = importlib.util.find_spec
    absent = ("onnx", "onnxscript")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))
    with pytest.raises(ConfigError, match="needs the packages onnx, onnxscript") as caught:
        require_onnx()
    assert "vrec[compress]" in caught.value.fix
