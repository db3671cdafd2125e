"""Ranker metrics of eight impressions by hand, and every setting's effect."""

from dataclasses import replace

import numpy as np
import pytest

from vrec.core.errors import EvaluationError
from vrec.evaluation.ranking.metrics import (
    WeightedAucCurve,
    ece,
    equal_count_bins,
    grouped_auc,
    grouped_xauc,
    log_loss,
)
from vrec.evaluation.ranking.run import RankerMetricsConfig, compare_rankers, evaluate_ranker
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions


def f32(*values):
    return np.array(values, dtype=np.float32)


LABELS = ImpressionLabels(
    click=f32(1, 0, 1, 0, 1, 0, 0, 1),
    watch_s=f32(10, 0, 5, 0, 20, 1, 0, 0),
    conversion=f32(1, 0, 0, 0, 1, 0, 0, 1),
    mature=np.array([True, True, True, True, True, True, False, False]),
    duration_s=f32(10, 10, 20, 20, 30, 30, np.nan, np.nan),
    at=np.arange(8),
    user=np.array([5, 5, 5, 9, 9, 9, 2, 2]),
)
PREDICTED = RankerPredictions(
    p_click=f32(0.8, 0.2, 0.1, 0.4, 0.6, 0.3, 0.5, 0.5),
    watch_s=f32(8, 1, 6, 2, 10, 3, 1, 1),
    p_conv=f32(0.4, 0.1, 0.08, 0.1, 0.3, 0.1, 0.2, 0.2),
    spread=np.zeros(8, np.float32),
)


def evaluated(**more):
    return evaluate_ranker(PREDICTED, LABELS, None, RankerMetricsConfig(**more)).overall


def test_counts_and_metrics_by_hand():
    found = evaluated(bins=2)
    assert found.counts == {
        "rows": 8, "users": 3, "clicks": 4, "watched": 4, "mature": 6, "mature_clicks": 3, "conversions": 2,
        "click_gauc_users": 3, "click_gauc_rows": 8,
    }  # fmt: skip
    metrics = found.metrics
    # User 5: .8 above .2 and .1 below it; user 9: .6 above both; user 2: a tie.
    assert metrics["click_gauc"] == pytest.approx((3 * 0.5 + 3 * 1 + 2 * 0.5) / 8)
    assert metrics["click_bias"] == pytest.approx(3.4 / 8 - 0.5)
    assert metrics["watch_mae"] == pytest.approx((2 + 1 + 1 + 2 + 10 + 2 + 1 + 1) / 8)
    assert metrics["watch_bias"] == pytest.approx((32 - 36) / 8)
    assert metrics["conv_bias"] == pytest.approx(1.08 / 6 - 2 / 6)
    # CVR predictions of the mature clicks are .5, .8 and .5; conversions 1, 0, 1.
    assert metrics["cvr_auc"] == 0
    assert metrics["watch_xauc_duration"] == 1


def test_the_constant_is_the_mean_of_these_rows():
    constant = evaluated().constant
    assert constant["click_log_loss"] == pytest.approx(np.log(2))
    assert constant["watch_mae"] == pytest.approx(np.abs(LABELS.watch_s - 4.5).mean())
    assert constant["conv_bias"] == pytest.approx(0, abs=1e-7)
    assert constant["conv_log_loss"] == pytest.approx(-(np.log(1 / 3) / 3 + np.log(2 / 3) * 2 / 3), rel=1e-5)
    assert constant["cvr_auc"] == constant["click_gauc"] == 0.5


def test_bins_and_duration_buckets_are_heeded():
    rng = np.random.default_rng(0)
    click, watch = rng.integers(0, 2, 200).astype(np.float32), rng.random(200, np.float32)
    duration = rng.choice(f32(5, 10, 20, np.nan), 200)
    labels = ImpressionLabels(
        click, watch, click, np.arange(200) < 100, duration, np.arange(200), np.arange(200)
    )
    chances = rng.random(200, np.float32)
    predicted = RankerPredictions(chances, rng.random(200, np.float32), chances, np.zeros(200, np.float32))

    def metrics(**more):
        return evaluate_ranker(predicted, labels, None, RankerMetricsConfig(**more)).overall.metrics

    assert metrics(bins=3)["click_ece"] == ece(click, chances, 3) != metrics()["click_ece"]
    assert metrics(bins=3)["conv_ece"] == ece(click[:100], chances[:100], 3) != metrics()["conv_ece"]
    # Without buckets the unknown durations are still apart from the known ones.
    one, many = metrics(duration_buckets=1), metrics(duration_buckets=3)
    assert len({one["watch_xauc"], one["watch_xauc_duration"], many["watch_xauc_duration"]}) == 3
    group = equal_count_bins(duration, 3)
    assert many["watch_xauc_duration"] == grouped_xauc(watch, predicted.watch_s, group)


def test_the_level_and_the_fewest_outcomes_decide_the_interval():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(60), 5)
    click = (rng.random(300) < 0.4).astype(float)
    good, bad = click * 0.5 + rng.random(300), rng.random(300)

    def found(**more):
        return compare_rankers(good, bad, click, user, RankerMetricsConfig(**more))

    assert found() == found()
    for which in ("auc", "gauc"):
        plain = getattr(found(), which)
        narrow = getattr(found(level=0.5), which)
        assert plain.low < narrow.low < narrow.high < plain.high
        assert getattr(found(min_outcomes=plain.outcomes), which) == plain
        few = getattr(found(min_outcomes=plain.outcomes + 1), which)
        assert (few.value, few.low, few.high) == (plain.value, None, None)
        assert plain.value > 0
    assert found().gauc.value == pytest.approx(
        grouped_auc(click, good, user).value - grouped_auc(click, bad, user).value
    )


def test_the_ends_of_what_a_prediction_may_be_are_allowed():
    ends = f32(0, 1, 0, 1, 0, 1, 0, 1)
    evaluate_ranker(replace(PREDICTED, p_click=ends, p_conv=ends), LABELS, None, RankerMetricsConfig())
    for name, value in (("p_click", -0.1), ("p_click", 1.1), ("watch_s", np.inf), ("p_conv", np.nan)):
        values = getattr(PREDICTED, name).copy()
        values[3] = value
        with pytest.raises(EvaluationError, match=f"{name}: 1 of 8 .* in row 3"):
            evaluate_ranker(replace(PREDICTED, **{name: values}), LABELS, None, RankerMetricsConfig())


def test_log_loss_is_clipped_at_1e_7_and_in_nats():
    assert log_loss(np.array([1, 0]), np.array([0.0, 0.0])) == pytest.approx(-np.log(1e-7) / 2, rel=1e-6)
    assert log_loss(np.array([1]), np.array([0.5])) == pytest.approx(np.log(2))


def test_a_curve_without_one_outcome_has_no_auc():
    curve = WeightedAucCurve(np.array([1, 0, 1]), np.array([0.2, 0.1, 0.3]))
    assert curve.auc() == 1
    assert np.isnan(curve.auc(np.array([1, 0, 1])))


def test_quantile_bins_by_hand():
    assert equal_count_bins(np.array([4.0, 1, 3, 2]), 2).tolist() == [1, 0, 1, 0]
    assert equal_count_bins(np.array([1.0, 1, 1, 9]), 2).tolist() == [0, 0, 0, 1]
    assert equal_count_bins(np.array([1.0, np.nan, 2]), 1).tolist() == [0, 1, 0]
    assert equal_count_bins(np.array([1.0, 9, 9, np.nan]), 2).tolist() == [0, 0, 0, 1]
