"""Item-based neighbors against the same arithmetic on dense arrays."""

import pickle
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.dense_similarity import CONFIGS, PLAIN, is_best, one_by_one, similarities, weigh
from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from vrec.retrieval.config import ItemKnnConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.similarity import map_in_threads, row_blocks


@given(matrices(), CONFIGS)
@settings(deadline=None, max_examples=150)
def test_videos_neighbours_are_the_nearest(matrix: np.ndarray, options: dict) -> None:
    config = ItemKnnConfig(**options)
    model = ItemKnn(config, map_blocks=one_by_one).fit(to_interactions(matrix))
    weighed = weigh(matrix.T, config.weighting, matrix.T)
    every = similarities(weighed, weighed, config)
    np.fill_diagonal(every, 0)
    is_best(model.similarities.toarray(), every, config.neighbours)


@given(matrices(), st.sampled_from([None, 2.0]))
@settings(deadline=None, max_examples=50)
def test_video_scores_are_sums_over_the_history(matrix: np.ndarray, half_life: float | None) -> None:
    at = np.random.default_rng(len(matrix)).integers(0, 4, matrix.shape)
    model = ItemKnn(
        ItemKnnConfig(**{**PLAIN, "neighbours": 3, "recency_half_life": half_life}), map_blocks=one_by_one
    )
    model.fit(to_interactions(matrix, at))
    found = dense_scores(model.recommend(ids("u", len(matrix)), 100), matrix.shape)
    history = matrix.astype(float)
    if half_life is not None:
        for user, row in enumerate(matrix):
            for video in np.flatnonzero(row):
                newer = np.count_nonzero((row > 0) & (at[user] > at[user, video]))
                history[user, video] *= 0.5 ** (newer / half_life)
    want = history @ model.similarities.toarray()
    want[(matrix > 0) | (want == 0)] = -np.inf
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_among_equals_the_neighbours_of_lower_place_are_kept() -> None:
    # Every video has the same users, so that all are equally near.
    model = ItemKnn(ItemKnnConfig(neighbours=3, **PLAIN)).fit(to_interactions(np.ones((4, 200), np.float32)))
    assert model.similarities[100].indices.tolist() == [0, 1, 2]
    assert model.similarities[1].indices.tolist() == [0, 2, 3]


def test_blocks_are_plain_tasks_in_any_hands() -> None:
    table = to_interactions(random_matrix(1, 60, 150))

    def in_other_processes(function, comparison, blocks):
        task = pickle.loads(pickle.dumps(partial(function, comparison)))
        return [pickle.loads(pickle.dumps(task(block))) for block in blocks]

    near = [
        ItemKnn(map_blocks=spread).fit(table).similarities for spread in (in_other_processes, map_in_threads)
    ]
    assert len(row_blocks(150)) > 1
    assert np.array_equal(near[0].toarray(), near[1].toarray())


def test_tiny_and_huge_weights_have_finite_similarities() -> None:
    matrix = random_matrix(3, 20, 10).astype(np.float64)
    for scale in (1e-15, 1e15):
        model = ItemKnn(ItemKnnConfig(**PLAIN)).fit(to_interactions(matrix * scale))
        plain = ItemKnn(ItemKnnConfig(**PLAIN)).fit(to_interactions(matrix))
        np.testing.assert_allclose(model.similarities.toarray(), plain.similarities.toarray(), rtol=1e-4)
