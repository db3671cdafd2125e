"""The time budget of the choice: trials, networks and the fits in the end, by a clock that only fits move."""

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import FitTimeout
from vrec.retrieval.config import AutoConfig, BlendConfig, SingleModelsConfig
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.models import auto as module
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.validation import METRIC
from vrec.testing.interactions import graded

WORLD = graded()
KINDS = ("popular", "item_knn", "co_visitation", "user_knn", "mult_vae")


@dataclass
class Clock:
    """Time that passes in fits alone: seconds by kind for WORLD's interactions, of a network for an epoch."""

    costs: dict[str, float]
    now: float = 0.0
    fits: list[tuple[str, int, float]] = field(default_factory=list)
    """Kind, rows and end of each fit that took time."""

    def fit(self, kind, models, table, content, deadline=None, videos=None):
        begun, cost = self.now, self.costs.get(kind, 0.0) * table.num_rows / WORLD.interactions.num_rows
        if kind == "mult_vae":
            for epoch in range(models.mult_vae.epochs):
                if deadline is not None and self.now + cost > deadline:
                    self.now = max(self.now, deadline)
                    if not epoch:
                        raise FitTimeout("mult_vae: planted")
                    break
                self.now += cost
        elif deadline is not None and self.now + cost >= deadline:
            self.now = max(self.now, deadline)
            raise FitTimeout(f"{kind}: planted")
        else:
            self.now += cost
        if self.now > begun:
            self.fits.append((kind, table.num_rows, self.now))
        return ORIGINAL("item_knn" if kind == "mult_vae" else kind, models, table, content)


ORIGINAL = module.fit_member


