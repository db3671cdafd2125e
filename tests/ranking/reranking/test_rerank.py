import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.ranking.reranking.shop import DAY_US, NOW, catalog_of, config_of, ids, plain, ranked_of, run
from vrec.core.errors import RankError, SchemaError
from vrec.core.schema import RANKED, conform
from vrec.ranking.reranking.catalog import ShopperContext
from vrec.ranking.reranking.diversity import DppConfig, MmrConfig, NoDiversityConfig
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.rerank import RerankConfig, RerankListConfig, rerank

LISTS = {
    "off": {"kind": "off"},
    "mmr": {"kind": "mmr", "relevance": 0.3},
    "dpp": {"kind": "dpp", "relevance": 0.3},
}


def drawn(seed):
    """A catalog in which anything may be barred, candidates, a shopper and a config, all at random."""
    rng = np.random.default_rng(seed)
    names = [f"v{i:02}" for i in range(14)]
    rows = [
        {
            "video_id": v,
            "kind": str(rng.choice(["product", "live", "clip"])),
            "creator_id": f"c{rng.integers(4)}",
            "category": None if rng.random() < 0.2 else f"k{rng.integers(4)}",
            "tags": [t for t in ("adult", "ALCOHOL", "red") if rng.random() < 0.15],
            "price": None if rng.random() < 0.3 else float(rng.uniform(1, 50)),
            "published_at": None if rng.random() < 0.3 else int(NOW + rng.integers(-60, 10) * DAY_US),
            "available": bool(rng.random() < 0.85),
        }
        for v in names
    ]
    catalog = catalog_of(rows, {v: rng.normal(size=3) for v in names if rng.random() < 0.7} or None)
    times = [{v: int(NOW - rng.integers(60) * DAY_US) for v in names if rng.random() < 0.2} for _ in range(2)]
    shopper = ShopperContext(
        history=times[0],
        bought=times[1],
        counts={"creator:c1": 9.0},
        blocked_videos=frozenset(rng.choice(names, 1).tolist()),
        blocked_creators=frozenset({"c3"} if rng.random() < 0.5 else ()),
        blocked_categories=frozenset({"k2"} if rng.random() < 0.5 else ()),
        age=[None, 16, 30][rng.integers(3)],
    )
    asked = rng.permutation([*names, "gone"])[: rng.integers(1, 16)].tolist()
    config = config_of(
        rules={
            "kinds": None if rng.random() < 0.5 else {"product", "clip"},
            "bought_days": [None, 0, 30][rng.integers(3)],
            "seen_days": [None, 0, 30][rng.integers(3)],
        },
        diversity=LISTS[str(rng.choice(list(LISTS)))],
        caps={"creator": [None, 1, 2][rng.integers(3)], "category": [None, 1][rng.integers(2)]},
        freshness={"boost": float(rng.uniform(0, 5))},
        exploration={"scale": [0.0, 1.0, 20.0][rng.integers(3)]},
    )
    heads = rng.random(len(asked)).astype(np.float32)
    ranked = ranked_of(
        dict(zip(asked, heads, strict=True)), watch_s=pa.array(heads * 9), p_conv=pa.array(heads / 9)
    )
    return rows, catalog, shopper, ranked, config, rng


def may_be_shown(row, shopper, rules):
    """The rules once more, in plain words."""
    name, tags = row["video_id"], {t.lower() for t in row["tags"]}

    def lately(times, days):
        return name in times and days != 0 and (days is None or times[name] >= NOW - days * DAY_US)

    return (
        row["available"]
        and (row["published_at"] is None or row["published_at"] <= NOW)
        and (rules.kinds is None or row["kind"] in rules.kinds)
        and (not tags & {"adult", "alcohol"} or (shopper.age or 0) >= 18)
        and name not in shopper.blocked_videos
        and row["creator_id"] not in shopper.blocked_creators
        and row["category"] not in shopper.blocked_categories
        and not lately(shopper.bought, rules.bought_days)
        and not lately(shopper.history, rules.seen_days)
    )


