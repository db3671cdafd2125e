"""The hybrid: its weights against what was planted, its sum by hand, its fallbacks and its folder."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize, sparse

from tests.retrieval.catalogues import embeddings, interactions
from vrec.core.errors import FitError, ModelError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import BlendConfig, EaseConfig, HybridConfig, PopularConfig, SingleModelsConfig
from vrec.retrieval.holdout import held_out_entries
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models import hybrid as hybrid_module
from vrec.retrieval.models import hybrid_choice
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.hybrid_weights import (
    ChoiceExamples,
    blend_scores,
    collect_choices,
    equal_weights,
    fit_blend_weights,
    history_length,
)
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.popularity_calibration import calibrate_popularity, popularity_groups
from vrec.retrieval.registry import load_recommender
from vrec.retrieval.score_panel import ScorePanel, standardize_scores
from vrec.testing.interactions import graded

WORLD = graded()
CONFIG = HybridConfig(
    members=("popular", "item_knn", "ease"), blend=BlendConfig(least_users=5), fallback=False
)


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


def test_saving_again_leaves_no_member_behind_and_what_is_not_its_own(hybrid, tmp_path):
    folder = str(tmp_path / "m")
    others = ("photos", "photos-0123456789ab", "ease-0123456789ab")
    for name in others:
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "file").touch()
    hybrid.save(folder)
    hybrid.save(folder)
    assert len([path for path in Path(folder).iterdir() if path.is_dir()]) == 4 + len(others)
    assert all((tmp_path / "m" / name / "file").exists() for name in others)
    hybrid.popular.save(str(tmp_path / "other"))
    hybrid.save(str(tmp_path / "other"))
    hybrid.popular.save(str(tmp_path / "other"))
    assert not [path for path in (tmp_path / "other").iterdir() if path.is_dir()]
    users = WORLD.users[:4]
    assert load_recommender(folder).recommend(users, 5).equals(hybrid.recommend(users, 5))
    lost = next(
        path for path in Path(folder).iterdir() if path.name.startswith("ease-") and path.name != others[2]
    )
    manifest = json.loads((lost / "manifest.json").read_text())
    stem, _, ending = next(iter(manifest["files"])).partition(".")
    victim = next(
        path for path in lost.iterdir() if path.name.startswith(stem) and path.name.endswith(ending)
    )
    victim.write_bytes(b"other")
    with pytest.raises(ModelError, match="its digest differs"):
        load_recommender(folder)


# "old" has three users of long ago, "new" one of today; "u" is a user and a video.
TREND = interactions(
    *((user, "old", 1, 0) for user in ("u", "v", "w")),
    *((user, "mid", 1, 50) for user in ("u", "v")),
    ("w", "u", 1, 99),
    ("x", "new", 1, 100),
    ("x", "u", 1, 98),
)


def fit(rows: pa.Table = TREND, content: CatalogContent | None = None, **settings) -> HybridRecommender:
    return HybridRecommender(HybridConfig(**{"members": ("popular",)} | settings)).fit(rows, content)


def test_new_users_get_the_popular_videos_by_the_hybrids_own_settings():
    own = SingleModelsConfig(popular=PopularConfig(half_life_days=1))
    found = {models: fit(models=models) for models in (None, own)}
    first = {key: model.recommend(["nobody"], 1)["video_id"].to_pylist() for key, model in found.items()}
    assert first == {None: ["old"], own: ["new"]}
    assert found[own].popular.config == own.popular
    assert found[own].panel.members["popular"].config == own.popular
    assert found[None].popular.config == PopularConfig()


def test_new_users_get_no_rows_where_the_settings_say_so():
    model = fit(recommend_new_users=False)
    assert model.recommend(["nobody"], 3).num_rows == 0
    assert set(model.recommend(["nobody", "x"], 3)["user_id"].to_pylist()) == {"x"}


def test_new_users_get_exclusions_and_candidates_too():
    found = fit().recommend(["n", "x"], 3, {"n": ["old"]}, ["old", "mid", "new"])
    assert [(row["user_id"], row["video_id"]) for row in found.to_pylist()] == [
        ("x", "old"),
        ("x", "mid"),
        ("n", "mid"),
        ("n", "new"),
    ]


@pytest.mark.parametrize(("share", "first"), [(0.15, 8), (0.25, 7), (0.5, 5), (0.01, 9)])
def test_a_split_by_time_holds_out_the_latest_interactions(share: float, first: int):
    """The moment is that of the interaction at the quantile, or the next one: it is held out itself."""
    rows = interactions(*((f"u{n % 3}", f"v{n}", 1, n) for n in range(10)))
    model = fit(rows)
    held_out = held_out_entries(model.histories, "time", share, 0)
    assert sorted(model.histories.at[held_out] // 86_400_000_000) == list(range(first, 10))


@pytest.mark.parametrize(("share", "of_ten"), [(0.15, 2), (0.25, 3), (0.5, 5)])
def test_a_split_by_user_holds_out_the_last_part_of_each_history(share: float, of_ten: int):
    ten = [("ten", f"v{n}", 1, n) for n in range(10)]
    rows = interactions(*ten, ("two", "v0", 1, 9), ("two", "v1", 1, 3), ("one", "v0", 1, 99))
    model = fit(rows)
    mask = held_out_entries(model.histories, "last", share, 0)
    late = model.histories.select_entries(mask)
    assert np.diff(late.weights.indptr).tolist() == [0, of_ten, 1]
    assert late.rows(np.array([1])).weights.indices.tolist() == list(range(10 - of_ten, 10))
    assert late.rows(np.array([2])).weights.indices.tolist() == [0]


def test_weights_are_learned_from_enough_users_and_not_from_more_than_asked(monkeypatch):
    """least_users is the least number that is enough."""
    calls = []

    def collect(panel, before, after, users, config):
        calls.append(users.to_pylist())
        return collect_choices(panel, before, after, users, config)

    monkeypatch.setattr(hybrid_choice, "collect_choices", collect)
    settings = {"members": ("popular", "item_knn"), "holdout": "time", "fallback": False}
    whole = fit(WORLD.interactions, blend=BlendConfig(least_users=1), **settings)
    (users,) = calls
    number = len(users)
    assert 5 < number < 30
    enough = fit(WORLD.interactions, blend=BlendConfig(least_users=number), **settings)
    assert np.array_equal(enough.weights, whole.weights)
    few = fit(WORLD.interactions, blend=BlendConfig(least_users=number + 1), **settings)
    assert np.array_equal(few.weights, equal_weights(3, 2))
    assert len(calls) == 2
    for seed in (0, 0, 1):
        fit(WORLD.interactions, blend=BlendConfig(least_users=1, users=5, seed=seed), **settings)
    assert [len(drawn) for drawn in calls[2:]] == [5, 5, 5]
    assert calls[2] == calls[3] != calls[4]
    assert set(calls[2]) < set(users)
    loose, tight = (
        fit(WORLD.interactions, blend=BlendConfig(least_users=1, ridge=ridge), **settings)
        for ridge in (1e-4, 10)
    )
    assert np.abs(tight.weights).max() < 0.1 * np.abs(loose.weights).max()


def test_members_that_cannot_be_fitted_are_left_out():
    """content without any, and ease where more videos than it takes have users; cold ones do not count."""
    members = ("popular", "ease", "content")
    content = CatalogContent(embeddings=embeddings(cold1=[1, 0], cold2=[1, 1], old=[0, 1], new=[2, 1]))
    videos = {most: SingleModelsConfig(ease=EaseConfig(max_videos=most)) for most in (3, 4)}
    assert list(fit(members=members, models=videos[4]).panel.members) == ["popular", "ease"]
    assert list(fit(members=members, models=videos[3]).panel.members) == ["popular"]
    model = fit(members=members, models=videos[4], content=content)
    assert list(model.panel.members) == ["popular", "ease", "content"]
    assert model.videos.ids.to_pylist() == ["cold1", "cold2", "mid", "new", "old", "u"]
    assert model.panel.support.tolist() == [0, 0, 2, 1, 3, 2]
    assert fit(content=content).videos.ids.to_pylist() == ["mid", "new", "old", "u"]


@pytest.fixture
def cold() -> HybridRecommender:
    """A hybrid whose catalog is of three cold videos, columns 1, 3 and 5, and six warm ones."""
    model = HybridRecommender(HybridConfig())
    support = np.array([4, 0, 2, 0, 1, 0, 3, 2, 9])
    model.panel = ScorePanel({}, IdVocabulary(pa.array([f"v{n}" for n in range(9)])), support)
    return model


def test_cold_videos_are_raised_to_every_nth_warm_score(cold: HybridRecommender):
    """The best cold one, in column 3, gets the second best warm score, the next the fourth, and so on."""
    scores = np.array([[90, 1, 80, 3, 70, 2, 60, 50, 40]], np.float32)
    assert cold._raise_cold(scores.copy(), 2).tolist() == [[90, 40, 80, 80, 70, 60, 60, 50, 40]]
    assert cold._raise_cold(scores.copy(), 3).tolist() == [[90, 1, 80, 70, 70, 40, 60, 50, 40]]
    assert cold._raise_cold(scores.copy(), 7).tolist() == scores.tolist()
    better = scores.copy()
    better[0, 3] = 85
    assert cold._raise_cold(better, 2)[0, [1, 3, 5]].tolist() == [40, 85, 60]


def test_cold_videos_without_a_score_take_none_from_others(cold: HybridRecommender):
    """Columns 1 and 5 have no score: neither is raised, and the padding of the top k changes nothing."""
    scores = np.array([[90, 7, 80, -np.inf, 70, -np.inf, 60, 50, 40]] * 2, np.float32)
    scores[1, 1] = -np.inf
    found = cold._raise_cold(scores, 2)
    assert found[0].tolist() == [90, 80, 80, -np.inf, 70, -np.inf, 60, 50, 40]
    assert found[1].tolist() == [90, -np.inf, 80, -np.inf, 70, -np.inf, 60, 50, 40]


def test_no_more_than_a_maximum_of_cold_videos_is_raised(cold: HybridRecommender, monkeypatch):
    monkeypatch.setattr(hybrid_module, "MAX_COLD_RAISED", 1)
    scores = np.array([[90, 1, 80, 3, 70, 2, 60, 50, 40]], np.float32)
    assert cold._raise_cold(scores, 2).tolist() == [[90, 1, 80, 80, 70, 2, 60, 50, 40]]


def test_cold_videos_are_raised_by_the_setting_alone_and_so_after_loading(tmp_path):
    """Of four warm videos the second best gives the cold one its score, which alone would be lower."""
    content = CatalogContent(embeddings=embeddings(cold=[1, 0.1], old=[1, 0], new=[0, 1], mid=[0, 1]))
    settings = {"members": ("popular", "content"), "content": content}
    scores = {}
    for every in (2, None):
        model = fit(cold_every=every, **settings)
        model.weights = equal_weights(4, 2) * [[1, 0.01, 0, 0]]
        (scores[every],) = model.score_block(model.histories.rows(np.array([3])), np.array([3]))
        if every:
            model.save(str(tmp_path))
            loaded = load_recommender(str(tmp_path))
            assert loaded.recommend(["x", "nobody"], 9).equals(model.recommend(["x", "nobody"], 9))
            assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_dir()) == [
                "content",
                "popular",
                "strangers",
            ]
    warm = np.array([name != "cold" for name in ("cold", "mid", "new", "old", "u")])
    assert scores[None][0] < np.sort(scores[None][warm])[-2]
    assert scores[2][0] == np.sort(scores[2][warm])[-2]
    assert np.array_equal(scores[2][warm], scores[None][warm])


def test_the_first_fitted_user_is_no_new_user():
    """u is in row 0 of the fit, and a video's id as well."""
    model = fit()
    assert model.users.find(["u"]).tolist() == [0]
    assert set(model.recommend(["u"], 9)["source"].to_pylist()) == {"hybrid"}
    assert model.recommend(["new"], 1)["source"].to_pylist() == ["popular"]


