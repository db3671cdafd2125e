"""What commands print of results."""

from typing import Any

import pytest

from vrec.cli.output import print_evaluated, print_trained_ranker


def part(name: str, users: int, **outcomes: int) -> dict[str, Any]:
    """One part of an evaluation, with an interval from ten outcomes on."""
    metrics = {
        model: {
            f"{metric}@10": {"mean": 0.2, "low": low, "high": low and 0.3, "outcomes": few}
            for metric in ("ndcg", "recall", "hit_rate")
        }
        for model, few in outcomes.items()
        for low in [0.1 if few >= 10 else None]
    }
    gap = {"mean": 0.1, "low": None, "high": None, "outcomes": 6}
    against = {model: {"ndcg@10": gap} for model in outcomes if model != "popular"}
    best = {model: {"ndcg@10": gap} for model in outcomes if model != "ease"}
    return {
        "name": name, "users": users, "metrics": metrics, "against_popular": against, "against_best": best
    }  # fmt: skip


def test_parts_with_too_few_users_are_named_with_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    empty = {"name": "nobody", "users": 0, "metrics": {"popular": {}, "ease": {}}}
    print_evaluated(
        {
            "report": "out/report.html",
            "data": {"name": "a shop", "split": "by time"},
            "evaluation": {
                "config": {"headline_metric": "ndcg", "headline_k": 10, "min_outcomes": 10},
                "models": ["ease", "popular"],
                "best_single": "ease",
                "beyond": {"ease": {}, "popular": {}},
                "overall": part("all", 500, popular=20, ease=30),
                "slices": [
                    part("new users", 30, popular=1, ease=4),
                    part("rare", 80, popular=9, ease=11),
                    empty,
                ],
            },
        }
    )
    told = capsys.readouterr()
    assert "0.2000   [0.1000, 0.3000]  +0.1000 too few (6)" in told.out
    gains = told.out.split("ndcg@10 above popular, by slice\n")[1].splitlines()[:3]
    assert [line.split() for line in gains] == [
        ["users", "ease"],
        ["new", "users", "30", "+0.1000", "too", "few", "(6)"],
        ["rare", "80", "+0.1000", "too", "few", "(6)"],
    ]
    assert told.err.splitlines() == [
        "new users: too few users for an interval of any model: at most 4 of 30 differ from the "
        "most frequent ndcg@10, 10 are needed",
        "rare: too few users for an interval of 1 of 2 models: at most 9 of 80 differ from the "
        "most frequent ndcg@10, 10 are needed",
    ]


def test_models_that_combine_others_are_compared_with_the_best_single_one(capsys):
    models = ["auto", "ease", "hybrid", "popular"]
    print_evaluated(
        {
            "report": "out/report.html",
            "data": {"name": "a shop", "split": "by time"},
            "evaluation": {
                "config": {"headline_metric": "ndcg", "headline_k": 10, "min_outcomes": 10},
                "models": models,
                "best_single": "ease",
                "beyond": {model: {} for model in models},
                "overall": part("all", 500, **dict.fromkeys(models, 30)),
                "slices": [],
            },
        }
    )
    told = capsys.readouterr().out.split("ndcg@10 above ease, the best single model")[1].splitlines()
    assert [line.split()[:2] for line in told[1:3]] == [["auto", "+0.1000"], ["hybrid", "+0.1000"]]
    assert told[3] == "open out/report.html"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.01, 0.05, "+0.0200 [-0.0100, +0.0500]"), (None, None, "+0.0200 (too few users for an interval: 3)")],
)
def test_a_ranker_without_an_interval_is_printed(low, high, text, capsys) -> None:
    print_trained_ranker(
        {
            "model": "din", "impressions": {"train": 1, "test": 1}, "resumed_from": 0, "train_s": 1.0,
            "epochs": 1, "best_epoch": 1, "out": "o", "test": {"ranker": {}, "rates": {}}, "left_out": {},
            "heads_left_out": {},
            "click_auc_above_rates": {"value": 0.02, "low": low, "high": high, "outcomes": 3},
        }
    )  # fmt: skip
    assert text in capsys.readouterr().out
