"""Comparisons with tasks that run in this process: models, seeds, splits, grids and what the report says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.errors import EvaluationError, FitError
from vrec.core.schema import EVENTS, INTERACTIONS, VIDEOS
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.pipelines.evaluate import local, tasks
from vrec.pipelines.evaluate.grid_search import GridTrial, apply_best, grid_combinations, grid_search
from vrec.pipelines.evaluate.local import LocalRunner, ValidationData
from vrec.pipelines.evaluate.report import build_report
from vrec.pipelines.evaluate.run import (
    compared_models,
    run_comparison,
    seeded_configs,
    with_new_users,
)
from vrec.pipelines.evaluate.validation import train_test_split as split_test
from vrec.pipelines.evaluate.validation import validation_score, validation_split
from vrec.pipelines.inputs import InputData
from vrec.retrieval.config import RetrievalConfig

START = datetime(2025, 1, 1, tzinfo=UTC)


def interactions(*rows: tuple[str, str]) -> pa.Table:
    """One row an hour."""
    return pa.Table.from_pylist(
        [
            {"user_id": user, "video_id": video, "weight": 1.0, "at": START + timedelta(hours=i)}
            for i, (user, video) in enumerate(rows)
        ],
        schema=INTERACTIONS.arrow(),
    )


LOG = interactions(
    *[(user, video) for user, videos in (("u1", "abc"), ("u2", "ab"), ("u3", "ad")) for video in videos],
    ("u1", "d"),
    ("u1", "a"),
    ("u2", "c"),
    ("new", "b"),
)
"""Seven rows to learn from; of the four later ones, u1's is a repeat and one is of a new user."""


def inputs(log: pa.Table = LOG, **changes: Any) -> InputData:
    data = InputData("toy", EVENTS.arrow().empty_table(), log, None, True, duplicates=0, future_events=0)
    return replace(data, **changes)


def settings(*overrides: str) -> Settings:
    split = "evaluate.split={kind: time, test_from: '2025-01-01T07:00:00'}"
    return load_settings(overrides=[split, "evaluate.metrics={ks: [1, 2], headline_k: 2}", *overrides])


def videos(*rows: tuple[str, str | None]) -> pa.Table:
    base = {"uri": "/", "kind": "product", "product_ids": [], "creator_id": "c", "domain": "d", "tags": []}
    base |= {"duration_s": 1.0, "available": True}
    return pa.Table.from_pylist([base | {"video_id": i, "title": t} for i, t in rows], schema=VIDEOS.arrow())


def test_popular_comes_first_and_content_only_where_there_is_some():
    config = settings("evaluate.models=[als,content,popular,als]").evaluate
    assert compared_models(config, CatalogContent()) == ["popular", "als", "content"]
    assert compared_models(config, None) == ["popular", "als"]
    with pytest.raises(FitError, match="esae"):
        compared_models(settings("evaluate.search={esae: {l2: [1]}}").evaluate, None)


def test_seeds_count_up_from_the_models_own():
    config = settings("retrieval.als.seed=5").retrieval
    assert [c.als.seed for c in seeded_configs("als", config, 3)] == [5, 6, 7]
    assert seeded_configs("popular", config, 3) == [config]


def test_the_fallback_is_only_for_users_without_a_list():
    lists = pa.table({"user_id": ["a", "a"], "video_id": ["x", "y"]})
    fallback = pa.table({"user_id": ["a", "b"], "video_id": ["p", "p"]})
    assert with_new_users(lists, fallback).to_pylist() == [
        {"user_id": "a", "video_id": "x"},
        {"user_id": "a", "video_id": "y"},
        {"user_id": "b", "video_id": "p"},
    ]


def test_every_combination_is_tried_or_some_of_them_in_order():
    grid = {"a": [1, 2, 3], "b": ["x", "y"]}
    every = grid_combinations(grid, most=6, seed=0)
    assert every == [{"a": a, "b": b} for a in (1, 2, 3) for b in "xy"]
    some = grid_combinations(grid, most=5, seed=0)
    assert len(some) == 5
    assert some == [row for row in every if row in some]
    assert len({str(grid_combinations(grid, most=2, seed=seed)) for seed in range(9)}) > 1


