"""Selecting and concatenating features: requests are renumbered, everything else follows its row."""

import numpy as np

from tests.ranking.drawn import drawn_features
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions, concatenate_features


def test_parts_one_after_another_point_to_their_own_requests():
    one, two = drawn_features(1, candidates=5, requests=2), drawn_features(2, candidates=4, requests=3)
    both = concatenate_features([one, two, one])
    assert both.request.dtype == np.int32
    assert both.request.tolist() == [*one.request, *(two.request + 2), *(one.request + 5)]
    assert len(both.user) == len(both.history) == len(both.context) == 7
    np.testing.assert_array_equal(
        both.user[both.request], np.concatenate([p.user[p.request] for p in (one, two, one)])
    )
    np.testing.assert_array_equal(both.video, np.concatenate([one.video, two.video, one.video]))


def test_rows_taken_bring_their_requests_only():
    whole = drawn_features(3, candidates=12, requests=5)
    rows = np.array([11, 0, 0])
    some = whole.take(rows)
    assert len(some.user) == len(set(whole.request[rows].tolist()))
    for name in ("user", "context", "history", "history_dense"):
        np.testing.assert_array_equal(
            getattr(some, name)[some.request], getattr(whole, name)[whole.request[rows]]
        )
    for name in ("video", "candidate", "position"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows])


def test_every_column_of_labels_and_predictions_follows_the_rows():
    columns = [np.arange(4) + 10 * n for n in range(7)]
    labels = ImpressionLabels(*columns).take(np.array([3, 1]))
    assert [getattr(labels, name).tolist() for name in ImpressionLabels.__dataclass_fields__] == [
        [3 + 10 * n, 1 + 10 * n] for n in range(7)
    ]
    taken = RankerPredictions(*columns[:4]).take(np.array([2]))
    assert [getattr(taken, name).tolist() for name in ("p_click", "watch_s", "p_conv", "spread")] == [
        [2], [12], [22], [32],
    ]  # fmt: skip
