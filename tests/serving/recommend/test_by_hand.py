"""Eligibility, candidates, fusion, items and the fallback on small catalogs, worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.serving.catalog.small import (
    ENCODER,
    NOW,
    VECTORS,
    changed,
    content,
    names,
    removed,
    snapshot,
    video,
)
from vrec.bundle.neighbors import VideoNeighbors
from vrec.config.serve import CandidatesConfig, ServeConfig
from vrec.core.schema import CREATORS
from vrec.profiles.profile import InterestEvent, Profile
from vrec.profiles.user import TASTE_AT, TASTE_WEIGHT
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.reranking.catalog import ShopperContext
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.rerank import RerankConfig
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import RecommendQuery, RequestFilters, unranked_item
from vrec.serving.recommend import fallback as fallback_module
from vrec.serving.recommend.candidates import (
    DRAWS_PER_PICK,
    IMPRESSION_COLUMN,
    CandidateSources,
    content_candidates,
    neighbor_candidates,
    underexposed_candidates,
)
from vrec.serving.recommend.eligibility import MIN_CHECKED, EligibilityFilter, shopper_context
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth
from vrec.serving.recommend.response import RankedCandidates, popular_items
from vrec.serving.recommend.similar import find_similar

NOTHING = RequestFilters()
IDS = [f"v{n:02}" for n in range(60)]


def many(**changes):
    """60 videos v00 to v59 by age, v00 the oldest; `changes` by id."""
    return [video(name, published_at=NOW - 1000 + n, **changes.get(name, {})) for n, name in enumerate(IDS)]


def passing(shown, filters=NOTHING, rules=None, at=NOW, **shopper):
    return EligibilityFilter(shown, filters, ShopperContext(**shopper), rules or EligibilityRulesConfig(), at)


def test_each_video_is_picked_once_and_exclusions_are_counted_by_rule():
    shown = snapshot()
    eligible = passing(shown)
    order = shown.catalog.find(["e", "b", "a", "c", "d"])
    assert names(shown.catalog, eligible.pick(order, 1)) == ["a"]
    assert eligible.excluded == {"unavailable": 1, "age": 1}
    assert names(shown.catalog, eligible.pick(order, 5)) == ["c"]
    assert eligible.excluded == {"unavailable": 1, "age": 1, "unpublished": 1}
    assert eligible.pick(order, 5) == []
    assert names(shown.catalog, eligible.pick_independently(order, 5)) == ["a", "c"]
    # An independent pick forgets nothing of what was seen before.
    assert eligible.pick(order, 5) == []
    assert eligible.pick(order[:0], 3) == []


@pytest.mark.parametrize("need", [1, 3, 20, 60])
def test_picks_go_through_the_whole_order_where_most_is_excluded(need):
    barred = {name: {"available": False} for name in IDS[:57]}
    shown = snapshot(many(**barred), {}, ())
    order = np.arange(60)
    assert passing(shown).pick(order, need) == [57, 58, 59][:need]
    filtered = passing(shown, RequestFilters(exclude=frozenset({"v58"})), blocked_videos=frozenset({"v58"}))
    assert filtered.pick(order, need) == [57, 59][:need]
    # Past the first rows, only rules about single videos are counted.
    assert filtered.excluded["unavailable"] == min(57, max(MIN_CHECKED, need + need // 4))


def test_filters_are_not_counted_as_exclusions_and_checks_ahead_pick_nothing():
    shown = snapshot(many(v03={"category": "mugs"}), {}, ())
    eligible = passing(shown, RequestFilters(categories=frozenset({"mugs"})))
    assert eligible.mask is not None
    assert eligible.pick(np.arange(60), 5) == [3]
    assert eligible.excluded == {}
    ahead = passing(shown)
    ahead.precheck([(np.arange(60), 2), (np.arange(60)[::-1], 0)])
    assert ahead.excluded == {}
    assert ahead.pick(np.arange(60), 2) == [0, 1]


def test_a_shopper_is_what_the_profile_and_the_request_say():
    user = Profile("user", "u", None, {"creator:c": 2.0}, (), (InterestEvent(5, "e", "a", 1.0, "watch"),))
    filters = RequestFilters(
        exclude=frozenset({"x"}), blocked_creators=frozenset({"y"}), blocked_categories=frozenset({"z"})
    )
    found = shopper_context(user, filters, 20)
    assert (found.history, found.counts, found.age) == ({"a": 5}, {"creator:c": 2.0}, 20)
    assert (found.blocked_videos, found.blocked_creators, found.blocked_categories) == ({"x"}, {"y"}, {"z"})
    nobody = shopper_context(None, filters)
    assert (nobody.history, nobody.bought, nobody.counts, nobody.age) == ({}, {}, {}, None)


NEAR = VideoNeighbors(
    ("a", "b", "c", "d", "e"),
    np.array([[1, 2], [2, -1], [-1, -1], [0, 1], [2, 1]], np.int32),
    np.array([[1.0, 0.5], [1.0, 0.0], [0.0, 0.0], [1.0, 0.25], [1.0, 1.0]], np.float32),
)


def test_neighbors_are_weighed_and_ties_go_by_the_bundle_s_order():
    shown = snapshot()

    def near(**weights):
        return names(shown.catalog, neighbor_candidates(shown, NEAR, list(weights), list(weights.values())))

    assert near(a=1.0) == ["b", "c"]
    # c: 0.5 + 1.0, b: 1.0
    assert near(a=1.0, b=1.0) == ["c", "b"]
    # b: 0.25 × 2, a: 1.0 × 2, c: 1.0 × 0.6
    assert near(d=2.0, b=0.6) == ["a", "c", "b"]
    assert near(e=0.3) == ["b", "c"]
    assert near(c=1.0) == near(nobody=1.0) == near() == []
    after = shown.with_changes([removed("b"), changed("c")])
    rows = neighbor_candidates(after, NEAR, ["a"], [1.0])
    assert rows.tolist() == [after.catalog.row_by_id["c"]]
    assert rows[0] >= 5


def index_of(vectors):
    index = FaissIndex()
    index.add(list(vectors), np.array(list(vectors.values()), np.float32))
    return index


def test_the_nearest_by_content_leave_out_videos_without_a_vector():
    shown, index = snapshot(), index_of(VECTORS)
    query = np.array([0.6, 0.8], np.float32)
    assert names(shown.catalog, content_candidates(shown, index, query, 2, None)) == ["b", "d"]
    mask = np.array([True, False, True, False, True])
    assert names(shown.catalog, content_candidates(shown, index, query, 5, mask)) == ["a", "e"]
    after = shown.with_changes(
        [removed("b"), changed("n", vector=[0.6, 0.8]), changed("d", vector=[1.0, 0.0])]
    )
    assert names(after.catalog, content_candidates(after, index, query, 3, None)) == ["n", "a", "d"]
    empty = FaissIndex()
    assert content_candidates(shown, empty, query, 3, None).tolist() == []


def test_the_least_shown_of_those_drawn_come_first():
    assert VIDEO_COUNT_KEYS[IMPRESSION_COLUMN] == "event:impression"
    shown = snapshot(many(), {}, ())
    shown.video_counts[:, IMPRESSION_COLUMN] = np.arange(60)[::-1]
    shown.video_counts[:, IMPRESSION_COLUMN + 1] = np.arange(60)
    drawn = underexposed_candidates(shown, 2, None, np.random.default_rng(0))
    assert len(drawn) == 2 * DRAWS_PER_PICK
    assert drawn.tolist() == sorted(drawn.tolist(), reverse=True)
    assert underexposed_candidates(shown, 0, None, np.random.default_rng(0)).tolist() == []
    mask = np.zeros(60, np.bool_)
    mask[7] = True
    assert set(underexposed_candidates(shown, 1, mask, np.random.default_rng(0)).tolist()) == {7}


def ask(k=5, **more):
    return RecommendQuery(request_id="r", user_id="u", surface="feed", k=k, at=NOW, **more)


def liking(*liked, taste=None):
    """A shopper who liked videos, the last one latest."""
    history = tuple(InterestEvent(NOW - 99 + n, f"e{n}", name, 1.0, "watch") for n, name in enumerate(liked))
    counts = {} if taste is None else {TASTE_AT: float(NOW), TASTE_WEIGHT: 1.0}
    return Profile("user", "u", None if taste is None else np.array(taste, np.float32), counts, (), history)


def sources_of(shown, user, k=5, *, near=None, vectors=None, filters=NOTHING, **config):
    """The sources of a shopper's candidates by id, in the order of selection."""
    near = near or VideoNeighbors.empty(IDS)
    index = index_of(vectors) if vectors else FaissIndex()
    sources = CandidateSources(near, index, CandidatesConfig(**config))
    picked = sources.candidates(ask(k), user, shown, passing(shown, filters))
    return {shown.catalog.video_ids[row]: source for row, source in picked.items()}