@given(st.integers(0, 10**9), st.integers(1, 16))
@settings(max_examples=150, deadline=None)
def test_nothing_barred_is_ever_shown_and_all_else_is(seed, k):
    rows, catalog, shopper, ranked, config, rng = drawn(seed)
    found = run(ranked, catalog, config, shopper=shopper, k=k, spread=rng.random(ranked.num_rows), seed=seed)
    allowed = {r["video_id"] for r in rows if may_be_shown(r, shopper, config.default.rules)}
    asked = set(ranked.column("video_id").to_pylist())
    assert set(ids(found)) <= allowed & asked
    assert len(ids(found)) == len(set(ids(found))) == min(k, len(allowed & asked))
    assert sum(found.excluded_by_rule.values()) == len(asked - allowed)
    table = conform(found.table, RANKED, stage="test")
    assert table.column("rank").to_pylist() == list(range(1, table.num_rows + 1))
    assert (np.diff(np.asarray(table.column("score"))) <= 0).all()
    assert found.propensities.dtype == np.float32
    assert ((found.propensities > 0) & (found.propensities <= 1)).all()
    if not config.default.exploration.scale:
        assert (found.propensities == 1).all()
    for reasons in table.column("reasons").to_pylist():
        for reason in reasons:
            assert not reason.startswith("watched:") or reason.removeprefix("watched:") in shopper.history


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_is_of_no_consequence(seed):
    _, catalog, shopper, ranked, config, rng = drawn(seed)
    spread, order = rng.random(ranked.num_rows), rng.permutation(ranked.num_rows)
    one = run(ranked, catalog, config, shopper=shopper, spread=spread, seed=seed)
    other = run(
        ranked.take(pa.array(order)), catalog, config, shopper=shopper, spread=spread[order], seed=seed
    )
    assert one.table.equals(other.table)
    np.testing.assert_array_equal(one.propensities, other.propensities)


def test_off_is_the_order_by_utility_with_ties_by_id():
    chances = {"d": 0.5, "b": 0.5, "a": 0.1, "c": 0.9}
    found = run(ranked_of(chances), plain("a", "b", "c", "d"), config_of())
    assert ids(found) == ["c", "b", "d", "a"]
    np.testing.assert_allclose(found.table.column("utility"), [0.9, 0.5, 0.5, 0.1])
    assert found.table.column("score").equals(found.table.column("utility"))
    assert found.propensities.tolist() == [1, 1, 1, 1]
    assert found.table.column("source").to_pylist() == ["item_knn"] * 4


def test_utility_is_the_surface_s_and_counts_prices():
    catalog = catalog_of(
        [{"video_id": "a", "price": 100.0}, {"video_id": "b"}, {"video_id": "c", "price": 1.0}]
    )
    ranked = ranked_of({"a": 0.2, "b": 0.2, "c": 0.2}, p_conv=pa.array([0.1, 0.1, 0.1], pa.float32()))
    aim = {
        "default": {"click": 0, "minute": 0, "price_share": 0.1, "unpriced": 5.0},
        "surfaces": {"live": {"click": 1.0, "minute": 0, "price_share": 0, "unpriced": 0}},
    }
    found = run(ranked, catalog, config_of(utility=aim))
    assert ids(found) == ["a", "b", "c"]
    np.testing.assert_allclose(found.table.column("utility"), [1.0, 0.5, 0.01], rtol=1e-6)
    assert ids(run(ranked, catalog, config_of(utility=aim), surface="live")) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["mmr", "dpp"])
def test_variety_parts_copies(kind):
    catalog = catalog_of([{"video_id": v} for v in "abc"], {"a": [1, 0], "b": [1, 0], "c": [-1, 0]})
    ranked = ranked_of({"a": 0.9, "b": 0.89, "c": 0.5})
    assert ids(run(ranked, catalog, config_of(diversity={"kind": kind, "relevance": 0.2}))) == ["a", "c", "b"]
    assert ids(run(ranked, catalog, config_of(diversity={"kind": kind, "relevance": 0.9}))) == ["a", "b", "c"]


