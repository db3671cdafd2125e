"""Federated training of a network ranker, from a first one with features, heads and initial weights."""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.federated.weights import (
    calibration_shapes,
    calibration_sums,
    fit_by_sums,
    flatten_weights,
    load_weights,
    statistics_count,
)
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.networks.layers import to_catalog_tensors
from vrec.ranking.networks.multitask import multitask_losses
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.training import DeviceExamples, build_optimizer
from vrec.ranking.uncertainty import LastLayerLaplace
from vrec.training.device import seeded_rng
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.optimizer import ServerOptimizer, weighted_update
from vrec.training.federated.task import UPDATE, WEIGHT

Doubles = npt.NDArray[np.float64]
Examples = tuple[RankingFeatures, ImpressionLabels]

LOSS, ROWS, PRECISION = "valid_loss", "valid_rows", "precision"
BEST, BEST_LOSS, BEST_ROUND = "best", "best_loss", "best_round"


class RankerSums:
    """Coordinator's part: rounds of training, then one for the last validation and one for calibration.

    The clients validate the weights that they get at the beginning of each round; those with the lowest loss
    over all clients are the ranker's.
    """

    def __init__(
        self, start: NetworkRanker, config: FederatedConfig, *, weights: Doubles | None = None
    ) -> None:
        """Begin from a ranker, with its weights or with others of its network."""
        self.ranker, self.config = start, config
        self.optimizer = ServerOptimizer(config, statistics_count(start.network))
        self._weights = flatten_weights(start.network) if weights is None else weights
        self.rounds = config.rounds + 2
        self._empty_laplace()  # raises before the first round

    def start(self) -> Arrays:
        """Return the first weights."""
        best = {BEST: self._weights, BEST_LOSS: np.array([np.inf]), BEST_ROUND: np.zeros(1)}
        return self.optimizer.start(self._weights) | best

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the sums of a round."""
        if number == self.rounds:
            width = len(self._empty_laplace().precision)
            shapes = calibration_shapes(self.ranker.config.heads.tasks)
            return shapes | {PRECISION: (width, width)}
        shapes = {LOSS: (1,), ROWS: (1,)}
        if number <= self.config.rounds:
            shapes |= {UPDATE: (len(self._weights),), WEIGHT: (1,)}
        return shapes

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the state after a round.

        Raises:
            FederatedError: No client has an impression to train or to validate on.
        """
        if number == self.rounds:
            return state | dict(sums)
        if sums[ROWS][0] <= 0:
            raise FederatedError("no client has an impression to validate on", fix="give longer logs")
        loss = float(sums[LOSS][0] / sums[ROWS][0])
        after = dict(state)
        if loss < state[BEST_LOSS][0]:
            found = {BEST: state["weights"], BEST_LOSS: np.array([loss])}
            after |= found | {BEST_ROUND: np.array([float(number - 1)])}
        if number <= self.config.rounds:
            after |= self.optimizer.step(state, sums)
        return after

    def model(self, state: Arrays) -> NetworkRanker:
        """Return the ranker of the best weights."""
        start = self.ranker
        network = deepcopy(start.network)
        load_weights(network, state[BEST])
        laplace = self._empty_laplace()
        laplace.precision = laplace.precision + (state[PRECISION] + state[PRECISION].T) / 2
        calibrators = fit_by_sums(start.config.calibration, state)
        return NetworkRanker(
            start.config, start.space, start.content, network, start.head,
            calibrators=calibrators, factor=laplace.factor(),
        )  # fmt: skip

    def _empty_laplace(self) -> LastLayerLaplace:
        factor = self.ranker.factor
        if factor is None:
            raise FederatedError(
                "the ranker to start from has no estimate of its uncertainty",
                fix="train it with `vrec train ranker`",
            )
        return LastLayerLaplace(len(factor) - 1, self.ranker.config.laplace)


