"""The choice of a recommender: never below popular on validation, within its budget, and repeatable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.catalogues import interactions
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import CONTENT_KINDS, PORTFOLIO, AutoConfig, BlendConfig, SingleModelsConfig
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.holdout import hold_out
from vrec.retrieval.models import auto as module
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.models.auto_trials import sample_users, with_settings
from vrec.retrieval.registry import load_recommender
from vrec.retrieval.validation import METRIC
from vrec.testing.interactions import graded

WORLD = graded()
QUICK = ("popular", "item_knn", "co_visitation", "ease", "content")

logs = st.lists(
    st.tuples(
        st.sampled_from([f"u{n}" for n in range(9)]),
        st.sampled_from("abcdefgh"),
        st.just(1.0),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=50,
)


def fitted(
    rows=WORLD.interactions, content: CatalogContent | None = WORLD.content, **changes
) -> AutoRecommender:
    config = {"members": QUICK, "blend": BlendConfig(least_users=1)} | changes
    return AutoRecommender(AutoConfig(**config)).fit(rows, content)


def tried(fit: AutoRecommender, **where) -> list[dict]:
    return [row for row in fit.report["tried"] if all(row.get(k) == v for k, v in where.items())]


@settings(max_examples=25, deadline=None)
@given(logs)
def test_on_validation_it_is_never_below_the_popular_list(log):
    model = fitted(interactions(*log), None, search={})
    if model.report["validation"] is None:
        assert list(model.panel.members) == ["popular"]
        return
    scores = {row["model"]: row[METRIC] for row in model.report["tried"] if METRIC in row}
    assert scores[model.report["chosen"]] == max(scores.values()) >= scores["popular"]


def test_the_same_data_give_the_same_choice_and_the_manifest_tells_it(tmp_path):
    first, second = fitted(), fitted()
    users = WORLD.users
    assert first.recommend(users, 9).equals(second.recommend(users, 9))
    without_times = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in model.report["tried"]]
        for model in (first, second)
    ]
    assert without_times[0] == without_times[1]
    first.save(str(tmp_path))
    loaded = load_recommender(str(tmp_path))
    assert isinstance(loaded, AutoRecommender)
    assert loaded.report == first.report
    assert loaded.report["data"]["users"] == len(users)


def test_further_settings_are_tried_of_the_best_alone_and_used_where_better():
    search = {kind: {"neighbours": [1, 2]} for kind in ("item_knn", "co_visitation")}
    model = fitted(search=search, contenders=len(QUICK))
    assert [row["settings"] for row in tried(model, model="item_knn")] == [
        {},
        {"neighbours": 1},
        {"neighbours": 2},
    ]
    alone = fitted(search=search, contenders=1)
    ranked = max(tried(alone, settings={}), key=lambda row: row.get(METRIC, -1))["model"]
    for kind in search:
        assert len(tried(alone, model=kind)) == (3 if kind == ranked else 1)
    single = fitted(members=("item_knn",), search={"item_knn": {"neighbours": [1]}}, blended=1)
    best = max(tried(single, model="item_knn"), key=lambda row: row[METRIC])
    if "item_knn" in single.panel.members:
        want = best["settings"].get("neighbours", 100)
        assert single.panel.members["item_knn"].config.neighbours == want


def test_without_time_only_the_popular_list_is_tried_and_the_others_are_named():
    model = fitted(minutes=1e-9)
    assert model.report["chosen"] == "popular"
    for kind in QUICK[1:]:
        (row,) = tried(model, model=kind)
        assert row["dropped"].startswith("budget")


def test_networks_wait_for_more_interactions_and_get_the_epochs_that_fit(monkeypatch):
    few = fitted(members=("mult_vae",))
    assert "fewer than 20,000 interactions" in tried(few, model="mult_vae")[0]["dropped"]
    epochs: list[int] = []

    def fit(kind, models, table, content, deadline=None, **rest):
        if kind == "mult_vae":
            epochs.append(models.mult_vae.epochs)
        return original("popular" if kind == "mult_vae" else kind, models, table, content)

    original = module.fit_member
    monkeypatch.setattr(module, "fit_member", fit)
    # Each look at the clock takes a second: an epoch takes one or two.
    ticks = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(ticks)))
    fitted(members=("mult_vae",), network_interactions=1, minutes=2)
    assert epochs[0] == 1
    assert 20 < epochs[1] < 60


def test_many_interactions_are_screened_on_a_sample_of_the_users():
    model = fitted(screen_interactions=100, search={})
    sampled = tried(model, sample=True)
    assert {row["model"] for row in sampled} == set(QUICK)
    whole = {row["model"] for row in model.report["tried"] if METRIC in row and not row.get("sample")}
    left = {row["model"] for row in model.report["tried"] if "better half" in row.get("dropped", "")}
    assert left
    assert whole & left == set()
    assert "popular" in whole


def test_the_sample_decides_where_there_is_no_time_to_try_on_everything(monkeypatch):
    """The budget is spent when the sample has been tried."""
    original = AutoRecommender._screen

    def screen(self, kinds, part, content):
        kept = list(original(self, kinds, part, content))
        monkeypatch.setattr(AutoRecommender, "_left", lambda self: 0.0)
        return iter(kept)

    monkeypatch.setattr(AutoRecommender, "_screen", screen)
    model = fitted(screen_interactions=100, search={})
    best = max(tried(model, sample=True), key=lambda row: row[METRIC])["model"]
    whole = [row["model"] for row in model.report["tried"] if METRIC in row and not row.get("sample")]
    assert whole == ["popular"]
    assert model.report["chosen"] == best
    # Nor is there time to fit it on everything.
    assert "budget" in next(row for row in tried(model, model=best) if "as_tried" in row)["as_tried"]
    assert model.recommend(WORLD.users, 3).num_rows == 3 * len(WORLD.users)


def test_a_sample_holds_whole_users():
    model = fitted(search={})
    part = hold_out(
        model.histories,
        model.users,
        model.videos,
        kind="last",
        share=0.2,
        least_users=1,
        max_users=99,
        seed=0,
    )
    assert part is not None
    some = sample_users(part, 0.4, seed=1)
    users = set(some.train["user_id"].to_pylist())
    assert 0 < len(users) < len(WORLD.users)
    assert set(some.users.to_pylist()) <= users
    for user in users:
        rows = [t["user_id"].to_pylist().count(user) for t in (some.train, part.train)]
        assert rows[0] == rows[1]
    assert sample_users(part, 0.0, seed=1).before.users == 1


def test_wrong_settings_are_refused_and_content_is_in_the_portfolio():
    with pytest.raises(ValueError, match="neighbours"):
        with_settings(SingleModelsConfig(), "item_knn", {"neighbours": 0})
    assert set(PORTFOLIO) & CONTENT_KINDS
    assert "popular" in PORTFOLIO


def test_the_table_names_what_was_left_out():
    lines = report_lines(fitted(content=None).report)
    assert lines[0].startswith("compared on held-out interactions, the latest")
    assert any("content" in line and "left out: there is no content" in line for line in lines)
    assert lines[-1].startswith("chosen: ")
    assert report_lines({}) == []
    one_each = fitted(interactions(*((f"u{n}", "abc"[n % 3], 1, n) for n in range(9))), None)
    assert report_lines(one_each.report)[0].startswith("too few users")
    assert np.isfinite(np.asarray(one_each.recommend(["u1"], 2)["score"])).all()


def test_members_that_fail_are_named_and_nothing_else_is_lost(monkeypatch):
    original = module.fit_member

    def fit(kind, *rest, **limits):
        if kind == "ease":
            raise FitError("planted")
        return original(kind, *rest, **limits)

    monkeypatch.setattr(module, "fit_member", fit)
    model = fitted(search={})
    assert tried(model, model="ease")[0]["dropped"] == "planted"
    assert model.recommend(WORLD.users[:1], 3).num_rows == 3


def test_an_interrupted_fit_continues_after_the_trials_that_it_had_finished(tmp_path, monkeypatch):
    fits: list[str] = []

    def counted(kind, models, table, content, deadline=None, **rest):
        fits.append(kind)
        if len(fits) == stop["at"]:
            raise KeyboardInterrupt
        return original(kind, models, table, content)

    original = module.fit_member
    monkeypatch.setattr(module, "fit_member", counted)
    config = AutoConfig(members=QUICK, blend=BlendConfig(least_users=1))
    stop = {"at": 0}
    whole = AutoRecommender(config).fit(WORLD.interactions, WORLD.content)
    every, out = list(fits), str(tmp_path / "model")
    for stop["at"] in (4, len(every) - 3):
        fits.clear()
        with pytest.raises(KeyboardInterrupt):
            AutoRecommender(config, f"{out}/trials").fit(WORLD.interactions, WORLD.content)
    fits.clear()
    stop["at"] = 0
    resumed = AutoRecommender(config, f"{out}/trials").fit(WORLD.interactions, WORLD.content)
    # Of the first run three were finished, of the second all but the last of those that it began.
    assert fits == every[3 + len(every) - 4 :]
    assert resumed.recommend(WORLD.users, 9).equals(whole.recommend(WORLD.users, 9))
    assert without_times(resumed) == without_times(whole)
    assert len(tried(resumed, resumed=True)) == len(every) - len(fits)
    assert "from an interrupted fit" in "\n".join(report_lines(resumed.report))


def without_times(model: AutoRecommender) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "resumed")} for row in model.report["tried"]
    ]


@pytest.mark.parametrize("changed", ["data", "settings"])
def test_trials_of_other_data_or_settings_are_not_used(tmp_path, changed):
    config = AutoConfig(members=QUICK, blend=BlendConfig(least_users=1))
    AutoRecommender(config, str(tmp_path)).fit(WORLD.interactions, WORLD.content)
    rows = WORLD.interactions.slice(1) if changed == "data" else WORLD.interactions
    if changed == "settings":
        models = SingleModelsConfig.model_validate({"ease": {"regularization": 9}})
        config = config.model_copy(update={"models": models})
    model = AutoRecommender(config, str(tmp_path)).fit(rows, WORLD.content)
    assert not tried(model, resumed=True)


def test_a_damaged_trial_is_run_again(tmp_path):
    config = AutoConfig(members=QUICK, blend=BlendConfig(least_users=1))
    first = AutoRecommender(config, str(tmp_path)).fit(WORLD.interactions, WORLD.content)
    for number, folder in enumerate(sorted(tmp_path.iterdir())):
        for file in sorted(folder.iterdir())[number % 2 : number % 2 + 1]:
            file.write_bytes(file.read_bytes()[:-1])
    again = AutoRecommender(config, str(tmp_path)).fit(WORLD.interactions, WORLD.content)
    assert len(tried(again, resumed=True)) < len(tried(first))
    assert without_times(again) == without_times(first)
