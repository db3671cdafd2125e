"""Which videos and pairs a head is trained on, and which judge it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals

RowIndices = npt.NDArray[np.int64]

MAX_HELD_OUT = 2000
"""The most videos, and pairs, that judge: more take longer and say little more."""


@dataclass(frozen=True, slots=True)
class EncoderSplit:
    """Rows of videos and of pairs; those that judge are never trained on."""

    train: RowIndices
    """(n,) videos to train on."""
    held_out: RowIndices
    """(v,) videos held out, at most JUDGES of them; none where the catalogue is too small."""
    pairs: RowIndices
    """(p,) pairs of which both videos are trained on."""
    held_out_pairs: RowIndices
    """(q,) pairs of which the left video is held out, at most JUDGES of them."""


def split_videos(
    usable: RowIndices, behaviour: BehaviorSignals | None, share: float, seed: int
) -> EncoderSplit:
    """A share of the videos held out by a seed, and the pairs that go with each part.

    Raises FitError where fewer than two videos are left to train on, or, with behaviour, two pairs.
    """
    if len(usable) < 2:
        raise FitError(
            f"training: {len(usable)} {'video' if len(usable) == 1 else 'videos'} with features: to learn "
            "what tells videos apart takes two at the very least",
            fix="train on a larger catalogue, or embed this one without a learned encoder",
        )
    rng = np.random.default_rng(seed)
    count = round(share * len(usable))
    out = rng.permutation(usable)[: count if 2 <= count <= len(usable) - 2 else 0]
    train, judges = np.setdiff1d(usable, out), np.sort(out[:MAX_HELD_OUT])
    nothing = np.zeros(0, np.int64)
    if behaviour is None:
        return EncoderSplit(train, judges, nothing, nothing)
    trained, judged = (np.isin(np.arange(len(behaviour.popularity)), part) for part in (train, out))
    left, right = behaviour.left, behaviour.right
    pairs = np.flatnonzero(trained[left] & trained[right])
    if len(pairs) < 2:
        raise FitError(
            f"training: {len(pairs)} pairs of videos that one shopper watched: too few to learn from",
            fix="give more events, or train with objective.kind=self_supervised",
        )
    judging = np.flatnonzero(judged[left] & (trained | judged)[right])
    chosen = rng.permutation(judging)[:MAX_HELD_OUT]
    return EncoderSplit(train, judges, pairs, np.sort(chosen))