def test_of_equal_trials_the_first_is_chosen_and_others_keep_their_settings():
    trials = [
        GridTrial("als", {"factors": 2}, 0.1, 1.0),
        GridTrial("als", {"factors": 3}, 0.5, 1.0),
        GridTrial("als", {"factors": 4}, 0.5, 1.0),
    ]
    config = RetrievalConfig()
    chosen = apply_best(config, trials)
    assert chosen.als.factors == 3
    assert chosen.ease == config.ease
    assert apply_best(config, []) == config


def test_a_hybrid_is_searched_with_what_its_members_got(monkeypatch):
    seen: list[tuple[str, int]] = []

    def score(model, config, train, validation, *, content, metrics):
        seen.append((model, config.als.factors))
        return float(config.als.factors)

    monkeypatch.setattr("vrec.pipelines.evaluate.local.validation_score", score)
    config = settings("evaluate.search={als: {factors: [2, 3]}, hybrid: {blend.ridge: [1.0]}, ease: {}}")
    data = ValidationData(LOG, LOG, None, config.evaluate.metrics)
    models = ["hybrid", "als", "ease"]
    found = grid_search(LocalRunner(), models, config.retrieval, config.evaluate, data)
    assert seen == [("als", 2), ("als", 3), ("hybrid", 3)]
    assert [trial.score for trial in found.trials] == [2.0, 3.0, 3.0]
    assert (found.config.als.factors, found.config.hybrid.blend.ridge) == (3, 1.0)
    assert all(trial.seconds >= 0 for trial in found.trials)


def test_a_split_by_time_needs_times_and_others_do_not():
    order_only = inputs(has_clock=False)
    with pytest.raises(EvaluationError, match="toy has the order") as raised:
        split_test(order_only, settings())
    assert raised.value.fix == "set evaluate.split.kind=last"
    assert split_test(order_only, load_settings(overrides=["evaluate.split.kind=last"])).name == "last"


def test_the_validation_split_cuts_by_share_where_the_test_was_cut_at_a_moment():
    outer = split_test(inputs(), settings())
    inner = validation_split(outer.train, settings())
    assert outer.train.num_rows == 7
    # The latest fifth of seven rows, rounded: one or two of u3's.
    assert inner.test["user_id"].unique().to_pylist() == ["u3"]
    assert inner.cutoff < outer.cutoff
    by_user = load_settings(overrides=["evaluate.split={kind: last, last_n: 2}"])
    assert validation_split(outer.train, by_user).name == "last"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("hit_rate", 2 / 3), ("recall", 2 / 3), ("mrr", 1 / 2), ("ndcg", (1 + 1 / np.log2(3)) / 3)],
)
def test_the_score_of_popular_videos_is_the_mean_over_users_by_hand(metric, expected):
    """Train: a of 3, b of 2, c of 1 user, u4 has only x: u2 gets [c, x], u3 [b, c] and u4 [a, b]."""
    train = interactions(
        ("u1", "a"), ("u1", "b"), ("u1", "c"), ("u2", "a"), ("u2", "b"), ("u3", "a"), ("u4", "x")
    )
    validation = interactions(("u2", "c"), ("u3", "x"), ("u4", "b"))
    config = EvaluationConfig(ks=(2, 5), headline_k=2, headline_metric=metric)
    found = validation_score("popular", RetrievalConfig(), train, validation, content=None, metrics=config)
    assert found == pytest.approx(expected)


def test_a_comparison_asks_every_model_for_every_test_user(inline_ray):
    given = settings(
        "evaluate.models=[als]",
        "evaluate.seeds=2",
        "fit.shard_users=1",
        "fit.cpus=0.5",
        "fit.local_interactions=6",
        "retrieval.als={factors: 2, iterations: 1}",
    )
    outcome = run_comparison(inputs(), given)
    fits = [call for call in inline_ray if call["name"] == "_fit"]
    assert [call["num_cpus"] for call in fits] == [0.5] * 3, "popular once, als with two seeds"
    assert len([call for call in inline_ray if call["name"] == "_recommend"]) == 3 * 3
    assert {model: len(run.lists) for model, run in outcome.runs.items()} == {"popular": 1, "als": 2}
    for run in outcome.runs.values():
        for lists in run.lists:
            assert set(lists["user_id"].to_pylist()) == {"u1", "u2", "new"}
            assert max(lists["rank"].to_pylist()) <= 2
    assert outcome.split.dropped_repeats == 1
    assert outcome.train.num_rows == 7
    assert outcome.sampled is None