def wide_neighbors(**rows):
    """Neighbors by id, best first with scores 1, 0.9, 0.8, …"""
    indices = np.full((60, 12), -1, np.int32)
    scores = np.zeros((60, 12), np.float32)
    for name, near in rows.items():
        at = IDS.index(name)
        indices[at, : len(near)] = [IDS.index(one) for one in near]
        scores[at, : len(near)] = 1 - 0.1 * np.arange(len(near))
    return VideoNeighbors(tuple(IDS), indices, scores)


def test_each_source_has_its_share_and_neighbors_and_popular_videos_fill_up():
    angles = {name: [np.cos(n / 30), np.sin(n / 30)] for n, name in enumerate(IDS)}
    shown = snapshot(many(), angles, ("v30", "v31", "v32", "v33"))
    near = wide_neighbors(v40=["v10", "v11", "v12", "v13", "v14", "v15"])
    found = sources_of(
        shown,
        liking("v40", taste=[1.0, 0.0]),
        near=near,
        vectors=angles,
        most=10,
        content=3,
        popular=2,
        new=2,
    )
    by_source = {s: [n for n, one in found.items() if one == s] for s in ("cf", "content", "new", "popular")}
    assert by_source["cf"] == ["v10", "v11", "v12"]
    assert by_source["content"] == ["v00", "v01", "v02"]
    assert by_source["new"][0] == "v59"
    assert len(by_source["new"]) == 2
    assert by_source["popular"] == ["v30", "v31"]
    # Without a taste, the neighbors have the places of content.
    found = sources_of(shown, liking("v40"), near=near, vectors=angles, most=10, content=3, popular=2, new=2)
    assert [n for n, one in found.items() if one == "cf"] == ["v10", "v11", "v12", "v13", "v14", "v15"]
    # Without either, popular videos fill up to k, and no further.
    for k, count in ((3, 4), (7, 7), (60, 10)):
        found = sources_of(shown, liking(), k, most=10, content=3, popular=2, new=2)
        assert len(found) == count
    assert list(sources_of(shown, liking(), 1, most=10, content=0, popular=0, new=0)) == ["v30"]


