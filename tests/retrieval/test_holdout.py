"""Which interactions are held out, and that the way of holding out follows from the times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.retrieval.catalogues import interactions
from tests.retrieval.matrices import random_matrix, to_interactions
from vrec.retrieval.holdout import (
    ValidationPart,
    held_out_entries,
    hold_out,
    hold_out_random,
    suitable_holdout,
)
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, build_interaction_matrix

rows = st.lists(
    st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdefgh"), st.just(1.0), st.integers(0, 6)),
    min_size=1,
    max_size=30,
)


def matrix(*log) -> tuple[InteractionMatrix, IdVocabulary, IdVocabulary]:
    table = interactions(*log)
    users, videos = (IdVocabulary.from_columns(table.column(name)) for name in ("user_id", "video_id"))
    return build_interaction_matrix(table, users, videos), users, videos


def part_of(log, **changes) -> ValidationPart | None:
    options = {"kind": "auto", "share": 0.3, "least_users": 1, "max_users": 100, "seed": 0} | changes
    return hold_out(*matrix(*log), **options)


def test_the_kind_follows_from_the_times():
    several = [(f"u{n}", f"v{m}", 1.0, n + m) for n in range(9) for m in range(3)]
    assert suitable_holdout(matrix(*several)[0]) == "time"
    one_moment_each = [(u, v, w, int(u[1])) for u, v, w, _ in several]
    assert suitable_holdout(matrix(*one_moment_each)[0]) == "random"
    order_only = [(u, v, w, int(v[1])) for u, v, w, _ in several]
    assert suitable_holdout(matrix(*order_only)[0]) == "last"
    assert suitable_holdout(matrix(*((f"u{n}", "v", 1.0, n) for n in range(9)))[0]) == "random"


def test_a_moment_with_too_few_users_around_it_gives_way_to_the_last_of_each():
    log = [(f"u{n}", f"v{m}", 1.0, 10 * n + m) for n in range(9) for m in range(3)]
    assert suitable_holdout(matrix(*log)[0]) == "time"
    assert part_of(log, kind="time", least_users=5) is None
    part = part_of(log, least_users=5)
    assert part is not None
    assert (part.kind, part.before.users) == ("last", 9)
    assert set(part.after.weights.indices) == {2}


@pytest.mark.parametrize("kind", ["auto", "time", "last", "random"])
@given(log=rows, share=st.floats(0.05, 0.9), seed=st.integers(0, 3))
def test_every_interaction_is_on_one_side(kind, log, share, seed):
    part = part_of(log, kind=kind, share=share, seed=seed)
    if part is None:
        return
    whole, users, _ = matrix(*log)
    own = whole.rows(users.find(part.users))
    assert (part.before.weights + part.after.weights != own.weights).nnz == 0
    assert np.diff(part.before.weights.indptr).min() > 0
    assert np.diff(part.after.weights.indptr).min() > 0
    held = held_out_entries(whole, part.kind, share, seed)
    assert part.train.num_rows == np.count_nonzero(~held)


def test_random_ones_depend_on_the_seed_alone_and_users_are_drawn():
    log = [(f"u{n}", f"v{m}", 1.0, 5) for n in range(20) for m in range(6)]
    first, again, other = (part_of(log, seed=seed, max_users=7) for seed in (1, 1, 2))
    assert first.kind == "random"
    assert first.users.equals(again.users)
    assert (first.after.weights != again.after.weights).nnz == 0
    assert not first.users.equals(other.users)
    assert len(first.users) == 7
    assert np.diff(first.after.weights.indptr).tolist() == [2] * 7


def dense(weights: np.ndarray) -> InteractionMatrix:
    table = to_interactions(weights)
    ids = [IdVocabulary.from_columns(table.column(name)) for name in ("user_id", "video_id")]
    return build_interaction_matrix(table, *ids)


def test_a_tenth_but_at_least_one_of_each_user_who_has_two() -> None:
    matrix = np.zeros((4, 40), np.float32)
    for user, count in enumerate((1, 2, 19, 40)):
        matrix[user, :count] = 1
    holdout = hold_out_random(dense(matrix), 10, seed=0)
    assert holdout.users.tolist() == [1, 2, 3]
    assert np.diff(holdout.held_out.indptr).tolist() == [1, 1, 4]
    assert np.diff(holdout.kept.weights.indptr).tolist() == [1, 1, 18, 36]


def test_shown_and_held_out_are_the_whole_and_draws_follow_the_seed() -> None:
    whole = dense(random_matrix(0, 50, 30))
    holdout = hold_out_random(whole, 20, seed=1)
    assert len(holdout.users) == 20
    together = holdout.kept.weights.toarray()
    assert (together[holdout.users] * holdout.held_out.toarray() == 0).all()
    together[holdout.users] += holdout.held_out.toarray()
    np.testing.assert_array_equal(together, whole.weights.toarray())
    same, other = (hold_out_random(whole, 20, seed) for seed in (1, 2))
    assert same.users.tolist() == holdout.users.tolist()
    np.testing.assert_array_equal(same.held_out.toarray(), holdout.held_out.toarray())
    assert same.users.tolist() != other.users.tolist()


@pytest.mark.parametrize("kind", ["random", "last"])
def test_of_many_users_half_are_drawn_and_the_others_keep_everything(kind, monkeypatch) -> None:
    monkeypatch.setattr("vrec.retrieval.holdout.FEWEST_DRAWN", 4)
    log = [(f"u{n:02}", video, 1.0, hour) for n in range(20) for hour, video in enumerate("abcd")]
    part = part_of(log, kind=kind)
    assert len(part.users) == 10
    kept = part.train.group_by("user_id").aggregate([("video_id", "count")]).to_pylist()
    drawn = set(part.users.to_pylist())
    assert all(row["video_id_count"] == (2 if row["user_id"] in drawn else 4) for row in kept)
    by_time = part_of(log, kind="time")
    assert len(by_time.users) == 20
