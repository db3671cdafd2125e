"""Runners of a backbone: OpenVINO where it is fastest (x86 CPUs), torch elsewhere. Same vectors to 1e-4.

The OpenVINO form of a network is cached on disk: converting it takes seconds and an import of torch, which
every actor of a job would repeat.
"""

import hashlib
import importlib.util
import io
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from vrec.compression.network import Runtime as OnnxRuntime
from vrec.core.errors import ConfigError
from vrec.core.types import Frames, Vectors
from vrec.encoders.digest import file_digest

if TYPE_CHECKING:
    from vrec.encoders.backbone import FrameBackbone

log = logging.getLogger(__name__)

NetworkRunner = Callable[[Frames], Vectors]
"""Function from (T, S, S, 3) uint8 to (T, dim) float32; not to be shared between threads."""

_LAYOUT = 1
"""Version of the conversion. Raise it with every change of the conversion, so that older files are not
used."""


def cache_dir() -> Path:
    """Return the folder of the cache: $VREC_CACHE, else $XDG_CACHE_HOME/vrec, else ~/.cache/vrec."""
    if own := os.environ.get("VREC_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vrec"


def openvino_module() -> ModuleType:
    """Import OpenVINO without its telemetry.

    Its Python package sends usage events to its maker whenever the separate package
    `openvino_telemetry` can be imported, and sends none when it cannot: a None in sys.modules
    makes that import fail, whatever is installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    import openvino

    return openvino


def openvino_runner(
    weights: str, digest: str, frame_px: int, threads: int, load: "Callable[[], FrameBackbone]"
) -> tuple[NetworkRunner, int]:
    """Return a float32 runner of OpenVINO on the CPU, with its dim; call `load` only if nothing is cached."""
    ov = openvino_module()
    model = _cached_model(ov, f"{weights}|{digest}|{frame_px}", load)
    return _openvino_run(ov, model, frame_px, threads)


def onnx_runner(onnx: bytes, runtime: OnnxRuntime, frame_px: int, threads: int) -> tuple[NetworkRunner, int]:
    """Return a runner of an ONNX graph on the CPU, and its dim; int8 where the graph says so, else float32.

    Raises:
        ConfigError: The runtime is onnxruntime, which is not installed.
    """
    match runtime:
        case "openvino":
            ov = openvino_module()
            return _openvino_run(ov, ov.Core().read_model(io.BytesIO(onnx)), frame_px, threads)
        case "onnxruntime":
            return _onnxruntime_run(onnx, threads)
        case _:
            assert_never(runtime)


def _openvino_run(ov: ModuleType, model: Any, frame_px: int, threads: int) -> tuple[NetworkRunner, int]:
    # One picture per request: within 2 % of the speed of a whole clip per batch on one core, any number of
    # frames without compiling again, and rows that cannot depend on the rest of a batch.
    model.reshape([1, frame_px, frame_px, 3])
    compiled = ov.Core().compile_model(
        model,
        "CPU",
        {
            # Otherwise a CPU with bf16 or fp16 units rounds, and vectors differ between machines.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # many actors on one machine would pin to the same core
        },
    )
    request = compiled.create_infer_request()
    dim = int(compiled.output(0).partial_shape[1].get_length())

    def run(frames: Frames) -> Vectors:
        out = np.empty((len(frames), dim), dtype=np.float32)
        for row, picture in zip(out, frames, strict=True):
            result = request.infer([np.ascontiguousarray(picture[None])], share_inputs=True)
            row[:] = result[0][0]
        return out

    return run, dim


def _onnxruntime_run(onnx: bytes, threads: int) -> tuple[NetworkRunner, int]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError(
            "encoders.frames.backend=onnxruntime needs the package onnxruntime",
            fix='pip install "vrec[compress]", or set backend=openvino',
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    input_name, dim = session.get_inputs()[0].name, int(session.get_outputs()[0].shape[1])

    def run(frames: Frames) -> Vectors:
        out = np.empty((len(frames), dim), dtype=np.float32)
        for row, picture in zip(out, frames, strict=True):
            result: Any = session.run(None, {input_name: np.ascontiguousarray(picture[None])})
            row[:] = result[0][0]
        return out

    return run, dim


def torch_runner(
    backbone: "FrameBackbone", *, device: str, threads: int, batch_frames: int, half: bool
) -> tuple[NetworkRunner, int]:
    """Return a runner on torch in channels-last layout, which takes `batch_frames` at a time, and its dim."""
    import torch

    dtype = torch.float16 if half else torch.float32
    network = backbone.network.to(device=torch.device(device), dtype=dtype)
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def run(frames: Frames) -> Vectors:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            rows = []
            for start in range(0, len(frames), batch_frames):
                block = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch_frames]))
                if device != "cpu":
                    block = block.pin_memory().to(device, non_blocking=True)
                # TF32 rounds factors to 10 bits: vectors would differ from those of a CPU by 1e-3.
                with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    rows.append(network(block).float().cpu().numpy())
            return np.concatenate(rows)
        finally:
            torch.set_num_threads(before)

    return run, backbone.dim


def _cached_model(ov: ModuleType, identity: str, load: "Callable[[], FrameBackbone]") -> Any:
    """Return the OpenVINO model from the cache if it is complete there; else convert and save it."""
    key = hashlib.sha256(f"{_LAYOUT}|{version('openvino')}|{identity}".encode()).hexdigest()[:24]
    folder = cache_dir() / "openvino" / key
    if _is_complete(folder):
        return ov.Core().read_model(folder / "model.xml")
    model = _convert(ov, load())
    try:
        _save_to_cache(ov, model, folder)
        # Read back: a freshly converted network differs from the saved one in the last bit, and the first
        # start of a job must give the same rows as later ones.
        return ov.Core().read_model(folder / "model.xml")
    except OSError as error:
        log.warning(
            "could not save the converted network in %s (%s): each start converts it again", folder, error
        )
    return model


def _convert(ov: ModuleType, backbone: "FrameBackbone") -> Any:
    import torch

    side = backbone.frame_px
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    shape = ov.PartialShape([-1, side, side, 3])
    with warnings.catch_warnings():
        # torch deprecates tracing; exporting is slower for this network and gives the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ov.convert_model(backbone.network, example_input=example, input=[shape])


def _is_complete(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "digests.json").read_text())
        return all(file_digest(folder / name) == digests[name] for name in ("model.xml", "model.bin"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _save_to_cache(ov: ModuleType, model: Any, folder: Path) -> None:
    """Write a temporary folder and rename it, so that concurrent actors see a complete folder or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        ov.save_model(model, fresh / "model.xml", compress_to_fp16=False)
        digests = {name: file_digest(fresh / name) for name in ("model.xml", "model.bin")}
        (fresh / "digests.json").write_text(json.dumps(digests))
        if folder.exists() and not _is_complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            fresh.rename(folder)
        except OSError:
            if not _is_complete(folder):  # otherwise another actor has saved the same network
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