def test_history_and_recency_weigh_the_latest_likes():
    near = wide_neighbors(v00=["v10"], v01=["v20"], v02=["v11", "v21"])
    shown = snapshot(many(), {}, ())
    # v02 gives v21 0.9, and the like before it gives v20 its recency.
    user = liking("v00", "v01", "v02")
    shares = {"most": 9, "content": 0, "popular": 0, "new": 0}

    def by_neighbors(**settings):
        found = sources_of(shown, user, 1, near=near, **shares | settings)
        return [name for name, source in found.items() if source == "cf"]

    assert by_neighbors(recency=0.95) == ["v11", "v20", "v10", "v21"]
    assert by_neighbors(recency=0.5) == ["v11", "v21", "v20", "v10"]
    assert by_neighbors(history=1) == ["v11", "v21"]
    assert by_neighbors(history=2, recency=0.5) == ["v11", "v21", "v20"]


def test_fusion_is_by_reciprocal_rank_and_ties_go_by_id():
    shown = snapshot()
    row = shown.catalog.row_by_id
    orders = {"words": [row["b"], row["a"]], "words-new": [row["c"]], "meaning": [row["a"]]}
    items = fuse_ranks(orders, 9, "search", shown)
    assert [(one.video_id, one.source) for one in items] == [
        ("a", "search:both"), ("b", "search:words"), ("c", "search:words"),
    ]  # fmt: skip
    assert [one.score for one in items] == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 61])
    assert [one.video_id for one in fuse_ranks(orders, 1, "search", shown)] == ["a"]
    doubled = fuse_ranks({"one": [row["a"], row["b"]]}, 9, "x", shown, [row["b"]])
    assert [one.score for one in doubled] == pytest.approx([2 / 62, 1 / 61])
    assert (fusion_depth(1), fusion_depth(25), fusion_depth(26)) == (50, 50, 52)


def test_similar_videos_double_the_content_score_of_those_without_neighbors():
    shown = snapshot()
    sources = CandidateSources(NEAR, index_of(VECTORS), CandidatesConfig())
    found = find_similar("a", 5, shown, passing(shown, age=20), sources)
    # b: first neighbor and first by content; c: second neighbor. d and e may not be shown.
    assert [(one.video_id, one.source) for one in found] == [("b", "similar:both"), ("c", "similar:cf")]
    assert [one.score for one in found] == pytest.approx([2 / 61, 1 / 62])
    after = shown.with_changes([changed("n", vector=[1.0, 0.0])])
    found = find_similar("a", 5, after, passing(after, age=20), sources)
    scores = {one.video_id: one.score for one in found}
    assert scores == pytest.approx({"n": 2 / 61, "b": 1 / 61 + 1 / 62, "c": 1 / 62})
    # One without a vector has neighbors only.
    assert find_similar("c", 5, shown, passing(shown), sources) == ()
    with pytest.raises(UnknownVideo, match="no video z is in the catalog"):
        find_similar("z", 5, shown, passing(shown), sources)