def test_lists_follow_the_popularity_of_the_history_by_the_setting_alone(tmp_path):
    """The user of rare videos gets more of them with the setting, also from the loaded model."""
    rng = np.random.default_rng(0)
    counts = np.r_[[110, 110], np.full(6, 33), np.full(30, 6)]
    rows = [(f"u{user:03d}", f"v{video:02d}", 1, user) for video, count in enumerate(counts)
            for user in rng.choice(200, count, replace=False)]  # fmt: skip
    rows += [("rare", f"v{video:02d}", 1, 300) for video in range(8, 28)]
    plain, calibrated = (
        fit(interactions(*rows), popularity_calibration=strength, fallback=False) for strength in (0.0, 1.0)
    )
    groups = popularity_groups(plain.panel.support)
    assert np.bincount(groups).tolist() == [2, 6, 30]
    users = plain.users.find(["u000", "rare"])
    block = plain.histories.rows(users)
    expected = calibrate_popularity(plain.score_block(block, users), block, groups, 1.0)
    assert np.array_equal(calibrated.score_block(block, users), expected)
    calibrated.save(str(tmp_path))
    tail = {}
    for name, model in {"plain": plain, "calibrated": load_recommender(str(tmp_path))}.items():
        listed = model.recommend(["rare"], 10)["video_id"].to_pylist()
        tail[name] = sum(video >= "v08" for video in listed)
    # All 20 of the history, with 5 more in equal parts: 87 %.
    assert tail == {"plain": 2, "calibrated": 8}


def test_seen_videos_do_not_count_where_cold_ones_are_raised(cold: HybridRecommender):
    """With the two best warm videos seen, the second best of the others is the fourth best of all."""
    scores = np.array([[90, 1, 80, 3, 70, 2, 60, 50, 40]], np.float32)
    seen = sparse.csr_matrix(np.array([[1, 0, 1, 0, 0, 0, 0, 0, 0]], np.float32))
    best_cold = cold._raise_cold(scores.copy(), 2)[0, 3]
    assert best_cold == 80
    assert cold._raise_cold(scores.copy(), 2, seen)[0, 3] == 60
