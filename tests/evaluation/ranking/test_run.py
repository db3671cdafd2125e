from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from vrec.core.errors import EvaluationError
from vrec.evaluation.ranking.metrics import InsufficientDataError
from vrec.evaluation.ranking.run import RankerMetricsConfig, compare_rankers, evaluate_ranker
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions

CONFIG = RankerMetricsConfig()


def log(rows=4000, seed=0):
    """(Labels, the true Predictions) of impressions whose chances are known."""
    rng = np.random.default_rng(seed)
    p_click, cvr = rng.beta(2, 6, rows), rng.beta(2, 8, rows)
    click = rng.random(rows) < p_click
    duration = rng.lognormal(3, 1, rows)
    mean = p_click * duration
    duration[rng.random(rows) < 0.1] = np.nan
    labels = ImpressionLabels(
        click=click.astype(np.float32),
        watch_s=np.where(rng.random(rows) < 0.4, 0, rng.exponential(mean / 0.6)).astype(np.float32),
        conversion=(click & (rng.random(rows) < cvr)).astype(np.float32),
        mature=rng.random(rows) < 0.7,
        duration_s=duration.astype(np.float32),
        at=np.arange(rows),
        user=rng.integers(0, rows // 10, rows),
    )
    truth = (p_click, mean, p_click * cvr, np.zeros(rows))
    return labels, RankerPredictions(*(values.astype(np.float32) for values in truth))


def test_the_truth_beats_the_constant_in_all_that_it_can():
    labels, truth = log()
    found = evaluate_ranker(truth, labels, None, CONFIG)
    assert found.cold is None
    assert not found.overall.left_out
    metrics, constant = found.overall.metrics, found.overall.constant
    assert metrics.keys() == constant.keys()
    for name in metrics:
        if name.endswith("auc") or "xauc" in name:
            assert constant[name] == 0.5 < metrics[name] - 0.05
        elif name.endswith(("log_loss", "mae")):
            assert metrics[name] < constant[name]
        else:
            assert abs(constant[name]) < 1e-5
            assert abs(metrics[name]) < (2 if name == "watch_bias" else 0.04)
    rate = labels.click.mean(dtype=np.float64)
    assert constant["click_log_loss"] == pytest.approx(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))


def test_conversions_are_judged_on_mature_impressions_only():
    labels, truth = log()
    found = evaluate_ranker(truth, labels, None, CONFIG).overall
    ripe = labels.mature
    tried = ripe & (labels.click > 0)
    want = roc_auc_score(labels.conversion[tried], (truth.p_conv / truth.p_click)[tried])
    assert found.metrics["cvr_auc"] == pytest.approx(want)
    assert found.metrics["conv_auc"] == pytest.approx(
        roc_auc_score(labels.conversion[ripe], truth.p_conv[ripe])
    )
    assert found.counts["mature_clicks"] == tried.sum()
    unripe = replace(labels, conversion=np.where(ripe, labels.conversion, 1 - labels.conversion))
    assert evaluate_ranker(truth, unripe, None, CONFIG).overall == found


def test_a_click_held_impossible_is_no_division_by_zero():
    labels, truth = log()
    never = replace(
        truth, p_click=truth.p_click * (truth.p_click > 0.2), p_conv=truth.p_conv * (truth.p_click > 0.2)
    )
    assert 0.4 < evaluate_ranker(never, labels, None, CONFIG).overall.metrics["cvr_auc"] < 1


def test_the_cold_slice_is_what_these_rows_alone_say():
    labels, truth = log()
    cold = np.random.default_rng(1).random(len(labels)) < 0.3
    found = evaluate_ranker(truth, labels, cold, CONFIG)
    rows = np.flatnonzero(cold)
    part = RankerPredictions(*(getattr(truth, name)[rows] for name in RankerPredictions.__slots__))
    assert found.cold == evaluate_ranker(part, labels.take(rows), None, CONFIG).overall
    assert found.overall == evaluate_ranker(truth, labels, None, CONFIG).overall


def test_duration_is_no_merit_within_its_buckets():
    labels, truth = log()
    by_length = replace(truth, watch_s=np.nan_to_num(labels.duration_s))
    metrics = evaluate_ranker(by_length, labels, None, CONFIG).overall.metrics
    assert metrics["watch_xauc"] > 0.56
    assert metrics["watch_xauc_duration"] < 0.52


