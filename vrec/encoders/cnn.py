"""Frame encoder: an ImageNet network over the frames of a video, pooled to one unit vector."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, assert_never

import numpy as np
from pydantic import Field

from vrec.compression.network import CompressedNetworkInfo, Runtime, load_network, network_info
from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError
from vrec.core.types import Clip, Frames, Modality, Vectors
from vrec.core.uris import join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX, LITE0, load_backbone, weights_digest
from vrec.encoders.digest import encoder_name
from vrec.encoders.pooling import attention_pool, mean_pool
from vrec.encoders.runtime import NetworkRunner, onnx_runner, openvino_runner, torch_runner
from vrec.encoders.vectors import unit_clip_rows


class CnnEncoderConfig(BaseConfig):
    """Settings of the frame encoder."""

    kind: Literal["cnn"] = "cnn"
    """Kind of the frame encoder: a convolutional network over single frames."""
    weights: str = Field(
        default=LITE0, pattern=r"^(efficientnet_lite0|(torchvision|timm):[\w./-]+|compressed:.+)$"
    )
    """Weights of the network: `efficientnet_lite0` (installed with vrec), `torchvision:NAME` or `timm:NAME`
    (downloaded once from a hub), or `compressed:FOLDER`, as `vrec compress` writes it."""
    frame_px: int = Field(default=224, ge=32, le=1024)
    """Pixels per side of the square input frames; must equal `embed.decode.frame_px`."""
    pooling: Literal["mean", "attention"] = "mean"
    """Pooling of the frames: their mean, or a mean weighted by the similarity of each frame to that mean."""
    attention_temperature: float = Field(default=0.1, gt=0)
    """Temperature of attention pooling in units of cosine; larger is nearer to the mean. Unused by `mean`."""
    backend: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto"
    """Library that runs the network. `auto` is OpenVINO on a CPU and torch on a GPU, with the same vectors.
    Only compressed networks run on onnxruntime; for them `auto` is the backend that was faster when they were
    made. Backends round int8 differently, so the choice changes the name of an int8 network."""
    threads: int = Field(default=1, ge=1)
    """CPU threads per encoder; several encoders on one machine are faster with 1 each."""
    batch_frames: int = Field(default=64, ge=1)
    """Frames per step on the torch backend; more use a GPU better and take more memory."""
    half: bool = False
    """Whether a GPU computes in float16: about twice as fast, with vectors off by about 1e-3. Changes the
    name."""


def cnn_name(config: CnnEncoderConfig) -> str:
    """Return `cnn@` and a digest of the weights and of all fields that change the vectors, without torch."""
    parts: dict[str, object] = {
        "weights": weights_digest(config.weights),
        "frame_px": config.frame_px,
        "pooling": config.pooling,
        "half": config.half,
    }
    if config.pooling == "attention":
        parts["attention_temperature"] = config.attention_temperature
    if config.weights.startswith(COMPRESSED_PREFIX):
        info = network_info(config.weights.removeprefix(COMPRESSED_PREFIX))[1]
        if info.rounded:
            parts["runtime"] = _runtime(config, info)
    return encoder_name("cnn", parts)


class CnnEncoder:
    """Encoder from frames to unit vectors; implements `Encoder`. Not to be shared between threads."""

    modality: Modality = "frames"

    def __init__(self, config: CnnEncoderConfig, *, device: str = "cpu") -> None:
        """Load the network on `device` ("cpu", "cuda", "cuda:1").

        Raises:
            ConfigError: The weights are not available, or the config cannot run on the device.
        """
        self.config = config
        self.name = self.cnn_name = cnn_name(config)
        self.features, self.dim = _runner(config, device)

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """Encode the frames of clips.

        Returns:
            (N, dim) float32 unit rows in the order of the clips.

        Raises:
            ValueError: A clip has no frames, or frames of another size.
            EncodeFailed: The vector of a video, which is named, is zero or not finite.
        """
        return self.pooled(self.frame_features(clips), clips)

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]:
        """Return the network's features of each clip's frames, (T, dim) float32, in time order.

        Raises:
            ValueError: A clip has no frames, or frames of another size.
        """
        if not clips:
            return []
        frames = [self._frames(clip) for clip in clips]
        features = self.features(np.concatenate(frames) if len(frames) > 1 else frames[0])  # (ΣT, dim)
        return np.split(features, np.cumsum([len(block) for block in frames])[:-1])

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors:
        """Return (N, dim) float32 unit rows of clips with these features; raise EncodeFailed as `encode`."""
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
        raise ConfigError(
            "encoders.frames.half=true needs a GPU", fix="leave encoders.frames.half out on a CPU"
        )
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
                fix="use backend=auto, which is torch on a GPU",
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
    onnx, info = load_network(folder)
    if device != "cpu" or config.half:
        raise ConfigError(
            f"{config.weights} runs on CPUs only",
            fix="set embed.layout=fused, which encodes on CPUs, or give the weights that it was made from",
        )
    if info.frame_px != config.frame_px:
        raise ConfigError(
            f"{config.weights} takes pictures of {info.frame_px} pixels per side, not {config.frame_px}",
            fix=f"set embed.encoders.frames.frame_px and embed.decode.frame_px to {info.frame_px}, or use "
            f"--config {join_uri(folder, 'embed.yaml')}, which does",
        )
    return onnx_runner(onnx, _runtime(config, info), info.frame_px, config.threads)


def _runtime(config: CnnEncoderConfig, info: CompressedNetworkInfo) -> Runtime:
    match config.backend:
        case "auto":
            return info.runtime
        case "openvino" | "onnxruntime":
            return config.backend
        case "torch":
            raise ConfigError(
                f"encoders.frames.backend=torch does not run {config.weights}", fix="use backend=auto"
            )
        case _:
            assert_never(config.backend)
