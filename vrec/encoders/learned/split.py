"""Split of videos and pairs into a training part and a held-out part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals

RowIndices = npt.NDArray[np.int64]

MAX_HELD_OUT = 2000
"""Largest number of held-out videos, and of pairs, used in validation: more cost time and add little
accuracy."""


@dataclass(frozen=True, slots=True)
class EncoderSplit:
    """Rows of videos and of pairs; held-out ones are never trained on."""

    train: RowIndices
    """(n,) videos to train on."""
    held_out: RowIndices
    """(v,) held-out videos, at most MAX_HELD_OUT; none where the catalog is too small."""
    pairs: RowIndices
    """(p,) pairs of which both videos are in `train`."""
    held_out_pairs: RowIndices
    """(q,) pairs of which the left video is held out, at most MAX_HELD_OUT."""


def split_videos(
    usable: RowIndices, behavior: BehaviorSignals | None, share: float, seed: int
) -> EncoderSplit:
    """Hold out a share of the videos, and split the pairs accordingly.

    Args:
        usable: Rows of videos with features.
        behavior: Pairs of videos; None without.
        share: Share of `usable` to hold out. Fewer than 2, or all but fewer than 2, hold out none.
        seed: Seed of the draw.

    Raises:
        FitError: There are fewer than two videos or, with behavior, fewer than two pairs to train on.
    """
    if len(usable) < 2:
        raise FitError(
            f"training: {len(usable)} {'video' if len(usable) == 1 else 'videos'} with features, and "
            "training needs at least 2",
            fix="train on a larger catalog, or embed this one without a learned encoder",
        )
    rng = np.random.default_rng(seed)
    count = round(share * len(usable))
    out = rng.permutation(usable)[: count if 2 <= count <= len(usable) - 2 else 0]
    train, held_out = np.setdiff1d(usable, out), np.sort(out[:MAX_HELD_OUT])
    if behavior is None:
        empty = np.zeros(0, np.int64)
        return EncoderSplit(train, held_out, empty, empty)
    in_train, in_out = (np.isin(np.arange(len(behavior.popularity)), part) for part in (train, out))
    left, right = behavior.left, behavior.right
    pairs = np.flatnonzero(in_train[left] & in_train[right])
    if len(pairs) < 2:
        raise FitError(
            f"training: {len(pairs)} pairs of videos that one shopper watched are too few to learn from",
            fix="give more events, or train with objective.kind=self_supervised",
        )
    held_out_pairs = np.flatnonzero(in_out[left] & (in_train | in_out)[right])
    sampled = rng.permutation(held_out_pairs)[:MAX_HELD_OUT]
    return EncoderSplit(train, held_out, pairs, np.sort(sampled))
