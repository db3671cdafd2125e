"""Numbers and durations as pages show them, each branch and its border."""

import math

import pytest

from vrec.evaluation.reports.rendering import page_environment, template_source
from vrec.evaluation.reports.wording import DEFINITIONS, NAMES, format_metric, format_setting, metric_label

FILTERS = page_environment().filters


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.42 s"),
        (38, "38 s"),
        (59.96, "60.0 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations_in_seconds_minutes_and_hours(seconds, text):
    assert FILTERS["span"](seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7.0, "7"),
        (0.04234, "0.042"),
        (3.1415, "3.14"),
        (38.24, "38.2"),
        (99.96, "100.0"),
        (1204.4, "1,204"),
        (-3.1415, "-3.14"),
    ],
)
def test_numbers_have_about_three_digits(value, text):
    assert FILTERS["number"](value) == text


def test_shares_are_percent_and_json_is_sorted():
    assert FILTERS["percent"](0.754) == "75 %"
    assert FILTERS["pretty"]({"b": "é", "a": 1}) == '{\n  "a": 1,\n  "b": "é"\n}'


def test_templates_escape_and_refuse_unknown_names():
    environment = page_environment()
    assert environment.from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    with pytest.raises(Exception, match="undefined"):
        environment.from_string("{{ nothing }}").render()
    assert ".figures" in template_source(environment, "gallery.css")


def test_every_metric_has_a_name_and_a_definition():
    assert NAMES.keys() == DEFINITIONS.keys()
    assert metric_label("popularity_rank@20") == "Popularity rank@20"


@pytest.mark.parametrize(
    ("key", "text"),
    [("novelty@5", "8.41"), ("diversity@5", "8.412"), ("gini@5", "8.412"), ("map@5", "8.4120")],
)
def test_digits_suit_the_metric(key, text):
    assert format_metric(8.412, key) == text
    assert format_metric(math.inf, key) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00123456, "0.001235"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("bm25", "bm25"),
        (["a", "b"], "[a, b]"),
    ],
)
def test_settings_read_as_yaml(value, text):
    assert format_setting(value) == text
