"""The statistics of batch norms, taken anew for a network that has been changed."""

from typing import TYPE_CHECKING

import numpy as np

from vrec.core.types import Frames

if TYPE_CHECKING:
    from torch import nn


def recalibrate_batch_norms(network: "nn.Module", pictures: Frames, batch: int) -> None:
    """Gives a network's batch norms the means and variances that they meet on `pictures`, in place.

    With fewer channels, or on pictures of another size, they are not those that it was trained with (Touvron
    et al. 2019). The mean of batches of `batch` pictures is taken, of (N, S, S, 3) uint8 altogether. Leaves
    the network in evaluation mode.
    """
    import torch

    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which means that all batches count alike
        norm.train()
    with torch.no_grad():
        for block in torch.from_numpy(np.ascontiguousarray(pictures)).split(batch):
            network(block)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval()
