"""The graph filter against its definition in dense arithmetic, on planted tastes and on odd data."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from tests.retrieval.planted import blocks, recall
from vrec.retrieval.config import GraphFilterConfig
from vrec.retrieval.holdout import hold_out_random
from vrec.retrieval.models.graph_filter import (
    FACTORS,
    LEAST_VALIDATION_USERS,
    LOW_PASSES,
    POPULARITY_SHARE,
    ROWS_PER_FACTOR,
    VALIDATION_USERS,
    VIDEO_SMOOTHINGS,
    FilterSettings,
    GraphFilter,
    LowPassFilter,
    binary,
)
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.topk import mask_scores
from vrec.retrieval.validation import DEEP_CUTOFF, ndcg


def dense_filter(matrix: np.ndarray, config: GraphFilterConfig) -> np.ndarray:
    """All users' scores by the definition, with the exact SVD."""
    watched = (matrix > 0).astype(np.float64)
    users, videos = watched.sum(axis=1), watched.sum(axis=0)
    roots = np.sqrt(videos + config.video_smoothing)
    graph = watched / np.sqrt(users + config.user_smoothing)[:, None] / roots
    scores = watched @ graph.T @ graph
    assert config.factors != "auto"
    assert config.video_smoothing != "auto"
    assert config.low_pass != "auto"
    count = min(config.factors, max(1, min(matrix.shape) // ROWS_PER_FACTOR))
    right = np.linalg.svd(graph)[2][:count]
    low = (watched / roots) @ right.T @ (right * roots)
    return scores + config.low_pass * low + POPULARITY_SHARE * videos / videos.max()


@pytest.mark.parametrize("smoothing", [0.0, 7.0])
@pytest.mark.parametrize("factors", [0, 4])
def test_scores_are_those_of_the_definition(smoothing: float, factors: int) -> None:
    # So few videos that the randomized SVD is exact.
    matrix = random_matrix(0, 60, 13)
    config = GraphFilterConfig(
        user_smoothing=smoothing, video_smoothing=2 * smoothing, factors=factors, low_pass=0.3
    )
    model = GraphFilter(config).fit(to_interactions(matrix))
    found = dense_scores(model.recommend(ids("u", 60), 13), matrix.shape)
    want = dense_filter(matrix, config)
    np.testing.assert_allclose(found[matrix == 0], want[matrix == 0], rtol=1e-4)
    assert np.isneginf(found[matrix > 0]).all()


@given(matrices(), st.sampled_from([0.0, 3.0]), st.sampled_from([0, 2, 32]))
@settings(deadline=None, max_examples=40)
def test_a_history_is_answered_as_its_fitted_user_is(
    matrix: np.ndarray, smoothing: float, factors: int
) -> None:
    config = GraphFilterConfig(
        user_smoothing=smoothing, video_smoothing=smoothing, factors=factors, low_pass=0.3
    )
    table, shape = to_interactions(matrix), matrix.shape
    model = GraphFilter(config).fit(table)
    fitted = dense_scores(model.recommend(ids("u", len(matrix)), 99), shape)
    folded = dense_scores(model.recommend_from(table, 99), shape)
    np.testing.assert_allclose(folded, fitted, rtol=1e-6)
    assert np.isfinite(fitted[matrix == 0]).all()


def test_it_finds_planted_tastes() -> None:
    table, held = blocks()
    assert recall(GraphFilter().fit(table), held) > 0.9
    assert recall(PopularRecommender().fit(table), held) < 0.2


def test_the_low_pass_filter_finds_videos_without_a_common_user() -> None:
    # A chain: v0 and v1 have users in common, v1 and v2 too, v0 and v2 none. v3 and v4 are another part.
    matrix = np.zeros((40, 5), np.float32)
    matrix[0:20, [0, 1]], matrix[20:28, [1, 2]], matrix[28:40, [3, 4]] = 1, 1, 1
    matrix[0, 1] = 0

    def ranked(low_pass: float) -> list[str]:
        config = GraphFilterConfig(video_smoothing=10, low_pass=low_pass)
        model = GraphFilter(config).fit(to_interactions(matrix))
        return model.recommend(["u00000"], 4)["video_id"].to_pylist()

    assert ranked(0.3)[:2] == ["v00001", "v00002"]
    # Without it, v2 is one of those that no path connects, of which the more popular come first.
    assert ranked(0.0) == ["v00001", "v00003", "v00004", "v00002"]


def test_a_video_that_nobody_else_watched_leaves_the_popular_ones() -> None:
    matrix = random_matrix(1, 30, 8)
    matrix[:, 0], matrix[0] = 0, 0
    matrix[0, 0] = 1
    found = GraphFilter().fit(to_interactions(matrix)).recommend(["u00000"], 8)["video_id"].to_pylist()
    users = (matrix > 0).sum(axis=0)
    assert found == [f"v{video:05d}" for video in np.argsort(-users, kind="stable")[:7]]


def test_open_settings_are_those_that_rank_held_out_videos_best() -> None:
    # Six tastes: with fewer factors than tastes the low-pass filter mixes them.
    table, _ = blocks(users=200)
    assert GraphFilter(GraphFilterConfig(low_pass=30, video_smoothing=10)).fit(table).settings.factors >= 8
    fixed = GraphFilter(GraphFilterConfig(low_pass=0.7)).fit(table).settings
    assert fixed.low_pass == 0.7
    assert fixed.video_smoothing in VIDEO_SMOOTHINGS
    few = to_interactions(random_matrix(0, LEAST_VALIDATION_USERS - 1, 9))
    chosen = GraphFilter().fit(few).settings
    assert (chosen.video_smoothing, chosen.factors, chosen.low_pass) == (10, 32, 0.3)


def test_the_best_of_the_grid_is_chosen() -> None:
    # By NDCG on the same held-out videos, computed with a filter of each setting alone.
    table, _ = blocks(3, users=80)
    model = GraphFilter().fit(table)
    holdout = hold_out_random(model.histories, VALIDATION_USERS, 0)

    def gain(settings: FilterSettings) -> float:
        passed = LowPassFilter.fit(holdout.kept.weights, settings)
        seen = binary(holdout.kept.rows(holdout.users).weights)
        scores = passed.scores(seen).astype(np.float32)
        mask_scores(scores, seen, None)
        return ndcg(scores, holdout.held_out, DEEP_CUTOFF).sum()

    every = product(VIDEO_SMOOTHINGS, FACTORS, LOW_PASSES)
    best = max(gain(FilterSettings(10.0, *values, seed=0)) for values in every)
    assert gain(model.settings) == pytest.approx(best, rel=1e-3)


def test_odd_data_is_answered() -> None:
    one_video = to_interactions(np.ones((5, 1), np.float32))
    assert GraphFilter().fit(one_video).recommend(ids("u", 5), 3).num_rows == 0
    one_user = to_interactions(np.ones((1, 6), np.float32))
    assert GraphFilter().fit(one_user).recommend(["u00000"], 3).num_rows == 0
    alike = GraphFilter().fit(to_interactions(np.ones((30, 12), np.float32)))
    everything = alike.recommend(["u00000"], 12, allow_seen=True)
    assert everything["video_id"].to_pylist() == ids("v", 12)
