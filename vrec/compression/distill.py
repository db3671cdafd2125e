"""A small network that learns to see what a large one sees, from pictures without labels.

The student's features are to be the teacher's (FitNets: Romero et al. 2015), so that whatever was made for
the teacher's, such as thresholds and heads, has the same meaning on the student's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.compression.batch_norm import recalibrate_batch_norms
from vrec.core.config import BaseConfig
from vrec.core.errors import CompressError
from vrec.core.types import Frames, Vectors

if TYPE_CHECKING:
    from torch import Tensor, nn

Teacher = Callable[[Frames], Vectors]
"""(B, S, S, 3) uint8 to (B, dim) float32."""
StepCallback = Callable[["DistillationStep"], None]

_FIRST_LOOK = 256
"""Pictures from which the scale of the teacher's features, and the student's norms, are taken."""


class DistillationConfig(BaseConfig):
    """How a student learns."""

    steps: int = Field(default=300, ge=1)
    """Batches it learns from."""
    batch: int = Field(default=32, ge=2)
    """Pictures in a batch."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """AdamW's step size at its highest; it rises over the first twentieth and falls to 0 by a cosine."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """AdamW's pull of weights towards 0."""
    whole: float = Field(default=0.3, ge=0, le=1)
    """Share of pictures shown whole, as when embedding; of the others a random part is shown."""
    min_area: float = Field(default=0.4, gt=0, le=1)
    """Smallest share of a picture that such a part is."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of videos that are kept back to tell when the student is at its best."""
    check_every: int = Field(default=50, ge=1)
    """Steps from one look at the videos kept back to the next."""
    seed: int = Field(default=0, ge=0)
    """Draws the videos kept back, the batches and the parts shown."""
    threads: int = Field(default=1, ge=1)
    """CPU threads that learning takes."""


@dataclass(frozen=True, slots=True)
class DistillationPictures:
    """Pictures without labels."""

    pictures: Frames
    """(N, S, S, 3) uint8, of the teacher's size."""
    videos: npt.NDArray[np.int64]
    """(N,) int64: of which video each is."""


@dataclass(frozen=True, slots=True)
class DistillationStep:
    """One look at the videos kept back."""

    step: int
    loss: float
    """Share of the teacher's variance that the student misses on training pictures since the last look."""
    held_out_loss: float
    """The same on whole pictures of videos that it does not learn from."""


@dataclass(slots=True)
class DistillationResult:
    """How it went; the student itself holds the weights that were best."""

    steps: list[DistillationStep] = field(default_factory=list)
    best_loss: float = math.inf
    """The lowest `kept_back`."""
    stopped: str | None = None
    """Why it ended early, where it did."""


def distill(
    student: "nn.Module",
    student_px: int,
    teacher: Teacher,
    data: DistillationPictures,
    config: DistillationConfig,
    *,
    on_step: StepCallback | None = None,
) -> DistillationResult:
    """How `student` learned the `teacher`'s features; it is changed in place and left with its best weights.

    The student maps (B, student_px, student_px, 3) uint8 to (B, dim). Where a loss is not a number, learning
    ends with the last good weights. Raises CompressError for fewer than two videos, for features that are not
    finite or of another length, and where not even the first weights were good.
    """
    import torch

    back = held_out_videos(data.videos, config)
    is_back = np.isin(data.videos, back)
    train, held = np.flatnonzero(~is_back), np.flatnonzero(is_back)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        lesson = _Distillation(student, student_px, teacher, data.pictures, config)
        lesson.begin(train, held)
        return lesson.learn(train, on_step)
    finally:
        torch.set_num_threads(before)
        student.eval()


def resize_pictures(pictures: Frames, px: int) -> Frames:
    """(N, px, px, 3) uint8: pictures scaled to another size, smoothed where they shrink."""
    import torch

    return _scaled(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2), px)


def held_out_videos(videos: npt.NDArray[np.int64], config: DistillationConfig) -> npt.NDArray[np.int64]:
    """The videos, of all that `videos` names, that a student does not learn from but is judged on.

    Raises CompressError for fewer than two.
    """
    known = np.unique(videos)
    if len(known) < 2:
        raise CompressError(
            f"a student needs pictures of at least 2 videos, one to learn from and one to be judged on: "
            f"there {'is' if len(known) == 1 else 'are'} {len(known)}",
            fix="give --videos a folder with more videos that can be decoded",
        )
    count = min(len(known) - 1, max(1, round(len(known) * config.validation)))
    return np.sort(np.random.default_rng(config.seed).permutation(known)[:count])


