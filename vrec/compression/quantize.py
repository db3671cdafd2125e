"""A network in int8: weights alone rounded beforehand (dynamic), or weights and activations (static).

The rounding is onnxruntime's. Its static form marks every tensor with the scale that it has (QDQ), which both
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
"""What onnxruntime calls them."""


class QuantizeConfig(BaseConfig):
    """How a network is rounded to int8."""

    calibration: Literal["minmax", "percentile", "entropy"] = "minmax"
    """How an activation's range is taken of the pictures: all of it, all but the outermost (a `percentile`
    of 99.99), or what keeps most information."""
    pictures: int = Field(default=128, ge=1)
    """Pictures it is calibrated on, drawn from all videos."""
    reduce_range: bool | None = None
    """Weights in 7 bits, for x86 processors without VNNI, whose int8 sums overflow otherwise; None takes them
    where the processor that compresses is such."""
    correct_bias: bool = True
    """Whether the layers' biases take back what rounded weights add on average, on the same pictures."""
    seed: int = Field(default=0, ge=0)
    """Draws the pictures."""


def dynamic_int8(onnx: bytes) -> bytes:
    """The graph with weights in int8; activations are scaled anew for each picture, as it runs.

    Raises ConfigError where onnxruntime or onnx is not installed, and CompressError for a graph that it
    cannot round.
    """
    require_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def work(source: Path, target: Path) -> None:
        # Unsigned weights, one scale a tensor: signed ones lose more; a scale a channel is not heeded here.
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)

    return _through_files(onnx, work)


def static_int8(onnx: bytes, pictures: Frames, config: QuantizeConfig) -> bytes:
    """The graph with weights in int8, one scale a channel, and activations in uint8, one scale a tensor.

    `pictures` (N, S, S, 3) uint8 are real frames of the size that the graph takes; `config.pictures` of them
    are drawn. Raises as `dynamic_int8`, and CompressError without pictures or with those of another size.
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
    drawn = np.random.default_rng(config.seed).permutation(len(pictures))[: config.pictures]
    shown = pictures[np.sort(drawn)]

    def work(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            _reader(shown),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=sums_overflow() if config.reduce_range is None else config.reduce_range,
            calibrate_method=CalibrationMethod[_CALIBRATIONS[config.calibration]],
        )
        if config.correct_bias:
            rounded = load_model(target)
            correct_biases(rounded, load_model(source), shown)
            target.write_bytes(rounded.SerializeToString())

    return _through_files(onnx, work)


def sums_overflow(machine: str | None = None, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether int8 products are summed in 16 bits, which two of 8 bits overflow: on x86 without VNNI.

    `machine` and `cpuinfo` are what this machine says of itself. Where it says nothing, the answer is yes: a
    bit less of the weights costs little, and an overflow much.
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
        """One picture at a time."""

        def __init__(self) -> None:
            self._left: Iterator[npt.NDArray[np.uint8]] = iter(pictures)

        def get_next(self) -> Any:
            picture = next(self._left, None)
            return None if picture is None else {PICTURES: picture[None]}

    return Pictures()


def _through_files(onnx: bytes, work: Callable[[Path, Path], None]) -> bytes:
    """What `work` makes of a graph, which is first folded and given shapes; raises CompressError."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="vrec-int8-") as name:
        folder = Path(name)
        source, ready, target = (folder / f"{part}.onnx" for part in ("given", "ready", "made"))
        source.write_bytes(onnx)
        try:
            with _quiet():
                quant_pre_process(source, ready, skip_symbolic_shape=True)
                work(ready, target)
            return target.read_bytes()
        except Exception as error:  # onnxruntime raises whatever its parts raise
            raise CompressError(
                f"onnxruntime cannot round this network ({type(error).__name__}: {first_line(error)})",
                fix="take methods that are not in int8",
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # onnxruntime prints what it calibrates, and warns of the uint8 input, which stays as it is.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _check_size(onnx: bytes, pictures: Frames) -> None:
    from onnx import load_model_from_string

    (given,) = load_model_from_string(onnx).graph.input
    wanted = tuple(size.dim_value for size in given.type.tensor_type.shape.dim)[1:]
    if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted:
        raise CompressError(
            f"pictures to calibrate on are {pictures.dtype} {pictures.shape}, want uint8 (N, {wanted[0]}, "
            f"{wanted[1]}, {wanted[2]})"
        )
