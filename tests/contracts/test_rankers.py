"""Every ranker against the battery of the Ranker protocol."""

import pytest

from tests.contracts.ranker_battery import CHECKS, Make
from tests.contracts.shops import RankingShop
from vrec.core.protocols import Content
from vrec.ranking.build import RANKERS, fit_network
from vrec.ranking.builder import FeatureBuilder
from vrec.ranking.calibration import CalibrationConfig
from vrec.ranking.catalogue import Catalogue
from vrec.ranking.fit import fit_space
from vrec.ranking.model import NetworkRanker, RankerConfig
from vrec.ranking.multitask import HeadsConfig
from vrec.ranking.network import DcnConfig, DinConfig, LrConfig
from vrec.ranking.rates import RatesConfig, RatesRanker
from vrec.ranking.space import FeaturesConfig
from vrec.ranking.training import RankerTrainingConfig
from vrec.ranking.watch_heads import CreadConfig, D2qConfig, RawConfig

TINY = RankerConfig(
    network=DinConfig(width=4, hidden=(8,), attention=(4,)),
    heads=HeadsConfig(experts=2, tower=(8,)),
    watch=CreadConfig(thresholds=6),
    features=FeaturesConfig(min_count=2, history=8),
    training=RankerTrainingConfig(epochs=4, batch_size=50, learning_rate=0.01, device="cpu"),
)


def rates(shop: RankingShop) -> RatesRanker:
    return RatesRanker.fit(RatesConfig(), *shop.train, shop.content)


def network(shop: RankingShop, vectors: bool = True, **parts) -> NetworkRanker:
    config = TINY.model_copy(update=parts)
    content = shop.content if vectors else Content(shop.content.videos)
    space = fit_space(shop.events, shop.train[0], content, config.features)
    build = FeatureBuilder(space, Catalogue.of(content, space)).build
    train, valid = ((build(requests), labels) for requests, labels in (shop.train, shop.valid))
    return fit_network(config, space, content, train=train, valid=valid)


def networks(vectors: bool = True, **parts) -> Make:
    return lambda shop: network(shop, vectors, **parts)


MAKERS: dict[str, Make] = {
    "rates": rates,
    "lr": networks(network=LrConfig(), watch=RawConfig()),
    "dcn": networks(network=DcnConfig(width=4, hidden=(8,), cross_layers=2), watch=D2qConfig(min_rows=20)),
    "din": networks(),
    "din-plain": networks(
        vectors=False,
        network=TINY.network.model_copy(update={"position": "none", "activation": "prelu"}),
        calibration=CalibrationConfig(method="temperature"),
    ),
    "din-clicks-only": networks(heads=HeadsConfig(heads=("click",), tower=(8,))),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", MAKERS)
def test_ranker_holds_the_contract(kind: str, check):
    check(MAKERS[kind])


def test_no_ranker_is_left_out():
    assert set(RANKERS) == {"rates", "network"}
    assert {"lr", "dcn", "din"} <= set(MAKERS)
