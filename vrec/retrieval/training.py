"""Training loop, early stopping and base class of the recommenders built on torch."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vrec.core.artifact import Arrays
from vrec.core.errors import ConfigError, FitError, FitTimeout
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.holdout import Holdout, hold_out_newest
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix
from vrec.retrieval.network_config import EarlyStoppingConfig
from vrec.retrieval.topk import Scores, mask_scores
from vrec.retrieval.validation import DEEP_CUTOFF, ndcg
from vrec.training.config import TrainingConfig
from vrec.training.device import seeded_rng, torch_device

BLOCK_ROWS = 32
"""Rows that a network scores at once. Shorter blocks are padded: the order in which a matrix product sums
depends on its shape, and a user's scores must not depend on the other users of the request."""

HELD_OUT_SHARE = 0.2
"""Share of a validation user's history, the newest part, that is held out from the fit."""
MIN_VALIDATION_HISTORY = 5
"""Shortest history of a validation user."""


C = TypeVar("C", bound=TrainingConfig)
N = TypeVar("N", bound=nn.Module)


class NetworkRecommender(MatrixRecommender[C], Generic[C, N]):
    """A recommender whose fitted state is a network's weights."""

    network: N

    @abstractmethod
    def _build_network(self) -> N:
        """Return an untrained network for `self.users` and `self.videos`, on the CPU."""

    def _place(self, device: torch.device) -> None:
        """Set `self.network` to an untrained network on a device."""
        self.device = device
        self.network = self._build_network().to(device).eval()

    def _train(
        self,
        losses: Callable[[int], Iterable[Tensor]],
        epochs: int,
        validation: Holdout | None = None,
    ) -> None:
        """Set `self.network` to a new one and train it; see `train_with_early_stopping`."""
        self._place(torch_device(self.config.device))
        validate = None
        if validation is not None and len(validation.users):
            validate = partial(validation_ndcg, validation, self.score_block)
        train_with_early_stopping(
            self.network,
            losses,
            epochs=epochs,
            learning_rate=self.config.learning_rate,
            model_name=self.kind,
            validate=validate,
            patience=self.config.patience if isinstance(self.config, EarlyStoppingConfig) else 1,
            deadline=self.deadline,
        )

    def _arrays(self) -> Arrays:
        state = self.network.state_dict()
        return {f"weights.{name}": tensor.cpu().numpy() for name, tensor in state.items()}

    def _restore(self, arrays: Arrays) -> None:
        try:
            device = torch_device(self.config.device)
        except ConfigError:
            # A model that was fitted on a GPU must load on a machine without one.
            device = torch_device("auto")
        with seeded_rng(self.config.seed):
            self._place(device)
        state = {name.removeprefix("weights."): torch.from_numpy(array) for name, array in arrays.items()}
        self.network.load_state_dict(state)


def batches(items: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield consecutive slices of (N,) items with at most `size` each."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def pad_block(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a block of at most BLOCK_ROWS row indices, padded to (BLOCK_ROWS,) with its first one."""
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
    deadline: float | None = None,
) -> None:
    """Train a network in place with Adam and leave it in eval mode.

    Args:
        network: The network to train.
        losses: Function of the epoch, from 1, that yields the scalar losses of its batches.
        epochs: Maximum number of epochs.
        learning_rate: Step size of Adam.
        model_name: Name of the model, for error messages.
        validate: Function that returns the network's validation metric, higher is better. With it, the
            weights of the best epoch are restored at the end; without it, all epochs run.
        patience: Epochs without a new best metric after which training stops.
        deadline: Moment of `time.monotonic` at which training stops after the current batch.

    Raises:
        FitError: A weight is not finite after an epoch.
        FitTimeout: The deadline came in the first epoch.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best, best_epoch, best_state = -np.inf, 0, {}
    in_time = True
    for epoch in range(1, epochs + 1):
        network.train()
        for loss in losses(epoch):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            in_time = deadline is None or time.monotonic() < deadline
            if not in_time:
                break
        network.eval()
        _check_finite(network, epoch, model_name, learning_rate)
        if not in_time:
            if epoch == 1:
                raise FitTimeout(f"{model_name}: the time ran out in the first epoch")
            break
        if validate is None:
            continue
        metric = validate()
        if metric > best:
            best, best_epoch = metric, epoch
            best_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        elif epoch - best_epoch >= patience:
            break
    if best_state:
        network.load_state_dict(best_state)


def _check_finite(network: nn.Module, epoch: int, model_name: str, learning_rate: float) -> None:
    # A step with a loss of NaN makes the weights NaN too, so that checking the weights covers both.
    if not all(torch.isfinite(tensor).all() for tensor in network.parameters()):
        raise FitError(
            f"{model_name}: the loss is not a finite number in epoch {epoch}",
            fix=f"lower learning_rate, which is {learning_rate:g}",
        )


def validation_ndcg(holdout: Holdout, scores: Callable[[InteractionMatrix, Indices], Scores]) -> float:
    """Return the mean NDCG of the held-out videos in rankings of all videos that were not shown.

    Args:
        holdout: Users and what is held out from them.
        scores: Function of (B, videos) histories and the (B,) rows of their users.
    """
    total = 0.0
    for block in batches(np.arange(len(holdout.users)), BLOCK_ROWS):
        before = holdout.before(block)
        block_scores = scores(before, holdout.users[block])
        mask_scores(block_scores, before.weights, None)
        total += ndcg(block_scores, holdout.held_out[block], DEEP_CUTOFF).sum()
    return total / len(holdout.users)


def hold_out_validation_users(
    histories: InteractionMatrix, config: EarlyStoppingConfig, rng: np.random.Generator
) -> Holdout:
    """Hold out the newest videos of randomly drawn validation users.

    There are none where the config asks for none or no user has enough videos.
    """
    number = min(int(config.validation_share * histories.users), config.max_validation_users)
    return hold_out_newest(histories, number, MIN_VALIDATION_HISTORY, HELD_OUT_SHARE, rng)
