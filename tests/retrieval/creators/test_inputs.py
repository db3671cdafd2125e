"""Interactions with creators: sums over videos, follows that hold, and whom a shopper follows already."""

import datetime as dt

import pyarrow as pa

from vrec.core.schema import FOLLOWS, INTERACTIONS, VIDEOS
from vrec.retrieval.creators.inputs import creator_interactions, followed_creators, friends_of
from vrec.retrieval.models.creators import CreatorRecommender

DAY = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
NOW = DAY + dt.timedelta(days=10)


def day(number: int) -> dt.datetime:
    return DAY + dt.timedelta(days=number)


def videos_table() -> pa.Table:
    base = {"uri": "", "kind": "clip", "product_ids": [], "domain": "shop", "tags": [], "available": True}
    rows = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("x", "")]
    return pa.Table.from_pylist(
        [base | {"video_id": video, "creator_id": creator} for video, creator in rows], schema=VIDEOS.arrow()
    )


def watches() -> pa.Table:
    rows = [
        ("u", "a1", 1.0, 1),
        ("u", "a2", 2.5, 3),
        ("u", "x", 1.0, 4),
        ("v", "b1", 1.0, 2),
        ("v", "?", 1.0, 2),
    ]
    return pa.Table.from_pylist(
        [
            {"user_id": user, "video_id": video, "weight": weight, "at": day(at)}
            for user, video, weight, at in rows
        ],
        schema=INTERACTIONS.arrow(),
    )


def follow_rows() -> pa.Table:
    rows = [
        ("u", "creator", "a", 5, None), ("v", "creator", "c", 5, None), ("v", "creator", "a", 5, 6),
        ("w", "creator", "b", 11, None), ("u", "user", "v", 1, None), ("w", "user", "u", 1, 2),
        ("u", "streamer", "s", 1, None),
    ]  # fmt: skip
    return pa.Table.from_pylist(
        [
            {
                "user_id": user, "entity": entity, "entity_id": other, "at": day(at),
                "ended_at": None if end is None else day(end),
            }
            for user, entity, other, at, end in rows
        ],
        schema=FOLLOWS.arrow(),
    )  # fmt: skip


def test_weights_add_up_and_follows_count():
    found = creator_interactions(watches(), videos_table(), follow_rows(), at=NOW)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("u", "a", 6.5, day(5)),
        ("u", "s", 3.0, day(1)),
        ("v", "b", 1.0, day(2)),
        ("v", "c", 3.0, day(5)),
    ]
    alone = creator_interactions(watches(), videos_table(), at=NOW)
    assert [tuple(row.values()) for row in alone.to_pylist()] == [
        ("u", "a", 3.5, day(3)),
        ("v", "b", 1.0, day(2)),
    ]


def test_follows_that_ended_or_lie_ahead_do_not_hold():
    assert followed_creators(follow_rows(), NOW) == {"u": ["a", "s"], "v": ["c"]}
    assert followed_creators(follow_rows(), day(5)) == {"u": ["a", "s"], "v": ["a", "c"]}
    assert friends_of(follow_rows(), NOW).to_pylist() == [{"user_id": "u", "friend_id": "v"}]


def test_creators_to_follow_leave_out_those_followed():
    interactions = creator_interactions(watches(), videos_table(), at=NOW)
    model = CreatorRecommender().fit(interactions)
    open_to_all = model.recommend(["u", "v"], 5).to_pylist()
    assert {(row["user_id"], row["video_id"]) for row in open_to_all} == {("u", "b"), ("v", "a")}
    assert model.recommend(["u", "v"], 5, exclude={"u": ["b"]}).column("user_id").to_pylist() == ["v"]
