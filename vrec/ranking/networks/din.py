"""What of a shopper's history bears on a candidate: the deep interest network (Zhou et al. 2018)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.ranking.networks.layers import (
    Activation,
    EmbeddedBatch,
    EmbeddingWidths,
    Mlp,
    build_activation,
    by_candidate,
)

PAIRS_PER_CHUNK = 5_000
"""Pairs of a candidate and an entry weighed at a time: with 36 numbers each they fit a core's cache."""


class LocalActivation(nn.Module):
    """How much each entry of a history counts for each candidate: a network over both.

    It sees the entry, the candidate, their difference and their product, and the numbers about the entry.
    """

    def __init__(
        self, item: int, numbers: int, widths: Sequence[int], activation: Activation = "dice"
    ) -> None:
        super().__init__()
        self.item = item
        self.first = nn.Linear(4 * item + numbers, widths[0])
        self.activation = build_activation(activation, widths[0])
        self.deeper = Mlp(widths[0], widths[1:], activation)
        self.last = nn.Linear(widths[-1], 1)

    def forward(
        self, candidate: Tensor, history: Tensor, numbers: Tensor, mask: Tensor, request: Tensor
    ) -> Tensor:
        """(N, L) weights, 0 in the padding, not normed: their sum tells how strong the interest is.

        Of (N, d) candidates of (N,) requests with (R, L, d) histories, (R, L, Dh) numbers and (R, L) masks.
        """
        shown, first = by_candidate(mask, request), self._first(history, numbers)  # shown (N, L)
        if self.training:
            # Padding must have no part in Dice's moments, nor need it cost time.
            x = first(candidate, request).view(shown.numel(), self.first.out_features)
            rows = shown.flatten().nonzero()[:, 0]
            weights = x.new_zeros(len(x))
            return weights.index_copy(0, rows, self._deeper(x.index_select(0, rows))).view(shown.shape)
        # A few candidates at a time: what the layers pass on stays in the cache, a third of the time.
        step = (
            len(candidate)
            if torch.compiler.is_compiling()
            else max(1, PAIRS_PER_CHUNK // max(1, shown.shape[1]))
        )
        weights = [
            self._deeper(first(some, of).view(-1, self.first.out_features))
            for some, of in zip(candidate.split(step), request.split(step), strict=True)
        ]
        return torch.cat(weights).view(shown.shape) * shown if weights else shown * 0.0

    def _deeper(self, x: Tensor) -> Tensor:
        """(X,) weights of (X, first width) pairs."""
        return self.last(self.deeper(self.activation(x)))[:, 0]

    def _first(self, history: Tensor, numbers: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """A function that gives the first layer's N × L × width numbers, in some shape, of (N, d) candidates
        of (N,) requests and all entries of their histories.

        The layer is linear in [entry, candidate, difference, product, numbers], so that what depends on the
        entry or the candidate alone is computed once for each, and no (N, L, 4 d) inputs are ever built.
        """
        entry, own, difference, product, number = self.first.weight.split(
            [self.item, self.item, self.item, self.item, numbers.shape[2]], dim=1
        )
        of_entries = functional.linear(
            torch.cat([history, numbers], dim=2),
            torch.cat([entry + difference, number], dim=1),
            self.first.bias,
        )  # (R, L, width)
        if history.shape[0] == 1:
            # Serving: what a history does to a candidate is one matrix, (L × width, d), for all candidates.
            matrix = torch.addcmul(own - difference, history[0, :, None], product).flatten(0, 1).T
            flat = of_entries.flatten()
            return lambda candidate, request: torch.addmm(flat, candidate, matrix)

        def pairs(candidate: Tensor, request: Tensor) -> Tensor:
            products = functional.linear(by_candidate(history, request) * candidate[:, None], product)
            of_candidates = functional.linear(candidate, own - difference)
            return products + by_candidate(of_entries, request) + of_candidates[:, None]

        return pairs


class DinTrunk(nn.Module):
    """The network's trunk: the interest that the candidate meets, beside all else, through dense layers."""

    def __init__(
        self,
        widths: EmbeddingWidths,
        attention: Sequence[int],
        hidden: Sequence[int],
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = LocalActivation(widths.item, widths.history, attention, activation)
        inputs = 2 * widths.item + widths.context + widths.candidate
        self.mlp = Mlp(inputs, hidden, activation, dropout)
        self.width = self.mlp.width

    def forward(self, x: EmbeddedBatch) -> Tensor:
        """(N, width)."""
        weights = self.attention(x.item, x.history, x.history_dense, x.mask, x.request)
        parts = [pooled_interest(weights, x), x.item, by_candidate(x.context, x.request), x.candidate]
        return self.mlp(torch.cat(parts, dim=1))


def pooled_interest(weights: Tensor, x: EmbeddedBatch) -> Tensor:
    """(N, d) sums of the histories' videos by (N, L) weights: zeros for a shopper without a history."""
    if x.history.shape[0] == 1:
        return weights @ x.history[0]
    return torch.bmm(weights[:, None], by_candidate(x.history, x.request))[:, 0]
