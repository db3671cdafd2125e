"""What shoppers did, as far as encoders learn from it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError

FIX = "make it from the interactions and the features of the same catalogue"


@dataclass(frozen=True, slots=True)
class BehaviorSignals:
    """Which of N videos were watched by the same shoppers. Raises FitError for numbers that cannot be."""

    left: npt.NDArray[np.int64]
    """(P,) rows of the FeatureSet."""
    right: npt.NDArray[np.int64]
    """(P,) rows of videos that the same shopper watched as the left one of the pair."""
    popularity: npt.NDArray[np.float64]
    """(N,) how often each video was watched; only ratios matter."""
    targets: npt.NDArray[np.float32] | None = None
    """(N, k) vectors of collaborative filtering, to be learned from content."""
    has_target: npt.NDArray[np.bool_] | None = None
    """(N,) whose vectors those are, where there are targets."""

    def __post_init__(self) -> None:
        count = len(self.popularity)
        ends = np.concatenate([self.left, self.right])
        if self.left.shape != self.right.shape or self.left.ndim != 1:
            raise FitError(f"behaviour: pairs of {self.left.shape} and {self.right.shape} videos", fix=FIX)
        if len(ends) and not 0 <= ends.min() <= ends.max() < count:
            raise FitError(f"behaviour: a pair names row {ends.max()} of {count:,} videos", fix=FIX)
        if same := int((self.left == self.right).sum()):
            raise FitError(f"behaviour: {same:,} pairs are of a video with itself", fix=FIX)
        if not (np.isfinite(self.popularity).all() and (self.popularity >= 0).all()):
            raise FitError("behaviour: popularity has numbers that are negative or not finite", fix=FIX)
        if unseen := int((self.popularity[ends] == 0).sum()):
            raise FitError(f"behaviour: {unseen:,} pairs' videos have a popularity of 0", fix=FIX)
        self._check_targets(count)

    def _check_targets(self, count: int) -> None:
        if self.targets is None:
            return
        if self.has_target is None or self.has_target.shape != (count,) or len(self.targets) != count:
            raise FitError(f"behaviour: targets do not go with {count:,} videos", fix=FIX)
        known = self.targets[self.has_target]
        if not (np.isfinite(known).all() and (known != 0).any(axis=1).all()):
            raise FitError("behaviour: targets hold vectors that are zero or not finite", fix=FIX)