def test_a_creator_s_videos_are_capped_and_new_ones_boosted():
    catalog = catalog_of(
        [{"video_id": "a"}, {"video_id": "b"}, {"video_id": "c", "creator_id": "bob", "published_at": NOW}]
    )
    ranked = ranked_of({"a": 0.9, "b": 0.8, "c": 0.5})
    assert ids(run(ranked, catalog, config_of(caps={"creator": 1}))) == ["a", "c", "b"]
    boosted = run(ranked, catalog, config_of(freshness={"boost": 1.0, "unit": "share"}))
    assert ids(boosted) == ["c", "a", "b"]
    np.testing.assert_allclose(boosted.table.column("utility"), [0.5, 0.9, 0.8])
    np.testing.assert_allclose(boosted.table.column("score"), [1.0, 0.9, 0.8])
    assert boosted.table.column("reasons").to_pylist()[0] == ["new"]


def test_scores_do_not_rise_where_a_cap_holds_a_better_one_back():
    catalog = catalog_of([{"video_id": v} for v in "ab"] + [{"video_id": "c", "creator_id": "bob"}])
    found = run(ranked_of({"a": 0.9, "b": 0.8, "c": 0.5}), catalog, config_of(caps={"creator": 1}))
    np.testing.assert_allclose(found.table.column("score"), [0.9, 0.5, 0.5])
    np.testing.assert_allclose(found.table.column("utility"), [0.9, 0.5, 0.8])


@pytest.mark.parametrize("kind", list(LISTS))
def test_nothing_to_show_is_an_empty_list(kind):
    config = config_of(diversity=LISTS[kind], exploration={"scale": 1.0})
    none = run(ranked_of({}), plain("a"), config)
    assert none.table.num_rows == 0
    assert conform(none.table, RANKED, stage="test") is not None
    assert none.propensities.shape == (0,)
    assert none.excluded_by_rule == {}
    barred = run(ranked_of({"a": 0.5, "b": 0.4}), plain("a", available=False), config)
    assert barred.table.num_rows == 0
    assert barred.excluded_by_rule == {"unknown": 1, "unavailable": 1}
    assert ids(run(ranked_of({"a": 0.5}), plain("a"), config, k=50)) == ["a"]


@pytest.mark.parametrize("head", ["p_click", "watch_s", "p_conv"])
def test_what_is_not_a_number_is_refused_by_name(head):
    ranked = ranked_of({"b": 0.5, "a": 0.4})
    ranked = ranked.set_column(ranked.column_names.index(head), head, pa.array([0.1, np.nan], pa.float32()))
    for catalog in (plain("a", "b"), plain("a", "b", available=False)):
        with pytest.raises(RankError, match=f"{head} is nan for 1 of 2 candidates, such as video a"):
            run(ranked, catalog, config_of())
    with pytest.raises(RankError, match="spread is nan for 1 of 2 candidates, such as video b"):
        run(ranked_of({"b": 0.5, "a": 0.4}), plain("a", "b"), config_of(), spread=[np.nan, 0.0])


def test_other_bad_input_is_refused_by_name():
    catalog, ranked = plain("a", "b"), ranked_of({"a": 0.5, "b": 0.4})
    two = pa.concat_tables([ranked, ranked_of({"a": 0.5}, user="w")])
    with pytest.raises(RankError, match="2 users in 3 rows, such as u and w"):
        run(two, catalog, config_of())
    with pytest.raises(RankError, match="1 duplicates of 3, such as a"):
        run(pa.concat_tables([ranked, ranked_of({"a": 0.5})]), catalog, config_of())
    with pytest.raises(RankError, match="k is 0"):
        run(ranked, catalog, config_of(), k=0)
    with pytest.raises(SchemaError, match="missing p_conv"):
        run(ranked.drop_columns("p_conv"), catalog, config_of())
    with pytest.raises(RankError, match=r"spread is \(1,\), want \(2,\)"):
        rerank(
            ranked,
            np.zeros(1, np.float32),
            catalog,
            ShopperContext(),
            config_of(),
            surface="",
            at=NOW,
            k=1,
            rng=np.random.default_rng(),
        )


