"""Templates of the console, with texts in the reader's language."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from vrec.serving.console.labels import INTERVAL, INVALID, LABELS, NO_DATA, TOO_FEW, code_label, reason_label
from vrec.serving.console.languages import ConsoleLanguage, console_language
from vrec.serving.ratio_counts import RateInterval
from vrec.serving.tenants.context import current_tenant

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, language: ConsoleLanguage, values: Mapping[str, Any]) -> str:
    """Render a template; everything in `values` is escaped."""
    return _environment(language.code).get_template(template).render(values)


@cache
def _environment(code: str) -> Environment:
    language = console_language(code)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install: Callable[..., None] = environment.install_gettext_translations  # type: ignore[attr-defined]
    install(language.translations, newstyle=True)
    environment.globals |= {
        "language": language,
        "languages": ConsoleLanguage.NAMES,
        "number": language.number,
        "percent": language.percent,
        "money": language.money,
        "day": language.day,
        "moment": language.moment,
        "local_input": local_input,
        "label": lambda group, code: code_label(group, code, language),
        "reason": lambda code, titles: reason_label(code, titles, language),
        "link": link,
        "tenant": current_tenant,
        "interval": lambda rate, form: interval(rate, form, language),
        "difference": lambda rate, form: difference(rate, form, language),
        "problem_text": lambda code: language.text(LABELS["problem"].get(code, INVALID)),
        "number_2": lambda value: language.number(value, 2),
        "percent_2": lambda value: language.percent(value, 2),
        "minutes_text": lambda value: language.number(value, 1),
    }
    environment.filters["media"] = _media_path
    return environment


def _media_path(video_id: str) -> str:
    """Return the path of a video's file; a player sends no key, so that the path names the tenant."""
    tenant = current_tenant()
    return f"/media/{quote(video_id, safe='')}" + (f"?tenant={tenant}" if tenant else "")


def link(path: str, **query: Any) -> str:
    """Return a path of the console with a query; empty values are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return path + (f"?{urlencode(given)}" if given else "")


def local_input(at: datetime | None) -> str:
    """Return the value of an input of type `datetime-local`; its time is UTC."""
    return "" if at is None else at.strftime("%Y-%m-%dT%H:%M")


def interval(rate: RateInterval, form: Callable[[float], str], language: ConsoleLanguage) -> Markup:
    """Return the text of a rate, which is not below 0, with its interval."""
    low = None if rate.low is None else max(0.0, rate.low)
    return difference(RateInterval(rate.value, low, rate.high), form, language)


def difference(rate: RateInterval, form: Callable[[float], str], language: ConsoleLanguage) -> Markup:
    """Return the text of a difference of rates with its interval."""
    if rate.value is None:
        return escape(language.text(NO_DATA))
    if rate.low is None or rate.high is None:
        ends = language.text(TOO_FEW)
    else:
        ends = language.text(INTERVAL).format(low=form(rate.low), high=form(rate.high))
    return Markup('{} <span class="ends">({})</span>').format(form(rate.value), ends)
