"""Smoke requests by hand: who asks for what and when, which answer belongs to which request, tolerances."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles import embeddings_of
from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import (
    SMOKE_ANSWERS,
    TOP_K,
    SmokeTarget,
    check_smoke_answers,
    requested_videos,
    run_smoke_requests,
    smoke_request_videos,
)
from vrec.core.errors import BundleError
from vrec.core.schema import VIDEOS
from vrec.core.types import CatalogContent
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.retrieval.index.index import FaissIndex, IndexConfig

SECOND_US, DAY_US = 1_000_000, 86_400_000_000
ROWS = [
    {"video_id": "a", "title": "red mug", "tags": ["shoe"], "category": "mugs"},
    {"video_id": "b", "tags": ["blue", "tea"], "creator_id": "ann", "published_at": 5 * DAY_US},
    {"video_id": "c", "category": "lamps", "published_at": 2 * DAY_US},
    {"video_id": "d", "creator_id": "bob"},
]


def videos(*rows: dict) -> pa.Table:
    blank = {"uri": "", "kind": "clip", "product_ids": [], "domain": "shop", "creator_id": "", "tags": []}
    return pa.Table.from_pylist([blank | {"available": True} | row for row in rows], schema=VIDEOS.arrow())


@dataclass
class Ranker:
    """Predicts each candidate's row number; remembers what it was asked for."""

    requests: list = field(default_factory=list)

    def predict_requests(self, requests):
        self.requests = list(requests)
        rows = np.arange(sum(len(request.video_ids) for request in requests), dtype=np.float32)
        return RankerPredictions(rows, rows + 1000, rows + 2000, rows + 3000)


@dataclass
class Target:
    """A catalog of a few videos, and a ranker that remembers its requests."""

    videos: pa.Table
    vectors: dict = field(default_factory=dict)
    popular: tuple[str, ...] = ()
    near: dict = field(default_factory=dict)
    profiles: ProfilesConfig = field(default_factory=ProfilesConfig)
    ranker: Ranker = field(default_factory=Ranker)

    def __post_init__(self):
        ids, fused = self.videos.column("video_id").to_pylist(), None
        self.index, self.text_index = FaissIndex(IndexConfig()), Bm25Index.from_videos(self.videos)
        if self.vectors:
            matrix = np.array(list(self.vectors.values()), np.float32)
            fused = embeddings_of(pa.array(list(self.vectors)), "fused", "test", matrix)
            self.index.add(list(self.vectors), matrix)
        self.content = CatalogContent(self.videos, fused)
        self.neighbors = VideoNeighbors.empty(ids, 3)
        for name, others in self.near.items():
            for rank, other in enumerate(others):
                at = ids.index(name), rank
                self.neighbors.indices[at], self.neighbors.scores[at] = ids.index(other), 1 - rank / 4


def answers(target: SmokeTarget, *video_ids: str) -> dict[tuple[str, str], list[tuple[str, float]]]:
    found: dict = {}
    table = run_smoke_requests(target, video_ids)
    assert table.schema.equals(SMOKE_ANSWERS)
    for row in table.to_pylist():
        answer = found.setdefault((row["ask"], row["of"]), [])
        assert row["place"] == len(answer), "positions count from 0"
        answer.append((row["video_id"], row["value"]))
    return found


def test_a_request_is_of_a_user_who_watched_the_video_before_and_this_one():
    target = Target(videos(*ROWS), popular=("d", "a"), near={"a": ["b", "c"]})
    answers(target, "a", "b", "c")
    first, second, third = target.ranker.requests
    at = 6 * DAY_US
    assert [request.context.at for request in target.ranker.requests] == [at] * 3, "a day after the newest"
    assert {request.context.surface for request in target.ranker.requests} == {"canary"}
    assert [request.user.entity_id for request in (first, second, third)] == [
        "canary-0",
        "canary-1",
        "canary-2",
    ]
    assert [[entry.video_id for entry in r.user.history] for r in (first, second, third)] == [
        ["c", "c", "a", "a"], ["a", "a", "b", "b"], ["b", "b", "c", "c"]
    ]  # fmt: skip
    assert [when for when, _ in first.user.seen] == [at - 120 * SECOND_US] * 3 + [at - 60 * SECOND_US] * 3
    counts = first.user.counts
    assert (counts["watch_s"], counts["domain:canary"], counts["interests"]) == (24, 6, 4)
    assert counts["event:impression"] == counts["event:click"] == counts["event:watch"] == 2
    assert (counts["category:mugs"], counts["category:lamps"]) == (2, 2)
    assert "category:None" not in second.user.counts


def test_candidates_are_neighbors_then_popular_videos_then_the_video_itself():
    target = Target(videos(*ROWS), popular=("d", "c"), near={"a": ["b", "c"]})
    found = answers(target, "a", "b")
    assert [request.video_ids for request in target.ranker.requests] == [
        ("b", "c", "d", "a"),
        ("d", "c", "b"),
    ]
    table = target.ranker.requests[0].video_counts
    assert table.shape == (4, len(VIDEO_COUNT_KEYS))
    assert table[:, VIDEO_COUNT_KEYS.index("event:impression")].tolist() == [50] * 4
    assert table[:, VIDEO_COUNT_KEYS.index("event:click")].tolist() == [0, 1, 2, 3]
    assert found["p_click", "a"] == [("b", 0), ("c", 1), ("d", 2), ("a", 3)]
    assert found["watch_s", "b"] == [("d", 1004), ("c", 1005), ("b", 1006)]
    assert [value for _, value in found["p_conv", "b"]] == [2004, 2005, 2006]
    assert [value for _, value in found["spread", "b"]] == [3004, 3005, 3006]


