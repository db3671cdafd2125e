"""The hybrid: its weights against what was planted, its sum by hand, its fallbacks and its folder."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize

from vrec.core.errors import FitError, ModelError
from vrec.retrieval.models.hybrid import HybridConfig, HybridRecommender
from vrec.retrieval.models.hybrid_weights import (
    BlendConfig,
    ChoiceExamples,
    blend_scores,
    collect_choices,
    equal_weights,
    fit_blend_weights,
    history_length,
)
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.registry import load_recommender
from vrec.retrieval.score_panel import standardize_scores
from vrec.testing.interactions import graded

WORLD = graded()
CONFIG = HybridConfig(members=("popular", "item_knn", "ease"), blend=BlendConfig(least_users=5))


@pytest.fixture(scope="module")
def hybrid() -> HybridRecommender:
    return HybridRecommender(CONFIG).fit(WORLD.interactions)


scores = hnp.arrays(np.float32, (3, 8), elements=st.floats(-50, 50, width=32))


@given(scores, st.floats(0.5, 20), st.floats(-9, 9))
def test_standardising_forgets_level_and_scale(raw, scale, level):
    raw = np.round(raw, 1)
    moved = (raw * np.float32(scale) + np.float32(level)).astype(np.float32)
    flat = raw.std(axis=1) < 0.05
    assert np.allclose(standardize_scores(raw)[~flat], standardize_scores(moved)[~flat], atol=2e-2)


@given(scores)
def test_standardising_is_by_hand(raw):
    raw = np.round(raw, 1)
    deep = raw.astype(np.float64)
    deviation = deep.std(axis=1, keepdims=True)
    centred = (deep - deep.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-12)
    want = np.sign(centred) * np.log1p(np.abs(centred))
    rows = deviation[:, 0] > 0.05
    assert np.allclose(standardize_scores(raw)[rows], want[rows], atol=1e-3)


def test_no_opinion_stays_none_and_does_not_move_the_others():
    raw = np.array([[1, 2, 3, -np.inf, np.nan]], np.float32)
    found = standardize_scores(raw)
    assert np.isnan(found[0, 3:]).all()
    assert np.array_equal(found[:, :3], standardize_scores(raw[:, :3]))


def planted(seed: int, users: int = 400, videos: int = 30) -> tuple[np.ndarray, ChoiceExamples]:
    rng = np.random.default_rng(seed)
    weights = np.array([[1.5, -0.5, 0.8], [0.7, 0.0, -0.4]])
    features = rng.normal(size=(users, videos, 3))
    length = rng.normal(size=users)
    utility = np.einsum("uvf,uf->uv", features, weights[0] + length[:, None] * weights[1])
    odds = np.exp(utility - utility.max(axis=1, keepdims=True))
    cumulative = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    picks = (cumulative < rng.random((users, 1))).sum(axis=1)
    chosen = np.zeros((users, videos), bool)
    chosen[np.arange(users), np.minimum(picks, videos - 1)] = True
    flat = features.reshape(-1, 3).astype(np.float32)
    ones = np.ones(users * videos, np.float32)
    return weights, ChoiceExamples(flat, chosen.ravel(), ones, np.arange(users) * videos, length)


def test_weights_under_which_choices_were_drawn_are_found():
    weights, choices = planted(1, users=4000)
    assert np.abs(fit_blend_weights(choices, 0.0, np.zeros((2, 3))) - weights).max() < 0.12


def test_drawn_rows_must_stand_for_the_rest():
    """Among the members' best alone, being one of them tells nothing: weights come out far too small."""
    users, videos = 3000, 60
    weights, choices = planted(2, users, videos)
    by_user = choices.features.reshape(users, videos, 3)
    best = (np.argsort(np.argsort(-by_user, axis=1), axis=1) < 8).any(axis=2).ravel()
    sure = best | choices.chosen
    drawn = ~sure & (np.random.default_rng(0).random(users * videos) < 0.5)
    owner = np.repeat(np.arange(users), videos)
    rest = np.bincount(owner[~sure], minlength=users) / np.maximum(
        np.bincount(owner[drawn], minlength=users), 1
    )
    kept = sure | drawn
    stands = np.where(sure, 1, rest[owner]).astype(np.float32)[kept]
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner[kept], minlength=users))[:-1]])
    some = ChoiceExamples(choices.features[kept], choices.chosen[kept], stands, starts, choices.length)
    only = np.concatenate([[0], np.cumsum(np.bincount(owner[sure], minlength=users))[:-1]])
    alone = ChoiceExamples(
        choices.features[sure], choices.chosen[sure], np.ones(sure.sum(), np.float32), only, choices.length
    )
    assert np.abs(fit_blend_weights(some, 0.0, np.zeros((2, 3))) - weights).max() < 0.15
    assert np.abs(fit_blend_weights(alone, 0.0, np.zeros((2, 3))) - weights).max() > 0.3


