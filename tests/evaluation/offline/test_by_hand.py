"""Ground truth, populations and estimates of a handful of users by hand, and every setting's effect."""

import numpy as np
import pytest

from tests.evaluation.tables import drawn_shop, interactions, recommendations
from vrec.core.errors import EvaluationError
from vrec.evaluation.offline.config import EvaluationConfig, SampledConfig
from vrec.evaluation.offline.ground_truth import GroundTruth, align_vectors
from vrec.evaluation.offline.results import MetricDifference, MetricLeader, to_plain_json
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.offline.sampled import draw_negatives, evaluate_sampled
from vrec.retrieval.models.popular import PopularRecommender

CONFIG = EvaluationConfig(ks=(1, 3), headline_k=3)
# One user is called as a video is.
TRAIN = interactions([("a", "a"), ("a", "b"), ("u", "a"), ("x", "c"), ("x", "c")])
TEST = interactions([("a", "c"), ("a", "d"), ("u", "b"), ("new", "d"), ("new", "d")])


def test_the_truth_counts_pairs_once_and_users_apart_from_videos():
    truth = GroundTruth(TRAIN, TEST)
    assert sorted(truth.users.ids.to_pylist()) == ["a", "new", "u"]
    assert truth.videos.ids.to_pylist() == ["a", "b", "c", "d"]
    assert (truth.train_users, truth.train_pairs, len(truth.relevant), len(truth.seen)) == (3, 4, 4, 3)
    assert truth.watched_by.tolist() == [2, 1, 1, 0]


def test_populations_intersect_users_and_videos():
    truth = GroundTruth(TRAIN, TEST)
    names = truth.users.ids.to_pylist()

    def members(**only):
        part = truth.population(**only)
        return {names[u]: int(n) for u, n in zip(part.users, part.relevant, strict=True)}

    assert members() == {"a": 2, "u": 1, "new": 1}
    assert members(users=["a", "nobody"]) == {"a": 2}
    assert members(videos=["d", "nothing"]) == {"a": 1, "new": 1}
    assert members(users=["a", "u"], videos=["d"]) == {"a": 1}
    assert members(users=[]) == members(videos=[]) == {}


def test_hits_reach_down_to_the_depth_and_no_further():
    truth = GroundTruth(TRAIN, TEST)
    lists = truth.index_lists(recommendations({"a": ["c", "d"], "u": ["d", "b"], "x": ["a"]}), "m")
    assert len(lists.user) == 4
    hits = truth.hits(lists)
    assert sorted(hits.rank.tolist()) == [1, 2, 2]
    rows = truth.users.ids.to_pylist()
    for depth, want in ((1, {"a": [True], "u": [False]}), (2, {"a": [True, True], "u": [False, True]})):
        ranked = truth.score_lists(hits, depth, truth.population())
        assert {u: ranked.hits[rows.index(u)].tolist() for u in want} == want
    only_d = truth.score_lists(hits, 2, truth.population(videos=["d"]))
    assert only_d.hits.sum() == 1


def test_vectors_are_aligned_by_id_and_missing_ones_are_nan():
    truth = GroundTruth(TRAIN, TEST)
    rows = align_vectors(truth.videos, ["d", "zzz", "a"], np.array([[1.0, 2], [3, 4], [5, 6]]))
    assert rows.dtype == np.float32
    assert rows[0].tolist() == [5, 6]
    assert rows[3].tolist() == [1, 2]
    assert np.isnan(rows[1:3]).all()


def test_lengths_summary_and_coverage():
    lists = recommendations({"a": ["c", "d"], "u": ["b", "c", "d"]})
    found = evaluate_recommendations({"popular": lists}, TRAIN, TEST, CONFIG)
    assert (found.lengths["popular"].served, found.lengths["popular"].full) == (2, {1: 2, 3: 1})
    facts = found.facts
    assert (facts.test_users, facts.test_pairs, facts.catalogue) == (3, 4, 4)
    assert (facts.new_users, facts.new_videos) == (1, 1)
    assert found.beyond["popular"]["coverage@1"].mean == 2 / 4
    assert found.beyond["popular"]["coverage@1"].users == 1
    assert found.beyond["popular"]["novelty@1"].users == 2
    wider = evaluate_recommendations({"popular": lists}, TRAIN, TEST, CONFIG, catalog=[*"abcdefgh"])
    assert wider.beyond["popular"]["coverage@1"].mean == 2 / 8
    assert wider.overall == found.overall


