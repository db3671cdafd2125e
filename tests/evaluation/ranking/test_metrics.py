import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from vrec.core.errors import EvaluationError
from vrec.evaluation.ranking.metrics import (
    InsufficientDataError,
    WeightedAucCurve,
    auc,
    bias,
    ece,
    equal_count_bins,
    grouped_auc,
    grouped_xauc,
    log_loss,
    mae,
    user_aucs,
    xauc,
)

coarse = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
finite = st.floats(0, 1, width=32)


@st.composite
def rows(draw, outcomes=(0, 1)):
    """(outcome, prediction, group) of a few rows with many ties."""
    size = draw(st.integers(1, 40))
    predicted = draw(hnp.arrays(np.float32, size, elements=draw(st.sampled_from([coarse, finite]))))
    outcome = draw(hnp.arrays(np.float32, size, elements=st.sampled_from(outcomes)))
    return outcome, predicted, draw(hnp.arrays(np.int64, size, elements=st.sampled_from([-3, 0, 7, 10**12])))


def agreement(truth, guess):
    """Of all pairs with different truths: how many are predicted in that order, ties half; and how many."""
    agreeing = pairs = 0.0
    for i in range(len(truth)):
        for j in range(len(truth)):
            if truth[i] < truth[j]:
                pairs += 1
                agreeing += 1.0 if guess[i] < guess[j] else 0.5 if guess[i] == guess[j] else 0
    return agreeing, pairs


@given(rows())
def test_auc_is_scikit_learns(case):
    outcome, predicted, _ = case
    if outcome.min() == outcome.max():
        with pytest.raises(
            InsufficientDataError, match=f"all {len(outcome)} rows have outcome {outcome[0]:g}"
        ):
            auc(outcome, predicted)
        return
    assert auc(outcome, predicted) == pytest.approx(roc_auc_score(outcome, predicted), abs=1e-12)


@given(rows(), st.data())
def test_a_weighted_curve_is_that_of_repeated_rows(case, data):
    outcome, predicted, _ = case
    times = data.draw(hnp.arrays(np.int64, len(outcome), elements=st.integers(0, 3)))
    more, guesses = outcome.repeat(times), predicted.repeat(times)
    found = WeightedAucCurve(outcome, predicted).auc(times)
    if not len(more) or more.min() == more.max():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(more, guesses), abs=1e-12)


@given(rows())
def test_grouped_auc_is_scikit_learns_of_each_user(case):
    outcome, predicted, user = case
    want, weight = [], []
    for one in np.unique(user):
        mine = user == one
        if outcome[mine].min() != outcome[mine].max():
            want.append(roc_auc_score(outcome[mine], predicted[mine]))
            weight.append(mine.sum())
    if not want:
        with pytest.raises(
            InsufficientDataError, match=f"none of {len(np.unique(user))} users has both outcomes"
        ):
            grouped_auc(outcome, predicted, user)
        return
    found = grouped_auc(outcome, predicted, user)
    assert found.value == pytest.approx(np.average(want, weights=weight), abs=1e-12)
    assert (found.users, found.rows) == (len(want), sum(weight))
    values, _ = user_aucs(outcome, predicted, user)
    np.testing.assert_allclose(values[~np.isnan(values)], want, atol=1e-12)


@given(rows(outcomes=(0, 0.5, 3, 900.25)))
def test_xauc_counts_every_pair(case):
    watch, predicted, group = case
    agreeing, pairs = agreement(watch, predicted)
    if not pairs:
        with pytest.raises(InsufficientDataError, match="the same observation"):
            xauc(watch, predicted)
        return
    assert xauc(watch, predicted) == pytest.approx(agreeing / pairs, abs=1e-12)
    within = [agreement(watch[group == one], predicted[group == one]) for one in np.unique(group)]
    agreeing, pairs = np.sum(within, axis=0)
    if pairs:
        assert grouped_xauc(watch, predicted, group) == pytest.approx(agreeing / pairs, abs=1e-12)
    else:
        with pytest.raises(InsufficientDataError, match="no group"):
            grouped_xauc(watch, predicted, group)


@given(rows())
def test_xauc_of_two_outcomes_is_auc(case):
    outcome, predicted, _ = case
    assume(outcome.min() != outcome.max())
    assert xauc(outcome, predicted) == pytest.approx(auc(outcome, predicted), abs=1e-12)