def test_items_hold_each_prediction_in_its_own_field():
    shown = snapshot()
    rows = shown.catalog.find(["b", "a"])
    predictions = RankerPredictions(
        *(np.array(one) for one in ([0.5, 0.25], [60.0, 30.0], [0.1, 0.0], [0, 0]))
    )
    config = RerankConfig.model_validate({"utility": {"default": {"click": 2.0, "minute": 3.0}}})
    first, second = popular_items(
        RankedCandidates(
            ask(), ShopperContext(), shown.catalog, rows, predictions, ["popular"] * 2, Popularity()
        ),
        config,
    )
    assert (first.video_id, first.score, first.propensity, first.source) == ("b", 1.0, 1.0, "popular")
    assert (first.p_click, first.watch_s, first.p_conv) == (0.5, 60.0, 0.1)
    assert (second.video_id, second.score) == ("a", 0.5)
    assert second.utility == pytest.approx(2 * 0.25 + 3 * 0.5)
    bare = unranked_item("x", 0.5, "s", ("why",))
    assert (bare.p_click, bare.watch_s, bare.p_conv, bare.utility, bare.propensity) == (0, 0, 0, 0, 1)
    assert (bare.score, bare.source, bare.reasons) == (0.5, "s", ("why",))


def fallback_of(**settings):
    popularity = Popularity.from_order(["b", "a"], [9, 9], 10)
    bundle = SimpleNamespace(
        version="v1", content=content(), encoder=ENCODER, popular=("b", "a"), popularity=popularity,
        creators=CREATORS.arrow().empty_table(), creator_model=None,
    )  # fmt: skip
    return PopularFallback(bundle, ServeConfig.model_validate(settings))


def test_the_fallback_knows_rules_filters_ages_and_limits():
    plain = fallback_of()
    answer = plain.answer(ask(), ("ranking",))
    assert [(one.video_id, one.score, one.reasons) for one in answer.items] == [
        ("a", 1.0, ("new", "popular")), ("c", 0.5, ()),
    ]  # fmt: skip
    assert (answer.bundle, answer.degraded, answer.candidates) == ("v1", ("ranking",), 2)
    assert answer.excluded_by_rule == {"age": 1, "unpublished": 1, "unavailable": 1}

    def ids(fallback, query):
        return [one.video_id for one in fallback.answer(query, ()).items]

    assert ids(plain, ask(age=18)) == ["b", "a", "c"]
    assert ids(plain, ask(k=1, age=18)) == ["b"]
    assert ids(plain, ask(age=18, filters=RequestFilters(exclude=frozenset({"b"})))) == ["a", "c"]
    assert ids(plain, replace(ask(age=18), at=NOW + 100)) == ["b", "a", "d", "c"]
    assert ids(fallback_of(candidates={"most": 2}), ask(age=18)) == ["b", "a"]
    by_surface = fallback_of(rerank={"surfaces": {"feed": {"rules": {"kinds": ["product"]}}}})
    assert ids(by_surface, ask(age=18)) == ["a"]
    assert ids(by_surface, replace(ask(age=18), surface="shop")) == ["b", "a", "c"]


def test_cards_of_the_fallback_are_never_stale_nor_kept_without_end(monkeypatch):
    monkeypatch.setattr(fallback_module, "MAX_CACHED_CARDS", 2)
    old = fallback_of()
    assert old.card("a")["price"] == 5.0
    assert old.card("nobody") is None
    new = old.with_changes([changed("a", price=7.0), changed("nobody"), removed("b")])
    assert (new.card("a")["price"], new.card("nobody")["kind"], new.card("b")) == (7.0, "clip", None)
    assert (old.card("a")["price"], old.card("nobody")) == (5.0, None)
    for name in ("a", "b", "c", "d", "e"):
        assert old.card(name)["video_id"] == name
    assert len(old._cards) <= 2


def test_content_has_half_as_many_spare_candidates_for_those_that_are_excluded():
    angles = {name: [np.cos(n / 30), np.sin(n / 30)] for n, name in enumerate(IDS)}
    shown = snapshot(many(v00={"available": False}, v01={"available": False}), angles, ())
    found = sources_of(
        shown, liking(taste=[1.0, 0.0]), 1, vectors=angles, most=9, content=4, popular=0, new=0
    )
    # Of the six nearest, two are sold out.
    assert [n for n, one in found.items() if one == "content"] == ["v02", "v03", "v04", "v05"]


def test_equal_scores_are_ordered_by_id_and_not_by_row():
    """A changed video has the last row, wherever its id stands."""
    shown = snapshot(many()).with_changes([changed("v03")])
    row = shown.catalog.row_by_id
    assert row["v03"] > row["v40"]
    orders = {"words": [row["v40"]], "meaning": [row["v03"]]}
    assert [item.video_id for item in fuse_ranks(orders, 2, "search", shown)] == ["v03", "v40"]