def test_a_surface_differs_from_the_default_in_what_it_names_only():
    config = RerankConfig.model_validate(
        {
            "default": {"caps": {"creator": 1, "slots": 5}, "diversity": {"kind": "mmr", "relevance": 0.4}},
            "surfaces": {
                "feed": {"caps": {"category": 2}, "diversity": {"likeness": {"creator": 1.0}}},
                "live": {"diversity": {"kind": "dpp"}, "rules": {"kinds": ["live"]}},
                "catalog": {"diversity": {"kind": "off"}},
            },
        }
    )
    feed, live = config.for_surface("feed"), config.for_surface("live")
    assert (feed.caps.creator, feed.caps.slots, feed.caps.category) == (1, 5, 2)
    assert isinstance(feed.diversity, MmrConfig)
    assert (feed.diversity.relevance, feed.diversity.likeness.creator) == (0.4, 1.0)
    assert live.diversity == DppConfig()
    assert (live.caps, live.rules.kinds) == (config.default.caps, frozenset({"live"}))
    assert config.for_surface("catalog").diversity == NoDiversityConfig()
    assert config.for_surface("elsewhere") == config.default
    assert RerankConfig.model_validate(config.model_dump()) == config
    own = RerankListConfig(caps=config.default.caps)
    assert RerankConfig(surfaces={"feed": own}).for_surface("feed") == own
    with pytest.raises(ValidationError, match="creators"):
        RerankConfig.model_validate({"surfaces": {"feed": {"caps": {"creators": 1}}}})


def test_the_surface_s_own_settings_are_used():
    catalog = catalog_of(
        [{"video_id": "a", "kind": "live"}, {"video_id": "b"}, {"video_id": "c", "creator_id": "bob"}]
    )
    new = {"exploration": {"scale": 1.0}, "reasons": {"popular_sources": ["item_knn"]}}
    feed, live = {"caps": {"creator": 1}}, {"rules": {"kinds": ["live"]}}
    config = config_of(surfaces={"feed": feed, "live": live, "new": new})
    ranked = ranked_of({"a": 0.9, "b": 0.8, "c": 0.5})
    assert ids(run(ranked, catalog, config, surface="feed")) == ["a", "c", "b"]
    assert ids(run(ranked, catalog, config, surface="live")) == ["a"]
    assert ids(run(ranked, catalog, config, surface="elsewhere")) == ["a", "b", "c"]
    popularity = Popularity.from_order(["c", "a", "b"], [9, 8, 7], 20)
    explored = run(ranked, catalog, config, surface="new", spread=1.0, popularity=popularity)
    assert (explored.propensities < 1).any()
    assert all("popular" in reasons for reasons in explored.table.column("reasons").to_pylist())
    unknown = run(ranked, catalog, config, surface="new", spread=1.0)
    assert not any("popular" in reasons for reasons in unknown.table.column("reasons").to_pylist())


def test_scores_are_utility_plus_freshness_less_diversity():
    catalog = catalog_of(
        [{"video_id": "a", "published_at": NOW}, {"video_id": "b", "published_at": NOW - 7 * DAY_US}],
        {"a": [1.0, 0.0], "b": [0.0, 1.0]},
    )
    config = config_of(
        diversity={"kind": "mmr", "relevance": 0.5},
        freshness={"boost": 0.2, "unit": "utility", "half_life_days": 7},
    )
    found = run(ranked_of({"a": 0.5, "b": 0.4}), catalog, config)
    relevance = np.array([0.5 + 0.2, 0.4 + 0.1])
    expected = [relevance[0], relevance[1] - relevance.std() * 0.5]
    np.testing.assert_allclose(found.table.column("score"), expected, rtol=1e-5)
    np.testing.assert_allclose(found.table.column("utility"), [0.5, 0.4], rtol=1e-6)


def test_a_user_with_the_id_of_a_video_and_a_catalog_of_one():
    found = run(ranked_of({"a": 0.5}, user="a"), plain("a"), config_of(), k=1)
    assert (ids(found), found.table.column("user_id").to_pylist()) == (["a"], ["a"])
    assert found.table.column("rank").to_pylist() == [1]
