"""Batches of recommendations: users of the fit, their newer events, users who came later, and strangers."""

import numpy as np
import pyarrow as pa
import pytest

from tests.events.rows import events, interactions
from vrec.core.schema import RECOMMENDATIONS, conform
from vrec.events.hiding import NO_HIDES, last_hides
from vrec.retrieval.batch import BatchRecommender, newest_at, popular_fallback
from vrec.retrieval.config import HybridConfig, PopularConfig
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.neumf import NeuMf
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.network_config import NeuMfConfig

RNG = np.random.default_rng(0)
PAIRS = sorted({(f"u{RNG.integers(20)}", f"v{RNG.integers(10)}") for _ in range(110)})
FIT = interactions(*((u, v, 1.0, n / 50) for n, (u, v) in enumerate(PAIRS)))
NEWER = interactions(("u3", "v1", 2.0, 9), ("new", "v2", 1.0, 9), ("lost", "unknown video", 1.0, 9))
SEEN = {u: {v for w, v in PAIRS if w == u} for u, _ in PAIRS}
MODELS = {
    "item_knn": ItemKnn,
    "user_knn": UserKnn,
    "ease": Ease,
    "popular": PopularRecommender,
    "hybrid": lambda: HybridRecommender(HybridConfig(members=("popular", "item_knn"))),
    "neumf": lambda: NeuMf(NeuMfConfig.model_validate({"epochs": 1})),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]().fit(FIT)


def by_user(table: pa.Table) -> dict[str, list[tuple[str, str]]]:
    conform(table, RECOMMENDATIONS, stage="test")
    lists: dict[str, list[tuple[str, str]]] = {}
    for row in table.to_pylist():
        assert row["rank"] == len(lists.setdefault(row["user_id"], [])) + 1
        lists[row["user_id"]].append((row["video_id"], row["source"]))
    return lists


def test_strangers_get_the_popular_videos_marked_as_such_or_nothing(model):
    batch = BatchRecommender(model, fallback=popular_fallback(model, PopularConfig()))
    lists = by_user(batch.recommend(["nobody", "u1", "u1", "noone"], 4))
    assert list(lists) == ["nobody", "u1", "noone"], "in the order asked"
    popular = PopularRecommender().fit(FIT).recommend_unpersonalized(["nobody"], 4)
    assert lists["nobody"] == lists["noone"] == [(v, "popular") for v in popular["video_id"].to_pylist()]
    assert {source for _, source in lists["u1"]} == {model.kind}
    alone = BatchRecommender(model).recommend(["nobody", "u1"], 4)
    assert by_user(alone) == {"u1": lists["u1"]}
    assert BatchRecommender(model).recommend(["nobody"], 4).num_rows == 0


def test_a_hybrid_that_is_to_give_strangers_nothing_does_so():
    config = HybridConfig(members=("popular",), recommend_new_users=False)
    assert popular_fallback(HybridRecommender(config).fit(FIT), PopularConfig()) is None


def test_newer_events_count_and_their_videos_are_not_recommended(model):
    batch = BatchRecommender(model, NEWER, fallback=popular_fallback(model, PopularConfig()))
    assert batch.all_users()[:-2] == model.users.ids.to_pylist()
    assert set(batch.all_users()[-2:]) == {"lost", "new"}
    lists = by_user(batch.recommend(batch.all_users(), 10))
    assert set(lists) == set(batch.all_users())
    assert not ({"v1"} | SEEN["u3"]) & {v for v, _ in lists["u3"]}
    assert "v2" not in [v for v, _ in lists["new"]]
    assert {source for _, source in lists["lost"]} == {"popular"}
    before = by_user(BatchRecommender(model).recommend(["u4"], 10))
    assert lists["u4"] == before["u4"], "who did nothing has the list as before"
    if model.inductive:
        assert {source for _, source in lists["new"]} == {model.kind}


def test_a_history_in_two_parts_gives_the_list_of_the_whole():
    """What the fit has of a user and what came later count as one history, as if asked with all of it."""
    model = ItemKnn().fit(FIT)
    newer = interactions(("u3", "v1", 2.0, 9))
    got = BatchRecommender(model, newer).recommend(["u3"], 10)
    own = FIT.filter(pa.compute.equal(FIT["user_id"], "u3"))
    assert got.equals(model.recommend_from(pa.concat_tables([own, newer]), 10))
    faded = BatchRecommender(model, newer, fade=0.0).recommend(["u3"], 10)
    assert faded.equals(model.recommend_from(newer, 10)), "a history that has faded counts no longer"


def test_seen_videos_are_recommended_where_that_is_allowed(model):
    users = ["u1", "u2", "u3"]
    strict = by_user(BatchRecommender(model).recommend(users, 10))
    free = by_user(BatchRecommender(model, allow_seen=True).recommend(users, 10))
    for user in users:
        assert not SEEN[user] & {v for v, _ in strict.get(user, [])}
        unseen = [v for v, _ in free[user] if v not in SEEN[user]]
        if model.kind != "hybrid":
            assert unseen == [v for v, _ in strict[user]][: len(unseen)], "in the same order"
    assert any(SEEN[user] & {v for v, _ in free[user]} for user in users)
    newer = BatchRecommender(model, interactions(("u3", "v1", 50.0, 9)), allow_seen=True).recommend(
        ["u3"], 10
    )
    assert newer.num_rows >= len(strict["u3"])


def test_the_newest_time_of_a_fit_is_that_of_its_last_interaction(model):
    assert newest_at(model) == max(FIT["at"].cast(pa.int64()).to_pylist())


@pytest.mark.parametrize("allow_seen", [False, True])
def test_hidden_videos_are_in_no_list_of_the_user(model, tmp_path, allow_seen):
    hides = last_hides(
        events(
            *(
                {"user_id": user, "video_id": video, "kind": kind}
                for user, video, kind in (
                    ("u1", "v0", "hide"), ("u3", "v2", "dislike"), ("nobody", "v4", "hide"),
                    ("u1", "gone", "hide"), ("u2", "v1", "unhide"),
                )
            )
        )
    )  # fmt: skip
    model.hides = hides
    model.save(str(tmp_path / "m"))
    again = type(model).load(str(tmp_path / "m"))
    model.hides = NO_HIDES
    assert again.hides == hides
    users, fallback = ["u1", "u2", "u3", "nobody"], popular_fallback(model, PopularConfig())
    without = BatchRecommender(model, NEWER, fallback=fallback, allow_seen=allow_seen)
    lists = by_user(without.recommend(users, 100))
    for user, video in (("u1", "v0"), ("u3", "v2"), ("nobody", "v4")):
        lists[user] = [one for one in lists[user] if one[0] != video]
    batch = BatchRecommender(again, NEWER, fallback=fallback, allow_seen=allow_seen, hides=again.hides)
    assert by_user(batch.recommend(users, 100)) == lists
