"""Alert rules: expressions of PromQL over series and labels that the service exports."""

import re
from pathlib import Path

import pytest
import yaml

from tests.serving.observability.promql import PromQuery, parse_promql
from vrec.evaluation.health.alarms import KINDS
from vrec.serving.observability import metrics

ROOT = Path(__file__).resolve().parents[3]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
LABELS = {metrics.NODE, metrics.TENANT, "WorkerId", "le"}


def series():
    """Labels of each exported series."""
    return {name: LABELS | set(one.tags) for one in metrics.METRICS for name in one.exported}


def check(query: PromQuery):
    known = series()
    for selector in query.selectors:
        assert selector.name in known
        assert {label for label, _, _ in selector.matchers} <= known[selector.name]
        if selector.name.endswith("_total"):
            assert selector.range, f"{selector.name} is a counter, which only its rate says something about"
    for names in query.groupings:
        assert set(names) <= set().union(*(known[one.name] for one in query.selectors))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_rule_is_an_expression_over_series_that_exist(rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Vrec[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    query = parse_promql(rule["expr"])
    assert query.is_comparison, "an alert without a condition always fires"
    check(query)


def test_every_alarm_about_the_model_has_a_rule():
    found = set()
    for rule in RULES:
        for selector in parse_promql(rule["expr"]).selectors:
            for label, operator, value in selector.matchers:
                if label == "alarm":
                    found |= set(value.split("|")) if operator == "=~" else {value}
    assert found == {kind.name for kind in KINDS}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ray_vrec_model_alarm ==",
        "max by (tenant) ray_vrec_model_alarm == 1",
        "max by tenant (ray_vrec_model_alarm) == 1",
        'ray_vrec_model_alarm{alarm="order} == 1',
        "rate(ray_vrec_events_total[5]) > 0",
        "rates(ray_vrec_events_total[5m]) > 0",
        "(ray_vrec_model_alarm == 1",
        "ray_vrec_model_alarm == 1 1",
    ],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ValueError, match="PromQL"):
        parse_promql(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ray_vrec_model_alarms == 1", "name"),
        ('ray_vrec_model_alarm{alarms="order"} == 1', "label"),
        ("sum by (shop) (ray_vrec_model_alarm) == 1", "grouping"),
        ("ray_vrec_events_total > 1", "counter"),
    ],
)
def test_what_names_no_series_is_found(text, why):
    with pytest.raises(AssertionError):
        check(parse_promql(text))