def fitted(clock: Clock, minutes: float, **changes) -> AutoRecommender:
    config = {"members": KINDS, "blend": BlendConfig(least_users=1), "search": {}, "network_interactions": 1}
    model = AutoRecommender(AutoConfig.model_validate(config | {"minutes": minutes} | changes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit_member", clock.fit)
        patch.setattr(module.time, "monotonic", lambda: clock.now)
        return model.fit(WORLD.interactions, WORLD.content)


def rows_with(model: AutoRecommender, key: str) -> dict[str, str]:
    return {row["model"]: row[key] for row in model.report["tried"] if key in row}


costs = st.fixed_dictionaries({kind: st.floats(0, 200) for kind in KINDS[1:]})


@settings(max_examples=12, deadline=None)
@given(costs, st.floats(1, 600), st.sampled_from([100, 500_000]))
def test_nothing_ends_after_the_budget(cost, budget, screened):
    clock = Clock(cost)
    model = fitted(clock, budget / 60, screen_interactions=screened)
    assert clock.now <= budget + 1e-6
    assert model.report["seconds"]["budget"] == pytest.approx(budget, abs=1e-3)
    assert model.report["seconds"]["spent"] == pytest.approx(clock.now, abs=0.01)
    scores = [row[METRIC] for row in model.report["tried"] if METRIC in row and not row.get("sample")]
    assert scores
    assert model.recommend(WORLD.users, 3).num_rows == 3 * len(WORLD.users)


def test_a_choice_that_there_is_no_time_to_fit_again_stays_as_it_was_tried():
    model = fitted(Clock({"item_knn": 50.0}), 1, members=("popular", "item_knn"))
    assert model.report["chosen"] == "item_knn" or "blend" in model.report["chosen"]
    assert rows_with(model, "as_tried")["item_knn"].startswith("budget: about 50 s, of ")
    assert sum(row["model"] == "item_knn" for row in model.report["tried"]) == 2
    assert "item_knn" in model.panel.members
    held_out = model.panel.members["item_knn"].histories.weights.nnz
    assert held_out < model.histories.weights.nnz
    lines = "\n".join(report_lines(model.report))
    assert "not fitted again on all interactions: budget" in lines
    assert "s of a budget of 60 s)" in lines
    in_time = fitted(Clock({"item_knn": 20.0}), 1, members=("popular", "item_knn"))
    assert not rows_with(in_time, "as_tried")
    assert in_time.panel.members["item_knn"].histories.weights.nnz == in_time.histories.weights.nnz


def test_trials_leave_time_for_the_fit_of_what_is_best_so_far():
    # After item_knn's trial 60 s are left, of which its fit will take 40.
    clock = Clock({"item_knn": 40.0, "user_knn": 15.0})
    model = fitted(clock, 100 / 60, members=("popular", "item_knn", "user_knn"))
    assert rows_with(model, "dropped")["user_knn"].startswith("budget")
    assert not rows_with(model, "as_tried")
    assert clock.now <= 100


def test_what_is_chosen_on_the_sample_is_compared_on_the_sample(monkeypatch):
    """On everything the popular list has a higher score than the best model has on the sample."""
    original = module.single_scores

    def scores(panel, name, part, check):
        values = original(panel, name, part, check)
        whole = part.train.num_rows > 100
        return values * 0 + {"popular": 0.9 if whole else 0.1}.get(name, 0.5)

    monkeypatch.setattr(module, "single_scores", scores)
    costs = {"item_knn": 30.0}
    model = fitted(Clock(costs), 1, members=("popular", "item_knn"), screen_interactions=80)
    assert rows_with(model, "dropped")["item_knn"].startswith("budget")
    assert model.report["chosen"] == "item_knn"


def test_what_is_not_known_is_expected_to_take_as_long_as_others():
    costs = {"item_knn": 1.0, "co_visitation": 2.0, "graph_filter": 40.0}
    kinds = ("popular", *costs, "user_knn", "multimodal")
    model = fitted(Clock(costs), 110 / 60, members=kinds)
    assert rows_with(model, "dropped")["multimodal"].startswith("budget: about 3")
    assert "user_knn" in rows_with(model, METRIC)
    model = fitted(
        Clock(costs | {"item_knn": 10.0}), 110 / 60, members=("popular", "item_knn", "graph_filter")
    )
    assert rows_with(model, "dropped")["graph_filter"].startswith("budget: about 6")


@pytest.mark.parametrize("kind", ["item_knn", "user_knn", "als", "graph_filter", "multimodal", "ease"])
def test_a_fit_without_epochs_ends_at_its_deadline(kind):
    fit = WORLD.interactions, WORLD.content
    assert ORIGINAL(kind, SingleModelsConfig(), *fit, time.monotonic() + 3600).sizes["users"]
    with pytest.raises(FitTimeout, match=f"^{kind}: the time ran out"):
        ORIGINAL(kind, SingleModelsConfig(), *fit, time.monotonic())


def test_the_scoring_of_a_trial_ends_with_the_budget_too(monkeypatch):
    clock = Clock({})
    original = module.single_scores

    def scores(panel, name, part, check):
        clock.now += 100 * (name == "user_knn")
        return original(panel, name, part, check)

    monkeypatch.setattr(module, "single_scores", scores)
    model = fitted(clock, 1, members=("popular", "item_knn", "user_knn"))
    assert rows_with(model, "dropped")["user_knn"] == "budget: the time ran out in the trial"
    assert "user_knn" not in model.panel.members


def test_a_network_whose_first_epoch_is_too_long_is_stopped_in_it():
    clock = Clock({"mult_vae": 1000.0})
    model = fitted(clock, 1)
    assert "an epoch takes more than 4." in rows_with(model, "dropped")["mult_vae"]
    assert clock.now < 5


def test_a_network_is_trained_for_as_many_epochs_as_can_be_trained_twice():
    clock = Clock({"mult_vae": 1.0})
    model = fitted(clock, 1, members=("popular", "mult_vae"))
    assert clock.now <= 60
    assert not rows_with(model, "as_tried")
    trial = next(row for row in model.report["tried"] if row["model"] == "mult_vae")
    assert trial["seconds"] > 20


@pytest.mark.parametrize("fewest", [500, 3])
def test_blends_are_judged_by_the_users_that_there_is_time_for_or_left_out(monkeypatch, fewest):
    clock = Clock({})
    original = module.single_scores

    def scores(*args):
        clock.now += 4
        return original(*args)

    monkeypatch.setattr(module, "single_scores", scores)
    monkeypatch.setattr(module, "FEWEST_JUDGES", fewest)
    model = fitted(clock, 1, members=("popular", "item_knn", "user_knn"))
    best = max((row for row in model.report["tried"] if METRIC in row), key=lambda row: row[METRIC])
    users = model.report["validation"]["users"]
    if fewest < users:
        # They take 8 times the 12 s of scoring, of which 48 are left.
        (judges,) = set(rows_with(model, "users").values())
        assert judges == users // 2
        assert f"by {judges} of the users" in "\n".join(report_lines(model.report))
        return
    assert rows_with(model, "dropped")["blends"] == "budget: about 96 s, of 48 s left"
    assert list(model.panel.members) == [model.report["chosen"]] == [best["model"]]
