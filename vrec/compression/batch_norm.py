"""Recalibration of the batch norm statistics of a changed network."""

from typing import TYPE_CHECKING

import numpy as np

from vrec.core.types import Frames

if TYPE_CHECKING:
    from torch import nn


def recalibrate_batch_norms(network: "nn.Module", pictures: Frames, batch: int) -> None:
    """Set the means and variances of a network's batch norms to those of `pictures`, in place.

    With fewer channels, or on pictures of another size, they differ from those of training (Touvron et al.
    2019). The network is left in evaluation mode.

    Args:
        network: Network from (N, S, S, 3) uint8.
        pictures: (N, S, S, 3) uint8.
        batch: Pictures per batch; the statistics are the means over batches.
    """
    import torch

    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average: all batches have the same weight
        norm.train()
    with torch.no_grad():
        for block in torch.from_numpy(np.ascontiguousarray(pictures)).split(batch):
            network(block)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval()
