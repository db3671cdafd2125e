"""The networks that `vrec compress` makes of one, each as an ONNX graph."""

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vrec.compression.config import LEARNED, STEPS, CompressConfig, Method, Network
from vrec.compression.distill import Distilled, Lessons, Step, Teacher, distil, kept_back
from vrec.compression.export import to_onnx
from vrec.compression.prune import pruned
from vrec.compression.quantize import dynamic_int8, static_int8
from vrec.core.errors import CompressError
from vrec.encoders.backbone import load_backbone
from vrec.encoders.cnn import CnnConfig
from vrec.pipelines.compress.dataset import Catalogue

Say = Callable[[str], None]


class Networks:
    """Makes each network once, however many roundings of it are asked for."""

    def __init__(
        self, cnn: CnnConfig, teacher: Teacher, catalogue: Catalogue, config: CompressConfig, say: Say
    ) -> None:
        self.cnn, self.catalogue, self.config, self.say = cnn, catalogue, config, say
        self._teacher = teacher
        self._made: dict[Network, bytes | CompressError] = {}
        self._lessons: Lessons | None = None

    def make(self, method: Method) -> tuple[bytes, int]:
        """The ONNX graph of a method, and the pixels a side of its pictures; raises CompressError."""
        network, rounding = STEPS[method]
        onnx, px = self.network(network), self.frame_px(network)
        match rounding:
            case "none":
                return onnx, px
            case "dynamic":
                return dynamic_int8(onnx), px
            case "static":
                pictures = [clip.frames for clip in self.catalogue.clips(px) if clip.frames is not None]
                return static_int8(onnx, np.concatenate(pictures), self.config.quantize), px

    def network(self, network: Network) -> bytes:
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

    def frame_px(self, network: Network) -> int:
        """Pixels a side of the pictures that a network takes."""
        return self.cnn.frame_px if network in ("whole", "pruned") else self.config.student.frame_px

    def new_rows(self, method: Method) -> npt.NDArray[np.int64] | None:
        """Rows of the catalogue that a method did not learn from; None where it learned nothing."""
        if STEPS[method][0] not in LEARNED:
            return None
        return kept_back(self._pictures().videos, self.config.distil)

    @property
    def kept_back(self) -> int:
        """Videos that nothing learned from; 0 where nothing learned."""
        return 0 if self._lessons is None else len(kept_back(self._lessons.videos, self.config.distil))

    def _network(self, network: Network) -> bytes:
        px = self.frame_px(network)
        if network in ("smaller", "student") and px >= self.cnn.frame_px:
            raise CompressError(
                f"compress.student.frame_px is {px}, not below the network's own {self.cnn.frame_px}",
                mend="lower compress.student.frame_px, or take other methods",
            )
        try:
            owner = load_backbone(self.cnn.weights, px).network
        except (RuntimeError, AssertionError, ValueError) as error:
            raise CompressError(
                f"{self.cnn.weights} does not take pictures of {px} pixels a side: {error}",
                mend="leave `smaller` and `student` out of compress.methods",
            ) from error
        if network == "pruned":
            owner = pruned(owner, self.config.prune)
        if network in LEARNED:
            told = functools.partial(self._tell, network)
            done = distil(owner, px, self._teacher, self._pictures(), self.config.distil, watch=told)
            self.say(_summary(network, done))
        return to_onnx(owner, px)

    def _tell(self, network: Network, step: Step) -> None:
        steps = self.config.distil.steps
        self.say(f"{network}: step {step.step} of {steps}, misses {step.kept_back:.3f} of the variance")

    def _pictures(self) -> Lessons:
        if self._lessons is None:
            self._lessons = self.catalogue.lessons()
        return self._lessons


def _summary(network: Network, done: Distilled) -> str:
    ended = f"; it ended early: {done.stopped}" if done.stopped else ""
    return f"{network}: misses {done.best:.3f} of the variance of videos kept back{ended}"