def test_the_loss_slopes_as_its_differences_do(monkeypatch):
    asked = []
    monkeypatch.setattr(
        optimize, "minimize", lambda fun, start, **_: asked.append(fun) or type("R", (), {"x": start})
    )
    fit_blend_weights(planted(3, users=20)[1], 0.1, np.zeros((2, 3)))
    point = np.random.default_rng(0).normal(size=6)
    value, slope = asked[0](point)
    for i in range(6):
        step = np.eye(6)[i] * 1e-5
        assert (asked[0](point + step)[0] - value) / 1e-5 == pytest.approx(slope[i], abs=1e-3)


def test_scores_are_the_weighted_sum_of_what_members_say(hybrid):
    some = hybrid.histories.rows(np.arange(7))
    users = hybrid.users.names(np.arange(7))
    features = np.stack(list(hybrid.panel.rows(some, users)), axis=-1)
    assert hybrid.panel.features == ("popular", "item_knn", "ease", "cold")
    weights = hybrid.weights[0] + history_length(some)[:, None] * hybrid.weights[1]
    want = np.einsum("uvf,uf->uv", np.nan_to_num(features, nan=0), weights)
    assert np.allclose(blend_scores(hybrid.panel, hybrid.weights, some, users), want, atol=1e-4)


def test_weights_are_learned_from_the_latest_part_alone(hybrid):
    assert not np.array_equal(hybrid.weights, equal_weights(4, 3))
    few = HybridRecommender(CONFIG.model_copy(update={"blend": BlendConfig(least_users=1000)})).fit(
        WORLD.interactions
    )
    assert np.array_equal(few.weights, equal_weights(4, 3))


def test_choices_hold_what_was_watched_next_and_not_what_came_before(hybrid):
    late = hybrid.histories.at >= np.quantile(hybrid.histories.at, 0.7)
    before, after = hybrid.histories.select_entries(~late), hybrid.histories.select_entries(late)
    both = np.flatnonzero((np.diff(before.weights.indptr) > 0) & (np.diff(after.weights.indptr) > 0))
    past, future = before.rows(both), after.rows(both)
    choices = collect_choices(hybrid.panel, past, future, hybrid.users.names(both), BlendConfig())
    sizes = np.diff(np.append(choices.starts, len(choices.chosen)))
    videos = len(hybrid.videos)
    assert choices.chosen.sum() == future.weights.nnz
    assert np.array_equal(sizes, videos - np.diff(past.weights.indptr))
    assert np.allclose(np.add.reduceat(choices.sampling_weight, choices.starts), sizes)


def test_strangers_get_the_popular_videos_under_their_own_name(hybrid):
    found = hybrid.recommend(["stranger", "u1", "other"], 3, exclude={"other": ["1"]})
    by_user = {u: [] for u in ("u1", "stranger", "other")}
    for row in found.to_pylist():
        by_user[row["user_id"]].append((row["video_id"], row["source"]))
    popular = (
        PopularRecommender()
        .fit(WORLD.interactions)
        .recommend_unpersonalized(["stranger", "other"], 3, exclude={"other": ["1"]})
    )
    want = [(row["video_id"], "popular") for row in popular.to_pylist()]
    assert by_user["stranger"] + by_user["other"] == want
    assert {source for _, source in by_user["u1"]} == {"hybrid"}
    with pytest.raises(FitError, match="k is 0"):
        hybrid.recommend(["stranger"], 0)


def test_a_newcomer_is_answered_as_a_fitted_user_of_the_same_history(hybrid):
    mine = WORLD.interactions.filter(pa.compute.equal(WORLD.interactions["user_id"], "u3"))
    renamed = mine.set_column(0, "user_id", pa.array(["new"] * mine.num_rows))
    new = hybrid.recommend_from(renamed, 6)
    old = hybrid.recommend(["u3"], 6)
    assert new["video_id"].equals(old["video_id"])


def test_saving_again_leaves_no_member_behind_and_a_lost_one_is_named(hybrid, tmp_path):
    folder = str(tmp_path / "m")
    hybrid.save(folder)
    hybrid.save(folder)
    assert len([path for path in Path(folder).iterdir() if path.is_dir()]) == 4
    users = WORLD.users[:4]
    assert load_recommender(folder).recommend(users, 5).equals(hybrid.recommend(users, 5))
    lost = next(path for path in Path(folder).iterdir() if path.name.startswith("ease-"))
    manifest = json.loads((lost / "manifest.json").read_text())
    stem, _, ending = next(iter(manifest["files"])).partition(".")
    victim = next(
        path for path in lost.iterdir() if path.name.startswith(stem) and path.name.endswith(ending)
    )
    victim.write_bytes(b"other")
    with pytest.raises(ModelError, match="its digest differs"):
        load_recommender(folder)
