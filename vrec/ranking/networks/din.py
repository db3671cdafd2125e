"""Deep interest network (DIN: Zhou et al. 2018)."""

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

PAIRS_PER_CHUNK = 6_000
"""Pairs of a candidate and a history entry per chunk: with 36 numbers each they fit the cache of a core."""


class LocalActivation(nn.Module):
    """Local activation unit: a network that weights each history entry for each candidate.

    Its input is the entry, the candidate, their difference, their product, and the numbers about the entry.
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
        """Weight the history entries for each candidate.

        Args:
            candidate: (N, d) candidates.
            history: (R, L, d) histories.
            numbers: (R, L, Dh) numbers about the entries.
            mask: (R, L) bool, false in the padding.
            request: (N,) request of each candidate.

        Returns:
            (N, L) weights, 0 in the padding; not normalized, so that their sum measures the interest.
        """
        shown, first = by_candidate(mask, request), self._first(history, numbers)  # shown (N, L)
        if self.training:
            # Padding must not affect the moments of Dice, nor cost time.
            x = first(candidate, request).view(shown.numel(), self.first.out_features)
            rows = shown.flatten().nonzero()[:, 0]
            weights = x.new_zeros(len(x))
            return weights.index_copy(0, rows, self._deeper(x.index_select(0, rows))).view(shown.shape)
        # In chunks of candidates: the activations stay in the cache, which takes a third of the time.
        step = (
            len(candidate)
            if torch.compiler.is_compiling()
            else max(1, PAIRS_PER_CHUNK // max(1, shown.shape[1]))
        )
        weights = [
            self._deeper(first(some, requests).view(-1, self.first.out_features))
            for some, requests in zip(candidate.split(step), request.split(step), strict=True)
        ]
        return torch.cat(weights).view(shown.shape) * shown if weights else shown * 0.0

    def _deeper(self, x: Tensor) -> Tensor:
        """Map (X, first width) hidden numbers of pairs to (X,) weights."""
        return self.last(self.deeper(self.activation(x)))[:, 0]

    def _first(self, history: Tensor, numbers: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return a function from (N, d) candidates and their (N,) requests to the first layer's outputs.

        The outputs are the N × L × width numbers for all pairs of a candidate and a history entry, in any
        shape. The layer is linear in [entry, candidate, difference, product, numbers]: the terms of the entry
        or the candidate alone are computed once for each, without ever building (N, L, 4 d) inputs.
        """
        entry, own, difference, product, number = self.first.weight.split(
            [self.item, self.item, self.item, self.item, numbers.shape[2]], dim=1
        )
        entry_terms = functional.linear(
            torch.cat([history, numbers], dim=2),
            torch.cat([entry + difference, number], dim=1),
            self.first.bias,
        )  # (R, L, width)
        if history.shape[0] == 1:
            # Serving: the history acts on all candidates as one matrix, (L × width, d).
            matrix = torch.addcmul(own - difference, history[0, :, None], product).flatten(0, 1).T
            flat = entry_terms.flatten()
            return lambda candidate, request: torch.addmm(flat, candidate, matrix)

        def pairs(candidate: Tensor, request: Tensor) -> Tensor:
            products = functional.linear(by_candidate(history, request) * candidate[:, None], product)
            candidate_terms = functional.linear(candidate, own - difference)
            return products + by_candidate(entry_terms, request) + candidate_terms[:, None]

        return pairs


class DinTrunk(nn.Module):
    """DIN trunk: dense layers over the pooled interest, the candidate and the context."""

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
        """Return (N, width)."""
        weights = self.attention(x.item, x.history, x.history_dense, x.mask, x.request)
        parts = [pooled_interest(weights, x), x.item, by_candidate(x.context, x.request), x.candidate]
        return self.mlp(torch.cat(parts, dim=1))


def pooled_interest(weights: Tensor, x: EmbeddedBatch) -> Tensor:
    """Return (N, d) sums of the history videos by (N, L) weights, zeros for an empty history."""
    if x.history.shape[0] == 1:
        return weights @ x.history[0]
    return torch.bmm(weights[:, None], by_candidate(x.history, x.request))[:, 0]
