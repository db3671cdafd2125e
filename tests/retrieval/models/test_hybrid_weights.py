"""Weights of the blend: formulas by hand on a panel of given features."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from vrec.retrieval.config import BlendConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.models.hybrid_weights import (
    ChoiceExamples,
    _sample_negatives,
    blend_scores,
    collect_choices,
    equal_weights,
    fit_blend_weights,
    history_length,
)


class FixedPanel:
    """A panel of two members and one further feature, each given as an array."""

    def __init__(self, *features: np.ndarray) -> None:
        self.given = [np.asarray(feature, np.float32) for feature in features]
        self.members = dict.fromkeys(("one", "two"), SimpleNamespace())
        self.videos = IdVocabulary(pa.array([f"v{n:03}" for n in range(self.given[0].shape[1])]))
        self.asked: list[list[str]] = []

    def rows(self, histories: InteractionMatrix, users: pa.Array) -> Iterator[np.ndarray]:
        self.asked.append(users.to_pylist())
        numbers = [int(user[1:]) for user in users.to_pylist()]
        yield from (feature[numbers] for feature in self.given)


def histories_of(rows: list[list[int]]) -> InteractionMatrix:
    weights = sparse.csr_matrix(np.array(rows, np.float32))
    return InteractionMatrix(weights, np.zeros(weights.nnz, np.int64))


def ids(count: int) -> pa.Array:
    return pa.array([f"u{n}" for n in range(count)])


def test_length_is_0_for_10_videos_and_1_for_54():
    lengths = histories_of([[1] * n + [0] * (54 - n) for n in (10, 54, 2, 0)])
    want = [0, 1, np.log(3 / 11) / np.log(5), -np.log(11) / np.log(5)]
    np.testing.assert_allclose(history_length(lengths), want, atol=1e-12)


def test_equal_weights_are_those_of_members_alone():
    assert equal_weights(4, 3).tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]


def test_blend_is_the_sum_of_features_where_a_member_has_an_opinion():
    nan = np.nan
    panel = FixedPanel([[1, nan, 2, nan]], [[3, 4, nan, nan]], [[10, 20, 30, 40]])
    weights = np.array([[2, 3, 0.5], [1, -1, 0]])
    histories = histories_of([[1, 0, 0, 0]])
    length = np.log(2 / 11) / np.log(5)
    one, two = 2 + length, 3 - length
    found = blend_scores(panel, weights, histories, ids(1))
    want = [[one * 1 + two * 3 + 5, two * 4 + 10, one * 2 + 15, -np.inf]]
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert found.dtype == np.float32


def test_choices_are_the_best_the_chosen_and_a_sample_of_the_rest():
    """Of 50 videos u0 has watched 0 and 1, the members' best, and then watches 30."""
    features = -np.tile(np.arange(50.0), (2, 1))
    features[1] = np.nan
    panel = FixedPanel(features, -features, np.tile(np.arange(50) / 7, (2, 1)))
    before, after = np.zeros((2, 50)), np.zeros((2, 50))
    before[0, [0, 1]] = before[1, 5] = after[0, 30] = after[1, [6, 7]] = 1
    config = BlendConfig(best=3, others=4)
    found = collect_choices(panel, histories_of(before), histories_of(after), ids(2), config)
    assert panel.asked == [["u0", "u1"]]
    # The first member's best are 0, 1 and 2, the second's 49, 48 and 47: five with the chosen one.
    assert found.starts.tolist() == [0, 9]
    columns = np.rint(found.features[:9, 2] * 7).astype(int)
    assert columns[:5].tolist() == [2, 30, 47, 48, 49]
    assert not set(columns[5:]) & {0, 1, 2, 30, 47, 48, 49}
    assert found.chosen[:9].tolist() == [False, True] + [False] * 7
    assert found.sampling_weight[:9].tolist() == [1] * 5 + [(50 - 5 - 2) / 4] * 4
    np.testing.assert_allclose(found.features[:9, 0], -columns)
    # u1's members have no opinion: a feature of 0, and their best is the first column, as of nothing.
    assert not found.features[9:, :2].any()
    assert found.chosen[9:].sum() == 2
    assert found.sampling_weight[9:].sum() == 49
    np.testing.assert_allclose(found.length, np.log(np.array([3, 2]) / 11) / np.log(5))
    again = collect_choices(panel, histories_of(before), histories_of(after), ids(2), config)
    other = config.model_copy(update={"seed": 1})
    other = collect_choices(panel, histories_of(before), histories_of(after), ids(2), other)
    assert np.array_equal(again.features, found.features)
    assert not np.array_equal(other.features, found.features)


@pytest.mark.parametrize("videos", [40, 4000])
def test_negatives_are_distinct_uniform_and_never_excluded(videos: int):
    """Both ways of drawing: from all that are left, and with rejection in a large catalog."""
    rng, excluded = np.random.default_rng(0), np.array([0, 3, 39])
    drawn = [_sample_negatives(rng, excluded, videos, 10) for _ in range(2000)]
    for columns in drawn:
        assert len(set(columns.tolist())) == len(columns) == 10
        assert not set(columns.tolist()) & set(excluded.tolist())
    counts = np.bincount(np.concatenate(drawn) * 40 // videos, minlength=40)
    even = 20_000 / 40 if videos == 4000 else 20_000 / 37
    checked = counts if videos == 4000 else np.delete(counts, excluded)
    assert (np.abs(checked - even) < 6 * np.sqrt(even)).all()
    assert sorted(_sample_negatives(rng, np.array([1]), 4, 10).tolist()) == [0, 2, 3]


def one_choice(sampling_weight: float = 1.0) -> ChoiceExamples:
    """One user who chose the first of two videos, whose one feature is 1 and 0; the length is 2."""
    return ChoiceExamples(
        np.array([[1], [0]], np.float32),
        np.array([True, False]),
        np.array([1, sampling_weight], np.float32),
        np.array([0]),
        np.array([2.0]),
    )


@pytest.mark.parametrize("ridge", [0.01, 0.5])
@pytest.mark.parametrize("sampling_weight", [1.0, 9.0])
def test_fitted_weights_have_a_gradient_of_zero(ridge: float, sampling_weight: float):
    """The loss is ln(1 + w e^-s) + ridge (a² + b²) with s = a + 2 b, so that b = 2 a."""
    level, slope = fit_blend_weights(one_choice(sampling_weight), ridge, np.zeros((2, 1))).ravel()
    assert slope == pytest.approx(2 * level, rel=1e-3)
    rest = sampling_weight * np.exp(-(level + 2 * slope))
    assert rest / (1 + rest) == pytest.approx(2 * ridge * level, abs=1e-4)


def test_users_count_the_same_however_many_videos_they_chose():
    """u0 chose two of three videos with feature 1, u1 one with feature −1: the sum of targets is even."""
    choices = ChoiceExamples(
        np.array([[1], [1], [-1], [-1], [1]], np.float32),
        np.array([True, True, False, True, False]),
        np.ones(5, np.float32),
        np.array([0, 3]),
        np.zeros(2),
    )
    level = fit_blend_weights(choices, 1e-6, np.zeros((2, 1)))[0, 0]
    # The gradient of ln(2 e^w + e^-w) - w + ln(e^-w + e^w) + w.
    share = 2 * np.exp(level) / (2 * np.exp(level) + np.exp(-level))
    other = np.exp(level) / (np.exp(level) + np.exp(-level))
    assert (2 * share - 1 - 1) + (2 * other - 1 + 1) == pytest.approx(0, abs=1e-3)
