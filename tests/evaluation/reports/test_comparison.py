"""The evaluation page as text: escaped, self-contained, honest about what is level; and its JSON."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.reports.markup import EVIL, Loads
from tests.evaluation.tables import drawn_shop, interactions, recommendations
from vrec.core.errors import OutputError
from vrec.evaluation.offline.config import EvaluationConfig, SampledConfig
from vrec.evaluation.offline.results import MetricEstimate
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.offline.sampled import evaluate_sampled
from vrec.evaluation.reports.charts import ChartAxis, forest_plot, scatter_plot, trial_history_plot
from vrec.evaluation.reports.comparison import (
    ComparisonReport,
    DatasetSummary,
    ExampleShopper,
    ModelNotes,
    metrics_json,
    render_comparison,
    write_comparison,
)
from vrec.evaluation.reports.wording import format_difference, format_metric, metric_label
from vrec.retrieval.models.popular import PopularRecommender

CONFIG = EvaluationConfig(ks=(5, 10))
JPEG = b"\xff\xd8\xff\xe0 not drawn, only carried"


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    """A model that knows the test beside one that does not, on a drawn shop."""
    train, test = drawn_shop(2)
    users = sorted(set(test["user_id"].to_pylist()))
    popular = PopularRecommender().fit(train).recommend(users, 10)
    went_on: dict[str, list[str]] = {}
    for row in test.to_pylist():
        went_on.setdefault(row["user_id"], []).append(row["video_id"])
    rng = np.random.default_rng(0)
    oracle = recommendations(went_on)
    worse = recommendations({user: row[:1] for user, row in went_on.items() if rng.random() < 0.7})
    watched = sorted(set(train["video_id"].to_pylist()))
    vectors = (watched, rng.normal(size=(len(watched), 4)))
    evaluation = evaluate_recommendations(
        {"popular": popular, "oracle": oracle, "some": [worse, worse]},
        train,
        test,
        CONFIG,
        vectors=vectors,
        user_slices={"first users": users[:9]},
        video_slices={"nothing": []},
    )
    one_out = interactions({user: row[0] for user, row in went_on.items()}.items())
    full = PopularRecommender().fit(train).recommend(users, 30)
    sampled = evaluate_sampled({"popular": full}, train, one_out, SampledConfig(negatives=5), CONFIG)
    return ComparisonReport(
        data=DatasetSummary(
            "a drawn shop", 40, 30, 250, "by lot", "2026-01-02", 3, {"Interest": "any watch"}
        ),
        evaluation=evaluation,
        models={
            "popular": ModelNotes({"half_life_days": None}, "defaults", 0.25, 1234.5),
            "oracle": ModelNotes(
                {"shrink": 10}, "tuned on validation", None, None, (0.1, math.nan, 0.3, 0.2)
            ),
        },
        sampled=sampled,
        shoppers=[
            ExampleShopper("u01", ["v01", "v02"], went_on["u01"], {"oracle": went_on["u01"], "popular": []})
        ],
        titles={"v01": "A red lamp"},
        posters={"v01": JPEG, went_on["u01"][0]: JPEG + b"2", "unseen": JPEG * 100},
    )


def test_the_page_loads_nothing_and_runs_nothing(report: ComparisonReport) -> None:
    html = render_comparison(report)
    tags = Loads(html).tags
    assert not re.search(r"https?://|@import", html)
    assert not [t for t, _ in tags if t in ("script", "link", "iframe", "object")]
    assert all(a["href"].startswith("#") for _, a in tags if a.get("href"))
    assert set(re.findall(r"url\((.{23})", html)) == {"data:image/jpeg;base64,"}
    policy = next(a["content"] for t, a in tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_only_posters_that_are_shown_and_each_once(report: ComparisonReport) -> None:
    html = render_comparison(report)
    assert html.count("url(data:") == 2
    assert "A red lamp" in html
    plain = render_comparison(replace(report, posters={}))
    assert "url(" not in plain
    assert 'class="strip plain"' in plain


def test_untrusted_text_is_text(report: ComparisonReport) -> None:
    train, test = drawn_shop(2)
    popular = PopularRecommender().fit(train).recommend(sorted(set(test["user_id"].to_pylist())), 10)
    evaluation = evaluate_recommendations(
        {"popular": popular, EVIL: popular}, train, test, CONFIG, user_slices={EVIL: ["u01"]}
    )
    evil = ComparisonReport(
        data=DatasetSummary(EVIL, 1, 1, 1, EVIL, EVIL, 0, {EVIL: EVIL}),
        evaluation=evaluation,
        models={EVIL: ModelNotes({EVIL: EVIL}, EVIL, 1.0, 1.0, (0.1, 0.2), EVIL)},
        shoppers=[ExampleShopper(EVIL, [EVIL], [EVIL], {EVIL: [EVIL]})],
        titles={EVIL: EVIL},
        posters={EVIL: JPEG},
    )
    tags = Loads(render_comparison(evil)).tags
    assert {t for t, _ in tags} <= {t for t, _ in Loads(render_comparison(report)).tags}
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_links_and_marks_lead_to_what_is_on_the_page(report: ComparisonReport) -> None:
    tags = Loads(render_comparison(report)).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in tags if a.get("href")} <= set(ids)
    assert {a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a} <= set(ids)


def test_what_a_reader_must_know_is_there(report: ComparisonReport) -> None:
    html = render_comparison(report)
    for text in (
        "oracle beats 2 other models on a drawn shop",
        "full: all videos of the catalog",
        "hits / relevant videos, not / min(k, relevant)",
        "t corrected for skewness",
        "by lot, from 2026-01-02",
        "2 seeds",
        "tuned on validation",
        "0.25 s",
        "1,234",
        "first users",
        "No test user has a relevant video here.",
        "Krichene and Rendle",
        "✓ held out",
        "any watch",
    ):
        assert text in html, text
    assert "Krichene" not in render_comparison(replace(report, sampled=None))


def test_parts_with_too_few_users_are_marked(report: ComparisonReport) -> None:
    html = render_comparison(report)
    assert "fewer than 10 users have another value than the most frequent one" in html
    (part,) = (s for s in report.evaluation.slices if s.name == "first users")
    most = max(part.too_few("ndcg@10").values())
    assert part.too_few("ndcg@10").keys() == {"popular", "oracle", "some"}
    assert most < 9
    assert (
        f"Too few users for intervals: at most {most} of 9 users differ from the most frequent NDCG@10"
        in html
    )
    cells = re.findall(r'<small class="few">too few \((\d+)\)</small>', html)
    assert cells
    assert all(int(cell) < 10 for cell in cells)
    # Means are shown all the same, as marks without whiskers.
    assert f"no interval, too few ({part.too_few('ndcg@10')['oracle']})" in html
    assert "Too few users for an interval of oracle" in html


def test_bold_is_only_what_is_clearly_ahead(report: ComparisonReport) -> None:
    bold = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', render_comparison(report), re.DOTALL)
    won = {model for model, cells in bold if 'class="win"' in cells}
    assert won == {"oracle"}
    train, test = drawn_shop(2)
    popular = PopularRecommender().fit(train).recommend(sorted(set(test["user_id"].to_pylist())), 10)
    level = evaluate_recommendations({"popular": popular, "twin": popular}, train, test, CONFIG)
    html = render_comparison(replace(report, evaluation=level, models={}, sampled=None))
    assert '<td data-head="NDCG@10"><span class="win">' not in html
    assert "popular and twin are tied for the best on a drawn shop" in html


def test_a_model_can_lead_the_next_and_still_be_level_with_a_third() -> None:
    """The next is a little behind for everyone, the third at the top for some and nowhere for others."""
    users = [f"u{i:02}" for i in range(40)]
    train = interactions([(user, "old") for user in users])
    test = interactions([(user, "new") for user in users])
    tables = {
        "leader": recommendations({user: ["a", "b", "new"] for user in users}),
        "next": recommendations(
            {user: ["a", "b", "c", *["d"] * (i % 2), "new"] for i, user in enumerate(users)}
        ),
        "popular": recommendations({user: ["new"] for user in users[:16]}),
    }
    found = evaluate_recommendations(tables, train, test, CONFIG, catalog=["old", "new", *"abcd"])
    leader = found.overall.leaders["ndcg@10"]
    assert (leader.model, leader.runner_up, list(leader.level_with)) == ("leader", "next", ["popular"])
    assert leader.lead is not None
    assert leader.lead.is_significant
    assert not leader.is_significant
    html = render_comparison(
        ComparisonReport(DatasetSummary("a shop", 1, 1, 1, "by lot", None, 0), found, {})
    )
    assert "leader and popular are tied for the best" in html
    assert 'data-head="NDCG@10"><span class="win">' not in html


def test_metrics_json_is_complete(report: ComparisonReport, tmp_path: Path) -> None:
    write_comparison(report, str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "report.html"]
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told == metrics_json(report)
    assert told["format"] == 1
    assert told["sampled"]["sampled"] is True
    assert "hits / the user's relevant" in told["definitions"]["recall"].lower().replace(
        "hits in the first k ranks", "hits"
    )
    found = told["evaluation"]
    assert found["models"][0] == "oracle"
    assert set(found["overall"]["metrics"]["some"]["ndcg@5"]) == {
        "mean",
        "low",
        "high",
        "users",
        "seeds_sd",
        "outcomes",
    }
    assert set(found["overall"]["against_popular"]) == {"oracle", "some"}
    assert found["slices"][0]["metrics"]["popular"]["recall@10"]["users"] == 9
    few = found["slices"][0]["metrics"]["oracle"]["ndcg@10"]
    assert (few["low"], few["high"], few["outcomes"]) == (None, None, 0)
    assert told["models"]["oracle"]["history"] == [0.1, None, 0.3, 0.2]
    assert (tmp_path / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_folder_that_cannot_be_written(report: ComparisonReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_comparison(report, str(tmp_path / "file"))


def test_one_model_alone(report: ComparisonReport) -> None:
    train, test = drawn_shop(2)
    popular = PopularRecommender().fit(train).recommend(sorted(set(test["user_id"].to_pylist())), 10)
    html = render_comparison(
        ComparisonReport(report.data, evaluate_recommendations({"popular": popular}, train, test, CONFIG), {})
    )
    assert "popular on a drawn shop" in html
    assert "Differences</h2>" not in html
    assert "Example shoppers" not in html


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=8), st.booleans(), st.integers(1, 6))
def test_an_axis_holds_its_values_between_round_ticks(values: list[float], zero: bool, ticks: int) -> None:
    values = [0.0 if abs(v) < 1e-9 else v for v in values]
    axis = ChartAxis.for_values(values, zero=zero, ticks=ticks)
    slack = 1e-6 * (axis.high - axis.low)
    for value in [*values, *([0.0] if zero else [])]:
        assert axis.low - slack <= value <= axis.high + slack
        assert 0 <= axis.at(value) <= 100
    places = [at for at, _ in axis.ticks]
    assert places[0] == 0
    assert places[-1] == 100
    assert places == sorted(set(places))
    assert 2 <= len(places) <= 2 * ticks + 3
    assert len({text for _, text in axis.ticks}) == len(places)


def test_ticks_read_as_people_write_them() -> None:
    assert [text for _, text in ChartAxis.for_values([0.09]).ticks] == [
        "0.000",
        "0.025",
        "0.050",
        "0.075",
        "0.100",
    ]
    assert [text for _, text in ChartAxis.for_values([-0.02, 0.01]).ticks] == [
        "−0.02",
        "−0.01",
        "0.00",
        "0.01",
    ]
    assert [text for _, text in ChartAxis.for_values([4000]).ticks] == [
        "0",
        "1,000",
        "2,000",
        "3,000",
        "4,000",
    ]
    assert ChartAxis.for_values([0, 0]).ticks[0] == (0, "0.00")


def test_marks_lie_where_the_figures_are() -> None:
    one = {"popular": MetricEstimate(0.05, 0.04, 0.06, 9, None), "m": MetricEstimate(0.1, 0.0, 0.1, 9, None)}
    plot = forest_plot(one, "popular")
    assert plot.mark == plot.lanes[0].middle == 50
    assert (plot.lanes[1].low, plot.lanes[1].middle) == (0, 100)
    places = scatter_plot(
        {"m": MetricEstimate(0.5, None, None, 9, None), "x": MetricEstimate(math.nan, None, None, 0, None)},
        one,
    )
    assert [dot.model for dot in places.dots] == ["m"]
    run = trial_history_plot([0.1, math.nan, 0.3, 0.2])
    assert run.count == 4
    assert [right for right, _ in run.trials] == [0, 66.67, 100]
    assert run.steps[-1][0] == 66.67
    assert run.steps[-1][1] == run.steps[-1][3] == run.trials[1][1]
    assert trial_history_plot([math.nan, math.nan]).steps == []


def test_figures_read_as_people_write_them() -> None:
    assert (metric_label("ndcg@10"), metric_label("hit_rate@5"), metric_label("other")) == (
        "NDCG@10",
        "Hit rate@5",
        "other",
    )
    assert (
        format_metric(0.15321, "ndcg@10"),
        format_metric(0.372, "coverage@5"),
        format_metric(1203.6, "popularity_rank@5"),
    ) == (
        "0.1532",
        "37.2 %",
        "1,204",
    )
    assert format_metric(None, "ndcg@10") == format_metric(math.nan, "gini@10") == "–"
    assert (format_difference(0.0123), format_difference(-0.004), format_difference(-0.00001)) == (
        "+0.0123",
        "−0.0040",
        "0.0000",
    )


def test_two_plots_beyond_accuracy_with_coverage_in_percent_and_a_gray_baseline(
    report: ComparisonReport,
) -> None:
    html = render_comparison(report)
    captions = re.findall(r"<figcaption>NDCG@10 by (\S+?)<span>horizontal: ([^;]+);", html)
    assert captions == [("coverage@10", "coverage@10 in %"), ("diversity@10", "diversity@10")]
    share = report.evaluation.beyond["oracle"]["coverage@10"].mean
    assert f"oracle: {100 * share:.4g} horizontally" in html
    chips = dict(re.findall(r'<span class="chip h(\d+)">.*?</svg>(\w+)</span>', html))
    assert chips == {"0": "oracle", "1": "some", "10": "popular"}
