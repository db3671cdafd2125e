"""Neighbours of videos: the recommender's own answers for one video, and recommenders that have none."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.bundles import shop, shop_parts
from tests.events.rows import interactions, some_interactions
from tests.retrieval.catalogues import embeddings
from vrec.bundle import neighbors as module
from vrec.bundle.neighbors import VideoNeighbors
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.core.types import CatalogContent
from vrec.events.videos import complete_videos
from vrec.retrieval.config import AutoConfig, HybridConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.models.content import ContentRecommender
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.neumf import NeuMf
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.network_config import NeuMfConfig

IDS = [f"v{n}" for n in range(10)]


@settings(deadline=None)
@given(some_interactions(), st.integers(1, 12), st.sampled_from([ItemKnn, UserKnn, Ease]))
def test_they_are_what_who_watched_the_one_video_is_recommended(table, count, kind):
    model, offered = kind().fit(table), IDS[:7]
    found = VideoNeighbors.from_recommender(model, offered, count)
    assert found.indices.shape == found.scores.shape == (7, min(count, 6))
    assert (found.indices.dtype, found.scores.dtype) == (np.int32, np.float32)
    for video in offered:
        asked = model.recommend_from(interactions(("me", video, 1, 0)), count, candidates=offered)
        mine = found.find(video, count)
        assert [v for v, _ in mine] == asked.column("video_id").to_pylist()
        scores = np.array([score for _, score in mine])
        raw = asked.column("score").to_numpy()
        if len(raw):
            assert scores[0] == 1
            assert ((scores >= 0) & (scores <= 1)).all()
            low = min(0, raw.min())
            shares = (raw - low) / (raw.max() - low) if raw.max() > low else np.ones(len(raw))
            np.testing.assert_allclose(scores, shares, atol=1e-5)


def test_what_there_is_none_of_is_padding():
    model = ItemKnn().fit(
        interactions(*((u, v, 1, 0) for u in "ab" for v in ("v0", "v1")), ("c", "v2", 1, 0))
    )
    found = VideoNeighbors.from_recommender(model, IDS, 4)
    assert found.find("v0", 4) == [("v1", 1.0)]
    assert found.find("v2", 4) == found.find("v9", 4) == found.find("unheard-of", 4) == []
    assert found.indices[0].tolist() == [1, -1, -1, -1]
    assert found.scores[0].tolist() == [1, 0, 0, 0]
    assert found.find("v0", 0) == []
    assert VideoNeighbors.from_recommender(model, ["v0"], 4).find("v0", 4) == []


def test_they_do_not_depend_on_how_many_videos_are_asked_about_at_once(monkeypatch):
    ids = shop().videos.column("video_id").to_pylist()[::-1]
    model = shop_parts().recommender
    whole = VideoNeighbors.from_recommender(model, ids, 5)
    monkeypatch.setattr(module, "BATCH", 7)
    parts = VideoNeighbors.from_recommender(model, ids, 5)
    assert np.array_equal(whole.indices, parts.indices)
    assert np.array_equal(whole.scores, parts.scores)


def test_a_recommender_that_knows_users_only_is_refused():
    model = NeuMf(NeuMfConfig(epochs=1, device="cpu")).fit(interactions(("a", "v0", 1, 0), ("b", "v1", 1, 0)))
    with pytest.raises(BundleError, match="neumf only knows the users") as caught:
        VideoNeighbors.from_recommender(model, IDS, 3)
    assert "item_knn" in caught.value.fix


def test_popular_videos_are_nobodys_neighbours():
    table = shop_parts().interactions
    alone = HybridRecommender(HybridConfig(members=("popular",)))
    for model in (PopularRecommender(), alone):
        with pytest.raises(BundleError, match="gives everyone the same"):
            VideoNeighbors.from_recommender(model.fit(table), IDS, 3)
    # Some videos that nobody watched, of which a hybrid raises one in two.
    content = CatalogContent(shop().videos, shop().embeddings)
    ids = shop().videos.column("video_id").to_pylist()
    warm = table.filter(pc.is_in(table.column("video_id"), value_set=pa.array(ids[10:])))
    with_popular, without = (
        HybridRecommender(HybridConfig(members=members, cold_every=every)).fit(warm, content)
        for members, every in ((("popular", "item_knn", "content"), 2), (("item_knn", "content"), None))
    )
    # With the same weights for the others, the blend is the one in which popularity never was.
    with_popular.weights = np.insert(without.weights, 0, 9.0, axis=1)
    found, expected = (VideoNeighbors.from_recommender(model, ids, 8) for model in (with_popular, without))
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.scores, expected.scores)
    # The hybrid itself is as it was.
    assert list(with_popular.panel.members) == ["popular", "item_knn", "content"]


def test_a_video_that_nobody_watched_has_neighbours_by_content_only():
    shown, table = shop(), shop_parts().interactions
    watched = set(table.column("video_id").to_pylist())
    content = CatalogContent(shown.videos, shown.embeddings)
    fresh = table.filter(np.asarray(table.column("video_id")) != sorted(watched)[0])
    video, ids = sorted(watched)[0], shown.videos.column("video_id").to_pylist()
    assert VideoNeighbors.from_recommender(ItemKnn().fit(fresh), ids, 5).find(video, 5) == []
    assert (
        len(VideoNeighbors.from_recommender(ContentRecommender().fit(fresh, content), ids, 5).find(video, 5))
        == 5
    )


class Scored:
    """Recommends by a table of scores, best first."""

    kind, inductive = "scored", True

    def __init__(self, **scores: dict[str, float]):
        self.scores = scores
        self.videos = IdVocabulary(pa.array(sorted(scores), pa.string()))
        # Each video was watched.
        watched = sparse.csr_matrix(np.ones((1, len(scores)), np.float32))
        self.histories = InteractionMatrix(watched, np.zeros(len(scores), np.int64))

    def recommend_from(self, histories, k, candidates):
        rows = []
        for user, video in zip(
            *(histories.column(n).to_pylist() for n in ("user_id", "video_id")), strict=True
        ):
            assert user == video
            best = sorted(self.scores.get(video, {}).items(), key=lambda row: -row[1])[:k]
            rows += [
                (user, other, rank, score)
                for rank, (other, score) in enumerate(best, 1)
                if other in candidates
            ]
        names = ("user_id", "video_id", "rank", "score")
        return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_scores_are_shares_of_the_best_above_the_least_or_zero():
    model = Scored(
        a={"b": 3.0, "c": 1.0, "d": -1.0},
        b={"a": 4.0, "c": 1.0},
        c={"a": 0.0, "b": 0.0},
        d={"a": -1.0, "b": -3.0},
    )
    found = VideoNeighbors.from_recommender(model, "abcd", 9)
    assert found.find("a", 9) == [("b", 1.0), ("c", 0.5), ("d", 0.0)]
    assert found.find("b", 9) == [("a", 1.0), ("c", 0.25)]
    assert found.find("c", 9) == [("a", 1.0), ("b", 1.0)]
    assert found.find("d", 9) == [("a", 1.0), ("b", 0.0)]
    assert found.find("b", 1) == [("a", 1.0)]
    assert found.indices[1].tolist() == [0, 2, -1]
    assert found.scores[1].tolist() == [1, 0.25, 0]
    assert found.position == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_no_neighbors_are_empty_arrays():
    found = VideoNeighbors.empty(["a", "b"], 3)
    assert (found.ids, found.indices.tolist(), found.scores.tolist()) == (
        ("a", "b"),
        [[-1] * 3] * 2,
        [[0] * 3] * 2,
    )
    assert VideoNeighbors.empty(["a"]).indices.shape == (1, 0)
    assert VideoNeighbors.from_recommender(Scored(), [], 3).ids == ()


def test_where_the_data_chose_the_popular_list_videos_still_have_neighbors():
    rows = shop_parts().interactions
    ids = sorted(set(rows["video_id"].to_pylist()))
    config = AutoConfig(members=("popular", "item_knn"), minutes=1e-9)
    model = AutoRecommender(config).fit(rows)
    assert set(model.panel.members) == {"popular"}
    found = VideoNeighbors.from_recommender(model, ids, 5)
    own = VideoNeighbors.from_recommender(ItemKnn().fit(rows), ids, 5)
    assert np.array_equal(found.indices, own.indices)
    assert (found.indices >= 0).any()


def test_an_unwatched_video_has_no_neighbors_but_those_that_its_content_finds():
    """Without content, nothing tells v8 and v9 apart: their lists would be popular ones in disguise."""
    rng = np.random.default_rng(0)
    watched = interactions(
        *((f"u{u}", f"v{v}", 1, u) for u in range(40) for v in rng.choice(8, 3, replace=False))
    )
    vectors = embeddings(**{f"v{n}": rng.normal(size=3).tolist() for n in range(9)})
    videos = complete_videos(pa.table({"video_id": IDS, "uri": IDS}), "VIDEOS")
    members = ("popular", "graph_filter", "multimodal")
    for content, cold in (
        (CatalogContent(videos=videos), 0),
        (CatalogContent(embeddings=vectors), 4),
    ):
        model = HybridRecommender(HybridConfig(members=members, fallback=False)).fit(watched, content)
        found = VideoNeighbors.from_recommender(model, IDS, 4)
        assert [len(found.find(video, 4)) for video in IDS[:8]] == [4] * 8
        assert len(found.find("v8", 4)) == cold
        assert found.find("v9", 4) == []
