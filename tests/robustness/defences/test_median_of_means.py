"""Median of means of counts."""

import numpy as np
import pytest
from scipy import sparse

from tests.robustness.shop import shop
from vrec.retrieval.config import EaseConfig
from vrec.retrieval.models.ease import Ease
from vrec.robustness.defences.median_of_means import median_of_means, shopper_groups
from vrec.robustness.watched import WatchedVideos

MATRIX = WatchedVideos.from_interactions(shop()).matrix


def counts(rows):
    return np.asarray((rows.T @ rows).toarray(), np.float64)


def test_one_group_is_the_plain_sum():
    assert (median_of_means(MATRIX, 1, counts) == counts(MATRIX)).all()
    plain, one = (Ease(config).fit(shop()) for config in (EaseConfig(), EaseConfig(median_groups=1)))
    assert (plain.weights == one.weights).all()


@pytest.mark.parametrize("groups", [2, 7, 500])
def test_groups_hold_every_shopper_once(groups):
    rows = shopper_groups(240, min(groups, 240))
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(240))
    assert np.ptp([len(part) for part in rows]) <= 1


def test_few_fakes_cannot_move_a_count_beyond_the_groups_counts():
    groups, fakes = 9, 4
    attacked = sparse.csr_matrix(MATRIX.copy())
    rows = shopper_groups(MATRIX.shape[0], groups)
    honest = [counts(MATRIX[part]) * (MATRIX.shape[0] / len(part)) for part in rows]
    dense = attacked.toarray()
    dense[[part[0] for part in rows[:fakes]]] = 1e6
    found = median_of_means(sparse.csr_matrix(dense), groups, counts)
    assert (found <= np.max(honest, axis=0) + 1e-9).all()


def test_ease_with_groups_still_ranks_by_taste():
    model = Ease(EaseConfig(median_groups=3)).fit(shop())
    lists = model.recommend([f"u{n:03}" for n in range(40)], 5).to_pylist()
    own = [int(row["video_id"][1:]) % 2 == int(row["user_id"][1:]) % 2 for row in lists]
    assert np.mean(own) > 0.7
