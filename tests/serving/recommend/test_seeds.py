"""Lists of the caller's own candidates, lists for videos and carts, and what explains them."""

import numpy as np
import pytest

from tests.serving.recommend.engines import change, engine_of, ids, query_of, shoppers
from vrec.profiles.profile import Profile
from vrec.profiles.user import taste_vector
from vrec.serving.messages import RequestFilters

NOBODY = Profile("user", "u")


@pytest.fixture(scope="module")
def engine(bundle):
    return engine_of(bundle)


def test_exactly_the_eligible_candidates_are_ranked_as_in_any_list_and_unknown_ones_are_named(engine):
    shopper = shoppers()[0]
    whole = {item.video_id: item for item in engine.recommend(query_of(k=100), shopper).items}
    some = sorted(whole)[::4]
    named = (*some, "none", *some[:2], "nowhere")
    answer = engine.recommend(query_of(k=100, candidates=named), shopper)
    assert sorted(ids(answer)) == some
    assert answer.unknown == ("none", "nowhere")
    assert {item.source for item in answer.items} == {"given"}
    for item in answer.items:
        assert item.p_click == pytest.approx(whole[item.video_id].p_click)
    assert len(engine.recommend(query_of(k=3, candidates=named), shopper).items) == 3


def test_the_popular_order_holds_among_candidates(engine):
    popular = ids(engine.recommend(query_of(k=100, order="popular"), NOBODY))
    some = (popular[9], popular[2], popular[5])
    answer = engine.recommend(query_of(k=2, order="popular", candidates=some), NOBODY)
    assert ids(answer) == [popular[2], popular[5]]


def test_what_barred_a_candidate_is_said(engine):
    listed = ids(engine.recommend(query_of(k=6), NOBODY))
    changed = engine.with_changes([change(listed[0], available=False), change(listed[1], category="lamps")])
    filters = RequestFilters(categories=frozenset({"lamps"}), exclude=frozenset({listed[2]}))
    query = query_of(k=9, candidates=tuple(listed), filters=filters, explain=True)
    answer = changed.recommend(query, NOBODY)
    assert ids(answer) == [listed[1]]
    assert dict(answer.barred) == dict.fromkeys([listed[0], *listed[2:]], "filter")
    query = query_of(
        k=9, candidates=tuple(listed), filters=RequestFilters(exclude=filters.exclude), explain=True
    )
    assert dict(changed.recommend(query, NOBODY).barred) == {
        listed[0]: "unavailable",
        listed[2]: "blocked_video",
    }
    assert changed.recommend(query_of(candidates=tuple(listed)), NOBODY).barred == ()


def test_a_list_for_videos_has_videos_related_to_them_and_none_of_them(engine, bundle):
    seeds = ("video-01", "video-02")
    filters = RequestFilters(exclude=frozenset(seeds))
    answer = engine.recommend(query_of(k=10, seeds=seeds, filters=filters), NOBODY)
    assert set(ids(answer)).isdisjoint(seeds)
    assert {item.source for item in answer.items} <= {"seed:cf", "seed:content", "seed:both"}
    watched_with = {name for seed in seeds for name, _ in bundle.neighbors.find(seed, 60)}
    for item in answer.items:
        assert (item.video_id in watched_with) or item.source == "seed:content"
    cart = engine.recommend(query_of(k=10, cart=seeds, filters=filters, explain=True), NOBODY)
    related = [item.source == "seed:cf" for item in cart.items]
    assert any(related)
    assert "seed:content" not in {item.source for item in cart.items}
    unknown = engine.recommend(query_of(k=10, cart=("none",)), NOBODY)
    assert (unknown.unknown, len(unknown.items)) == (("none",), 10)


def test_the_order_of_a_list_for_videos_is_the_shopper_s(engine):
    filters = RequestFilters(exclude=frozenset({"video-01"}))
    lists = {
        tuple(ids(engine.recommend(query_of(k=10, seeds=("video-01",), filters=filters), shopper)))
        for shopper in shoppers()[:5]
    }
    assert len(lists) > 1


def test_scores_by_source_are_what_the_sources_say(engine, bundle):
    shopper = shoppers()[3]
    query = query_of(
        k=20, seeds=("video-01",), filters=RequestFilters(exclude=frozenset({"video-01"})), explain=True
    )
    answer = engine.recommend(query, shopper)
    assert len(answer.scores) == len(answer.items)
    neighbors, taste = dict(bundle.neighbors.find("video-01", 60)), taste_vector(shopper)
    content = bundle.content.embeddings
    vectors = dict(
        zip(
            content.column("entity_id").to_pylist(),
            np.stack(content.column("vector").to_numpy(False)),
            strict=True,
        )
    )
    for item, scores in zip(answer.items, answer.scores, strict=True):
        assert scores.get("seed", 0.0) == pytest.approx(neighbors.get(item.video_id, 0.0))
        if item.video_id in vectors:
            assert scores["content"] == pytest.approx(float(vectors[item.video_id] @ taste), abs=1e-5)
        assert 0 < scores["popular"] <= 1
    assert engine.recommend(query_of(k=20), shopper).scores == ()
