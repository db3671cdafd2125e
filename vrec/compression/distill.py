"""Distillation of a large network into a small one, from pictures without labels.

The student learns the features of the teacher (FitNets: Romero et al. 2015), so that thresholds and heads
made for the features of the teacher stay valid for those of the student.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.compression.batch_norm import recalibrate_batch_norms
from vrec.core.checks import find_bad_rows
from vrec.core.config import BaseConfig
from vrec.core.errors import CompressError
from vrec.core.types import Frames, Vectors

if TYPE_CHECKING:
    from torch import Tensor, nn

Teacher = Callable[[Frames], Vectors]
"""Function from (B, S, S, 3) uint8 to (B, dim) float32."""
StepCallback = Callable[["DistillationStep"], None]

_CALIBRATION_PICTURES = 256
"""Pictures that set the scale of the teacher's features and the batch norm statistics of the student."""


class DistillationConfig(BaseConfig):
    """Settings of distillation."""

    steps: int = Field(default=300, ge=1)
    """Number of training steps, one batch each."""
    batch: int = Field(default=32, ge=2)
    """Pictures per batch."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """Peak step size of AdamW; it rises over the first twentieth of the steps and falls to 0 as a cosine."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Weight decay of AdamW: each step shrinks weights by this share times the step size."""
    whole: float = Field(default=0.3, ge=0, le=1)
    """Share of pictures that are used whole, as in embedding; the others are cropped at random."""
    min_area: float = Field(default=0.4, gt=0, le=1)
    """Smallest area of a random crop, as a share of the picture."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of videos held out to choose the best weights of the student."""
    check_every: int = Field(default=50, ge=1)
    """Steps between validations on the held-out videos."""
    seed: int = Field(default=0, ge=0)
    """Seed of the held-out videos, the batches and the crops."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of the training."""


@dataclass(frozen=True, slots=True)
class DistillationPictures:
    """Pictures without labels, and their videos."""

    pictures: Frames
    """(N, S, S, 3) uint8, of the input size of the teacher."""
    videos: npt.NDArray[np.int64]
    """(N,) int64 number of the video of each picture."""


@dataclass(frozen=True, slots=True)
class DistillationStep:
    """Result of one validation on the held-out videos."""

    step: int
    """Number of training steps before it; 0 is before training."""
    loss: float
    """Mean squared error on training pictures since the last validation, as a share of the teacher's
    variance."""
    held_out_loss: float
    """The same on whole pictures of the held-out videos."""


@dataclass(slots=True)
class DistillationResult:
    """Result of distillation; the student itself holds the best weights."""

    steps: list[DistillationStep] = field(default_factory=list)
    """Validations in order."""
    best_loss: float = math.inf
    """Lowest `held_out_loss`."""
    stopped: str | None = None
    """Reason why it ended early; None where it did not."""


def distill(
    student: "nn.Module",
    student_px: int,
    teacher: Teacher,
    data: DistillationPictures,
    config: DistillationConfig,
    *,
    on_step: StepCallback | None = None,
) -> DistillationResult:
    """Train `student` to give the features of `teacher`, in place; it is left with its best weights.

    Where a loss is not finite, training ends with the last good weights.

    Args:
        student: Network from (B, student_px, student_px, 3) uint8 to (B, dim) float32.
        student_px: Pixels per side of its pictures.
        teacher: Function that gives the features to learn.
        data: Pictures to learn from and to validate on.
        config: Settings of distillation.
        on_step: Called after each validation.

    Raises:
        CompressError: There are fewer than two videos, features are not finite or of another length, or not
            even the initial weights were good.
    """
    import torch

    is_held_out = np.isin(data.videos, held_out_videos(data.videos, config))
    train, held_out = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        distillation = _Distillation(student, student_px, teacher, data.pictures, config)
        distillation.prepare(train, held_out)
        return distillation.run(train, on_step)
    finally:
        torch.set_num_threads(before)
        student.eval()


def resize_pictures(pictures: Frames, px: int) -> Frames:
    """Return (N, px, px, 3) uint8: pictures scaled to another size, with antialiasing where they shrink."""
    import torch

    return _scaled(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2), px)


def held_out_videos(videos: npt.NDArray[np.int64], config: DistillationConfig) -> npt.NDArray[np.int64]:
    """Draw the videos that a student is validated on and not trained on.

    Args:
        videos: Video numbers, in any order and with repetitions.
        config: Share and seed.

    Returns:
        Sorted numbers of the held-out videos: at least one, and not all.

    Raises:
        CompressError: There are fewer than two videos.
    """
    unique = np.unique(videos)
    if len(unique) < 2:
        raise CompressError(
            f"a student needs pictures of at least 2 videos, one to learn from and one to validate on: "
            f"there {'is' if len(unique) == 1 else 'are'} {len(unique)}",
            fix="give --videos a folder with more videos that can be decoded",
        )
    count = min(len(unique) - 1, max(1, round(len(unique) * config.validation)))
    return np.sort(np.random.default_rng(config.seed).permutation(unique)[:count])