def test_a_catalog_of_one_video():
    train, test = interactions([("x", "v")]), interactions([("v", "v")])
    found = evaluate_recommendations({"popular": recommendations({"v": ["v"]})}, train, test, CONFIG)
    assert found.overall.metrics["popular"]["ndcg@3"].mean == 1
    assert found.beyond["popular"]["gini@1"].mean == 0
    with pytest.raises(EvaluationError, match="negatives: 1 wanted"):
        evaluate_sampled({}, train, test, SampledConfig(negatives=1), CONFIG)


def test_settings_of_the_comparison():
    train, test = drawn_shop(1)
    users = sorted(set(test["user_id"].to_pylist()))
    tables = {"popular": PopularRecommender().fit(train).recommend(users, 20)}

    def estimate(**more):
        return evaluate_recommendations(
            tables, train, test, EvaluationConfig(**{"ks": (5, 10), **more})
        ).overall.metrics["popular"]["ndcg@10"]

    plain, narrow = estimate(), estimate(level=0.5)
    assert plain.low < narrow.low < narrow.high < plain.high
    assert estimate(seed=1) == plain
    assert estimate(min_outcomes=plain.outcomes) == plain
    few = estimate(min_outcomes=plain.outcomes + 1)
    assert (few.mean, few.low, few.high, few.is_too_few) == (plain.mean, None, None, True)
    config = EvaluationConfig(ks=(5, 10), headline_metric="mrr", headline_k=5)
    assert config.headline == "mrr@5"
    for ks in ((0, 10), (-1, 10)):
        with pytest.raises(ValueError, match="at least 1"):
            EvaluationConfig(ks=ks)


def test_the_headline_orders_the_models_ties_by_name():
    train, test = interactions([("u", "old")]), interactions([("u", "x"), ("u", "y")])
    tables = {
        "popular": recommendations({}),
        "early": recommendations({"u": ["x", "a", "b"]}),
        "b": recommendations({"u": ["a", "x", "y"]}),
        "a2": recommendations({"u": ["a", "x", "y"]}),
    }

    def models(metric):
        config = EvaluationConfig(ks=(3,), headline_k=3, headline_metric=metric)
        return list(evaluate_recommendations(tables, train, test, config, catalog=[*"abxy", "old"]).models)

    assert models("mrr") == ["early", "a2", "b", "popular"]
    assert models("recall") == ["a2", "b", "early", "popular"]


def test_significance_is_strict():
    assert MetricDifference(0.1, 1e-9, 0.2).is_significant
    assert MetricDifference(-0.1, -0.2, -1e-9).is_significant
    assert not MetricDifference(0.1, 0.0, 0.2).is_significant
    assert not MetricDifference(-0.1, -0.2, 0.0).is_significant
    assert not MetricDifference(-0.1, None, None, 3).is_significant
    assert not MetricLeader("m", None, None, []).is_significant
    assert MetricLeader("m", "n", None, []).is_significant
    assert not MetricLeader("m", "n", None, ["n"]).is_significant


def test_plain_json_has_no_nan_and_only_text_keys():
    found = to_plain_json({1: (float("nan"), float("inf"), 2), "d": MetricDifference(1.0, 2.0, float("nan"))})
    assert found == {"1": [None, None, 2], "d": {"mean": 1.0, "low": 2.0, "high": None, "outcomes": None}}


def test_sampled_settings_and_the_last_video_that_can_be_drawn():
    train, test = interactions([("u", "seen")]), interactions([("u", "own")])
    truth = GroundTruth(train, test, ["seen", "own", "a", "b"])
    drawn = draw_negatives(truth, SampledConfig(negatives=2))
    assert sorted(truth.videos.ids.to_pylist()[v] for v in drawn[0]) == ["a", "b"]
    with pytest.raises(EvaluationError, match="user u has 2 of the catalog's 4 videos"):
        draw_negatives(truth, SampledConfig(negatives=3))
    lists = {"m": recommendations({"u": ["a", "own", "b"]})}
    found = evaluate_sampled(
        lists, train, test, SampledConfig(negatives=2, ks=(2,)), CONFIG, catalog=["seen", "own", "a", "b"]
    )
    assert list(found.metrics["m"]) == ["hit_rate@2", "ndcg@2"]
    assert found.metrics["m"]["ndcg@2"].mean == pytest.approx(1 / np.log2(3))


def test_sampled_models_are_ordered_by_the_longest_list_s_ndcg():
    train, test = interactions([("u", "seen")]), interactions([("u", "own")])
    lists = {
        "z_best": recommendations({"u": ["own", "a"]}),
        "a_last": recommendations({"u": ["a", "b"]}),
        "middle": recommendations({"u": ["a", "own", "b"]}),
    }
    config = SampledConfig(negatives=2, ks=(1, 2))
    found = evaluate_sampled(lists, train, test, config, CONFIG, catalog=["seen", "own", "a", "b"])
    assert list(found.metrics) == ["z_best", "middle", "a_last"]