def test_candidates_are_at_most_the_first_of_the_popular():
    rows = [{"video_id": f"v{n:02}"} for n in range(30)]
    target = Target(videos(*rows), popular=tuple(f"v{n:02}" for n in range(29, 0, -1)))
    answers(target, "v00")
    assert target.ranker.requests[0].video_ids == (*(f"v{n}" for n in range(29, 29 - TOP_K, -1)), "v00")


def test_text_is_the_title_or_the_tags_or_the_category_or_the_creator():
    found = answers(Target(videos(*ROWS)), "a", "b", "c", "d")
    assert [found["search", name][0][0] for name in "abcd"] == ["a", "b", "c", "d"]
    assert [video for video, _ in found["search", "a"]] == ["a"], "the tags of a titled video are not asked"
    twins = videos({"video_id": "x", "tags": ["tea", "cup"]}, {"video_id": "y", "title": "tea"})
    assert [video for video, _ in answers(Target(twins), "x")["search", "x"]] == ["x", "y"]


def test_nearest_videos_are_those_of_the_vectors_there_are():
    target = Target(videos(*ROWS), vectors={"a": [1.0, 0.0], "b": [0.6, 0.8], "d": [0.0, 1.0]})
    found = answers(target, "a", "c", "b")
    assert found["index", "a"] == [("a", 1), ("b", pytest.approx(0.6)), ("d", 0)]
    assert [video for video, _ in found["index", "b"]] == ["b", "d", "a"]
    assert ("index", "c") not in found
    assert not [kind for kind, _ in answers(target, "c") if kind == "index"]
    assert not [kind for kind, _ in answers(Target(videos(*ROWS)), "a") if kind == "index"]


@given(st.lists(st.booleans(), min_size=2, max_size=8))
def test_the_same_requests_are_made_again_whatever_has_no_answer(has_words):
    rows = [
        {"video_id": f"v{n}", "title": f"mug {n}" if words else None} for n, words in enumerate(has_words)
    ]
    target = Target(videos(*rows))
    names = [row["video_id"] for row in rows]
    table = run_smoke_requests(target, names)
    assert requested_videos(table) == names
    check_smoke_answers(table, run_smoke_requests(target, requested_videos(table)), "/bundle")


def test_a_catalog_of_one_video_without_a_date_is_asked_too():
    target = Target(videos({"video_id": "v"}))
    found = answers(target, "v")
    (request,) = target.ranker.requests
    assert (request.video_ids, request.context.at) == (("v",), DAY_US)
    assert {entry.video_id for entry in request.user.history} == {"v"}
    assert set(found) == {(kind, "v") for kind in ("p_click", "watch_s", "p_conv", "spread")}


def test_settings_of_the_bundle_s_profiles_are_used():
    target = Target(videos(*ROWS), profiles=ProfilesConfig(remember=2))
    answers(target, "a")
    assert len(target.ranker.requests[0].user.seen) == 2


@pytest.mark.parametrize(
    ("count", "names"), [(1, "a"), (2, "ae"), (3, "ace"), (4, "abde"), (5, "abcde"), (99, "abcde")]
)
def test_videos_are_evenly_spaced(count, names):
    assert smoke_request_videos("abcde", count) == tuple(names)


def table(kind: str, *pairs: tuple[str, float], of: str = "v") -> pa.Table:
    rows = [
        {"ask": kind, "of": of, "place": place, "video_id": video, "value": value}
        for place, (video, value) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, schema=SMOKE_ANSWERS)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (100.0, 100.099, True),
        (100.0, 99.901, True),
        (100.0, 100.11, False),
        (100.0, 99.89, False),
        (0.0, 0.9e-4, True),
        (0.0, 1.2e-4, False),
        (0.0, -1.2e-4, False),
    ],
)
def test_values_may_differ_by_a_thousandth_and_a_ten_thousandth(old, new, same):
    for kind in ("index", "search", "p_click", "spread"):
        if same:
            check_smoke_answers(table(kind, ("a", old)), table(kind, ("a", new)), "here")
        else:
            with pytest.raises(BundleError, match=f"here: {kind} of smoke request v differs") as caught:
                check_smoke_answers(table(kind, ("a", old)), table(kind, ("a", new)), "here")
            assert "position 0 is a with" in str(caught.value)


@pytest.mark.parametrize("kind", ["p_click", "watch_s", "p_conv", "spread"])
def test_predictions_of_equal_value_may_not_change_places(kind):
    kept, swapped = table(kind, ("a", 0.5), ("b", 0.5)), table(kind, ("b", 0.5), ("a", 0.5))
    with pytest.raises(BundleError, match=r"position 0 is b with 0\.5, before a with 0\.5"):
        check_smoke_answers(kept, swapped, "here")
    check_smoke_answers(
        table("index", ("a", 0.5), ("b", 0.5)), table("index", ("b", 0.5), ("a", 0.5)), "here"
    )


def test_answers_that_are_missing_or_new_are_named():
    one, both = (
        table("index", ("a", 1.0)),
        pa.concat_tables([table("index", ("a", 1.0)), table("search", ("b", 2.0))]),
    )
    with pytest.raises(BundleError, match=r"search of smoke request v .*: 0 videos, before 1"):
        check_smoke_answers(both, one, "here")
    with pytest.raises(BundleError, match=r"search of smoke request v .*: 1 videos, before 0"):
        check_smoke_answers(one, both, "here")
    check_smoke_answers(both, both.take([1, 0]), "here")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_answers_that_are_not_finite_are_named_even_where_they_were_so_before(value):
    answer = table("index", ("a", 1.0), ("b", value))
    with pytest.raises(BundleError, match="index of smoke request v is not finite for b"):
        check_smoke_answers(answer, answer, "here")
