"""docs/scale.md: its unit costs are figures of benchmarks/RESULTS.md, and its plans follow from them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0].strip(): part for part in re.split(r"^## ", RESULTS, flags=re.MULTILINE)[1:]
}
COSTS = re.findall(r'^\| ([^|]+) \| [^|]+ \| [^|"]*"([^"]+)"[^|]* \| (.+?) \|$', TEXT, re.MULTILINE)
CLIP, MINUTE, LIST, EVENT, ALONE = 2 / 19.06, 1.56, 2 / 69.5, 2 / 3754, 2 / 151
VIDEO = MINUTE / 2 + 0.05


@pytest.mark.parametrize(("unit", "figure", "heading"), COSTS, ids=[cost[0] for cost in COSTS])
def test_a_unit_cost_is_a_figure_of_the_results(unit, figure, heading):
    assert figure in SECTIONS[heading]


def test_every_unit_cost_has_a_figure():
    table = TEXT.partition("## Unit costs")[2].partition("\n\nAn event")[0]
    assert len(COSTS) == table.count("\n|") - 2


def numbers(row: str) -> list[list[float]]:
    """Return the numbers in each cell of a row."""
    (cells,) = re.findall(rf"^\| {re.escape(row)} \|(.*)\|$", TEXT, re.MULTILINE)
    return [
        [float(n.replace(",", "")) for n in re.findall(r"[\d,]*\.?\d+", cell)] for cell in cells.split("|")
    ]


@pytest.mark.parametrize(("size", "place"), [(1e6, 0), (1e8, 1)])
def test_the_plan_for_videos_follows_from_the_unit_costs(size, place):
    hours, spread, cores, cost = numbers("embed all, once")[place]
    assert hours == pytest.approx(size * VIDEO / 3600, rel=0.01)
    assert spread == pytest.approx(hours / cores, rel=0.03)
    assert cost == pytest.approx(hours * 0.02, rel=0.09)
    assert numbers("embed 1 % new ones a day")[place][0] == pytest.approx(hours / 100, rel=0.01)
    assert numbers("index")[place][-1] == pytest.approx(size * 488 / 1e9, rel=0.05)


@pytest.mark.parametrize(("size", "place"), [(1e6, 0), (1e9, 1)])
def test_the_plan_for_shoppers_follows_from_the_unit_costs(size, place):
    lists = size * 0.1 * 20 / 86_400 * 3
    assert numbers("lists a second, busiest hour")[place] == [pytest.approx(lists, rel=0.01)]
    (cores,) = numbers("cores for lists, loaded to 70 %")[place]
    assert cores == pytest.approx(lists * LIST / 0.7, rel=0.06)
    events = size * 0.1 * 60 / 86_400 * 3
    assert numbers("events a second, busiest hour")[place] == [pytest.approx(events, rel=0.01)]
    (event_cores,) = numbers("cores for events, sent by 100")[place]
    assert event_cores >= events * EVENT / 0.7 > event_cores - 1
    (redis,) = numbers("Redis for 30 days of events")[place]
    assert redis * (1e9 if place == 0 else 1e12) == pytest.approx(size * 0.1 * 60 * 30 * 350, rel=0.01)
    (cost,) = numbers("cost a day of serving, sized for the busiest hour")[place]
    assert cost == pytest.approx((cores + event_cores) * 24 * 0.04, rel=0.05)


def test_the_single_figures_are_those_of_the_units():
    assert f"{CLIP:.3f}".lstrip("0") in TEXT
    assert pytest.approx(3, rel=0.1) == 208 * ALONE
    assert pytest.approx(1 / 9, rel=0.01) == 208 * EVENT
    assert pytest.approx(18, rel=0.02) == 1e9 * 50 * 50 / 2 * 14.71 / 280e6 / 3600