class _Distillation:
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

    def begin(self, train: npt.NDArray[np.int64], kept_back: npt.NDArray[np.int64]) -> None:
        """Looks at the teacher's features, of some pictures to learn from and of all that are kept back."""
        import torch

        first = self._random.permutation(train)[:_FIRST_LOOK]
        known = self._teacher_features(self._pictures[first])
        self._scale = float(known.var(axis=0).sum()) or 1.0
        self._kept_small = resize_pictures(self._pictures[kept_back], self._px)
        self._kept_known = self._teacher_features(self._pictures[kept_back])
        with torch.no_grad():
            dim = self._student(torch.from_numpy(self._kept_small[:1])).shape[1]
        if dim != known.shape[1]:
            raise CompressError(f"the student gives {dim} features and the teacher {known.shape[1]}")

    def learn(self, train: npt.NDArray[np.int64], watch: StepCallback | None) -> DistillationResult:
        import torch

        config, losses = self._config, []
        weights = [part for part in self._student.parameters() if part.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._validate(0, [math.nan], watch)
        self._set_norms(train, watch)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _learning_rate_factor(step, config.steps)
            loss = self._loss(self._random.choice(train, config.batch))
            if not math.isfinite(loss.item()):
                self._result.stopped = f"the loss of step {step + 1} is {loss.item()}"
                break
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            losses.append(loss.item())
            if (step + 1) % config.check_every == 0 or step + 1 == config.steps:
                if not self._validate(step + 1, losses, watch):
                    break
                losses = []
        return self._end()

    def _set_norms(self, train: npt.NDArray[np.int64], watch: StepCallback | None) -> None:
        """Takes the norms' statistics from the pictures where the student then misses less."""
        rows = self._random.permutation(train)[:_FIRST_LOOK]
        recalibrate_batch_norms(
            self._student, resize_pictures(self._pictures[rows], self._px), self._config.batch
        )
        self._validate(0, [math.nan], watch)
        if self._best:
            self._student.load_state_dict(self._best)

    def _end(self) -> DistillationResult:
        if not self._best:
            raise CompressError(
                f"the student learned nothing: {self._result.stopped}",
                fix="lower compress.distill.learning_rate, and see that the pictures are whole",
            )
        self._student.load_state_dict(self._best)
        return self._result

    def _loss(self, rows: npt.NDArray[np.int64]) -> "Tensor":
        import torch

        large, small = self._parts_shown(rows)
        known = torch.from_numpy(self._teacher_features(large))
        return ((self._student(torch.from_numpy(small)) - known) ** 2).sum(1).mean() / self._scale

    def _validate(self, step: int, losses: list[float], watch: StepCallback | None) -> bool:
        """Whether the student is still sound, after a look at the videos kept back."""
        import torch

        with torch.no_grad():
            blocks = torch.from_numpy(self._kept_small).split(self._config.batch)
            given = torch.cat([self._student(block) for block in blocks]).numpy()
        missed = float(((given - self._kept_known) ** 2).sum(1).mean() / self._scale)
        if not math.isfinite(missed):
            self._result.stopped = f"after step {step} the student's features are not finite"
            return False
        self._result.steps.append(DistillationStep(step, float(np.mean(losses)), missed))
        if missed < self._result.best_loss:
            self._result.best_loss = missed
            self._best = {name: value.clone() for name, value in self._student.state_dict().items()}
        if watch:
            watch(self._result.steps[-1])
        return True

    def _teacher_features(self, pictures: Frames) -> Vectors:
        found = self._teacher(pictures)
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(bad):
            raise CompressError(
                f"the teacher's features of {len(bad):,} of {len(found):,} pictures are not finite",
                fix="check the network that is to be compressed: `vrec embed` would refuse them too",
            )
        return found

    def _parts_shown(self, rows: npt.NDArray[np.int64]) -> tuple[Frames, Frames]:
        """The same parts of pictures for the teacher (B, S, S, 3) and for the student (B, px, px, 3)."""
        import torch

        side, large, small = self._pictures.shape[1], [], []
        for row in rows:
            picture = torch.from_numpy(np.ascontiguousarray(self._pictures[row])).permute(2, 0, 1)[None]
            # Drawn whatever comes of it, so that one setting does not change all later draws.
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
    """(N, 3, H, W) uint8 tensor to (N, px, px, 3) uint8."""
    from torch.nn.functional import interpolate

    if planes.shape[2:] != (px, px):
        planes = interpolate(planes, (px, px), mode="bilinear", antialias=True)
    return planes.permute(0, 2, 3, 1).contiguous().numpy()


def _learning_rate_factor(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return (
        (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
    )
