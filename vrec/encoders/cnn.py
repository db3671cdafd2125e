"""The frame encoder: an ImageNet network over a video's frames, pooled to one unit vector."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, assert_never

import numpy as np
from pydantic import Field

from vrec.compression.network import CompressedNetworkInfo, Runtime, load_network, network_info
from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError
from vrec.core.types import Clip, Frames, Modality, Vectors
from vrec.encoders.backbone import COMPRESSED_PREFIX, LITE0, load_backbone, weights_digest
from vrec.encoders.digest import encoder_name
from vrec.encoders.pooling import attention_pool, mean_pool
from vrec.encoders.runtime import NetworkRunner, onnx_runner, openvino_runner, torch_runner
from vrec.encoders.vectors import unit_clip_rows


class CnnEncoderConfig(BaseConfig):
    """How frames become a vector."""

    kind: Literal["cnn"] = "cnn"
    """Which frame encoder this configures."""
    weights: str = Field(
        default=LITE0, pattern=r"^(efficientnet_lite0|(torchvision|timm):[\w./-]+|compressed:.+)$"
    )
    """`efficientnet_lite0` (comes with vrec), `torchvision:NAME` or `timm:NAME` (a hub delivers it once), or
    `compressed:FOLDER`, as `vrec compress` writes it."""
    frame_px: int = Field(default=224, ge=32, le=1024)
    """Pixels a side of the square frames it takes; the frame sampler must deliver the same."""
    pooling: Literal["mean", "attention"] = "mean"
    """How frames are pooled: their mean, or a mean that weighs each by its likeness to that mean."""
    attention_temperature: float = Field(default=0.1, gt=0)
    """Softness of attention pooling in units of cosine; larger is nearer to the mean. Unused by `mean`."""
    backend: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto"
    """What runs the network; `auto` is OpenVINO on a CPU and torch on a GPU, with the same vectors. Only
    compressed networks run on onnxruntime; for them `auto` is what was faster when they were made, and in
    int8, which each rounds in its own way, the choice changes the name."""
    threads: int = Field(default=1, ge=1)
    """CPU threads an encoder uses; several encoders on one machine are faster with 1 each."""
    batch_frames: int = Field(default=64, ge=1)
    """Frames a step on the torch backend; more fills a GPU better and takes more memory."""
    half: bool = False
    """Float16 on a GPU: about twice the rate, vectors off by about 1e-3. Changes the name."""


def cnn_name(config: CnnEncoderConfig) -> str:
    """`cnn@` and a digest of the weights and of the fields that change the vectors; imports no torch."""
    parts: dict[str, object] = {
        "weights": weights_digest(config.weights),
        "frame_px": config.frame_px,
        "pooling": config.pooling,
        "half": config.half,
    }
    if config.pooling == "attention":
        parts["attention_temperature"] = config.attention_temperature
    if config.weights.startswith(COMPRESSED_PREFIX):
        facts = network_info(config.weights.removeprefix(COMPRESSED_PREFIX))[1]
        if facts.rounded:
            parts["runtime"] = _runtime(config, facts)
    return encoder_name("cnn", parts)


class CnnEncoder:
    """Frames to unit vectors; implements `Encoder`. Not to be shared between threads."""

    modality: Modality = "frames"

    def __init__(self, config: CnnEncoderConfig, *, device: str = "cpu") -> None:
        """Loads and prepares the network on `device` ("cpu", "cuda", "cuda:1").

        Raises ConfigError when the weights cannot be had, or device and config do not go together.
        """
        self.config = config
        self.name = self.cnn_name = cnn_name(config)
        self.features, self.dim = _runner(config, device)

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows in the clips' order.

        Raises ValueError for a clip without frames or with frames of another size, and
        EncodeFailed, naming the video, for a vector that is not finite.
        """
        return self.pooled(self.frame_features(clips), clips)

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]:
        """The network's features of each clip's frames, (T, dim) float32, in time order.

        Raises ValueError for a clip without frames or with frames of another size.
        """
        if not clips:
            return []
        frames = [self._frames(clip) for clip in clips]
        features = self.features(np.concatenate(frames) if len(frames) > 1 else frames[0])  # (ΣT, dim)
        return np.split(features, np.cumsum([len(block) for block in frames])[:-1])

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows of clips whose `frame_features` these are; raises EncodeFailed."""
        rows = np.empty((len(clips), self.dim), dtype=np.float32)
        for row, block in zip(rows, features, strict=True):
            row[:] = self._pool(block)
        return unit_clip_rows(rows, clips, self.modality) if clips else rows

    def _frames(self, clip: Clip) -> Frames:
        side = self.config.frame_px
        if clip.frames is None:
            raise ValueError(f"{clip.video_id} has no frames: leave it out")
        shape = clip.frames.shape
        if clip.frames.dtype != np.uint8 or len(shape) != 4 or shape[0] == 0 or shape[1:] != (side, side, 3):
            raise ValueError(
                f"{clip.video_id}: frames are {clip.frames.dtype} {shape}, want uint8 (T, {side}, {side}, 3)"
            )
        return clip.frames

    def _pool(self, features: Vectors) -> Vectors:
        if self.config.pooling == "mean":
            return mean_pool(features)
        return attention_pool(features, self.config.attention_temperature)


def _runner(config: CnnEncoderConfig, device: str) -> tuple[NetworkRunner, int]:
    if config.half and device == "cpu":
        raise ConfigError("encoders.frames.half=true needs a GPU", fix="leave half out on a CPU")
    if config.weights.startswith(COMPRESSED_PREFIX):
        return _compressed(config, device)
    load = partial(load_backbone, config.weights, config.frame_px)
    backend = config.backend
    if backend == "auto":
        backend = "openvino" if device == "cpu" else "torch"
    if backend == "openvino":
        if device != "cpu":
            raise ConfigError(
                f"encoders.frames.backend=openvino runs on the CPU, not on {device}",
                fix="use backend=auto, which takes torch on a GPU",
            )
        digest = weights_digest(config.weights)
        return openvino_runner(config.weights, digest, config.frame_px, config.threads, load)
    if backend == "onnxruntime":
        raise ConfigError(
            f"encoders.frames.backend=onnxruntime runs compressed networks, not {config.weights}",
            fix="use backend=auto",
        )
    return torch_runner(
        load(), device=device, threads=config.threads, batch_frames=config.batch_frames, half=config.half
    )


def _compressed(config: CnnEncoderConfig, device: str) -> tuple[NetworkRunner, int]:
    folder = config.weights.removeprefix(COMPRESSED_PREFIX)
    onnx, facts = load_network(folder)
    if device != "cpu" or config.half:
        raise ConfigError(
            f"{config.weights} is a network for CPUs",
            fix="set embed.layout=fused, which encodes on CPUs, or give the weights that it was made of",
        )
    if facts.frame_px != config.frame_px:
        raise ConfigError(
            f"{config.weights} takes pictures of {facts.frame_px} pixels a side, not {config.frame_px}",
            fix=f"set embed.encoders.frames.frame_px and embed.decode.frame_px to {facts.frame_px}, or take "
            f"--config {folder}/embed.yaml, which does",
        )
    return onnx_runner(onnx, _runtime(config, facts), facts.frame_px, config.threads)


def _runtime(config: CnnEncoderConfig, facts: CompressedNetworkInfo) -> Runtime:
    match config.backend:
        case "auto":
            return facts.runtime
        case "openvino" | "onnxruntime":
            return config.backend
        case "torch":
            raise ConfigError(
                f"encoders.frames.backend=torch does not run {config.weights}", fix="use backend=auto"
            )
        case _:
            assert_never(config.backend)
