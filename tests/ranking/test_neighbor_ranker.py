"""The order of a bundle without a trained ranker, by hand."""

import numpy as np
import pytest

from tests.events.rows import videos
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile
from vrec.ranking.config import NeighborRankerConfig
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.neighbor_ranker import NeighborRanker

IDS = ["a", "b", "c", "d", "e"]
INDICES = np.array([[1, 2], [0, 2], [0, -1], [-1, -1], [3, 1]], np.int32)
SCORES = np.array([[1.0, 0.5], [1.0, 0.25], [1.0, 0.0], [0.0, 0.0], [1.0, 0.75]], np.float32)


@pytest.fixture
def ranker() -> NeighborRanker:
    content = CatalogContent(videos(**dict.fromkeys(IDS)))
    return NeighborRanker.from_neighbors(
        NeighborRankerConfig(), content, IDS, indices=INDICES, scores=SCORES, popular=["e", "d", "b", "a"]
    )


def predicted(ranker, history, candidates):
    """p_click by video for a user with a history of (µs, video, weight)."""
    entries = tuple((at, f"e{at}", video, weight, "click") for at, video, weight in history)
    user = Profile("user", "u", history=entries)
    counts = np.zeros((len(candidates), len(VIDEO_COUNT_KEYS)))
    request = RankingRequest(user, RequestContext(100, "feed"), tuple(candidates), counts)
    return dict(zip(candidates, ranker.predict_requests([request]).p_click.tolist(), strict=True))


def test_neighbors_of_what_was_liked_come_first_and_the_later_the_like_the_more_it_counts(ranker):
    found = predicted(ranker, [(1, "e", 1.0), (2, "a", 2.0)], [*IDS, "unknown"])
    # a, liked last: b 2 × 1, c 2 × .5; e, before: d .9 × 1, b .9 × .75.
    sums = {"b": 2 + 0.9 * 0.75, "c": 1.0, "d": 0.9}
    assert {name: found[name] for name in sums} == pytest.approx(
        {name: 0.5 + 0.5 * total / (1 + total) for name, total in sums.items()}
    )
    # The others by popularity: e before a; what nobody knows last.
    assert 0.5 > found["e"] > found["a"] > found["unknown"] == 0


def test_a_stranger_gets_the_order_of_popularity(ranker):
    found = predicted(ranker, [], IDS)
    assert sorted(IDS, key=found.__getitem__, reverse=True) == ["e", "d", "b", "a", "c"]
    assert max(found.values()) < 0.5


def test_only_the_latest_likes_before_the_request_count(ranker):
    ranker.config = NeighborRankerConfig(history=1)
    found = predicted(ranker, [(1, "e", 1.0), (2, "a", 1.0), (200, "c", 1.0)], IDS)
    assert found["d"] < 0.5 < found["c"] < found["b"]


def test_nothing_but_clicks_is_expected(ranker):
    request = RankingRequest(
        Profile("user", "u"), RequestContext(1, "feed"), ("a",), np.zeros((1, len(VIDEO_COUNT_KEYS)))
    )
    found = ranker.predict_requests([request])
    assert [found.watch_s.item(), found.p_conv.item(), found.spread.item()] == [0, 0, 0]
    assert len(ranker.predict_requests([]).p_click) == 0