def test_a_small_comparison_needs_no_ray_and_finds_the_same(inline_ray):
    chosen = (
        "evaluate.models=[als,hybrid]",
        "evaluate.search={als: {factors: [2, 3]}}",
        "fit.shard_users=2",
        "retrieval.als.iterations=1",
    )
    here = run_comparison(inputs(), settings(*chosen, "fit.local_interactions=7"))
    assert inline_ray == []
    on_ray = run_comparison(inputs(), settings(*chosen, "fit.local_interactions=6"))
    assert [call["name"] for call in inline_ray].count("_run_trial") == 2
    assert [trial.score for trial in here.trials] == [trial.score for trial in on_ray.trials]
    for model, run in on_ray.runs.items():
        assert all(a.equals(b) for a, b in zip(run.lists, here.runs[model].lists, strict=True))
    assert here.evaluation == on_ray.evaluation


def test_what_is_chosen_is_what_is_fitted(monkeypatch):
    monkeypatch.setattr(
        "vrec.pipelines.evaluate.local.validation_score",
        lambda model, config, train, validation, **rest: -abs(config.als.factors - 3) + 0 * train.num_rows,
    )
    given = settings("evaluate.models=[als]", "evaluate.search={als: {factors: [2, 3, 4], iterations: [1]}}")
    outcome = run_comparison(inputs(), given)
    assert outcome.config.als.factors == 3
    report = build_report(outcome, given.evaluate)
    assert report.models["als"].settings["factors"] == 3
    assert report.models["als"].chosen == "the best of 3 on the validation part"
    assert report.models["als"].history == [-1, 0, -1]
    assert report.models["popular"].chosen == "defaults, or as given"
    assert report.models["als"].history_metric == "ndcg@2"


def test_a_report_counts_the_data_and_shows_shoppers():
    content = CatalogContent(videos(*[(i, i.upper()) for i in "abc"], ("d", None)))
    given = settings("evaluate.models=[popular]", "evaluate.shoppers=9", "evaluate.shopper_videos=2")
    outcome = run_comparison(inputs(content=content, duplicates=1234), given)
    report = build_report(outcome, given.evaluate, name="shown")
    data = report.data
    assert (data.name, data.users, data.videos, data.interactions) == ("shown", 4, 4, 11)
    assert (data.repeats, data.cut) == (1, "2025-01-01T07:00:00+00:00")
    assert data.split == "by time, at a given moment"
    assert data.notes["duplicates"].startswith("1,234 events")
    assert "leak" not in data.notes
    assert report.titles == {"a": "A", "b": "B", "c": "C"}
    shown = {shopper.user_id: shopper for shopper in report.shoppers}
    assert set(shown) == {"u1", "u2"}, "those in train and in test"
    assert shown["u1"].watched == ["c", "b"], "the latest first"
    assert shown["u1"].went_on == ["d"]
    assert shown["u1"].suggested == {"popular": ["d"]}
    run = replace(outcome.runs["popular"], recommend_s=0.5, fit_s=2.0)
    notes = build_report(replace(outcome, runs={"popular": run}), given.evaluate).models["popular"]
    assert (notes.users_per_s, notes.fit_s) == (6.0, 2.0), "three test users in half a second"
    assert build_report(outcome, given.evaluate).data.name == "toy"
    none = build_report(outcome, given.evaluate.model_copy(update={"shoppers": 0}))
    assert none.shoppers == []


@pytest.mark.parametrize(
    ("split", "words", "leaks"),
    [
        ("{kind: time, test_share: 0.25}", "by time, at the last 25%", False),
        ("{kind: last}", "each user's last video", True),
        ("{kind: last, last_n: 2}", "each user's last 2", True),
        (
            "{kind: random, test_share: 0.4}",
            "a random 40% of each user's videos (only to compare with papers)",
            False,
        ),
    ],
)
def test_a_report_names_the_split(inline_ray, split, words, leaks):
    given = settings("evaluate.models=[popular]", f"evaluate.split={split}")
    data = build_report(run_comparison(inputs(), given), given.evaluate).data
    assert data.split == words
    assert ("leak" in data.notes) is leaks


