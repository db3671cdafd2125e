"""Batches of a training step: videos in two views, and pairs of videos watched by the same shoppers."""

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
    """Source of training batches, on a device, from features and behavior."""

    def __init__(
        self,
        features: FeatureSet,
        behavior: BehaviorSignals | None,
        split: EncoderSplit,
        unwatched: bool,
        device: torch.device,
    ) -> None:
        """With `unwatched`, each batch of pairs also has views of videos that nobody has watched."""
        self.split, self.behavior, self.device = split, behavior, device
        self.tensors = FeatureTensors(features, device, features.dims)
        self.examples = len(split.train if behavior is None else split.pairs)
        """Number of examples in an epoch: videos, or pairs where there is behavior."""
        self._unwatched = np.zeros(0, np.int64)
        if behavior is not None and unwatched:
            self._unwatched = split.train[behavior.popularity[split.train] == 0]

    @property
    def target_dim(self) -> int:
        """Length of the collaborative target vectors; 0 for none."""
        targets = None if self.behavior is None else self.behavior.targets
        return 0 if targets is None else targets.shape[1]

    def batch(
        self, examples: RowIndices, rng: np.random.Generator
    ) -> tuple[ViewBatch | None, PairBatch | None]:
        """Return the views and pairs of a training step, from the indices of its examples."""
        if self.behavior is None:
            return self.view_batch(self.split.train[examples], rng), None
        views, count = None, min(len(examples), len(self._unwatched))
        if count > 1:
            views = self.view_batch(rng.choice(self._unwatched, count, replace=False), rng)
        return views, self.pair_batch(self.split.pairs[examples], rng)

    def view_batch(self, rows: RowIndices, rng: np.random.Generator | None = None) -> ViewBatch:
        """Return two different views of each video: at random, or without `rng` the first two.

        A single view is returned twice: dropout makes two different inputs of it (Gao et al. 2021).
        """
        count = self.tensors.views
        one, other = np.zeros(len(rows), np.int64), np.full(len(rows), 1 % count)
        if rng is not None and count > 1:
            one = rng.integers(0, count, len(rows))
            other = (one + rng.integers(1, count, len(rows))) % count
        return ViewBatch(self.tensors.take(rows, one), self.tensors.take(rows, other))

    def pair_batch(self, pairs: RowIndices, rng: np.random.Generator | None = None) -> PairBatch:
        """Return pairs by their index in the behavior, in random views, or without `rng` in view 0."""
        behavior = self.behavior
        assert behavior is not None
        left, right = behavior.left[pairs], behavior.right[pairs]
        both, count = np.concatenate([left, right]), len(left)
        views = np.zeros(2 * count, np.int64)
        if rng is not None:
            views = rng.integers(0, self.tensors.views, 2 * count)
        log_q = np.log(behavior.popularity[both] / behavior.popularity.sum()).astype(np.float32)
        targets, known = behavior.targets, behavior.has_target
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
