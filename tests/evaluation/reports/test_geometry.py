"""Positions, colors and lines of the plots, worked out by hand."""

import math

import pytest

from vrec.evaluation.offline.results import MetricDifference, MetricEstimate
from vrec.evaluation.reports.charts import (
    ChartAxis,
    difference_forest_plot,
    forest_plot,
    scatter_plot,
    trial_history_plot,
)
from vrec.evaluation.reports.tuning import (
    TrialSummary,
    VariedSetting,
    axis_position,
    coordinate_axis,
    epoch_curves,
    score_floor,
)


def estimate(mean, low=None, high=None):
    return MetricEstimate(mean, low, high, 9, None)


def test_values_beyond_the_axis_are_clipped():
    axis = ChartAxis(0.0, 2.0, 1.0)
    assert [axis.at(v) for v in (-1, 0, 0.5, 2, 3)] == [0, 0, 25, 100, 100]


def test_an_axis_without_zero_starts_near_its_values():
    assert ChartAxis.for_values([10, 12], zero=False).low == 10
    assert ChartAxis.for_values([10, 12]).low == 0
    assert ChartAxis.for_values([math.nan], zero=False).ticks[0][0] == 0
    assert ChartAxis.for_values([5.0, 5.0], zero=False).high > 5


def test_a_forest_without_intervals_is_dots():
    lane = forest_plot({"m": estimate(0.5), "popular": estimate(1.0)}, "popular").lanes[0]
    assert lane.low == lane.middle == lane.high == 50
    assert lane.text == "0.5000"
    lane = forest_plot({"m": estimate(0.5, 0.25, 1.0)}, "m").lanes[0]
    assert (lane.low, lane.middle, lane.high) == (25, 50, 100)
    assert lane.tooltip == "0.5000, interval 0.2500 to 1.0000"


def test_differences_are_faint_where_the_interval_holds_0():
    plot = difference_forest_plot(
        {"up": MetricDifference(0.5, 0.25, 1.0), "level": MetricDifference(-0.5, -1.0, 0.25)}
    )
    assert [lane.faint for lane in plot.lanes] == [False, True]
    assert [lane.text for lane in plot.lanes] == ["+0.5000", "−0.5000"]
    assert plot.mark == 50
    assert (plot.lanes[1].low, plot.lanes[1].middle, plot.lanes[1].high) == (0, 25, 62.5)


def test_a_scatter_s_factor_is_of_the_horizontal_axis_alone():
    plot = scatter_plot(
        {"m": estimate(0.5), "n": estimate(1.0)}, {"m": estimate(0.5, 0.25, 1.0), "n": estimate(1)}, 100
    )
    assert [text for _, text in plot.across][-1] == "100"
    assert [text for _, text in plot.upward][-1] == "1.00"
    dot = plot.dots[0]
    assert (dot.right, dot.up, dot.up_low, dot.up_high) == (16.67, 50, 25, 100)
    assert dot.tooltip.startswith("m: 50 ")


def test_the_history_is_the_best_so_far_to_the_last_trial():
    plot = trial_history_plot([0.0, 1.0, 0.5, 2.0, math.nan])
    assert plot.trials == [(0, 0), (25, 50), (50, 25), (75, 100)]
    assert plot.steps == [
        (0, 0, 25, 0), (25, 0, 25, 50), (25, 50, 75, 50), (75, 50, 75, 100), (75, 100, 100.0, 100),
    ]  # fmt: skip


def tried(number, *values):
    return TrialSummary(number, {}, "done", max(values), values, 1.0, None)


def test_the_floor_is_three_times_the_median_s_distance_from_four_trials_on():
    four = [tried(i, v) for i, v in enumerate((10.0, 9.0, 8.0, -50.0))]
    assert score_floor(four) == 10 - 3 * 2
    assert score_floor(four[:3]) == -math.inf
    assert score_floor([tried(i, 1.0) for i in range(5)]) == -math.inf


def test_the_best_is_the_strongest_line_and_on_top():
    found = epoch_curves([tried(4, 0.0, 1.0), tried(2, 0.5), tried(0, 0.0, 0.25)])
    assert found is not None
    assert [(line.number, line.strength) for line in found.paths] == [(0, 0.0), (2, 0.5), (4, 1.0)]
    assert found.paths[-1].points == "0.00,100.00 100.00,0.00"
    assert found.paths[1].points == "0.00,50.00 0.60,50.00"
    assert found.paths[0].tooltip == "trial 0: 2 epochs, best 0.2500"


@pytest.mark.parametrize("value", [True, "a", None, 7.999, 256.1])
def test_what_is_no_number_of_the_range_has_no_position(value):
    assert axis_position(VariedSetting("k", low=8, high=256, log=True), value) is None


def test_one_choice_stands_in_the_middle_and_long_ones_are_numbered():
    assert axis_position(VariedSetting("k", choices=["only"]), "only") == 50
    fits, long = ["x" * 21] * 2, ["x" * 22] * 2
    assert coordinate_axis(VariedSetting("k", choices=fits)).legend == ""
    axis = coordinate_axis(VariedSetting("k", choices=long))
    assert axis.ticks == [(0, "1"), (100, "2")]
    assert axis.legend == f"1 is {long[0]}, 2 is {long[1]}"
