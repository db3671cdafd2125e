"""Candidates that the ranking network scores: the new ones, and the best of the others at a rough look."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.recommend.engines import engine_of, ids, query_of, shoppers
from vrec.config.serve import ServeConfig
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.utility import UtilityConfig, utility
from vrec.serving.recommend import predictions
from vrec.serving.recommend.first_pass import best_candidates

CANDIDATES = {"most": 40, "content": 10, "popular": 10, "new": 6}


def engine_with(bundle, ranked, *, scale=0.0):
    values = {"candidates": CANDIDATES | {"ranked": ranked}}
    return engine_of(
        bundle,
        ServeConfig.model_validate(values | {"rerank": {"default": {"exploration": {"scale": scale}}}}),
    )


@given(data=st.data(), most=st.integers(0, 12))
def test_new_ones_stay_and_of_the_others_the_most_useful(data, most):
    chances = st.lists(st.sampled_from([0.1, 0.2, 0.5]), max_size=12)
    clicks = np.array(data.draw(chances), np.float32)
    sources = data.draw(
        st.lists(st.sampled_from(["new", "cf", "popular"]), min_size=len(clicks), max_size=len(clicks))
    )
    nothing, prices = np.zeros(len(clicks), np.float32), np.full(len(clicks), np.nan)
    rough = RankerPredictions(clicks, nothing, nothing, nothing)
    chosen = best_candidates(rough, prices, sources, most, surface="feed", config=UtilityConfig()).tolist()
    new = [place for place, source in enumerate(sources) if source == "new"]
    worth = utility(rough, prices, "feed", UtilityConfig())
    others = sorted(
        (place for place in range(len(clicks)) if place not in new), key=lambda place: -worth[place]
    )
    assert chosen == sorted([*new, *others[: max(0, most - len(new))]])


@pytest.fixture
def scored(monkeypatch):
    """Numbers of candidates that the network was asked for."""
    numbers, predict = [], predictions.NetworkRanker.predict

    def counted(self, features, **more):
        numbers.append(len(features))
        return predict(self, features, **more)

    monkeypatch.setattr(predictions.NetworkRanker, "predict", counted)
    return numbers


def test_the_network_scores_as_many_as_asked_and_lists_say_what_was_found(bundle, scored):
    user = shoppers()[4]
    answer = engine_with(bundle, 20).recommend(query_of(5, user.entity_id), user)
    assert (scored, answer.candidates) == ([20], 40)
    # At least twice the list.
    assert engine_with(bundle, 20).recommend(query_of(15, user.entity_id), user).candidates == 40
    assert scored == [20, 30]


def test_what_is_named_or_in_popular_order_or_scored_as_a_whole_is_not_thinned(bundle, scored):
    user, engine = shoppers()[4], engine_with(bundle, 4)
    named = tuple(engine.video_ids[:30])
    engine.recommend(query_of(2, user.entity_id, candidates=named), user)
    engine.recommend(query_of(12, user.entity_id, order="popular"), user)
    engine_with(bundle, None).recommend(query_of(2, user.entity_id), user)
    assert scored[1:] == [12, 40]
    assert scored[0] > 4


@pytest.mark.parametrize("number", range(0, 12, 3))
def test_scoring_all_and_as_many_as_there_are_is_one_list(bundle, number):
    user = shoppers()[number]
    query = query_of(10, user.entity_id)
    whole = engine_with(bundle, None, scale=2.0).recommend(query, user)
    assert engine_with(bundle, 40, scale=2.0).recommend(query, user).items == whole.items


def test_most_of_a_list_stays_and_what_stays_is_predicted_alike(bundle):
    shares = []
    for user in shoppers()[:20]:
        query = query_of(5, user.entity_id)
        whole = {item.video_id: item for item in engine_with(bundle, None).recommend(query, user).items}
        few = engine_with(bundle, 20).recommend(query, user).items
        kept = [item for item in few if item.video_id in whole]
        shares.append(len(kept) / len(whole))
        for item in kept:
            assert item.p_click == pytest.approx(whole[item.video_id].p_click, rel=1e-5)
    assert np.mean(shares) > 0.8


def test_equal_moments_score_equal_candidates_whatever_the_request_id(bundle):
    user, engine = shoppers()[4], engine_with(bundle, 20)
    lists = {
        tuple(ids(engine.recommend(query_of(8, user.entity_id, request_id=f"r{n}"), user))) for n in range(20)
    }
    assert len(lists) == 1


def test_a_ranker_without_a_first_pass_scores_all(bundle, scored):
    ranker = bundle.ranker
    bare = replace(bundle, ranker=ranker.with_videos(bundle.content))
    bare.ranker.first_pass = None
    user = shoppers()[4]
    engine_with(bare, 20).recommend(query_of(5, user.entity_id), user)
    assert scored == [40]
