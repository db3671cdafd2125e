import numpy as np
import pytest

from tests.ranking.reranking.shop import DAY_US, NOW, catalog_of, embeddings_of, videos_of
from vrec.core.errors import RankError
from vrec.core.types import CatalogContent
from vrec.ranking.reranking.catalog import CatalogArrays, ShopperContext
from vrec.ranking.reranking.eligibility_rules import RULES, EligibilityRulesConfig, check_eligibility

ADULT = ShopperContext(age=18)


def rule_of(row=None, shopper=ADULT, **config):
    """The rule that bars one video, or None."""
    catalog = catalog_of([{"video_id": "v"} | (row or {})])
    rule = int(check_eligibility(["v"], catalog, shopper, EligibilityRulesConfig(**config), at=NOW).rule[0])
    return None if rule < 0 else RULES[rule]


def test_an_ordinary_video_may_be_shown():
    assert rule_of() is None
    assert rule_of(shopper=ShopperContext()) is None


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"available": False}, "unavailable"),
        ({"published_at": NOW + 1}, "unpublished"),
        ({"published_at": NOW}, None),
        ({"expires_at": NOW + 1}, None),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW - 1, "published_at": NOW + 1}, "unpublished"),
        ({"category": None}, None),
    ],
)
def test_what_the_catalog_says(row, rule):
    assert rule_of(row) == rule


def test_a_video_that_is_not_on_the_shelf_is_barred():
    verdict = check_eligibility(
        ["gone", "v"], catalog_of([{"video_id": "v"}]), ADULT, EligibilityRulesConfig(), at=NOW
    )
    assert verdict.allowed.tolist() == [False, True]
    assert verdict.counts == {"unknown": 1}
    nothing = check_eligibility(["gone"], catalog_of([]), ADULT, EligibilityRulesConfig(), at=NOW)
    assert nothing.counts == {"unknown": 1}


def test_kinds_of_the_surface():
    assert rule_of({"kind": "live"}, kinds=frozenset({"live"})) is None
    assert rule_of({"kind": "live"}, kinds=frozenset({"clip", "product"})) == "kind"


@pytest.mark.parametrize("tag", ["adult", "Adult", " ADULT "])
@pytest.mark.parametrize(("age", "rule"), [(None, "age"), (17, "age"), (18, None), (40, None)])
def test_age_limits_hold_for_who_is_too_young_or_did_not_say(tag, age, rule):
    assert rule_of({"tags": ["red", tag]}, ShopperContext(age=age)) == rule


def test_age_limits_are_the_surface_s_own():
    assert rule_of({"tags": ["fireworks"]}, ShopperContext(age=11), ages={" Fireworks": 12}) == "age"
    assert rule_of({"tags": ["adult"]}, ShopperContext(), ages={"fireworks": 12}) is None


def test_what_the_shopper_blocked():
    row = {"creator_id": "bob", "category": "knives"}
    assert rule_of(row, ShopperContext(blocked_videos=frozenset({"v"}))) == "blocked_video"
    assert rule_of(row, ShopperContext(blocked_creators=frozenset({"bob"}))) == "blocked_creator"
    assert rule_of(row, ShopperContext(blocked_categories=frozenset({"knives"}))) == "blocked_category"
    assert rule_of({"category": None}, ShopperContext(blocked_categories=frozenset({"knives", ""}))) is None


@pytest.mark.parametrize(
    ("days", "ago", "barred"),
    [(None, 4000, True), (30, 29, True), (30, 30, True), (30, 31, False), (0, 0, False), (0, 1, False)],
)
def test_bought_and_seen_for_some_days_or_for_ever(days, ago, barred):
    then = {"v": NOW - ago * DAY_US}
    assert rule_of(shopper=ShopperContext(bought=then), bought_days=days) == ("bought" if barred else None)
    assert rule_of(shopper=ShopperContext(history=then), seen_days=days) == ("seen" if barred else None)


def test_by_default_bought_is_for_ever_and_seen_is_shown_again():
    assert rule_of(shopper=ShopperContext(bought={"v": 0})) == "bought"
    assert rule_of(shopper=ShopperContext(history={"v": NOW})) is None


def test_the_first_rule_is_named_once():
    catalog = catalog_of([{"video_id": v, "available": False, "tags": ["adult"]} for v in "ab"])
    assert check_eligibility(
        ["a", "b"], catalog, ShopperContext(), EligibilityRulesConfig(), at=NOW
    ).counts == {"unavailable": 2}


def test_the_shelf_takes_vectors_by_id_and_makes_them_unit_rows():
    catalog = catalog_of([{"video_id": "a"}, {"video_id": "b"}], {"b": [3.0, 4.0], "x": [1.0, 0.0]})
    np.testing.assert_allclose(catalog.vectors, [[0, 0], [0.6, 0.8]], atol=1e-6)


def test_a_shelf_that_cannot_be_is_refused():
    with pytest.raises(RankError, match="video_id has 1 duplicates of 2, such as a"):
        catalog_of([{"video_id": "a"}, {"video_id": "a"}])
    with pytest.raises(RankError, match="not finite in 1 of 1 rows, such as a"):
        catalog_of([{"video_id": "a"}], {"a": [np.nan, 0.0]})
    with pytest.raises(RankError, match="no VIDEOS"):
        CatalogArrays.from_content(CatalogContent(None, embeddings_of({"a": [1.0]})))
    assert CatalogArrays.from_content(CatalogContent(videos_of([]))).vectors.shape == (0, 0)
