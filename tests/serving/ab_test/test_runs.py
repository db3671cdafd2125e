"""Figures of several A/B tests, one after the other: each has the events dated within its own time."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.test_experiments import SHORT, TWO, table
from vrec.config.serve import ExperimentArmConfig
from vrec.serving.ab_test.runs import ExperimentRuns
from vrec.serving.ab_test.start import EXPERIMENT, MAX_EARLIER, ExperimentStart, begin_experiment
from vrec.serving.arm_days import DAY_US
from vrec.serving.experiments import MINUTE_US, ArmCounts

START = 20_000 * DAY_US
ENDS = st.lists(st.integers(1, 200), min_size=0, max_size=3, unique=True).map(sorted)
VISITS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 260), st.booleans()), max_size=40)


def none(_):
    return {}


def start_of(configs, since):
    starts = [
        ExperimentStart(f"e{n}", at, n, one.salt, tuple(arm.model_dump() for arm in one.arms))
        for n, (one, at) in enumerate(zip(configs, since, strict=True))
    ]
    last = starts.pop()
    return ExperimentStart(last.experiment, last.since, last.cursor, last.salt, last.arms, tuple(starts))


@settings(max_examples=60, deadline=None)
@given(ends=ENDS, visits=VISITS, size=st.integers(1, 7))
def test_each_has_what_it_would_have_counted_alone(ends, visits, size):
    since = [START, *(START + end * MINUTE_US for end in ends)]
    configs = [TWO.model_copy(update={"salt": f"s{n}", "window_hours": 1e3}) for n in range(len(since))]
    rows = []
    for number, (user, minute, clicks) in enumerate(sorted(visits, key=lambda one: one[1])):
        at = START + minute * MINUTE_US
        rows.append((user, "impression", None, at, "v", f"r{number}"))
        rows += [(user, "click", None, at + 1, "v", f"r{number}")] if clicks else []
    runs = ExperimentRuns(configs[-1], start_of(configs, since), none)
    for first in range(0, len(rows), size):
        runs.add(table(rows[first : first + size]))
    figures = [one for day in runs.days(9) for one in runs.figures(day)]
    for config, begun, end in zip(configs, since, [*since[1:], START * 2], strict=True):
        alone = ArmCounts(config, since=begun)
        alone.add(table([row for row in rows if begun <= row[3] < end]))
        wanted = {arm.name: (arm.impressions, arm.clicks) for arm in alone.snapshot().arms}
        found = {one.arm: (one.impressions, one.clicks) for one in figures if one.since == begun}
        assert found == (wanted if any(sum(pair) for pair in wanted.values()) else {})
        if config is configs[-1]:
            now = runs.snapshot(complete=True)
            assert {arm.name: (arm.impressions, arm.clicks) for arm in now.arms} == wanted


def test_starts_are_kept_with_those_before_for_as_long_as_their_days(tmp_path):
    def begin(salt, cursor, now):
        return begin_experiment(str(tmp_path), SHORT.model_copy(update={"salt": salt}), cursor, now)

    first = begin("a", 5, START)
    assert (first.since, first.cursor, first.earlier) == (START, 5, ())
    assert begin("a", 9, START + 1) == first
    second = begin("b", 9, START + 2)
    assert (second.since, [one.salt for one in second.earlier]) == (START + 2, ["a"])
    assert begin("b", 12, START + 3) == second
    # The one before again is another A/B test.
    again = begin("a", 12, START + 4)
    assert (again.since, [one.salt for one in again.earlier]) == (START + 4, ["a", "b"])
    for number in range(9):
        last = begin(f"c{number}", 12, START + 5 + number)
    assert [one.salt for one in last.earlier] == [f"c{n}" for n in range(8 - MAX_EARLIER, 8)]
    assert [one.salt for one in begin("d", 12, START + 93 * DAY_US).earlier] == ["c8"]
    assert begin("e", 12, START + 200 * DAY_US).earlier[-1].salt == "d"
    # Another store, whose log is shorter, has none of these.
    assert begin("f", 3, START + 201 * DAY_US).earlier == ()


@pytest.mark.parametrize("arms", [[], [{"name": "A B"}], [3], [{"name": "a", "share": 2}]])
def test_an_earlier_one_that_cannot_be_read_is_left_out(tmp_path, arms):
    first = begin_experiment(str(tmp_path), SHORT, 0, START)
    record = json.loads((tmp_path / EXPERIMENT).read_text()) | {"arms": arms, "experiment": "x"}
    (tmp_path / EXPERIMENT).write_text(json.dumps(record))
    start = begin_experiment(str(tmp_path), SHORT, 0, START + 1)
    assert first.since < start.since
    runs = ExperimentRuns(SHORT, start, none)
    runs.add(table([("u", "impression", None, START + 2, "v", "r")]))
    assert sum(arm.impressions for arm in runs.snapshot(complete=True).arms) == 1


def test_arms_of_a_settings_file_are_those_of_the_record(tmp_path):
    arms = (ExperimentArmConfig(name="a", share=1.0, order="popular"),)
    start = begin_experiment(str(tmp_path), SHORT.model_copy(update={"arms": arms}), 0, START)
    assert begin_experiment(str(tmp_path), SHORT, 0, START + 1).earlier[0].arms == start.arms
