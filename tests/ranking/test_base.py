"""Requests from candidates, scalars of videos and merged contents, by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tests.ranking.features.messy import counts_row
from tests.ranking.reranking.shop import embeddings_of, videos_of
from vrec.core.errors import RankError
from vrec.core.schema import RECOMMENDATIONS
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile
from vrec.ranking.base import VideoScalars, build_requests, merge_content
from vrec.ranking.features.arrays import RankerPredictions, RequestContext
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.reranking.utility import UtilityConfig, UtilityWeights

CONTEXT = RequestContext(7, "feed")


def candidates_of(*pairs):
    return pa.Table.from_pylist(
        [{"user_id": u, "video_id": v, "score": 1.0, "rank": 1, "source": "s"} for u, v in pairs],
        RECOMMENDATIONS.arrow(),
    )


def test_requests_of_interleaved_users_find_their_way_back():
    table = candidates_of(("bob", "x"), ("ann", "y"), ("bob", "y"), ("ann", "x"), ("bob", "z"))
    users = {"ann": Profile("user", "ann", counts={"event:click": 3.0})}
    videos = {"y": Profile("video", "y", counts={"event:impression": 9.0, "event:click": 2.0})}
    requests, order = build_requests(table, users, videos, CONTEXT)
    assert [r.user.entity_id for r in requests] == ["bob", "ann"]
    assert [r.video_ids for r in requests] == [("x", "y", "z"), ("y", "x")]
    assert requests[0].user == Profile("user", "bob")
    assert requests[1].user is users["ann"]
    assert all(r.context is CONTEXT and r.positions is None for r in requests)
    known = counts_row(impression=9, click=2)
    np.testing.assert_array_equal(requests[0].video_counts, [0 * known, known, 0 * known])
    np.testing.assert_array_equal(requests[1].video_counts, [known, 0 * known])
    asked = [(r.user.entity_id, v) for r in requests for v in r.video_ids]
    assert [asked[row] for row in order] == list(
        zip(table.column("user_id").to_pylist(), table.column("video_id").to_pylist(), strict=True)
    )


def test_a_user_with_the_id_of_a_video_has_a_profile_of_its_own():
    user = Profile("user", "x", counts={"event:click": 1.0})
    video = Profile("video", "x", counts={"event:impression": 5.0})
    (request,), _ = build_requests(candidates_of(("x", "x")), {"x": user}, {"x": video}, CONTEXT)
    assert request.user is user
    np.testing.assert_array_equal(request.video_counts, [counts_row(impression=5)])
    with pytest.raises(RankError, match="the profile given for user x is of video x"):
        build_requests(candidates_of(("x", "x")), {"x": video}, {}, CONTEXT)
    with pytest.raises(RankError, match="the profile given for video x is of user x"):
        build_requests(candidates_of(("x", "x")), {}, {"x": user}, CONTEXT)
    with pytest.raises(RankError, match="the profile given for user x is of user y"):
        build_requests(candidates_of(("x", "x")), {"x": Profile("user", "y")}, {}, CONTEXT)


def test_scalars_of_some_videos_are_the_newer_ones_where_there_are():
    rows = [
        {"video_id": "a", "duration_s": 5.0, "price": 1.0},
        {"video_id": "b", "duration_s": -1.0, "price": 2.0},
        {"video_id": "c", "duration_s": 0.0},
    ]
    old = VideoScalars.from_content(CatalogContent(videos_of(rows)))
    np.testing.assert_array_equal(old.duration_s, np.float32([5, np.nan, np.nan, np.nan]))
    np.testing.assert_array_equal(old.price, np.float32([1, 2, np.nan, np.nan]))
    new = VideoScalars.from_content(CatalogContent(videos_of([{"video_id": "b", "duration_s": 8.0}])))
    for some, price in (
        (old.restricted_to(["gone", "b", "a"]), 2.0),
        (old.restricted_to(["gone", "b", "a"], new), None),
    ):
        found = some.find(["a", "b", "gone", "c"])
        assert found.tolist() == [2, 1, 0, -1]
        duration = np.nan if price else 8.0
        np.testing.assert_array_equal(some.duration_s[found], np.float32([5, duration, np.nan, np.nan]))
        np.testing.assert_array_equal(some.price[found], np.float32([1, price or np.nan, np.nan, np.nan]))
    none = VideoScalars.from_content(CatalogContent())
    assert (none.find(["a"]).tolist(), none.duration_s.shape) == ([-1], (1,))


def test_merged_contents_take_the_newer_row_and_keep_the_rest():
    old = CatalogContent(
        videos_of([{"video_id": "a", "price": 1.0}, {"video_id": "b", "price": 2.0}]),
        embeddings_of({"a": [1.0, 0.0]}),
    )
    new = CatalogContent(
        videos_of([{"video_id": "b", "price": 3.0}, {"video_id": "c"}]), embeddings_of({"b": [0.0, 1.0]})
    )
    merged = merge_content(old, new)
    prices = dict(zip(*(merged.videos.column(n).to_pylist() for n in ("video_id", "price")), strict=True))
    assert prices == {"a": 1.0, "b": 3.0, "c": None}
    assert merged.embeddings.column("entity_id").to_pylist() == ["a", "b"]
    nothing = merge_content(CatalogContent(), CatalogContent())
    assert (nothing.videos, nothing.embeddings) == (None, None)
    assert merge_content(old, CatalogContent()).videos.equals(old.videos)


class FixedRanker(RateBaselineRanker):
    """Predicts the row of each candidate among the requests' candidates."""

    def predict_requests(self, requests):
        rows = np.arange(sum(len(r.video_ids) for r in requests), dtype=np.float32)
        return RankerPredictions(rows / 10, rows, rows / 100, np.zeros_like(rows))


def test_predictions_and_prices_go_to_their_own_rows_and_utility_is_the_surface_s():
    scalars = VideoScalars.from_content(CatalogContent(videos_of([{"video_id": "x", "price": 5.0}])))
    weights = UtilityWeights(click=1.0, minute=6.0, price_share=2.0, unpriced=3.0)
    config = RateBaselineConfig(utility=UtilityConfig(surfaces={"feed": weights}))
    table = candidates_of(("bob", "x"), ("ann", "y"), ("bob", "y"), ("ann", "x"))
    found = FixedRanker(config, None, scalars).score(table, {}, {}, CONTEXT)
    row = np.array([0, 2, 1, 3])
    np.testing.assert_allclose(found.column("p_click"), row / 10, rtol=1e-6)
    np.testing.assert_allclose(found.column("watch_s"), row)
    np.testing.assert_allclose(found.column("p_conv"), row / 100, rtol=1e-6)
    sale = np.array([10, 3, 3, 10])
    np.testing.assert_allclose(found.column("utility"), row / 10 + row / 10 + sale * row / 100, rtol=1e-5)
    assert found.column("reasons").to_pylist() == [[]] * 4
    assert found.select(table.column_names).equals(table)
