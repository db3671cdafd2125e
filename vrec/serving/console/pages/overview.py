"""Overview: the figures of each arm by day."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from fastapi import Response

from vrec.serving.arm_days import ArmDay
from vrec.serving.console.charts import LineChart, line_chart
from vrec.serving.console.languages import mark
from vrec.serving.console.requests import ConsoleRequest
from vrec.serving.ratio_counts import RateInterval

PERIODS = (7, 14, 30, 90)
"""Days that can be chosen."""
TITLES = {
    "ctr": mark("Clicks per impression (CTR)"),
    "watch_s_per_impression": mark("Minutes watched per 1,000 impressions"),
    "conversion": mark("Purchases per impression (conversion)"),
    "revenue_per_impression": mark("Revenue per 1,000 impressions"),
}
"""Title of each chart by the field of ArmDay."""
NO_RATE = RateInterval(None, None, None)
_SCALES = {"watch_s_per_impression": 1_000 / 60, "revenue_per_impression": 1_000}


async def show_overview(page: ConsoleRequest) -> Response:
    """Show the figures of the last days."""
    chosen = page.query("days", 3)
    period = int(chosen) if chosen in map(str, PERIODS) else PERIODS[1]
    days, arms = await page.backend.arm_days(period), await page.backend.arms()
    figures = [figures_of(day) for day in days]
    return page.page(
        "overview.html",
        # The newest day first; the arms of a day in their order.
        figures=sorted(figures, key=lambda one: -one.at),
        charts=_charts(page, figures),
        arms=arms,
        periods=PERIODS,
        period=period,
    )


def figures_of(day: ArmDay) -> ArmDay:
    """Return a day's figures in the units of the page: minutes and money per 1,000 impressions."""
    scaled = {name: _scaled(getattr(day, name), factor) for name, factor in _SCALES.items()}
    return replace(day, **scaled)


def _scaled(rate: RateInterval, factor: float) -> RateInterval:
    values = (None if value is None else value * factor for value in (rate.value, rate.low, rate.high))
    return RateInterval(*values)


def _charts(page: ConsoleRequest, figures: Sequence[ArmDay]) -> list[tuple[str, LineChart]]:
    """Return the title and the chart of each rate."""
    language, currency = page.language, page.config.currency
    forms = {
        "ctr": language.percent,
        "watch_s_per_impression": lambda value: language.number(value, 1),
        "conversion": lambda value: language.percent(value, 2),
        "revenue_per_impression": lambda value: language.scale_money(value, currency),
    }
    days = list(dict.fromkeys(one.at for one in figures))
    names = list(dict.fromkeys(one.arm for one in figures))
    # Of a day on which an A/B test took the place of another, the later one's; not all days have all arms.
    found = defaultdict[tuple[int, str], ArmDay | None](lambda: None)
    found |= {(one.at, one.arm): one for one in figures}
    return [
        (
            language.text(title),
            line_chart(
                days,
                [(name, [getattr(found[day, name], rate, NO_RATE) for day in days]) for name in names],
                forms[rate],
                language.day,
            ),
        )
        for rate, title in TITLES.items()
    ]


ROUTES = (("GET", "", show_overview),)
