"""A comparison on a real Ray: nothing leaks, all are asked the same, and what is said is what was found."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, EvaluationError, FitError
from vrec.pipelines.evaluate.grid_search import grid_combinations, with_model_settings
from vrec.pipelines.evaluate.report import build_report
from vrec.pipelines.evaluate.run import evaluate, run_comparison
from vrec.pipelines.inputs import InputData, read_inputs

SETTINGS = load_settings(
    overrides=[
        "evaluate.models=[als,content,hybrid]",
        "evaluate.search={als: {factors: [2, 8], iterations: [3]}}",
        "evaluate.seeds=2",
        "evaluate.metrics.ks=[5,10]",
        "retrieval.hybrid.members=[popular,content]",
        "retrieval.als.iterations=3",
    ]
)


@pytest.fixture(scope="module")
def material(shop) -> InputData:
    return read_inputs(shop.where, SETTINGS.events, "fused")


@pytest.fixture(scope="module")
def outcome(material, ray_cluster):
    return run_comparison(material, SETTINGS, address=ray_cluster.address)


def test_nothing_of_the_test_reaches_the_fit(outcome):
    cut = outcome.split.cutoff
    assert pc.max(outcome.train["at"]).as_py() < cut <= pc.min(outcome.split.test["at"]).as_py()


def test_popular_is_always_there_and_seeds_are_only_for_those_that_have_one(outcome):
    assert {model: len(run.lists) for model, run in outcome.runs.items()} == {
        "popular": 1,
        "als": 2,
        "content": 1,
        "hybrid": 1,
    }
    first, second = outcome.runs["als"].lists
    assert not first.equals(second)


def test_every_model_answers_every_test_user_and_strangers_alike(outcome):
    users = set(outcome.split.test["user_id"].to_pylist())
    strangers = users - set(outcome.train["user_id"].to_pylist())
    popular = outcome.runs["popular"].lists[0].to_pylist()
    for run in outcome.runs.values():
        rows = run.lists[0].to_pylist()
        assert {row["user_id"] for row in rows} == users
        theirs = [(r["user_id"], r["video_id"]) for r in rows if r["user_id"] in strangers]
        assert sorted(theirs) == sorted(
            (r["user_id"], r["video_id"]) for r in popular if r["user_id"] in strangers
        )


def test_settings_are_chosen_by_what_was_found_on_the_validation_part(outcome):
    trials = [trial for trial in outcome.trials if trial.model == "als"]
    assert [trial.settings["factors"] for trial in trials] == [2, 8]
    best = max(trials, key=lambda trial: trial.score)
    assert outcome.config.als.factors == best.settings["factors"]
    assert outcome.config.als.iterations == 3
    assert 0 < best.score < 1


def test_the_report_says_what_the_evaluation_found(outcome, tmp_path):
    report = build_report(outcome, SETTINGS.evaluate)
    assert report.models["als"].settings["factors"] == outcome.config.als.factors
    assert len(report.shoppers) == SETTINGS.evaluate.shoppers
    for shopper in report.shoppers:
        rows = outcome.train.filter(pc.equal(outcome.train["user_id"], shopper.user_id))
        times = dict(zip(rows["video_id"].to_pylist(), rows["at"].to_pylist(), strict=True))
        watched = [times[video] for video in shopper.watched]
        assert watched == sorted(times.values(), reverse=True)[: len(watched)]
        for videos in shopper.suggested.values():
            assert not set(videos) & set(times)


def test_the_command_leaves_a_page_and_figures_for_machines(shop, ray_cluster, tmp_path):
    quick = load_settings(overrides=["evaluate.models=[item_knn]"])
    last = quick.model_copy(update={"evaluate": replaced(quick, {"kind": "last"})})
    done = evaluate(shop.where, str(tmp_path), last, like_paper=True, address=ray_cluster.address)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert done["report"] == str(tmp_path / "report.html")
    assert written["sampled"]["sampled"] is True
    overall = written["evaluation"]["overall"]["metrics"]
    assert set(overall) == {"popular", "item_knn"}
    assert np.isfinite(overall["item_knn"]["ndcg@10"]["mean"])
    assert "<html" in (tmp_path / "report.html").read_text()


def replaced(settings: Settings, split: dict) -> object:
    return load_settings(
        overrides=[
            f"evaluate.split={json.dumps(split)}",
            f"evaluate.models={json.dumps(list(settings.evaluate.models))}",
            "evaluate.sampled.negatives=20",
        ]
    ).evaluate


def test_a_log_without_times_has_no_cut_in_time(material):
    with pytest.raises(EvaluationError, match="not their times"):
        run_comparison(replace(material, has_clock=False), SETTINGS)


def test_only_so_many_users_are_tested_and_the_report_says_so(material, outcome):
    patch = {"models": ("popular",), "search": {}, "most_users": 5}
    few = run_comparison(
        material, SETTINGS.model_copy(update={"evaluate": SETTINGS.evaluate.model_copy(update=patch)})
    )
    users = set(few.split.test["user_id"].to_pylist())
    assert len(users) == few.evaluation.overall.users == 5
    assert users < set(outcome.split.test["user_id"].to_pylist())
    assert few.train.equals(outcome.train)
    notes = build_report(few, SETTINGS.evaluate.model_copy(update=patch)).data.notes
    assert notes["test users"] == "drawn at random where there are more than 5"


def test_unknown_models_are_refused_before_anything_is_fitted(material):
    wrong = load_settings(overrides=["evaluate.models=[esae]"])
    with pytest.raises(FitError, match=r"did you mean ease\?"):
        run_comparison(material, wrong)


def test_grids():
    assert grid_combinations({"a": [1, 2], "b": [3]}, most=9, seed=0) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    some = grid_combinations({"a": list(range(10)), "b": list(range(10))}, most=7, seed=1)
    assert len(some) == 7 == len({(row["a"], row["b"]) for row in some})
    with pytest.raises(ConfigError, match=r"retrieval\.ease\.l2: unknown; retrieval\.ease has regul"):
        with_model_settings(SETTINGS.retrieval, "ease", {"l2": 3})
    changed = with_model_settings(SETTINGS.retrieval, "hybrid", {"blend.ridge": 0.5})
    assert changed.hybrid.blend.ridge == 0.5
    assert changed.hybrid.members == SETTINGS.retrieval.hybrid.members
    assert changed.als.iterations == 3
