"""Validation of a head on held-out videos."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vrec.encoders.learned.batches import EncoderBatches
from vrec.encoders.learned.objective import EncoderObjective, PairBatch, ViewBatch
from vrec.encoders.learned.split import MAX_HELD_OUT, RowIndices

BLOCK = 1024
"""Videos per block that is encoded at once."""


def no_validation_reason(batches: EncoderBatches) -> str | None:
    """Return the reason why there is no validation; None where there is."""
    if len(batches.split.held_out) < 2:
        return "the catalog is too small, or `validation` too low, to hold two videos out"
    if batches.behavior is not None and len(batches.split.held_out_pairs) < 2:
        return "fewer than two pairs have a video that is held out"
    return None


@torch.no_grad()
def validation_metrics(
    objective: EncoderObjective, batches: EncoderBatches, batch_size: int
) -> dict[str, float]:
    """Return the held-out losses by name, their `total`, and `mrr`, as `EncoderTrainer.validate` documents.

    Draws from torch's global generator, which the caller seeds.
    """
    sums: dict[str, float] = {}
    held_out = batches.split.held_out if batches.behavior is None else batches.split.held_out_pairs
    # Dropout makes two different inputs of a single view.
    objective.train(batches.behavior is None and batches.tensors.views == 1)
    for rows in np.array_split(held_out, -(-len(held_out) // batch_size)):
        for name, loss in objective(*_held_out_batch(batches, rows)).items():
            sums[name] = sums.get(name, 0.0) + float(loss) * len(rows)
    mrr = _views_mrr(objective, batches) if batches.behavior is None else _pairs_mrr(objective, batches)
    objective.eval()
    return {name: total / len(held_out) for name, total in sums.items()} | {"mrr": mrr}


def mean_reciprocal_rank(
    queries: Tensor, candidates: Tensor, targets: Tensor, excluded: Tensor | None
) -> float:
    """Return the mean of 1 / rank of each query's target among the candidates, ranked by inner product.

    A target that ties with others takes the mean of their ranks.

    Args:
        queries: (Q, dim) unit rows.
        candidates: (C, dim) unit rows.
        targets: (Q,) index of each query's target among the candidates.
        excluded: (Q,) index of the candidate that a query does not rank: itself; None for no such.
    """
    cosines = queries @ candidates.T
    if excluded is not None:
        cosines.scatter_(1, excluded[:, None], -torch.inf)
    own = cosines.gather(1, targets[:, None])
    above, equal = (cosines > own).sum(dim=1), (cosines == own).sum(dim=1)
    return float((1 / (above + (equal + 1) / 2)).mean())


def _held_out_batch(batches: EncoderBatches, rows: RowIndices) -> tuple[ViewBatch | None, PairBatch | None]:
    if batches.behavior is None:
        return batches.view_batch(rows), None
    return None, batches.pair_batch(rows)


def _views_mrr(objective: EncoderObjective, batches: EncoderBatches) -> float:
    one, other = [], []
    for rows in _blocks(batches.split.held_out):
        views = batches.view_batch(rows)
        one.append(objective.head.vectors(views.one))
        other.append(objective.head.vectors(views.other))
    targets = torch.arange(len(batches.split.held_out), device=one[0].device)
    return mean_reciprocal_rank(torch.cat(one), torch.cat(other), targets, None)


def _pairs_mrr(objective: EncoderObjective, batches: EncoderBatches) -> float:
    behavior, pairs = batches.behavior, batches.split.held_out_pairs
    assert behavior is not None
    left, right = behavior.left[pairs], behavior.right[pairs]
    # A regular sample of the training videos, so that partners are ranked among a whole catalog.
    sample = batches.split.train[:: -(-len(batches.split.train) // MAX_HELD_OUT)]
    candidates = np.unique(np.concatenate([left, right, batches.split.held_out, sample]))
    vectors = torch.cat([objective.head.vectors(batches.tensors.take(rows)) for rows in _blocks(candidates)])
    queries, targets = (
        torch.from_numpy(np.searchsorted(candidates, rows)).to(vectors.device) for rows in (left, right)
    )
    return mean_reciprocal_rank(vectors[queries], vectors, targets, queries)


def _blocks(rows: RowIndices) -> Iterator[RowIndices]:
    return iter(np.array_split(rows, -(-len(rows) // BLOCK)))
