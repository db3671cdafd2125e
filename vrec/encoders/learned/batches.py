"""What a training step is given: videos in two views, and pairs that the same shoppers watched."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureTensors
from vrec.encoders.learned.objective import PairBatch, ViewBatch
from vrec.encoders.learned.split import EncoderSplit, RowIndices


class EncoderBatches:
    """The steps of a training, on a device, from features and behaviour."""

    def __init__(
        self,
        features: FeatureSet,
        behaviour: BehaviorSignals | None,
        split: EncoderSplit,
        unwatched: bool,
        device: torch.device,
    ) -> None:
        """With `unwatched`, each step on pairs also takes videos that nobody has watched."""
        self.split, self.behaviour, self.device = split, behaviour, device
        self.tensors = FeatureTensors(features, device, features.dims)
        self.examples = len(split.train if behaviour is None else split.pairs)
        """How many there are in an epoch: videos, or pairs with behaviour."""
        nobody = np.zeros(0, np.int64)
        if behaviour is not None and unwatched:
            nobody = split.train[behaviour.popularity[split.train] == 0]
        self._unwatched = nobody

    @property
    def target_dim(self) -> int:
        """Length of the vectors of collaborative filtering; 0 for none."""
        targets = None if self.behaviour is None else self.behaviour.targets
        return 0 if targets is None else targets.shape[1]

    def batch(
        self, places: RowIndices, rng: np.random.Generator
    ) -> tuple[ViewBatch | None, PairBatch | None]:
        """What a step is given, of examples by their places among all."""
        if self.behaviour is None:
            return self.view_batch(self.split.train[places], rng), None
        views, count = None, min(len(places), len(self._unwatched))
        if count > 1:
            views = self.view_batch(rng.choice(self._unwatched, count, replace=False), rng)
        return views, self.pair_batch(self.split.pairs[places], rng)

    def view_batch(self, rows: RowIndices, rng: np.random.Generator | None = None) -> ViewBatch:
        """Two views of each video: two at random, or without `rng` the first two.

        A view that is alone is given twice: dropout makes two of it (Gao et al. 2021).
        """
        count = self.tensors.views
        one, other = np.zeros(len(rows), np.int64), np.full(len(rows), 1 % count)
        if rng is not None and count > 1:
            one = rng.integers(0, count, len(rows))
            other = (one + rng.integers(1, count, len(rows))) % count
        return ViewBatch(self.tensors.take(rows, one), self.tensors.take(rows, other))

    def pair_batch(self, places: RowIndices, rng: np.random.Generator | None = None) -> PairBatch:
        """Pairs by their places in the behaviour: views at random, or without `rng` the videos themselves."""
        behaviour = self.behaviour
        assert behaviour is not None
        left, right = behaviour.left[places], behaviour.right[places]
        both, count = np.concatenate([left, right]), len(left)
        views = np.zeros(2 * count, np.int64)
        if rng is not None:
            views = rng.integers(0, self.tensors.views, 2 * count)
        log_q = np.log(behaviour.popularity[both] / behaviour.popularity.sum()).astype(np.float32)
        targets, known = behaviour.targets, behaviour.has_target
        return PairBatch(
            self.tensors.take(left, views[:count]),
            self.tensors.take(right, views[count:]),
            (self._tensor(left), self._tensor(right)),
            (self._tensor(log_q[:count]), self._tensor(log_q[count:])),
            None if targets is None else self._tensor(targets[both]),
            None if known is None else self._tensor(known[both]),
        )

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