def test_xauc_of_many_rows_is_exact():
    rng = np.random.default_rng(0)
    watch, predicted = rng.integers(0, 50, 3000).astype(float), rng.normal(size=3000).round(1)
    truth, guess = np.sign(watch[:, None] - watch), np.sign(predicted[:, None] - predicted)
    want = ((truth * guess)[truth != 0] + 1).sum() / 2 / (truth != 0).sum()
    assert xauc(watch, predicted) == pytest.approx(want, abs=1e-12)


@given(rows())
def test_log_loss_is_scikit_learns(case):
    outcome, predicted, _ = case
    sure = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)
    assert log_loss(outcome, predicted) == pytest.approx(sklearn_log_loss(outcome, sure, labels=[0, 1]))


def test_ece_and_bias_by_hand():
    predicted = np.array([0.1, 0.1, 0.1, 0.3, 0.8, 0.8])
    outcome = np.array([0, 0, 1, 0, 1, 1])
    assert bias(outcome, predicted) == pytest.approx(2.2 / 6 - 0.5)
    # Bins of {0.1, 0.1, 0.1} and {0.3, 0.8, 0.8}: too low by 0.7 in sum, too low by 0.1.
    assert ece(outcome, predicted, 2) == pytest.approx((0.7 + 0.1) / 6)
    assert ece(outcome, predicted, 1) == pytest.approx(0.8 / 6)
    assert mae([3.0, 0.0], [1.0, 0.5]) == pytest.approx(1.25)


def test_ece_of_what_is_calibrated_is_noise_and_of_what_is_not_is_seen():
    rng = np.random.default_rng(0)
    chance = rng.beta(2, 5, 50_000)
    outcome = (rng.random(50_000) < chance).astype(float)
    assert ece(outcome, chance, 20) < 0.012
    assert ece(outcome, chance**2, 20) == pytest.approx((chance - chance**2).mean(), abs=0.012)


@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_of_no_consequence(case, random):
    outcome, predicted, _ = case
    shuffled = list(range(len(outcome)))
    random.shuffle(shuffled)
    assert ece(outcome, predicted, 5) == pytest.approx(ece(outcome[shuffled], predicted[shuffled], 5))
    np.testing.assert_array_equal(
        equal_count_bins(predicted, 5)[shuffled], equal_count_bins(predicted[shuffled], 5)
    )


@given(rows(), st.integers(1, 8))
def test_bins_rise_with_the_values_and_equals_share_one(case, most):
    _, values, _ = case
    bins = equal_count_bins(values, most)
    order = np.argsort(values, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert bins.min() == 0
    assert len(np.unique(bins)) == bins.max() + 1 <= most
    assert all(len(np.unique(bins[values == value])) == 1 for value in values)


def test_bins_have_as_many_rows_and_unknown_values_their_own():
    values = np.random.default_rng(0).permutation(103).astype(float)
    assert np.ptp(np.bincount(equal_count_bins(values, 10))) <= 1
    values[:7] = np.nan
    bins = equal_count_bins(values, 10)
    assert (bins[:7] == 10).all()
    assert bins[7:].max() == 9
    assert (equal_count_bins(np.full(3, np.nan), 4) == 0).all()


@pytest.mark.parametrize("metric", [auc, log_loss, lambda y, p: ece(y, p, 20), mae, bias, xauc])
def test_what_is_no_number_is_refused(metric):
    with pytest.raises(EvaluationError, match=r"1 of 3 predictions are not finite, such as row 1"):
        metric(np.array([0, 1, 1]), np.array([0.1, np.nan, 0.3]))
    with pytest.raises(EvaluationError, match=r"1 of 3 observations are not finite, such as row 2"):
        metric(np.array([0, 1, np.inf]), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(EvaluationError, match=r"\(3,\) observations with \(2,\) predictions"):
        metric(np.array([0, 1, 1]), np.array([0.1, 0.2]))
    with pytest.raises(InsufficientDataError, match="there are no rows"):
        metric(np.zeros(0), np.zeros(0))


def test_what_is_no_chance_or_outcome_is_refused():
    with pytest.raises(
        EvaluationError, match=r"1 of 2 predictions are not probabilities, such as 1.5 in row 1"
    ):
        log_loss(np.array([0, 1]), np.array([0.1, 1.5]))
    with pytest.raises(EvaluationError, match=r"1 of 2 outcomes are neither 0 nor 1, such as 0.5 in row 0"):
        auc(np.array([0.5, 1]), np.array([0.1, 0.5]))
