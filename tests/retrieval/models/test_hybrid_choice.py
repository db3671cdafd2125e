"""The choice between a blend and its members, on the validation part."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.catalogues import embeddings, interactions, videos
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.retrieval.config import BlendConfig, EaseConfig, HybridConfig, SingleModelsConfig
from vrec.retrieval.holdout import ValidationPart, hold_out
from vrec.retrieval.interaction_matrix import to_interactions
from vrec.retrieval.models import hybrid_choice
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.hybrid_choice import BLEND, NON_NEGATIVE, choose_blend, fill_with_popular
from vrec.retrieval.models.hybrid_weights import sum_features
from vrec.retrieval.models.single_models import fit_member
from vrec.retrieval.registry import load_recommender
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.validation import METRIC, block_ndcg
from vrec.testing.interactions import graded

MEMBERS = ("popular", "item_knn", "ease")
WORLD = graded()

logs = st.lists(
    st.tuples(
        st.sampled_from([f"u{n}" for n in range(12)]),
        st.sampled_from("abcdefghijkl"),
        st.just(1.0),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=70,
)


def fitted(rows: pa.Table, members=MEMBERS, **changes) -> HybridRecommender:
    blend = BlendConfig(least_users=1)
    return HybridRecommender(HybridConfig(**{"members": members, "blend": blend} | changes)).fit(rows)


def validation_part(model: HybridRecommender) -> ValidationPart:
    config = model.config
    part = hold_out(
        model.histories,
        model.users,
        model.videos,
        kind=config.holdout,
        share=config.holdout_share,
        least_users=config.blend.least_users,
        max_users=config.blend.users,
        seed=config.blend.seed,
    )
    assert part is not None
    return part


def ndcg_by_evaluation(kind: str, part: ValidationPart, model: HybridRecommender) -> float:
    """NDCG@10 of a member's own lists, as `vrec evaluate` computes it."""
    member = fit_member(kind, SingleModelsConfig(), part.train, None)
    test = to_interactions(part.after, type(model.users)(part.users), model.videos)
    truth = GroundTruth(part.train, test, model.videos.ids.to_pylist())
    hits = truth.hits(truth.index_lists(member.recommend(part.users.to_pylist(), 10), kind))
    return float(ACCURACY["ndcg"](truth.score_lists(hits, 10, truth.population()), 10).mean())


@settings(max_examples=40, deadline=None)
@given(logs)
def test_on_validation_the_hybrid_is_never_below_a_member(log):
    model = fitted(interactions(*log))
    tried = {row["model"]: row.get(METRIC) for row in model.report["tried"]}
    if model.report["validation"] is None:
        assert set(model.panel.members) == set(MEMBERS)
        return
    part = validation_part(model)
    assert part.kind == model.report["validation"]["holdout"]
    chosen = tried[model.report["chosen"]]
    for kind in MEMBERS:
        assert chosen >= ndcg_by_evaluation(kind, part, model) - 1e-9
    assert model.single or chosen > max(tried[kind] for kind in MEMBERS)


def test_a_member_alone_gives_its_own_lists_and_popular_videos_after_them(tmp_path):
    model = fitted(WORLD.interactions, members=("item_knn",))
    assert model.single == "item_knn"
    users = WORLD.users
    own = fit_member("item_knn", SingleModelsConfig(), WORLD.interactions, None).recommend(users, 50)
    lists = {user: [] for user in users}
    for row in model.recommend(users, 50).to_pylist():
        lists[row["user_id"]].append(row["video_id"])
    for user in users:
        alone = own.filter(pa.compute.equal(own["user_id"], user))["video_id"].to_pylist()
        assert lists[user][: len(alone)] == alone
        assert len(lists[user]) == len(WORLD.videos) - len(WORLD.seen(user))
    model.save(str(tmp_path))
    loaded = load_recommender(str(tmp_path))
    assert (loaded.single, loaded.report) == ("item_knn", model.report)
    assert loaded.recommend(users, 9).equals(model.recommend(users, 9))


def test_filling_up_is_below_every_score_and_by_popularity():
    scores = np.array([[-np.inf, 5, -np.inf, -2e6, -np.inf], [-np.inf] * 5], np.float32)
    filled = fill_with_popular(scores.copy(), np.array([3, 9, 7, 1, 0]))
    assert np.argsort(-filled[0], kind="stable").tolist() == [1, 3, 2, 0, 4]
    assert np.array_equal(filled[0][[1, 3, 4]], scores[0][[1, 3, 4]])
    assert np.argsort(-filled[1], kind="stable").tolist() == [1, 2, 0, 3, 4]


