"""Line charts as plain coordinates, which a template draws as SVG; arms differ by dashes and marks, not by
colors alone."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vrec.serving.ratio_counts import RateInterval

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 12, 28
STYLES = 4
"""Number of dash patterns and marks, which arms take in turn."""
MAX_DAY_LABELS = 4
ROUND_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class ChartMark:
    """Figure of one day."""

    x: float
    y: float
    low: float | None
    """Place of the interval's lower end; None without one."""
    high: float | None


@dataclass(frozen=True, slots=True)
class ChartLine:
    """Line of one arm."""

    name: str
    style: int
    """Number of the dash pattern and mark."""
    marks: tuple[ChartMark, ...]

    @property
    def points(self) -> str:
        """Points of the line for SVG."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True, slots=True)
class LineChart:
    """Chart of a rate by day."""

    lines: tuple[ChartLine, ...]
    ticks: tuple[tuple[float, str], ...]
    """Place and text of each line of the scale."""
    days: tuple[tuple[float, str], ...]
    """Place and text of the days that have a label."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT


def line_chart(
    days: Sequence[int],
    rates: Sequence[tuple[str, Sequence[RateInterval]]],
    form: Callable[[float], str],
    day_text: Callable[[int], str],
) -> LineChart:
    """Lay out a chart.

    Args:
        days: N days, µs since 1970.
        rates: Name and N rates of each arm; a rate without value is left out.
        form: Function that writes a value of the scale.
        day_text: Function that writes a day.
    """
    ends = [
        end for _, series in rates for rate in series for end in (rate.value, rate.high) if end is not None
    ]
    top = round_up(max(ends, default=0.0))
    first, last = (min(days), max(days)) if days else (0, 0)

    def x(day: int) -> float:
        share = (day - first) / (last - first) if last > first else 0.5
        return LEFT + 18 + (WIDTH - LEFT - RIGHT - 36) * share

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, value) / top)

    lines = tuple(
        ChartLine(
            name,
            number % STYLES,
            tuple(
                ChartMark(
                    # Side by side, so that no arm's interval hides another's.
                    x(day) + 3 * (number - (len(rates) - 1) / 2),
                    y(rate.value),
                    None if rate.low is None else y(rate.low),
                    None if rate.high is None else y(rate.high),
                )
                for day, rate in zip(days, series, strict=True)
                if rate.value is not None
            ),
        )
        for number, (name, series) in enumerate(rates)
    )
    step = max(1, -(-len(days) // MAX_DAY_LABELS))
    ticks = tuple((y(value), form(value)) for value in (0.0, top / 2, top))
    # Counted from the last day, which is looked at most.
    labeled = list(days)[::-1][::step][::-1]
    return LineChart(lines, ticks, tuple((x(day), day_text(day)) for day in labeled))


def round_up(value: float) -> float:
    """Return the next round number, for the end of a scale; 1 for 0 and for subnormal numbers."""
    if value < sys.float_info.min:
        return 1.0
    power = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 10.0 ** int(f"{value:e}".partition("e")[2])
    return next(step * power for step in ROUND_STEPS if step * power >= value * 0.999)
