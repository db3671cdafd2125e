"""The recommender of creators: the battery, the dual form against EASE itself, and what friends are worth."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.retrieval.config import CreatorsConfig
from vrec.retrieval.dual_ease import DualEase, PrimalEase
from vrec.retrieval.models.creators import CreatorRecommender, relative_logs
from vrec.testing.recommenders import CHECKS

FRIENDS = pa.table({"user_id": ["u1", "u2", "7", "u1"], "friend_id": ["u2", "u3", "zoë", "nobody"]})

MAKERS = {
    "alone": lambda: CreatorRecommender(CreatorsConfig(regularization=3)),
    "friends": lambda: CreatorRecommender(CreatorsConfig(regularization=3, friends_weight=0.5), FRIENDS),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", MAKERS)
def test_it_holds_the_contract(kind, check):
    check(MAKERS[kind])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 1000), st.floats(0.1, 50))
def test_both_forms_are_ease(users, items, seed, regularization):
    rng = np.random.default_rng(seed)
    weights = rng.random((users, items)) * (rng.random((users, items)) < 0.5)
    histories = rng.random((3, items)) * (rng.random((3, items)) < 0.5)
    inverse = np.linalg.inv(weights.T @ weights + regularization * np.eye(items))
    model = -inverse / np.diag(inverse)
    np.fill_diagonal(model, 0)
    for form in (DualEase, PrimalEase):
        fitted = form.fit(sparse.csr_matrix(weights), regularization)
        found = fitted.scores(sparse.csr_matrix(histories))
        np.testing.assert_allclose(found, histories @ model, atol=1e-9)


def test_logs_are_relative_to_their_row():
    found = relative_logs(sparse.csr_matrix([[np.e - 1, 0, np.e**3 - 1], [0, 5, 0], [0, 0, 0]], dtype=float))
    np.testing.assert_allclose(found.toarray(), [[0.5, 0, 1.5], [0, 1, 0], [0, 0, 0]])


def planted(with_friends: bool) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Return interactions of circles with a taste of their own, friendships within or across, and circles."""
    rng = np.random.default_rng(0)
    users, circles, creators = 400, 8, 160
    circle = rng.integers(circles, size=users)
    rows = []
    for user in range(users):
        own = np.flatnonzero(np.arange(creators) % circles == circle[user])
        count = 2 if user % 4 == 0 else 12
        liked = np.where(rng.random(count) < 0.5, rng.choice(own, count), rng.integers(creators, size=count))
        rows += [(f"u{user:03}", f"c{creator:03}") for creator in set(liked.tolist())]
    table = pa.table(
        {
            "user_id": [user for user, _ in rows],
            "video_id": [creator for _, creator in rows],
            "weight": pa.array(np.ones(len(rows)), pa.float32()),
            "at": pa.array(np.zeros(len(rows), np.int64), TIMESTAMP),
        },
        schema=INTERACTIONS.arrow(),
    )
    order = np.argsort(circle, kind="stable") if with_friends else rng.permutation(users)
    pairs = [(order[n], order[(n + step) % users]) for n in range(users) for step in (1, 2, 3, 4)]
    friends = pa.table(
        {"user_id": [f"u{one:03}" for one, _ in pairs], "friend_id": [f"u{other:03}" for _, other in pairs]}
    )
    return table, friends, {f"u{user:03}": int(circle[user]) for user in range(users)}


def own_share(model: CreatorRecommender, circles: dict[str, int]) -> float:
    """Return the share of the first ten creators of short histories that are of the user's circle."""
    short = [user for user in circles if int(user[1:]) % 4 == 0]
    found = model.recommend(short, 10).to_pylist()
    return float(np.mean([int(row["video_id"][1:]) % 8 == circles[row["user_id"]] for row in found]))


def test_friends_help_short_histories_where_they_share_a_taste():
    table, friends, circles = planted(with_friends=True)
    alone = CreatorRecommender().fit(table)
    social = CreatorRecommender(friends=friends).fit(table)
    assert social.report["friends_weight"]["short"] > 0
    assert alone.report["friends_weight"] == {"short": 0.0, "others": 0.0}
    assert own_share(social, circles) > own_share(alone, circles) + 0.1


def test_friends_who_share_nothing_get_no_weight():
    table, friends, _ = planted(with_friends=False)
    found = CreatorRecommender(friends=friends).fit(table).report
    assert found["friends_weight"] == {"short": 0.0, "others": 0.0}


def test_too_large_a_shop_is_refused():
    table, _, _ = planted(with_friends=True)
    with pytest.raises(FitError, match="400 shoppers and 160 creators"):
        CreatorRecommender(CreatorsConfig(max_smaller=100)).fit(table)


def test_a_friendship_counts_for_both():
    table, friends, _ = planted(with_friends=True)
    found = (
        CreatorRecommender(CreatorsConfig(graph_weight=1.0, friends_weight=0.5), friends).fit(table).friends
    )
    assert found.nnz > 0
    assert (found != found.T).nnz == 0
    assert set(found.data) == {1.0}
