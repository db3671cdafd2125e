"""Gradients of a ranking network by shopper."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.networks.layers import CatalogTensors, RankingBatch, to_catalog_tensors
from vrec.ranking.networks.network import LinearTrunk, RankerNetwork
from vrec.ranking.training import DeviceExamples

Rows = npt.NDArray[np.int64]
Weights = dict[str, Tensor]


class PlainForward(nn.Module):
    """Click logits of a network in evaluation mode, by operations that `torch.func` can map over shoppers.

    In evaluation mode nothing is dropped and no moment of a batch is used, which would mix shoppers.
    """

    def __init__(self, network: RankerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: RankingBatch, catalog: CatalogTensors) -> Tensor:
        """Return the (N,) logits of N candidates, each with a request of its own."""
        count, history = len(batch.video), batch.history
        rows = torch.cat([torch.zeros_like(batch.video[:1]), batch.video, history.flatten()])
        places = torch.arange(history.numel(), device=rows.device).view(history.shape) + count + 1
        compact = batch._replace(
            video=torch.arange(1, count + 1, device=rows.device), history=torch.where(history != 0, places, 0)
        )
        outputs = self.network.score_embedded(compact, self.network.items_of(catalog.take(rows)))
        if self.network.positions is None:
            return outputs.click
        return outputs.click + self.network.positions(batch.position)[:, 0]


class ShopperGradients:
    """Gradients of the click loss, one for all impressions of a shopper that are drawn for a step."""

    def __init__(
        self,
        network: RankerNetwork,
        features: RankingFeatures,
        labels: ImpressionLabels,
        shopper: Rows,
        *,
        examples: int,
        device: torch.device,
    ) -> None:
        """Take the impressions of all shoppers.

        Args:
            network: Network whose weights the gradients are for.
            features: Features of N impressions.
            labels: Their outcomes.
            shopper: (N,) number of each impression's shopper, from 0 without gaps.
            examples: Most impressions of a shopper per step.
            device: Device of the computation.
        """
        self.network = network.to(device).eval()
        self.forward = PlainForward(self.network)
        self.catalog = to_catalog_tensors(features.catalog, device)
        if isinstance(network.trunk, LinearTrunk):
            # It does not read the history, whose embedding would take most of the time.
            features = replace(features, history=features.history[:, :0])
            features = replace(features, history_dense=features.history_dense[:, :0])
        self.data = DeviceExamples(features, labels, None, device)
        self.order = np.argsort(shopper, kind="stable")
        self.starts = np.searchsorted(shopper[self.order], np.arange(int(shopper.max(initial=-1)) + 2))
        # From the system's entropy: with a seed that is known, one shopper more would change the impressions
        # that are drawn of all after her, and so the sum by more than her own gradient.
        self.examples, self.rng, self.device = examples, np.random.default_rng(), device
        self.sizes = {name: weight.numel() for name, weight in self.network.named_parameters()}

    @property
    def width(self) -> int:
        """Number of weights."""
        return sum(self.sizes.values())

    def __len__(self) -> int:
        """Return the number of shoppers."""
        return len(self.starts) - 1

    def __call__(self, shoppers: Rows) -> npt.NDArray[np.float32]:
        """Return the (B, width) gradients of shoppers: of the sum of the losses, over `examples`."""
        rows, used = self._draw(shoppers)
        batch, labels = self.data.take(rows.ravel())
        shape = rows.shape
        # Padded so that each shopper's impressions are one row; the padding has weight 0.
        own = RankingBatch(*(part.unflatten(0, shape) for part in batch))
        request = torch.arange(shape[1], device=self.device).expand(shape)
        weights = torch.from_numpy(used.astype(np.float32) / self.examples).to(self.device)
        params = {name: weight.detach() for name, weight in self.network.named_parameters()}
        found = vmap(grad(self._loss), in_dims=(None, 0, 0, 0))(
            params, own._replace(request=request), labels.click.view(shape), weights
        )
        return torch.cat([found[name].flatten(1) for name in self.sizes], dim=1).cpu().numpy()

    def set_gradient(self, vector: npt.NDArray[np.float64]) -> None:
        """Set the gradient of the network's weights from a (width,) vector."""
        parts = torch.from_numpy(vector.astype(np.float32)).to(self.device).split(list(self.sizes.values()))
        for weight, part in zip(self.network.parameters(), parts, strict=True):
            weight.grad = part.view_as(weight).clone()

    def _loss(self, params: Weights, batch: RankingBatch, click: Tensor, weights: Tensor) -> Tensor:
        named = {f"network.{name}": weight for name, weight in params.items()}
        logits = functional_call(self.forward, named, (batch, self.catalog))
        each = functional.binary_cross_entropy_with_logits(logits, click, reduction="none")
        return (each * weights).sum()

    def _draw(self, shoppers: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return (B, most) rows of impressions, and which of them are no padding; most ≤ `examples`."""
        first, count = self.starts[shoppers], self.starts[shoppers + 1] - self.starts[shoppers]
        most = min(self.examples, int(count.max(initial=1)))
        rows = np.zeros((len(shoppers), most), np.int64)
        used = np.arange(most) < count[:, None]
        for place, (start, size) in enumerate(zip(first.tolist(), count.tolist(), strict=True)):
            chosen = self.rng.permutation(size)[: self.examples] if size > self.examples else np.arange(size)
            rows[place, : len(chosen)] = self.order[start + chosen]
        return rows, used