@pytest.mark.parametrize(
    ("most", "names"), [(0, {"new users", "new videos"}), (1, {"cold users", "cold videos"})]
)
def test_slices_are_named_by_how_cold_they_are(most, names):
    given = settings("evaluate.models=[popular]", f"evaluate.cold_most={most}")
    outcome = run_comparison(inputs(), given)
    text = str(outcome.evaluation.slices)
    assert all(name in text for name in names)


def test_sampled_metrics_need_whole_rankings():
    given = settings("evaluate.models=[popular]", "evaluate.sampled.negatives=1")
    content = CatalogContent(videos(*[(i, None) for i in "abcdef"]))
    outcome = run_comparison(inputs(content=content), given, like_paper=True)
    assert outcome.sampled is not None
    lists = outcome.runs["popular"].lists[0].to_pylist()
    ranked = [row["video_id"] for row in lists if row["user_id"] == "new"]
    assert len(ranked) > max(given.evaluate.metrics.ks)
    assert set("abcd") <= set(ranked)


def test_a_given_split_tests_and_validates_on_the_published_files():
    given = load_settings(overrides=["evaluate.split={kind: given}"])
    with pytest.raises(EvaluationError, match="no test split") as raised:
        split_test(inputs(), given)
    assert "--test" in raised.value.fix
    published = inputs(test=interactions(("u2", "d")), validation=interactions(("u3", "b"), ("u3", "a")))
    outer = split_test(published, given)
    assert (outer.name, outer.test["video_id"].to_pylist()) == ("given", ["d"])
    assert outer.train.num_rows == LOG.num_rows
    assert validation_split(outer.train, given, published).test["video_id"].to_pylist() == ["b"]
    # Without a validation split of its own it is drawn from train.
    drawn = validation_split(outer.train, given, replace(published, validation=None))
    assert drawn.name == "random"


def test_data_without_an_order_has_neither_a_last_video_nor_a_time():
    unordered = inputs(has_clock=False, has_order=False)
    for kind in ("time", "last"):
        with pytest.raises(EvaluationError, match="toy has no times") as raised:
            split_test(unordered, load_settings(overrides=[f"evaluate.split.kind={kind}"]))
        assert raised.value.fix == "set evaluate.split.kind=random"


@pytest.mark.parametrize("on_ray", [False, True])
def test_a_model_that_cannot_be_fitted_is_named_and_the_others_are_compared(
    inline_ray, caplog, monkeypatch, on_ray
):
    def fit_or_fail(model, config, query):
        return fail(model, config, query) if model == "ease" else original(model, config, query)

    def fail(*_):
        raise FitError("too many videos")

    original = local._fit_and_recommend
    monkeypatch.setattr(local, "_fit_and_recommend", fit_or_fail)
    start = tasks.start_recommending
    monkeypatch.setattr(
        tasks,
        "start_recommending",
        lambda model, *rest: (fail if model.kind == "ease" else start)(model, *rest),
    )
    config = settings("evaluate.models=[ease,item_knn]", f"fit.local_interactions={0 if on_ray else 7}")
    outcome = run_comparison(inputs(), config)
    assert bool(inline_ray) == on_ray
    assert set(outcome.runs) == {"popular", "item_knn"}
    assert outcome.left_out == {"ease": "too many videos"}
    assert "ease is left out: too many videos" in caplog.messages
    report = build_report(outcome, config.evaluate)
    assert report.data.notes["ease left out"] == "too many videos"
    names = {part.name for part in outcome.evaluation.slices}
    assert {"1 to 4 videos in history", "videos up to a week old"} <= names
    last = load_settings(overrides=["evaluate.split={kind: last}", "evaluate.models=[item_knn]"])
    without = run_comparison(inputs(has_clock=False), last)
    assert not any("old" in part.name for part in without.evaluation.slices)
