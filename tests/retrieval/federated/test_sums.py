"""Federated recommenders equal those of all shoppers together, however these are spread over clients."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import interactions
from vrec.core.errors import ConfigError, FederatedError, FitError
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.federated.build import recommender_shard, recommender_task
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.als import Als
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.popular import PopularRecommender

CONFIG = RetrievalConfig.model_validate(
    {"als": {"factors": 4, "iterations": 3}, "ease": {"regularization": 3.0}}
)


def log(seed=0, users=40, videos=12):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for video in rng.choice(videos, size=int(rng.integers(2, 6)), replace=False):
            rows.append((f"u{user:02}", f"v{video:02}", float(rng.integers(1, 5)), float(video)))
    return interactions(*rows)


def catalog(table):
    return IdVocabulary.from_columns(table.column("video_id"))


def federated(kind, table, owners, config=CONFIG):
    """Fit with the users of each owner as a client, all sums in float64."""
    videos = catalog(table)
    task = recommender_task(kind, config, videos)
    users = sorted(set(table.column("user_id").to_pylist()))
    of = dict(zip(users, owners, strict=True))
    column = table.column("user_id").to_pylist()
    shards = [
        recommender_shard(kind, config, table.filter(pa.array([of[user] == one for user in column])), videos)
        for one in sorted(set(owners))
    ]
    state = task.start()
    for number in range(1, task.rounds + 1):
        parts = [shard.contribute(state, number) for shard in shards]
        assert all(
            {name: array.shape for name, array in part.items()} == task.shapes(number) for part in parts
        )
        state = task.step(state, {name: sum(part[name] for part in parts) for name in parts[0]}, number)
    return task.model(state)


@given(st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=15)
def test_ease_and_popular_equal_the_pooled_fits_to_the_bit(owners):
    table = log()
    ease = federated("ease", table, owners)
    pooled = Ease(CONFIG.ease).fit(table)
    assert (ease.weights == pooled.weights).all()
    popular = federated("popular", table, owners)
    assert (popular.popularity == PopularRecommender().fit(table).popularity).all()


@given(st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=10)
def test_als_over_clients_equals_als_over_one(owners):
    table = log()
    many, one = federated("als", table, owners), federated("als", table, [0] * 40)
    assert many.report["alpha"] == pytest.approx(one.report["alpha"])
    assert many.item_factors == pytest.approx(one.item_factors, rel=1e-4, abs=1e-6)


def test_als_solves_the_equations_of_the_paper():
    table = log()
    config = RetrievalConfig.model_validate({"als": {"factors": 3, "iterations": 1, "alpha": 2.0}})
    model = federated("als", table, [0] * 40, config)
    pooled = Als(config.als)
    pooled.report = {"alpha": 2.0}
    start = recommender_task("als", config, catalog(table)).start()["factors"]
    pooled.use_item_factors(start.astype(np.float32))
    shard = recommender_shard("als", config, table, catalog(table))
    users = pooled.fold_in(shard.histories)
    weights = shard.histories.weights.toarray().astype(np.float64)
    confidence = 1 + 2.0 * weights
    for video in range(weights.shape[1]):
        left = (users * confidence[:, video, None]).T @ users + config.als.regularization * np.eye(3)
        right = (users * confidence[:, video, None]).T @ (weights[:, video] > 0)
        assert model.item_factors[video] == pytest.approx(np.linalg.solve(left, right), rel=1e-4)


@pytest.mark.parametrize("kind", ["als", "ease", "popular"])
def test_a_federated_model_has_no_shopper_and_answers_from_histories(kind, tmp_path):
    table = log()
    model = federated(kind, table, [0, 1] * 20)
    model.save(str(tmp_path))
    loaded = type(model).load(str(tmp_path))
    assert (len(loaded.users), loaded.histories.weights.nnz) == (0, 0)
    assert loaded.released_counts.sum() == table.num_rows
    assert loaded.recommend_from(table, 3).equals(model.recommend_from(table, 3))


def test_what_has_no_federated_form_is_refused():
    videos = catalog(log())
    with pytest.raises(ConfigError, match="mult_vae has no federated form"):
        recommender_task("mult_vae", CONFIG, videos)
    fading = RetrievalConfig.model_validate({"popular": {"half_life_days": 3}})
    with pytest.raises(ConfigError, match="whenever that was"):
        recommender_task("popular", fading, videos)
    small = RetrievalConfig.model_validate({"ease": {"max_videos": 3}})
    with pytest.raises(FitError, match="more than max_videos"):
        recommender_task("ease", small, videos)


def test_a_client_without_a_known_video_is_refused():
    table, others = log(), IdVocabulary.from_columns(pa.array(["x", "y"]))
    with pytest.raises(FederatedError, match="no interaction is with a video of the catalog"):
        recommender_shard("als", CONFIG, table, others)
    with pytest.raises(FederatedError, match="no interactions"):
        recommender_shard("als", CONFIG, table.slice(0, 0), others)
