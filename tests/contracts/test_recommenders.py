"""Every recommender against the battery of the Recommender protocol."""

import pytest

from tests.contracts.recommender_battery import CHECKS, Make
from vrec.retrieval.popular import Popular, PopularConfig

RECOMMENDERS: dict[str, Make] = {
    "popular": Popular,
    "popular-trend": lambda: Popular(PopularConfig(half_life_days=7)),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", RECOMMENDERS)
def test_recommender_holds_the_contract(kind: str, check):
    check(RECOMMENDERS[kind])
