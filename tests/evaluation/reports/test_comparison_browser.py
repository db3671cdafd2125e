"""The evaluation page in a real browser: no errors, nothing scrolls sideways, plots lie where they should."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.reports.test_comparison import report
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, Window, browser, open_window, page
from vrec.evaluation.reports.comparison import ComparisonReport, write_comparison

__all__ = ["browser", "page", "report"]
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(report: ComparisonReport, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("evaluation")
    write_comparison(report, str(folder))
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module", params=["desk", "tablet", "phone", "dark"])
def window(request: pytest.FixtureRequest, browser) -> Iterator[Window]:
    width = {"phone": 360, "tablet": 720}.get(request.param, 1280)
    with open_window(browser, width, 800, dark=request.param == "dark") as window:
        yield window


@pytest.fixture(autouse=True)
def _opened(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")


def test_nothing_scrolls_sideways(page) -> None:
    wide, view = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= view


def test_lanes_lie_side_by_side_within_their_plot(page) -> None:
    boxes = page.evaluate(
        """[...document.querySelectorAll('.plot')].map(plot => {
            const box = plot.getBoundingClientRect();
            return [box.bottom, [...plot.querySelectorAll('.lane')].map(lane => {
                const { top, bottom } = lane.getBoundingClientRect();
                const svg = lane.querySelector('svg').getBoundingClientRect();
                return [top, bottom, svg.top, svg.bottom];
            })];
        })"""
    )
    assert any(lanes for _, lanes in boxes)
    for floor, lanes in boxes:
        last = -1.0
        for top, bottom, svg_top, svg_bottom in lanes:
            assert top >= last - 0.5
            assert abs(svg_top - top) < 1
            assert abs(svg_bottom - bottom) < 1
            last = bottom
        assert last <= floor


def test_tick_labels_do_not_run_into_each_other(page) -> None:
    crowded = page.evaluate(
        """[...document.querySelectorAll('.lane.scale svg')].filter(svg => {
            const boxes = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
            const drawn = boxes.filter(box => box.width);
            return drawn.some((box, i) => i && box.left < drawn[i - 1].right);
        }).length"""
    )
    assert crowded == 0


def test_a_mark_stands_at_its_figure(page, report: ComparisonReport) -> None:
    """The leader's mark in the first plot, measured on the screen: the axis ends at 1."""
    share = page.evaluate(
        """(() => {
            const svg = document.querySelector('.plot .lane svg');
            const lane = svg.getBoundingClientRect();
            const dot = svg.querySelector('.dot').getBoundingClientRect();
            return ((dot.left + dot.right) / 2 - lane.left) / lane.width;
        })()"""
    )
    found = report.evaluation
    best = found.overall.metrics[found.models[0]][found.config.headline].mean
    assert share == pytest.approx(best, abs=0.02)