class RankerShard:
    """Client's part: local training, validation on its latest impressions, counts for the calibration."""

    def __init__(
        self, start: NetworkRanker, config: FederatedConfig, train: Examples, valid: Examples
    ) -> None:
        """Take the client's examples, whose features the ranker's builder made.

        Raises:
            FederatedError: There are no impressions to train on.
        """
        if not len(train[1]):
            raise FederatedError("there are no impressions to train on", fix="log impressions")
        self.ranker, self.config = start, config
        self.network = deepcopy(start.network)
        self.catalog = to_catalog_tensors(train[0].catalog, start.device)
        self.examples = train, valid
        self.train, self.valid = (DeviceExamples(*part, start.head, start.device) for part in (train, valid))

    def contribute(self, state: Arrays, number: int) -> Arrays:
        """Return the client's part of a round's sums."""
        if number == self.config.rounds + 2:
            return self._calibration(state[BEST])
        weights = state["weights"]
        load_weights(self.network, weights)
        sums = self._validation()
        if not np.isfinite(sums[LOSS]).all():
            raise FederatedError(
                f"the common weights of round {number} have no finite loss on its impressions",
                fix="lower federated.server_learning_rate, set federated.norm_bound, or look for clients "
                "that send poisoned updates",
            )
        if number > self.config.rounds:
            return sums
        update = self._trained(number) - weights
        if not np.isfinite(update).all():
            raise FederatedError(
                f"the weights are not finite after training in round {number}",
                fix="lower train.ranker.training.learning_rate",
            )
        return sums | weighted_update(update, len(self.train), self.config)

    def _trained(self, number: int) -> Doubles:
        """Return the weights after local training of a round, from those that are loaded."""
        training, network = self.ranker.config.training, self.network
        held = [weight.detach().clone() for weight in network.parameters()]
        proximal = self.config.proximal if self.config.method == "fedprox" else 0.0
        seed = int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])
        optimizer = build_optimizer(network, training)
        network.train()
        with seeded_rng(seed) as rng:
            for _ in range(self.config.local_epochs):
                order = rng.permutation(len(self.train))
                for rows in np.array_split(order, -(-len(order) // training.batch_size)):
                    loss = self._losses(self.train, rows)["total"]
                    if proximal:
                        pairs = zip(network.parameters(), held, strict=True)
                        distance = torch.stack([(new - old).square().sum() for new, old in pairs]).sum()
                        loss = loss + proximal / 2 * distance
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
        network.eval()
        return flatten_weights(network)

    @torch.no_grad()
    def _validation(self) -> Arrays:
        self.network.eval()
        total, size = 0.0, self.ranker.config.training.batch_size
        for start in range(0, len(self.valid), size):
            rows = np.arange(start, min(start + size, len(self.valid)))
            total += float(self._losses(self.valid, rows)["total"]) * len(rows)
        return {LOSS: np.array([total]), ROWS: np.array([float(len(self.valid))])}

    def _losses(self, examples: DeviceExamples, rows: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        batch, labels = examples.take(rows)
        head = self.ranker.head
        watch_loss = None if head is None else head.loss
        return multitask_losses(
            self.network(batch, self.catalog), labels, self.ranker.config.heads, watch_loss
        )

    def _calibration(self, weights: Doubles) -> Arrays:
        start, network = self.ranker, deepcopy(self.network)
        load_weights(network, weights)
        raw = NetworkRanker(
            start.config, start.space, start.content, network, start.head, calibrators={}, factor=None
        )
        (train, _), (valid, labels) = self.examples
        sums = calibration_sums(
            start.config.heads.tasks, raw.predict(valid, at_logged_positions=True), labels
        )
        laplace = raw.laplace(train)
        assert laplace is not None
        prior = LastLayerLaplace(len(laplace.precision) - 1, start.config.laplace).precision
        return sums | {PRECISION: laplace.precision - prior}


def fresh_weights(start: NetworkRanker, labels: ImpressionLabels) -> Doubles:
    """Return the initial weights of a ranker's network, as before any training; for experiments."""
    config: RankerConfig = start.config
    network: RankerNetwork = build_untrained(config, start.space.shape, labels)[0]
    return flatten_weights(network)
