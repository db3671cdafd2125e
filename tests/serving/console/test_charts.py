"""Charts: marks within the frame, in the order of their values, told apart without color."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.serving.arm_days import DAY_US
from vrec.serving.console.charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, line_chart, round_up
from vrec.serving.ratio_counts import RateInterval

RATES = st.floats(0, 1e6, allow_nan=False)


@given(value=st.floats(sys.float_info.min, 1e300))
def test_the_scale_ends_at_a_round_number_that_is_not_far_above(value):
    top = round_up(value)
    assert value * 0.999 <= top <= 2 * value
    assert float(f"{top:.2g}") == pytest.approx(top, rel=1e-9)


@pytest.mark.parametrize("value", [0.0, -1.0, 5e-324, 1e-310])
def test_the_scale_of_nothing_ends_at_1(value):
    assert round_up(value) == 1.0


@given(values=st.lists(st.tuples(RATES, st.floats(0, 1)), min_size=1, max_size=90), arms=st.integers(1, 5))
def test_marks_lie_within_the_frame_and_higher_values_higher_up(values, arms):
    days = [number * DAY_US for number in range(len(values))]
    series = [RateInterval(value, value * (1 - part), value * (1 + part)) for value, part in values]
    chart = line_chart(days, [(f"arm {n}", series) for n in range(arms)], str, str)
    assert len(chart.lines) == arms
    for line in chart.lines:
        for mark in line.marks:
            assert LEFT <= mark.x <= WIDTH
            assert TOP - 1e-6 <= mark.high <= mark.y + 1e-6 <= mark.low + 2e-6 <= HEIGHT - BOTTOM + 3e-6
    marks = chart.lines[0].marks
    order = sorted(range(len(values)), key=lambda n: values[n][0])
    assert all(marks[a].y >= marks[b].y - 1e-6 for a, b in pairwise(order))
    assert len({line.style for line in chart.lines}) == min(arms, 4)
    assert chart.days[-1][1] == str(days[-1])
    assert len(chart.days) <= 4


def test_days_without_a_figure_have_no_mark_and_few_shoppers_no_bar():
    rates = [RateInterval(None, None, None), RateInterval(0.2, None, None)]
    (line,) = line_chart([0, DAY_US], [("a", rates)], str, str).lines
    (mark,) = line.marks
    assert (mark.low, mark.high) == (None, None)
    assert line_chart([], [], str, str).lines == ()
