"""A network ranker trained in this process, and any saved ranker by its folder."""

from collections.abc import Callable, Mapping

from vrec.core.artifact import artifact_kind
from vrec.core.errors import ModelError
from vrec.core.types import CatalogContent
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, RankerConfig, build_untrained
from vrec.ranking.rate_baseline import RateBaselineRanker
from vrec.ranking.training import EpochResult, RankerTrainer

RANKERS: Mapping[str, type[ProfileRanker]] = {
    ranker.kind: ranker for ranker in (RateBaselineRanker, NetworkRanker)
}
"""Every ranker by its kind, as a folder's manifest names it."""


def fit_network_ranker(
    config: RankerConfig,
    space: FeatureSpace,
    content: CatalogContent,
    *,
    train: tuple[RankingFeatures, ImpressionLabels],
    valid: tuple[RankingFeatures, ImpressionLabels],
    on_epoch: Callable[[EpochResult, Mapping[str, float]], None] | None = None,
) -> NetworkRanker:
    """A ranker trained and calibrated here; `each` hears of every epoch and its validation losses.

    `space` made the features. Raises RankError for impressions that cannot teach or judge.
    """
    network, head = build_untrained(config, space.shape, train[1])
    trainer = RankerTrainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    trainer.run(on_epoch)
    return NetworkRanker.from_training(config, space, content, network, head, train=train, valid=valid)


def load_ranker(uri: str) -> ProfileRanker:
    """The fitted ranker in a folder, of whatever kind; raises ModelError where it is not a sound one."""
    kind = artifact_kind(uri)
    if kind not in RANKERS:
        raise ModelError(
            f"{uri} is a {kind}, not a ranker ({', '.join(RANKERS)})", fix="give a ranker's folder"
        )
    return RANKERS[kind].load(uri)
