"""Export of a torch network to an ONNX graph, which every runtime here reads."""

import logging
import warnings
from typing import TYPE_CHECKING

from vrec.core.errors import CompressError, ConfigError

if TYPE_CHECKING:
    from torch import nn

PICTURES = "pictures"
"""Name of the only input of the graph, (1, S, S, 3) uint8."""
FEATURES = "features"
"""Name of the only output of the graph, (1, dim) float32."""


def to_onnx(network: "nn.Module", frame_px: int) -> bytes:
    """Export a network to an ONNX graph that takes one picture at a time.

    Args:
        network: Network from (N, S, S, 3) uint8 to (N, dim) float32.
        frame_px: Pixels per side, S.

    Returns:
        The serialized graph.

    Raises:
        ConfigError: The packages that write ONNX are not installed.
        CompressError: The network cannot be exported.
    """
    import torch

    require_onnx()
    picture = torch.zeros(1, frame_px, frame_px, 3, dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
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
        assert program is not None  # never None with dynamo=True
        return program.model_proto.SerializeToString()
    except Exception as error:  # the exporter's own errors have no common ancestor
        raise CompressError(
            f"the network cannot be exported to ONNX ({type(error).__name__}: {first_line(error)})",
            fix="compress another network: efficientnet_lite0 and networks of torchvision are known to work",
        ) from error
    finally:
        logger.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the first line of an error message, at most 200 characters of it."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")[:200]


def require_onnx() -> None:
    """Check that the packages for compression are installed; raise ConfigError where one is missing."""
    import importlib.util

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(
            f"compression needs the packages {', '.join(missing)}", fix='pip install "vrec[compress]"'
        )
