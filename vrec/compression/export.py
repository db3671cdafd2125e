"""A torch network as an ONNX graph, the form that every runtime here reads."""

import logging
import warnings
from typing import TYPE_CHECKING

from vrec.core.errors import CompressError, ConfigError

if TYPE_CHECKING:
    from torch import nn

PICTURES = "pictures"
"""The graph's one input, (1, S, S, 3) uint8."""
FEATURES = "features"
"""The graph's one output, (1, dim) float32."""


def to_onnx(network: "nn.Module", frame_px: int) -> bytes:
    """The ONNX graph, for one picture at a time, of a network from (N, S, S, 3) uint8 to (N, dim) float32.

    Raises ConfigError where the packages that write ONNX are not installed, and CompressError for a network
    that cannot be written so.
    """
    import torch

    require_onnx()
    picture = torch.zeros(1, frame_px, frame_px, 3, dtype=torch.uint8)
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (picture,),
                input_names=[PICTURES],
                output_names=[FEATURES],
                dynamo=True,
                verbose=False,
            )
        assert program is not None  # with dynamo it always is a program
        return program.model_proto.SerializeToString()
    except Exception as error:  # the exporter's own errors have no common ancestor
        raise CompressError(
            f"the network cannot be written as ONNX ({type(error).__name__}: {first_line(error)})",
            fix="compress another network: efficientnet_lite0 and those of torchvision are known to work",
        ) from error
    finally:
        loud.setLevel(level)


def first_line(error: Exception) -> str:
    """What a library's error says first, in at most 200 characters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")[:200]


def require_onnx() -> None:
    """Nothing; raises ConfigError where a package is missing that making compressed networks takes."""
    import importlib.util

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(
            f"compressing needs the packages {', '.join(missing)}", fix='pip install "vrec[compress]"'
        )