class _Distillation:
    """State of one distillation."""

    def __init__(
        self,
        student: "nn.Module",
        px: int,
        teacher: Teacher,
        pictures: Frames,
        config: DistillationConfig,
    ) -> None:
        import torch

        self._student = student.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._px, self._teacher, self._pictures = px, teacher, pictures
        self._config, self._random = config, np.random.default_rng(config.seed)
        self._result = DistillationResult()
        self._best: dict[str, Tensor] = {}

    def prepare(self, train: npt.NDArray[np.int64], held_out: npt.NDArray[np.int64]) -> None:
        """Compute the teacher's features of some training pictures, and of all held-out ones."""
        import torch

        first = self._random.permutation(train)[:_CALIBRATION_PICTURES]
        targets = self._teacher_features(self._pictures[first])
        self._scale = float(targets.var(axis=0).sum()) or 1.0
        self._held_out_pictures = resize_pictures(self._pictures[held_out], self._px)
        self._held_out_targets = self._teacher_features(self._pictures[held_out])
        with torch.no_grad():
            dim = self._student(torch.from_numpy(self._held_out_pictures[:1])).shape[1]
        if dim != targets.shape[1]:
            raise CompressError(f"the student gives {dim} features and the teacher {targets.shape[1]}")

    def run(self, train: npt.NDArray[np.int64], on_step: StepCallback | None) -> DistillationResult:
        """Train all steps, and load the best weights into the student."""
        import torch

        config, losses = self._config, []
        weights = [part for part in self._student.parameters() if part.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._validate(0, [math.nan], on_step)
        self._recalibrate(train, on_step)
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _learning_rate_factor(step, config.steps)
            loss = self._loss(self._random.choice(train, config.batch))
            if not math.isfinite(loss.item()):
                self._result.stopped = f"the loss of step {step + 1} is {loss.item()}"
                break
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            losses.append(loss.item())
            if (step + 1) % config.check_every == 0 or step + 1 == config.steps:
                if not self._validate(step + 1, losses, on_step):
                    break
                losses = []
        return self._finish()

    def _recalibrate(self, train: npt.NDArray[np.int64], on_step: StepCallback | None) -> None:
        """Recalibrate the batch norms; undo it where that does not lower the held-out loss."""
        rows = self._random.permutation(train)[:_CALIBRATION_PICTURES]
        recalibrate_batch_norms(
            self._student, resize_pictures(self._pictures[rows], self._px), self._config.batch
        )
        self._validate(0, [math.nan], on_step)
        if self._best:
            self._student.load_state_dict(self._best)

    def _finish(self) -> DistillationResult:
        if not self._best:
            raise CompressError(
                f"the student learned nothing: {self._result.stopped}",
                fix="lower compress.distill.learning_rate, and check that videos decode to whole pictures",
            )
        self._student.load_state_dict(self._best)
        return self._result

    def _loss(self, rows: npt.NDArray[np.int64]) -> "Tensor":
        import torch

        large, small = self._augmented(rows)
        targets = torch.from_numpy(self._teacher_features(large))
        return ((self._student(torch.from_numpy(small)) - targets) ** 2).sum(1).mean() / self._scale

    def _validate(self, step: int, losses: list[float], on_step: StepCallback | None) -> bool:
        """Validate on the held-out videos, and return whether the features of the student are finite."""
        import torch

        with torch.no_grad():
            blocks = torch.from_numpy(self._held_out_pictures).split(self._config.batch)
            features = torch.cat([self._student(block) for block in blocks]).numpy()
        loss = float(((features - self._held_out_targets) ** 2).sum(1).mean() / self._scale)
        if not math.isfinite(loss):
            self._result.stopped = f"after step {step} the student's features are not finite"
            return False
        self._result.steps.append(DistillationStep(step, float(np.mean(losses)), loss))
        if loss < self._result.best_loss:
            self._result.best_loss = loss
            self._best = {name: value.clone() for name, value in self._student.state_dict().items()}
        if on_step:
            on_step(self._result.steps[-1])
        return True

    def _teacher_features(self, pictures: Frames) -> Vectors:
        features = self._teacher(pictures)
        if bad := find_bad_rows(~np.isfinite(features).all(axis=1)):
            raise CompressError(
                f"the teacher's features of {bad.count:,} of {len(features):,} pictures are not finite",
                fix="check the network that is to be compressed: `vrec embed` refuses such features too",
            )
        return features

    def _augmented(self, rows: npt.NDArray[np.int64]) -> tuple[Frames, Frames]:
        """Return the same random crops for the teacher, (B, S, S, 3), and for the student, (B, px, px, 3)."""
        import torch

        side, large, small = self._pictures.shape[1], [], []
        for row in rows:
            picture = torch.from_numpy(np.ascontiguousarray(self._pictures[row])).permute(2, 0, 1)[None]
            # Always drawn, so that a setting does not change all later draws.
            whole, area, stretch, top, left, mirror = self._random.random(6)
            if whole >= self._config.whole:
                edge = side * (self._config.min_area + area * (1 - self._config.min_area)) ** 0.5
                ratio = 1.25 ** (stretch - 0.5)
                height, width = (min(side, max(8, round(edge * by))) for by in (ratio, 1 / ratio))
                y, x = round(top * (side - height)), round(left * (side - width))
                picture = picture[:, :, y : y + height, x : x + width]
            if mirror < 0.5:
                picture = picture.flip(3)
            large.append(_scaled(picture, side))
            small.append(_scaled(picture, self._px))
        return np.concatenate(large), np.concatenate(small)


def _scaled(planes: "Tensor", px: int) -> Frames:
    """Return (N, px, px, 3) uint8 of an (N, 3, H, W) uint8 tensor."""
    from torch.nn.functional import interpolate

    if planes.shape[2:] != (px, px):
        planes = interpolate(planes, (px, px), mode="bilinear", antialias=True)
    return planes.permute(0, 2, 3, 1).contiguous().numpy()


def _learning_rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak learning rate in a step: a linear warm-up, then a cosine to 0."""
    warm = max(1, steps // 20)
    return (
        (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
    )
