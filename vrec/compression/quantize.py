"""Quantization to int8: of weights only (dynamic), or of weights and activations (static).

onnxruntime does the rounding. Its static form annotates every tensor with its scale (QDQ), which both
onnxruntime and OpenVINO turn into kernels that multiply in int8 (Jacob et al. 2018).
"""

import contextlib
import io
import logging
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.compression.bias import correct_biases
from vrec.compression.export import PICTURES, first_line, require_onnx
from vrec.core.config import BaseConfig
from vrec.core.errors import CompressError
from vrec.core.types import Frames

_CALIBRATIONS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Names of the calibrations in onnxruntime."""


class QuantizeConfig(BaseConfig):
    """Settings of quantization to int8."""

    calibration: Literal["minmax", "percentile", "entropy"] = "minmax"
    """Range of an activation: `minmax` is all values on the calibration pictures, `percentile` all but the
    outermost (99.99 %), `entropy` the range that loses the least information."""
    pictures: int = Field(default=128, ge=1)
    """Largest number of calibration pictures, a random sample of all videos."""
    reduce_range: bool | None = None
    """Whether weights have 7 bits, for x86 processors without VNNI, whose int8 sums overflow otherwise; None
    decides by the processor that compresses."""
    correct_bias: bool = True
    """Whether the biases of layers are corrected by the mean error of rounded weights on the same
    pictures."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample of pictures."""


def dynamic_int8(onnx: bytes) -> bytes:
    """Return the graph with weights in int8; activations are scaled for each picture at run time.

    Raises:
        ConfigError: The packages for compression are not installed.
        CompressError: onnxruntime cannot quantize the graph.
    """
    require_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantize(source: Path, target: Path) -> None:
        # Unsigned weights, one scale per tensor: signed ones lose more, and scales per channel are ignored.
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)

    return _through_files(onnx, quantize)


def static_int8(onnx: bytes, pictures: Frames, config: QuantizeConfig) -> bytes:
    """Return the graph with weights in int8, one scale per channel, and activations in uint8, one per tensor.

    Args:
        onnx: Serialized graph in float32.
        pictures: (N, S, S, 3) uint8 frames of the input size, of which at most `config.pictures` are sampled.
        config: Settings of quantization.

    Raises:
        ConfigError: The packages for compression are not installed.
        CompressError: onnxruntime cannot quantize the graph, or pictures are missing or of another size.
    """
    require_onnx()
    from onnx import load_model
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if not len(pictures):
        raise CompressError(
            "static int8 needs pictures to calibrate on, and there are none",
            fix="give --videos a folder with at least one video that can be decoded",
        )
    _check_size(onnx, pictures)
    rows = np.random.default_rng(config.seed).permutation(len(pictures))[: config.pictures]
    sample = pictures[np.sort(rows)]

    def quantize(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            _reader(sample),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=sums_overflow() if config.reduce_range is None else config.reduce_range,
            calibrate_method=CalibrationMethod[_CALIBRATIONS[config.calibration]],
        )
        if config.correct_bias:
            rounded = load_model(target)
            correct_biases(rounded, load_model(source), sample)
            target.write_bytes(rounded.SerializeToString())

    return _through_files(onnx, quantize)


def sums_overflow(machine: str | None = None, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether sums of int8 products overflow: x86 without VNNI adds them in 16 bits.

    Args:
        machine: Machine type; by default that of this machine.
        cpuinfo: File with the flags of its processor. Where it cannot be read, sums count as overflowing: one
            bit less of the weights costs little accuracy, an overflow much.
    """
    if (machine or platform.machine()).lower() not in {"x86_64", "amd64"}:
        return False
    try:
        return "vnni" not in cpuinfo.read_text()
    except OSError:
        return True


def _reader(pictures: Frames) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Pictures(CalibrationDataReader):
        """Reader of one picture at a time."""

        def __init__(self) -> None:
            self._remaining: Iterator[npt.NDArray[np.uint8]] = iter(pictures)

        def get_next(self) -> Any:
            picture = next(self._remaining, None)
            return None if picture is None else {PICTURES: picture[None]}

    return Pictures()


def _through_files(onnx: bytes, quantize: Callable[[Path, Path], None]) -> bytes:
    """Return the output of `quantize` for a graph, after constant folding and shape inference."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="vrec-int8-") as name:
        folder = Path(name)
        source, ready, target = (folder / f"{part}.onnx" for part in ("given", "ready", "made"))
        source.write_bytes(onnx)
        try:
            with _quiet():
                quant_pre_process(source, ready, skip_symbolic_shape=True)
                quantize(ready, target)
            return target.read_bytes()
        except Exception as error:  # onnxruntime raises errors of many types
            raise CompressError(
                f"onnxruntime cannot quantize this network ({type(error).__name__}: {first_line(error)})",
                fix="set compress.methods to methods without int8: pruned, smaller, student",
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # onnxruntime prints its progress, and warns about the uint8 input, which is not quantized.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _check_size(onnx: bytes, pictures: Frames) -> None:
    from onnx import load_model_from_string

    (graph_input,) = load_model_from_string(onnx).graph.input
    wanted = tuple(size.dim_value for size in graph_input.type.tensor_type.shape.dim)[1:]
    if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted:
        raise CompressError(
            f"calibration pictures are {pictures.dtype} {pictures.shape}, want uint8 (N, {wanted[0]}, "
            f"{wanted[1]}, {wanted[2]})"
        )
