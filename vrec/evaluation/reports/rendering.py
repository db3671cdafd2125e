"""Jinja environment of the report pages, with filters for numbers and durations."""

import json

from jinja2 import Environment, PackageLoader, StrictUndefined

HUES = 10
"""Number of series (models, categories) with a color of their own; this number itself is gray."""
MARKS = ("circle", "square", "triangle", "diamond")
"""Shapes of the marks in plots, by the names of the templates' symbols."""


def page_environment() -> Environment:
    """Return a Jinja environment over the reports' templates, which escapes all values."""
    environment = Environment(
        loader=PackageLoader("vrec.evaluation.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(span=_span, number=_number, percent=_percent, pretty=_pretty)
    return environment


def template_source(environment: Environment, name: str) -> str:
    """Return the unrendered text of a template file."""
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _span(seconds: float) -> str:
    """Format a duration: 0.42 s, 38 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 60:
        return f"{_number(seconds)} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _number(value: float) -> str:
    """Format a number with about three digits: 0.042, 3.14, 38.2, 1,204."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True)
