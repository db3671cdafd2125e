"""Training of network rankers in this process, and loading of saved rankers by kind."""

from collections.abc import Callable, Mapping

from vrec.core.artifact import artifact_kind
from vrec.core.errors import ModelError
from vrec.core.types import CatalogContent
from vrec.ranking.base import ProfileRanker
from vrec.ranking.config import RankerConfig
from vrec.ranking.example_parts import Outcomes
from vrec.ranking.features.arrays import FeatureShape, ImpressionLabels, RankingFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.neighbor_ranker import NeighborRanker
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.rate_baseline import RateBaselineRanker
from vrec.ranking.training import RankerTrainer, select_heads
from vrec.training.epochs import EpochResult

RANKERS: Mapping[str, type[ProfileRanker]] = {
    ranker.kind: ranker for ranker in (RateBaselineRanker, NetworkRanker, NeighborRanker)
}
"""Ranker classes by kind, as named in a folder's manifest."""
LOG_END = "log_end"
"""Entry of TEST_REPORT: time of the last event that the ranker was trained or tested on, µs since 1970."""
TEST_REPORT = "test.json"
"""File with a ranker's metrics on the test split, beside its manifest."""


def fit_network_ranker(
    config: RankerConfig,
    space: FeatureSpace,
    content: CatalogContent,
    *,
    train: tuple[RankingFeatures, ImpressionLabels],
    valid: tuple[RankingFeatures, ImpressionLabels],
    on_epoch: Callable[[EpochResult, Mapping[str, float]], None] | None = None,
) -> NetworkRanker:
    """Train and calibrate a network ranker in this process.

    Args:
        config: Settings of the ranker.
        space: Feature space of the features in `train` and `valid`.
        content: VIDEOS and EMBEDDINGS of the catalog.
        train: Features and labels to train on.
        valid: Features and labels for early stopping and calibration.
        on_epoch: Called after each epoch with its result and its validation losses.

    Raises:
        RankError: the training or validation impressions have only one outcome.
    """
    config, trainer = build_trainer(config, space.shape, train, valid)
    trainer.run(on_epoch)
    network, head = trainer.network, trainer.head
    return NetworkRanker.from_training(config, space, content, network, head, train=train, valid=valid)


def build_trainer(
    config: RankerConfig,
    shape: FeatureShape,
    train: tuple[RankingFeatures, ImpressionLabels],
    valid: tuple[RankingFeatures, ImpressionLabels],
) -> tuple[RankerConfig, RankerTrainer]:
    """Return the config with the heads that `train` can teach, and a trainer of its untrained network.

    Raises:
        RankError: the training or validation impressions have only one outcome.
    """
    config = config.model_copy(update={"heads": select_heads(config.heads, Outcomes.of(train[1]))[0]})
    network, head = build_untrained(config, shape, train[1])
    return config, RankerTrainer(
        network, config.heads, head, train=train, valid=valid, config=config.training
    )


def load_ranker(uri: str) -> ProfileRanker:
    """Load the fitted ranker of any kind from a folder; raise ModelError where it is not a valid one."""
    kind = artifact_kind(uri)
    if kind not in RANKERS:
        raise ModelError(
            f"{uri} is of kind {kind}, not a ranker ({', '.join(RANKERS)})", fix="pass the folder of a ranker"
        )
    return RANKERS[kind].load(uri)
