"""How good a head is on videos that it was not trained on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vrec.encoders.learned.batches import EncoderBatches
from vrec.encoders.learned.objective import EncoderObjective, PairBatch, ViewBatch
from vrec.encoders.learned.split import MAX_HELD_OUT, RowIndices

BLOCK = 1024
"""Videos that are encoded at once."""


def no_validation_reason(lessons: EncoderBatches) -> str | None:
    """Why nothing held out can judge; None where it can."""
    if len(lessons.split.held_out) < 2:
        return "the catalogue is too small, or `validation` too low, to hold two videos out"
    if lessons.behaviour is not None and len(lessons.split.held_out_pairs) < 2:
        return "fewer than two pairs have a video that is held out"
    return None


@torch.no_grad()
def validation_metrics(
    objective: EncoderObjective, lessons: EncoderBatches, batch_size: int
) -> dict[str, float]:
    """The losses over what is held out by name, their `total`, and `mrr`, as EncoderTrainer.validate says.

    What torch draws here is the caller's to seed.
    """
    sums: dict[str, float] = {}
    judging = lessons.split.held_out if lessons.behaviour is None else lessons.split.held_out_pairs
    # Of one view, dropout makes two.
    objective.train(lessons.behaviour is None and lessons.tensors.views == 1)
    for rows in np.array_split(judging, -(-len(judging) // batch_size)):
        for name, loss in objective(*_held_out(lessons, rows)).items():
            sums[name] = sums.get(name, 0.0) + float(loss) * len(rows)
    mrr = _views_mrr(objective, lessons) if lessons.behaviour is None else _pairs_mrr(objective, lessons)
    objective.eval()
    return {name: total / len(judging) for name, total in sums.items()} | {"mrr": mrr}


def mean_reciprocal_rank(
    queries: Tensor, candidates: Tensor, targets: Tensor, excluded: Tensor | None
) -> float:
    """The mean of 1 / rank by cosine of (Q,) `wanted` of (C, dim) candidates for (Q, dim) queries.

    `barred`, (Q,), are candidates that a query does not rank: itself. Equal cosines count as halfway.
    """
    cosines = queries @ candidates.T
    if excluded is not None:
        cosines.scatter_(1, excluded[:, None], -torch.inf)
    own = cosines.gather(1, targets[:, None])
    above, equal = (cosines > own).sum(dim=1), (cosines == own).sum(dim=1)
    return float((1 / (above + (equal + 1) / 2)).mean())


def _held_out(lessons: EncoderBatches, rows: RowIndices) -> tuple[ViewBatch | None, PairBatch | None]:
    if lessons.behaviour is None:
        return lessons.view_batch(rows), None
    return None, lessons.pair_batch(rows)


def _views_mrr(objective: EncoderObjective, lessons: EncoderBatches) -> float:
    one, other = [], []
    for rows in _blocks(lessons.split.held_out):
        views = lessons.view_batch(rows)
        one.append(objective.head.vectors(views.one))
        other.append(objective.head.vectors(views.other))
    places = torch.arange(len(lessons.split.held_out), device=one[0].device)
    return mean_reciprocal_rank(torch.cat(one), torch.cat(other), places, None)


def _pairs_mrr(objective: EncoderObjective, lessons: EncoderBatches) -> float:
    behaviour, places = lessons.behaviour, lessons.split.held_out_pairs
    assert behaviour is not None
    left, right = behaviour.left[places], behaviour.right[places]
    # Every so many of the videos that were trained on, so that partners are sought among a whole catalogue.
    among = lessons.split.train[:: -(-len(lessons.split.train) // MAX_HELD_OUT)]
    candidates = np.unique(np.concatenate([left, right, lessons.split.held_out, among]))
    vectors = torch.cat([objective.head.vectors(lessons.tensors.take(rows)) for rows in _blocks(candidates)])
    asking, wanted = (
        torch.from_numpy(np.searchsorted(candidates, rows)).to(vectors.device) for rows in (left, right)
    )
    return mean_reciprocal_rank(vectors[asking], vectors, wanted, asking)


def _blocks(rows: RowIndices) -> Iterator[RowIndices]:
    return iter(np.array_split(rows, -(-len(rows) // BLOCK)))
