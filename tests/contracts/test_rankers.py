"""Every ranker against the battery of the Ranker protocol."""

import pytest

from vrec.ranking.calibration import CalibrationConfig
from vrec.ranking.networks.config import (
    D2qConfig,
    DcnConfig,
    LogisticRegressionConfig,
    RankerHeadsConfig,
    RawWatchConfig,
)
from vrec.ranking.registry import RANKERS
from vrec.testing.rankers import CHECKS, Make
from vrec.testing.ranking_shop import TINY, neighbors, network, rates


def networks(vectors: bool = True, **parts) -> Make:
    return lambda shop: network(shop, vectors, **parts)


MAKERS: dict[str, Make] = {
    "rates": rates,
    "neighbors": neighbors,
    "lr": networks(network=LogisticRegressionConfig(), watch=RawWatchConfig()),
    "dcn": networks(network=DcnConfig(width=4, hidden=(8,), cross_layers=2), watch=D2qConfig(min_rows=20)),
    "din": networks(),
    "din-plain": networks(
        vectors=False,
        network=TINY.network.model_copy(update={"position": "none", "activation": "prelu"}),
        calibration=CalibrationConfig(method="temperature"),
    ),
    "din-clicks-only": networks(heads=RankerHeadsConfig(heads=("click",), tower=(8,))),
}


SLOW = {"dcn", "din-plain", "din-clicks-only"}
"""Networks that take longest, and differ from `din` in their settings."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in MAKERS]
)
def test_ranker_holds_the_contract(kind: str, check):
    check(MAKERS[kind])


def test_no_ranker_is_left_out():
    assert set(RANKERS) == {"rates", "network", "neighbors"}
    assert {"lr", "dcn", "din"} <= set(MAKERS)