def test_a_blend_is_judged_by_users_that_it_was_not_learned_from():
    """The reported NDCG is that of weights from the other half, by hand."""
    model = fitted(WORLD.interactions)
    part = validation_part(model)
    members = {kind: fit_member(kind, SingleModelsConfig(), part.train, None) for kind in MEMBERS}
    support = np.bincount(model.videos.find(part.train["video_id"]), minlength=len(model.videos))
    panel = ScorePanel(members, model.videos, support)
    seen: list[int] = []

    from vrec.retrieval.models import hybrid_choice

    original = hybrid_choice.fit_blend_weights

    def fit(choices, ridge, initial, free=None):
        seen.append(len(choices.starts))
        return original(choices, ridge, initial, free)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hybrid_choice, "fit_blend_weights", fit)
        choice = choose_blend(panel, part, BlendConfig(), fallback=False)
    users = part.before.users
    assert sorted(seen) == sorted([users // 2, users - users // 2] * 2 + [users])
    assert choice.name == BLEND
    weights = choice.weights
    by_user = (weights[0] + hybrid_choice.user_weights(weights * 0, part.before)).astype(np.float32)
    assert by_user.shape == (users, len(panel.features))
    scores = sum_features(panel.rows(part.before, part.users), by_user, 3)
    assert 0 <= block_ndcg(scores, part.before, part.after).mean() <= 1


def test_constrained_weights_are_not_negative_and_alike_for_all_users():
    model = fitted(WORLD.interactions)
    part = validation_part(model)
    members = {kind: fit_member(kind, SingleModelsConfig(), part.train, None) for kind in MEMBERS}
    panel = ScorePanel(members, model.videos, np.ones(len(model.videos), np.int64))
    low = dict.fromkeys(MEMBERS, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        from vrec.retrieval.models import hybrid_choice

        ones = np.ones(part.before.users)
        patch.setattr(hybrid_choice, "_blend_ndcg", lambda *_: {BLEND: 0 * ones, NON_NEGATIVE: ones})
        choice = choose_blend(panel, part, BlendConfig(), singles=low)
    assert choice.name == NON_NEGATIVE
    assert (choice.weights[0] >= 0).all()
    assert (choice.weights[0] > 0).any()
    assert not choice.weights[1].any()


def test_the_manifest_says_what_was_learned_and_what_was_left_out(tmp_path):
    models = SingleModelsConfig(ease=EaseConfig(max_videos=3))
    members = ("popular", "item_knn", "ease", "content")
    fitted(WORLD.interactions, members, models=models).save(str(tmp_path))
    report = json.loads((Path(tmp_path) / "manifest.json").read_text())["metrics"]
    tried = {row["model"]: row for row in report["tried"]}
    assert "more than max_videos, 3" in tried["ease"]["dropped"]
    assert tried["content"]["dropped"] == "there is no content"
    assert report["validation"]["holdout"] == "time"
    assert report["chosen"] in tried
    assert tried["item_knn"][METRIC] > 0


@pytest.mark.parametrize("model", [HybridRecommender, AutoRecommender])
def test_what_is_too_large_for_everything_is_not_tried_on_less(model):
    """The video that makes one too many is held out: its only interaction is the newest."""
    log = WORLD.interactions
    newest = log.slice(0, 1).to_pylist()[0] | {"video_id": "zz", "at": pa.compute.max(log["at"]).as_py()}
    late = pa.concat_tables([log, pa.Table.from_pylist([newest], log.schema)])
    videos = len(pa.compute.unique(log["video_id"]))
    for most, refused in ((videos, True), (videos + 1, False)):
        models = SingleModelsConfig(ease=EaseConfig(max_videos=most))
        blend = BlendConfig(least_users=1)
        config = model.Config(members=("popular", "ease"), blend=blend, models=models)
        rows = [row for row in model(config).fit(late).report["tried"] if row["model"] == "ease"]
        assert any("dropped" in row for row in rows) == refused
        assert any(row.get(METRIC) is not None for row in rows) != refused


def test_without_a_member_left_the_fit_is_refused_and_says_why():
    with pytest.raises(FitError, match="content: there is no content"):
        fitted(WORLD.interactions, members=("content",))


def test_one_member_without_a_validation_part_is_called_by_its_name():
    few = WORLD.interactions.slice(0, 3)
    for members, chosen in (
        (("popular",), "popular"),
        (("popular", "content"), "popular"),
        (("popular", "item_knn"), "equal weights"),
    ):
        model = HybridRecommender(HybridConfig(members=members)).fit(few)
        assert (model.report["validation"], model.report["chosen"]) == (None, chosen)


@pytest.mark.parametrize("kind", ["content", "propagate", "multimodal", "ease", "als"])
def test_a_member_that_is_left_out_has_a_reason_without_names_of_classes(kind):
    models = SingleModelsConfig.model_validate({"ease": {"max_videos": 3}, "als": {"alpha": 1e38}})
    vectors = None if kind == "multimodal" else embeddings(other=[1.0, 0.0])
    content = CatalogContent(videos(other={}), vectors)
    members = ("popular", kind)
    model = HybridRecommender(HybridConfig(members=members, models=models)).fit(WORLD.interactions, content)
    reasons = [row["dropped"] for row in model.report["tried"] if "dropped" in row]
    assert reasons
    for reason in reasons:
        assert not re.search(r"[A-Z][a-z]+[A-Z]\w*|\.fit|^[A-Z]\w+\.", reason), reason
        assert not reason.startswith(kind)


def test_interactions_of_one_moment_are_held_out_at_random():
    at = pa.array([0] * WORLD.interactions.num_rows, pa.int64()).cast(WORLD.interactions["at"].type)
    model = fitted(WORLD.interactions.set_column(3, "at", at))
    assert model.report["validation"]["holdout"] == "random"
    assert model.report["validation"]["users"] > 20


def test_an_equal_blend_of_the_best_members_scores_what_its_weights_give():
    model = fitted(WORLD.interactions)
    part = validation_part(model)
    members = {kind: fit_member(kind, SingleModelsConfig(), part.train, None) for kind in MEMBERS}
    support = np.bincount(model.videos.find(part.train["video_id"]), minlength=len(model.videos))
    panel = ScorePanel(members, model.videos, support)
    choice = choose_blend(panel, part, BlendConfig(least_users=1))
    ranked = sorted(MEMBERS, key=lambda kind: -choice.scores[kind])
    features = list(panel.rows(part.before, part.users))
    for count in (2, 3):
        weights = np.zeros((part.before.users, len(panel.features)), np.float32)
        weights[:, [panel.features.index(kind) for kind in ranked[:count]]] = 1
        scores = sum_features(features, weights, len(MEMBERS))
        expected = block_ndcg(scores, part.before, part.after).mean()
        assert choice.scores[f"equal blend of {count}"] == pytest.approx(expected)


@pytest.mark.parametrize(("lead", "chosen"), [(0.9, "best member"), (1.1, NON_NEGATIVE)])
def test_a_blend_is_used_where_its_lead_exceeds_its_standard_error(monkeypatch, lead, chosen):
    """Over half of the users it is ahead, over the others as far behind, and everywhere by the lead."""
    model = fitted(WORLD.interactions)
    part = validation_part(model)
    members = {kind: fit_member(kind, SingleModelsConfig(), part.train, None) for kind in MEMBERS}
    panel = ScorePanel(members, model.videos, np.ones(len(model.videos), np.int64))
    users = part.before.users // 2 * 2
    part = part.select(np.arange(users))
    scores = {kind: hybrid_choice.single_scores(panel, kind, part) for kind in MEMBERS}
    best = max(MEMBERS, key=lambda kind: scores[kind].mean())
    spread = np.where(np.arange(users) % 2, 0.1, -0.1)
    ahead = scores[best] + spread + lead * 0.1 / np.sqrt(users)
    monkeypatch.setattr(
        hybrid_choice, "_blend_ndcg", lambda *_: {BLEND: scores[best] - 1, NON_NEGATIVE: ahead}
    )
    choice = choose_blend(panel, part, BlendConfig(least_users=1))
    assert choice.name == (best if chosen == "best member" else chosen)
    assert choose_blend(panel, part, BlendConfig(least_users=1), surely=False).name == NON_NEGATIVE


def test_an_equal_blend_is_fitted_without_the_other_members(monkeypatch, tmp_path):
    best = "equal blend of 2"
    monkeypatch.setattr(hybrid_choice, "_equal_blends", lambda *_: {best: ("item_knn", "ease")})
    monkeypatch.setattr(
        hybrid_choice,
        "_blend_ndcg",
        lambda panel, part, weights: {
            name: np.full(part.before.users, float(name == best)) for name in weights
        },
    )
    model = fitted(WORLD.interactions)
    assert model.report["chosen"] == "equal blend of 2"
    assert model.report["members"] == list(model.panel.members) == ["item_knn", "ease"]
    assert model.report["weights"] == {"item_knn": [1, 0], "ease": [1, 0], "cold": [0, 0]}
    model.save(str(tmp_path))
    assert load_recommender(str(tmp_path)).recommend(WORLD.users, 5).equals(model.recommend(WORLD.users, 5))
