"""Alerts about operation: series that exist, a place in docs/operations.md, and what fires them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.serving.observability.promql import parse_promql
from vrec.serving.observability import metrics

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "deploy" / name for name in ("alerts-operations.yaml", "alerts.yaml")]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)
COUNTERS = {name for one in metrics.METRICS if one.kind != "gauge" for name in one.exported}


def rules(file: Path) -> list[dict]:
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def labels() -> dict[str, set[str]]:
    """Return the labels of each series that /metrics has, and of Prometheus' own `up`."""
    own = {metrics.NODE, metrics.TENANT, "WorkerId", "le"}
    found = {name: own | set(one.tags) for one in metrics.METRICS for name in one.exported}
    found |= {name: {"deployment", "application", "replica"} for name in metrics.SERVE_NAMES}
    found |= {name: {"ip", "SessionName"} for name in metrics.NODE_NAMES}
    return found | {"up": {"job", "instance"}}


@pytest.mark.parametrize("rule", rules(FILES[0]), ids=lambda rule: rule["alert"])
def test_a_rule_reads_series_that_exist_and_says_what_to_do(rule):
    query, known = parse_promql(rule["expr"]), labels()
    assert query.selectors
    for selector in query.selectors:
        assert {label for label, _, _ in selector.matchers} <= known[selector.name], selector
        assert selector.range or selector.name not in COUNTERS, selector
    for names in query.groupings:
        assert set(names) <= set().union(*(known[one.name] for one in query.selectors))
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    # What the summary names is still there after the aggregation.
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert not query.groupings or label in {name for names in query.groupings for name in names}


def test_every_alert_has_one_name_and_a_place_in_the_document():
    names = [rule["alert"] for file in FILES for rule in rules(file)]
    assert len(set(names)) == len(names)
    assert {name for name in names if not name.startswith("VrecModel")} == set(HEADINGS)
    for rule in (rule for file in FILES for rule in rules(file)):
        if rule["alert"] in HEADINGS:
            words = TEXT.partition(f"### {rule['alert']}\n")[2].split(".")[0].strip()
            assert words.lower() == rule["labels"]["severity"], rule["alert"]


@pytest.mark.parametrize("rule", rules(FILES[1]), ids=lambda rule: rule["alert"])
def test_a_rule_about_the_model_names_a_section_that_exists(rule):
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor in {title.lower().replace(" ", "-") for title in titles}
    if not rule["alert"].startswith("VrecModel"):
        assert anchor == rule["alert"].lower()


def test_compose_loads_both_files():
    mounts = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["prometheus"]["volumes"]
    for file in FILES:
        assert f"./deploy/{file.name}:/etc/prometheus/rules/{file.name}:ro" in mounts


def test_the_alerts_fire_when_they_should():
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("needs promtool: Debian's package prometheus has it")
    for command in (
        ["check", "rules", *map(str, FILES)],
        ["test", "rules", "alerts_operations.promtool.yaml"],
    ):
        done = subprocess.run(
            [promtool, *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
