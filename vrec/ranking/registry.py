"""A network ranker trained in this process, and any saved ranker by its folder."""

from collections.abc import Callable, Mapping

from vrec.core.artifact import artefact_kind
from vrec.core.errors import ModelError
from vrec.core.protocols import Content
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import Features, Labels
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, RankerConfig, untrained
from vrec.ranking.rate_baseline import RatesRanker
from vrec.ranking.training import EpochResult, Trainer

RANKERS: Mapping[str, type[ProfileRanker]] = {ranker.kind: ranker for ranker in (RatesRanker, NetworkRanker)}
"""Every ranker by its kind, as a folder's manifest names it."""


def fit_network(
    config: RankerConfig,
    space: FeatureSpace,
    content: Content,
    *,
    train: tuple[Features, Labels],
    valid: tuple[Features, Labels],
    each: Callable[[EpochResult, Mapping[str, float]], None] | None = None,
) -> NetworkRanker:
    """A ranker trained and calibrated here; `each` hears of every epoch and its validation losses.

    `space` made the features. Raises RankError for impressions that cannot teach or judge.
    """
    network, head = untrained(config, space.shape, train[1])
    trainer = Trainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    trainer.run(each)
    return NetworkRanker.fitted(config, space, content, network, head, train=train, valid=valid)


def load(uri: str) -> ProfileRanker:
    """The fitted ranker in a folder, of whatever kind; raises ModelError where it is not a sound one."""
    kind = artefact_kind(uri)
    if kind not in RANKERS:
        raise ModelError(
            f"{uri} is a {kind}, not a ranker ({', '.join(RANKERS)})", mend="give a ranker's folder"
        )
    return RANKERS[kind].load(uri)