def test_what_cannot_be_said_is_left_out_with_its_reason():
    labels, truth = log(rows=50)
    nobody = np.zeros(50, np.float32)
    none = replace(labels, click=nobody, conversion=nobody, watch_s=nobody, mature=np.zeros(50, dtype=bool))
    found = evaluate_ranker(truth, none, np.zeros(50, dtype=bool), CONFIG)
    assert found.overall.left_out["click_auc"] == "of the impressions: all 50 rows have outcome 0"
    assert found.overall.left_out["cvr_auc"] == "of the mature clicks: there are no rows"
    assert {"click_log_loss", "click_ece", "watch_mae"} <= found.overall.metrics.keys()
    assert found.cold is not None
    assert not found.cold.metrics
    assert set(found.cold.left_out.values()) == {
        f"of the {rows}: there are no rows" for rows in ("impressions", "mature impressions", "mature clicks")
    }
    for judged in (found.overall, found.cold):
        assert not judged.metrics.keys() & judged.left_out.keys()
        assert np.isfinite(list(judged.metrics.values())).all()


@pytest.mark.parametrize(("name", "value"), [("p_click", np.nan), ("p_conv", 1.5), ("watch_s", -1)])
def test_predictions_that_cannot_be_are_refused(name, value):
    labels, truth = log(rows=50)
    values = getattr(truth, name).copy()
    values[7] = value
    with pytest.raises(EvaluationError, match=rf"{name}: 1 of 50 predictions .* in row 7"):
        evaluate_ranker(replace(truth, **{name: values}), labels, None, CONFIG)


def test_broken_labels_are_refused_and_not_left_out():
    labels, truth = log(rows=50)
    with pytest.raises(EvaluationError, match="neither 0 nor 1"):
        evaluate_ranker(truth, replace(labels, click=labels.click + 0.5), None, CONFIG)
    with pytest.raises(EvaluationError, match="'cold': 3"):
        evaluate_ranker(truth, labels, np.zeros(3, dtype=bool), CONFIG)


def test_a_ranker_is_no_better_than_itself():
    labels, truth = log(rows=500)
    found = compare_rankers(truth.p_click, truth.p_click, labels.click, labels.user, CONFIG)
    for difference in (found.auc, found.gauc):
        assert (difference.value, difference.low, difference.high, difference.outcomes) == (0, None, None, 0)


def test_a_better_ranker_is_told_and_mirrored():
    labels, truth = log()
    noisy = truth.p_click + np.random.default_rng(1).normal(0, 0.2, len(labels))
    found = compare_rankers(truth.p_click, noisy, labels.click, labels.user, CONFIG)
    other = compare_rankers(noisy, truth.p_click, labels.click, labels.user, CONFIG)
    for ours, theirs in ((found.auc, other.auc), (found.gauc, other.gauc)):
        assert 0 < ours.low < ours.value < ours.high
        assert (-theirs.high, -theirs.low) == pytest.approx((ours.low, ours.high))
    assert found.auc.value == pytest.approx(
        roc_auc_score(labels.click, truth.p_click) - roc_auc_score(labels.click, noisy)
    )
    assert found == compare_rankers(truth.p_click, noisy, labels.click, labels.user, CONFIG)


@pytest.mark.slow
def test_the_interval_is_as_wide_as_differences_vary_from_log_to_log():
    """Users whose clicks go together make fewer independent rows than there are impressions."""
    rng = np.random.default_rng(0)
    users, each, logs = 60, 10, 300
    user = np.repeat(np.arange(users), each)

    def one_log():
        taste = np.repeat(rng.normal(0, 2, users), each)
        click = (rng.random(len(user)) < norm.cdf(taste - 0.5)).astype(np.float32)
        return click, taste + rng.normal(0, 0.5, len(user)), rng.normal(0, 1, len(user)) + 0.5 * taste

    aucs = []
    for _ in range(logs):
        click, ours, theirs = one_log()
        aucs.append(roc_auc_score(click, ours) - roc_auc_score(click, theirs))
    widths = []
    for _ in range(10):
        click, ours, theirs = one_log()
        found = compare_rankers(ours, theirs, click, user, CONFIG).auc
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(aucs), rel=0.2)


def test_one_outcome_compares_nothing():
    ones = np.ones(5)
    with pytest.raises(InsufficientDataError, match="all 5 rows have outcome 1"):
        compare_rankers(ones, ones, ones, np.arange(5), CONFIG)
