"""The networks that `vrec compress` makes of one, each as an ONNX graph."""

import functools
from collections.abc import Callable

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

LogLine = Callable[[str], None]


class CompressedNetworks:
    """Makes each network once, however many roundings of it are asked for."""

    def __init__(
        self,
        cnn: CnnEncoderConfig,
        teacher: Teacher,
        catalogue: CompressionDataset,
        config: CompressConfig,
        say: LogLine,
    ) -> None:
        self.cnn, self.catalogue, self.config, self.say = cnn, catalogue, config, say
        self._teacher = teacher
        self._made: dict[NetworkVariant, bytes | CompressError] = {}
        self._lessons: DistillationPictures | None = None

    def make(self, method: CompressionMethod) -> tuple[bytes, int]:
        """The ONNX graph of a method, and the pixels a side of its pictures; raises CompressError."""
        network, rounding = METHOD_STEPS[method]
        onnx, px = self.network(network), self.frame_px(network)
        match rounding:
            case "none":
                return onnx, px
            case "dynamic":
                return dynamic_int8(onnx), px
            case "static":
                pictures = [clip.frames for clip in self.catalogue.clips(px) if clip.frames is not None]
                return static_int8(onnx, np.concatenate(pictures), self.config.quantize), px

    def network(self, network: NetworkVariant) -> bytes:
        """The ONNX graph in float32; raises CompressError, each time, where it could not be made."""
        if network not in self._made:
            try:
                self._made[network] = self._network(network)
            except CompressError as error:
                self._made[network] = error
        found = self._made[network]
        if isinstance(found, CompressError):
            raise found
        return found

    def frame_px(self, network: NetworkVariant) -> int:
        """Pixels a side of the pictures that a network takes."""
        return self.cnn.frame_px if network in ("whole", "pruned") else self.config.student.frame_px

    def held_out_rows(self, method: CompressionMethod) -> npt.NDArray[np.int64] | None:
        """Rows of the catalogue that a method did not learn from; None where it learned nothing."""
        if METHOD_STEPS[method][0] not in DISTILLED_VARIANTS:
            return None
        return held_out_videos(self._pictures().videos, self.config.distill)

    @property
    def held_out_count(self) -> int:
        """Videos that nothing learned from; 0 where nothing learned."""
        return 0 if self._lessons is None else len(held_out_videos(self._lessons.videos, self.config.distill))

    def _network(self, network: NetworkVariant) -> bytes:
        px = self.frame_px(network)
        if network in ("smaller", "student") and px >= self.cnn.frame_px:
            raise CompressError(
                f"compress.student.frame_px is {px}, not below the network's own {self.cnn.frame_px}",
                fix="lower compress.student.frame_px, or take other methods",
            )
        try:
            owner = load_backbone(self.cnn.weights, px).network
        except (RuntimeError, AssertionError, ValueError) as error:
            raise CompressError(
                f"{self.cnn.weights} does not take pictures of {px} pixels a side: {error}",
                fix="leave `smaller` and `student` out of compress.methods",
            ) from error
        if network == "pruned":
            owner = prune_channels(owner, self.config.prune)
        if network in DISTILLED_VARIANTS:
            told = functools.partial(self._log, network)
            done = distill(owner, px, self._teacher, self._pictures(), self.config.distill, on_step=told)
            self.say(_summary(network, done))
        return to_onnx(owner, px)

    def _log(self, network: NetworkVariant, step: DistillationStep) -> None:
        steps = self.config.distill.steps
        self.say(f"{network}: step {step.step} of {steps}, misses {step.held_out_loss:.3f} of the variance")

    def _pictures(self) -> DistillationPictures:
        if self._lessons is None:
            self._lessons = self.catalogue.distillation_pictures()
        return self._lessons


def _summary(network: NetworkVariant, done: DistillationResult) -> str:
    ended = f"; it ended early: {done.stopped}" if done.stopped else ""
    return f"{network}: misses {done.best_loss:.3f} of the variance of videos kept back{ended}"
