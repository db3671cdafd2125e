"""Networks that `vrec compress` makes of one, each as an ONNX graph."""

import functools
import logging

import numpy as np
import numpy.typing as npt

from vrec.compression.config import (
    DISTILLED_VARIANTS,
    METHOD_STEPS,
    CompressConfig,
    CompressionMethod,
    NetworkVariant,
)
from vrec.compression.distill import (
    DistillationPictures,
    DistillationResult,
    DistillationStep,
    Teacher,
    distill,
    held_out_videos,
)
from vrec.compression.export import to_onnx
from vrec.compression.prune import prune_channels
from vrec.compression.quantize import dynamic_int8, static_int8
from vrec.core.errors import CompressError
from vrec.encoders.backbone import load_backbone
from vrec.encoders.cnn import CnnEncoderConfig
from vrec.pipelines.compress.dataset import CompressionDataset

_log = logging.getLogger(__name__)


class CompressedNetworks:
    """Factory of compressed networks: each is made once, even if several methods round it."""

    def __init__(
        self,
        cnn: CnnEncoderConfig,
        teacher: Teacher,
        dataset: CompressionDataset,
        config: CompressConfig,
    ) -> None:
        self.cnn, self.dataset, self.config = cnn, dataset, config
        self._teacher = teacher
        self._graphs: dict[NetworkVariant, bytes | CompressError] = {}
        self._distillation: DistillationPictures | None = None

    def make(self, method: CompressionMethod) -> tuple[bytes, int]:
        """Return the ONNX graph of a method and its pixels per side; raises CompressError."""
        network, rounding = METHOD_STEPS[method]
        onnx, px = self.network(network), self.frame_px(network)
        match rounding:
            case "none":
                return onnx, px
            case "dynamic":
                return dynamic_int8(onnx), px
            case "static":
                pictures = [clip.frames for clip in self.dataset.clips(px) if clip.frames is not None]
                return static_int8(onnx, np.concatenate(pictures), self.config.quantize), px

    def network(self, network: NetworkVariant) -> bytes:
        """Return the ONNX graph in float32; raises CompressError, each time, where it could not be made."""
        if network not in self._graphs:
            try:
                self._graphs[network] = self._network(network)
            except CompressError as error:
                self._graphs[network] = error
        graph = self._graphs[network]
        if isinstance(graph, CompressError):
            raise graph
        return graph

    def frame_px(self, network: NetworkVariant) -> int:
        """Return the pixels per side of the pictures that a network takes."""
        return self.cnn.frame_px if network in ("whole", "pruned") else self.config.student.frame_px

    def held_out_rows(self, method: CompressionMethod) -> npt.NDArray[np.int64] | None:
        """Return the dataset's rows that a method did not learn from, None for a method without learning."""
        if METHOD_STEPS[method][0] not in DISTILLED_VARIANTS:
            return None
        return held_out_videos(self._pictures().videos, self.config.distill)

    @property
    def held_out_count(self) -> int:
        """Number of videos held out from distillation, 0 without distillation."""
        return (
            0
            if self._distillation is None
            else len(held_out_videos(self._distillation.videos, self.config.distill))
        )

    def _network(self, network: NetworkVariant) -> bytes:
        px = self.frame_px(network)
        if network in ("smaller", "student") and px >= self.cnn.frame_px:
            raise CompressError(
                f"compress.student.frame_px is {px}, not below the network's own {self.cnn.frame_px}",
                fix="lower compress.student.frame_px, or set other compress.methods",
            )
        try:
            module = load_backbone(self.cnn.weights, px).network
        except (RuntimeError, AssertionError, ValueError) as error:
            raise CompressError(
                f"{self.cnn.weights} does not take pictures of {px} pixels per side: {error}",
                fix="leave `smaller` and `student` out of compress.methods",
            ) from error
        if network == "pruned":
            module = prune_channels(module, self.config.prune)
        if network in DISTILLED_VARIANTS:
            on_step = functools.partial(self._log_step, network)
            result = distill(
                module, px, self._teacher, self._pictures(), self.config.distill, on_step=on_step
            )
            _log.info(_summary(network, result))
        return to_onnx(module, px)

    def _log_step(self, network: NetworkVariant, step: DistillationStep) -> None:
        steps = self.config.distill.steps
        _log.info(
            "%s: step %d of %d, held-out loss %.3f of the variance",
            network,
            step.step,
            steps,
            step.held_out_loss,
        )

    def _pictures(self) -> DistillationPictures:
        if self._distillation is None:
            self._distillation = self.dataset.distillation_pictures()
        return self._distillation


def _summary(network: NetworkVariant, result: DistillationResult) -> str:
    stopped = f"; stopped early: {result.stopped}" if result.stopped else ""
    return f"{network}: loss {result.best_loss:.3f} of the variance on held-out videos{stopped}"
