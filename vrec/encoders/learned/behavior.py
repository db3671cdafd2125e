"""Signals of shoppers' behavior that encoders learn from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError

FIX = "make it from the interactions and the features of the same catalog"


@dataclass(frozen=True, slots=True)
class BehaviorSignals:
    """Pairs of N videos that were watched by the same shoppers.

    Raises:
        FitError: Arrays do not match each other, or have values that are impossible.
    """

    left: npt.NDArray[np.int64]
    """(P,) rows of the FeatureSet: one video of each pair."""
    right: npt.NDArray[np.int64]
    """(P,) rows of the FeatureSet: the other video of each pair, watched by the same shopper."""
    popularity: npt.NDArray[np.float64]
    """(N,) number of times that each video was watched; only ratios matter."""
    targets: npt.NDArray[np.float32] | None = None
    """(N, k) vectors of collaborative filtering, to be predicted from content."""
    has_target: npt.NDArray[np.bool_] | None = None
    """(N,) whether a video has a target vector; required where there are targets."""

    def __post_init__(self) -> None:
        count = len(self.popularity)
        ends = np.concatenate([self.left, self.right])
        if self.left.shape != self.right.shape or self.left.ndim != 1:
            raise FitError(f"behavior: pairs of {self.left.shape} and {self.right.shape} videos", fix=FIX)
        if len(outside := ends[(ends < 0) | (ends >= count)]):
            raise FitError(f"behavior: a pair names row {outside[0]} of {count:,} videos", fix=FIX)
        if same := int((self.left == self.right).sum()):
            raise FitError(f"behavior: {same:,} pairs are of a video with itself", fix=FIX)
        if not (np.isfinite(self.popularity).all() and (self.popularity >= 0).all()):
            raise FitError("behavior: popularity has numbers that are negative or not finite", fix=FIX)
        if unseen := int((self.popularity[ends] == 0).sum()):
            raise FitError(f"behavior: {unseen:,} videos of pairs have a popularity of 0", fix=FIX)
        self._check_targets(count)

    def _check_targets(self, count: int) -> None:
        if self.targets is None:
            return
        if self.has_target is None or self.has_target.shape != (count,) or len(self.targets) != count:
            raise FitError(f"behavior: targets do not match {count:,} videos", fix=FIX)
        known = self.targets[self.has_target]
        if not (np.isfinite(known).all() and (known != 0).any(axis=1).all()):
            raise FitError("behavior: targets hold vectors that are zero or not finite", fix=FIX)
