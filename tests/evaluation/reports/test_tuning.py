"""The page of a sweep: where its marks lie, what it says, and how it looks in a real browser."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser, open_window
from vrec.evaluation.reports.tuning import (
    SweepReport,
    TrialSummary,
    VariedSetting,
    axis_position,
    coordinate_axis,
    epoch_curves,
    render_sweep_report,
    score_floor,
    write_sweep_report,
)

__all__ = ["browser"]

VARIED = [
    VariedSetting("retrieval.als.factors", low=8, high=256, log=True),
    VariedSetting("retrieval.als.alpha", low=0.0, high=40.0),
    VariedSetting("retrieval.item_knn.weighting", choices=["none", "tfidf", "bm25"]),
    VariedSetting(
        "retrieval.hybrid.members", choices=[["popular", "item_knn", "ease", "content"], ["popular", "als"]]
    ),
]


def tried(number: int, values: tuple[float, ...]) -> TrialSummary:
    settings = dict(zip([v.key for v in VARIED], (8 * 2**number, 4.0 * number, "tfidf", None), strict=True))
    return TrialSummary(number, settings, "done", max(values, default=None), values, 31.5, None)


REPORT = SweepReport(
    model="als",
    data="<b>a shop & more</b>/" + "long" * 20,
    metric="ndcg@10",
    trials=[
        tried(2, (0.1, 0.3, 0.2)),
        tried(0, (0.1, 0.15, 0.2)),
        replace(tried(3, (0.05,)), state="stopped"),
        replace(tried(1, ()), state="failed", score=None, error="WorkerLost: <gone>"),
    ],
    varied=VARIED,
    importance={"retrieval.als.factors": 0.75, "retrieval.als.alpha": 0.25},
    best="retrieval:\n  als:\n    factors: 32\n",
    command="vrec fit --model als",
)


@given(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4))
def test_numbers_lie_between_their_ends_logarithms_too(one, other):
    low, high = sorted((one, other))
    for log in (False, True):
        varied = VariedSetting("a", low=low, high=high, log=log)
        middle = math.sqrt(low) * math.sqrt(high) if log else (low + high) / 2
        if high == low:
            assert axis_position(varied, low) == 50
        # Neighbouring floats may have one logarithm.
        if high > low * 1.001:
            assert axis_position(varied, low) == pytest.approx(0, abs=0.01)
            assert axis_position(varied, high) == pytest.approx(100, abs=0.01)
            assert axis_position(varied, middle) == pytest.approx(50, abs=0.5)
        assert axis_position(varied, high * 1.5) is None
        assert axis_position(varied, None) is None


def test_choices_lie_evenly_and_long_ones_are_numbered():
    assert [axis_position(VARIED[2], choice) for choice in ("none", "tfidf", "bm25", "other")] == [
        0,
        50,
        100,
        None,
    ]
    axis = coordinate_axis(VARIED[3])
    assert [text for _, text in axis.ticks] == ["1", "2"]
    assert axis.legend.startswith("1 is [popular, item_knn")
    assert coordinate_axis(VARIED[2]).legend == ""


def test_learning_curves_are_drawn_where_there_are_epochs():
    found = epoch_curves([trial for trial in REPORT.trials if trial.score is not None])
    assert found is not None
    assert found.epochs == 3
    # The best lies on top, at the top of a scale from .05 to .3.
    assert found.paths[-1].number == 2
    assert [point.split(",")[0] for point in found.paths[-1].points.split()] == ["0.00", "50.00", "100.00"]
    assert float(found.paths[-1].points.split()[1].split(",")[1]) == pytest.approx(0)
    assert epoch_curves([tried(0, (0.1,)), tried(1, (0.2,))]) is None


def test_trials_that_went_wrong_leave_room_for_the_others():
    scored = [tried(number, (score,)) for number, score in enumerate((-0.40, -0.42, -0.43, -0.45, -9.0))]
    assert score_floor(scored) == pytest.approx(-0.49)
    assert score_floor(scored[:3]) == -math.inf
    assert "drawn at the lower edge" in render_sweep_report(replace(REPORT, trials=scored))
    assert "drawn at the lower edge" not in render_sweep_report(replace(REPORT, trials=scored[:4]))


def test_the_page_says_what_came_of_every_trial_and_escapes_it():
    page = render_sweep_report(REPORT)
    for part in ("WorkerLost: &lt;gone&gt;", "&lt;b&gt;a shop &amp; more", "0.3000", "trial 2", "75 %"):
        assert part in page
    assert "<script" not in page
    assert "stopped after 1 epoch<" in page


@pytest.mark.parametrize("trials", [[], REPORT.trials[3:], REPORT.trials[1:2]])
def test_a_page_of_little_is_still_a_page(trials):
    page = render_sweep_report(replace(REPORT, trials=trials, importance={}, best=""))
    assert ("No trial of als succeeded" in page) == (not any(t.score for t in trials))
    if trials and trials[0].number == 0:
        assert "No trial of als beat the default settings" in page


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_scrolls_sideways_and_the_best_line_passes_its_ticks(browser, tmp_path, width):
    write_sweep_report(REPORT, str(tmp_path))
    with (
        open_window(browser, width, 800, dark=False) as window,
        window.at((tmp_path / "report.html").as_uri()) as page,
    ):
        wide, view = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= view
        at, tick, line = page.evaluate(
            """(() => {
                const svg = document.querySelector('.parallel > svg');
                const best = svg.querySelector('.best');
                const point = best.points[2].matrixTransform(best.getScreenCTM());
                const axes = [...document.querySelectorAll('.axis')];
                const box = axes[2].querySelectorAll('i')[1].getBoundingClientRect();
                return [[point.x, point.y], (box.left + box.right) / 2, axes[2].getBoundingClientRect().top];
            })()"""
        )
        assert at[0] == pytest.approx(tick, abs=1.5)
        assert line < at[1] < line + 60
