"""What the pages are rendered with: templates, and how figures and lengths are written in them."""

import json

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment() -> Environment:
    """A Jinja environment over the reports' templates, which escapes all that it is given."""
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
    """The text of a file among the templates, as it is."""
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _span(seconds: float) -> str:
    """A duration as one says it: 0.42 s, 38 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 60:
        return f"{_number(seconds)} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _number(value: float) -> str:
    """A figure to three digits or so: 0.042, 3.14, 38.2, 1,204."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True)
