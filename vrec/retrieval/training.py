"""Fitting networks: the loop, early stopping and the device that the recommenders on torch share."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.artifact import Arrays
from vrec.core.errors import ConfigError, FitError
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.topk import Scores, mask_scores, topk_dense
from vrec.training.config import TrainingConfig, seeded_rng, torch_device

BLOCK_ROWS = 32
"""Rows that a network scores at once. Shorter blocks are filled up: the order in which a matrix product sums
depends on its shape, and a user's scores must not depend on who else is asked for."""

VALIDATION_K = 100
"""The cutoff of the NDCG that early stopping watches; a deep one, because few users judge."""
HELD_OUT_SHARE = 0.2
"""The share of a judging user's history that is hidden from the fit: the newest."""
MIN_VALIDATION_HISTORY = 5
"""The shortest history of a user who judges."""


class EarlyStoppingConfig(TrainingConfig):
    """Training that stops when it does no more good."""

    judges: float = Field(default=0.1, ge=0, lt=1)
    """Share of the users whose newest fifth is hidden from the fit to judge epochs by; 0 runs all `epochs`.
    Users with fewer than 5 videos do not judge. What is hidden still counts in what they are recommended."""
    max_judges: int = Field(default=1000, ge=1)
    """The most users who judge: more take longer and say little more."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better NDCG after which training stops; the best epoch's weights are kept."""


C = TypeVar("C", bound=TrainingConfig)
N = TypeVar("N", bound=nn.Module)


class NetworkRecommender(MatrixRecommender[C], Generic[C, N]):
    """A recommender whose fitted state is a network's weights."""

    network: N

    @abstractmethod
    def _build_network(self) -> N:
        """The network for `self.users` and `self.videos` with its first weights, on the CPU."""

    def _place(self, device: torch.device) -> None:
        """Sets `self.network` to an untrained one on a device."""
        self.device = device
        self.network = self._build_network().to(device).eval()

    def _arrays(self) -> Arrays:
        state = self.network.state_dict()
        return {f"weights.{name}": tensor.cpu().numpy() for name, tensor in state.items()}

    def _restore(self, arrays: Arrays) -> None:
        try:
            device = torch_device(self.config.device)
        except ConfigError:
            # A model that was fitted on a GPU must serve on a machine without one.
            device = torch_device("auto")
        with seeded_rng(self.config.seed):
            self._place(device)
        state = {name.removeprefix("weights."): torch.from_numpy(array) for name, array in arrays.items()}
        self.network.load_state_dict(state)


def batches(items: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Consecutive parts of (N,) items with at most `size` each."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def pad_block(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(BLOCK_ROWS,) places: those of a shorter block, then its first one again."""
    return np.concatenate([rows, np.full(BLOCK_ROWS - len(rows), rows[0])])


def train_with_early_stopping(
    network: nn.Module,
    losses: Callable[[int], Iterable[Tensor]],
    *,
    epochs: int,
    learning_rate: float,
    model_name: str,
    validate: Callable[[], float] | None = None,
    patience: int = 1,
) -> None:
    """Trains a network in place by Adam and leaves it in eval mode.

    `losses(epoch)`, from 1, gives an epoch's batches as scalar losses. `judge()` says how good the network is
    now, higher is better; after `patience` epochs without a new best, or all `epochs`, the best epoch's
    weights are put back. Raises FitError, with the epoch, where a loss or a weight is not finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best, best_epoch, kept = -np.inf, 0, {}
    for epoch in range(1, epochs + 1):
        network.train()
        for loss in losses(epoch):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        _check_finite(network, epoch, model_name, learning_rate)
        if validate is None:
            continue
        found = validate()
        if found > best:
            best, best_epoch = found, epoch
            kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        elif epoch - best_epoch >= patience:
            break
    if kept:
        network.load_state_dict(kept)


def _check_finite(network: nn.Module, epoch: int, who: str, learning_rate: float) -> None:
    # A loss that is not a number makes the weights so by the same step: they tell of both.
    if not all(torch.isfinite(tensor).all() for tensor in network.parameters()):
        raise FitError(
            f"{who}: the loss is not a finite number in epoch {epoch}",
            fix=f"lower learning_rate, which is {learning_rate:g}",
        )


@dataclass(frozen=True)
class ValidationUsers:
    """Users by whose hidden newest videos a model is judged while it is fitted."""

    users: Indices
    """(J,) rows of the users."""
    shown: InteractionMatrix
    """(J, videos) what the model may know of them."""
    held_out: Matrix
    """(J, videos) what it should rank high."""

    def ndcg(self, scores: Callable[[InteractionMatrix, Indices], Scores]) -> float:
        """The mean NDCG of the hidden videos in full rankings without the shown ones."""
        total = 0.0
        for block in batches(np.arange(len(self.users)), BLOCK_ROWS):
            shown, hidden = self.shown.rows(block), self.held_out[block]
            given = scores(shown, self.users[block])
            mask_scores(given, shown.weights, None)
            total += ndcg_sum(given, hidden)
        return total / len(self.users)


def ndcg_sum(scores: Scores, relevant: Matrix) -> float:
    """The NDCG at JUDGED_AT of (B, videos) scores, binary relevance, summed over users."""
    places, _ = topk_dense(scores, VALIDATION_K)
    discount = 1 / np.log2(np.arange(2, VALIDATION_K + 2))
    wanted = np.zeros(scores.shape, bool)
    counts = np.diff(relevant.indptr)
    wanted[np.repeat(np.arange(len(counts)), counts), relevant.indices] = True
    gain = np.take_along_axis(wanted, places, axis=1) @ discount[: places.shape[1]]
    ideal = np.cumsum(discount)[np.minimum(counts, places.shape[1]) - 1]
    return float((gain / ideal).sum())


def hold_out_validation_users(
    histories: InteractionMatrix, config: EarlyStoppingConfig, rng: np.random.Generator
) -> tuple[InteractionMatrix, ValidationUsers | None]:
    """The histories without what is hidden, and the judges, None where the config or the users allow none."""
    counts = np.diff(histories.weights.indptr)
    number = min(int(config.judges * histories.users), config.max_judges)
    able = np.flatnonzero(counts >= MIN_VALIDATION_HISTORY)
    users = np.sort(rng.choice(able, min(number, len(able)), replace=False))
    if not len(users):
        return histories, None
    rows = np.repeat(np.arange(histories.users), counts)
    judging = np.zeros(histories.users, bool)
    judging[users] = True
    hidden = judging[rows] & (histories.newer_counts < np.ceil(HELD_OUT_SHARE * counts)[rows])
    shown = histories.select_entries(~hidden)
    return shown, ValidationUsers(
        users, shown.rows(users), histories.select_entries(hidden).rows(users).weights
    )
