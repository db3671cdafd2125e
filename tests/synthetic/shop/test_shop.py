"""The ground truth of a shop of two users and three videos, against numbers worked out by hand."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax

from vrec.core.errors import EventsError
from vrec.synthetic.shop import shop as shop_module
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.shop import CENTURY_DAYS, SimulatedShop, calibrate_base

CONFIG = SimulationConfig(
    users=2, days=3, slots=4, start=datetime(2025, 3, 1, tzinfo=UTC), temperature=2.0, logging_taste=0.5
)
EVERYONE, ALL = np.arange(2), np.arange(3)
NOW = np.array([[1.0, 0.0], [0.0, 2.0]])
LATER = np.array([[0.0, 1.0], [4.0, 0.0]])
FEATURES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
QUALITY = np.array([0.5, 0.0, -1.0])
AT_START = np.array([[1.5, 0.0, 0.0], [0.5, 2.0, 1.0]])
"""NOW @ FEATURES.T + QUALITY."""
AT_END = np.array([[0.5, 1.0, 0.0], [4.5, 0.0, 3.0]])
"""LATER @ FEATURES.T + QUALITY."""


def shop_of(**settings) -> SimulatedShop:
    return SimulatedShop(
        config=CONFIG.model_copy(update=settings),
        users=pa.array(["u0", "u1"]),
        videos=pa.table({"video_id": ["v0", "v1", "v2"]}),
        vectors=None,
        activity=np.array([0.25, 0.75]),
        tastes=(NOW, LATER),
        features=FEATURES,
        quality=QUALITY,
        base_log_odds=-1.0,
        popularity=np.array([0.0, -1.0, -2.0]),
        release=np.array([0, 2, 1]),
    )


def uniform(users, videos):
    return np.full((len(users), len(videos)), 1 / len(videos))


def test_affinity_is_taste_times_features_plus_quality():
    shop = shop_of()
    np.testing.assert_allclose(shop.affinity(EVERYONE, ALL, paired=False), AT_START)
    np.testing.assert_allclose(shop.affinity(np.array([1, 0]), np.array([2, 0])), [1.0, 1.5])
    np.testing.assert_allclose(shop.affinity(EVERYONE, ALL, 2, paired=False), AT_START)


def test_drift_moves_tastes_linearly_up_to_its_share_on_the_last_day():
    shop = shop_of(drift=0.8)
    for day, share in ((0, 0.0), (1, 0.4), (2, 0.8)):
        want = (1 - share) * AT_START + share * AT_END
        np.testing.assert_allclose(shop.affinity(EVERYONE, ALL, day, paired=False), want)
    np.testing.assert_allclose(
        shop.affinity(EVERYONE, ALL, paired=False), 0.2 * AT_START + 0.8 * AT_END, err_msg="the last day"
    )
    days = np.array([0, 2])
    np.testing.assert_allclose(shop.affinity(EVERYONE, np.array([0, 0]), days), [1.5, 0.2 * 0.5 + 0.8 * 4.5])
    one_day = shop_of(drift=0.8, days=1)
    np.testing.assert_allclose(one_day.affinity(EVERYONE, ALL, paired=False), AT_START)


def test_slots_are_examined_by_a_power_of_their_number():
    np.testing.assert_allclose(shop_of(examination_decay=1.0).examination, [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(shop_of(examination_decay=0.5, slots=2).examination, [1, 2**-0.5])
    np.testing.assert_array_equal(shop_of(examination_decay=0.0).examination, np.ones(4))


def test_a_click_is_an_examined_slot_and_a_liked_video():
    shop = shop_of(examination_decay=1.0)
    got = shop.click_probability(np.array([0, 1]), np.array([0, 1]), np.array([0, 3]))
    np.testing.assert_allclose(got, [expit(-1 + 1.5), expit(-1 + 2.0) / 4])


def test_days_are_counted_from_the_start_in_whole_days():
    times = [
        "2025-03-01T00:00:00",
        "2025-03-01T23:59:59.999999",
        "2025-03-02T00:00:00",
        "2025-02-28T23:00:00",
    ]
    at = pa.array(
        [datetime.fromisoformat(t).replace(tzinfo=UTC) for t in times], pa.timestamp("us", tz="UTC")
    )
    assert shop_of().days_of(at).tolist() == [0, 0, 1, -1]


def test_a_video_is_available_from_its_release_day_on():
    shop = shop_of()
    assert [shop.available_videos(day).tolist() for day in range(3)] == [[0], [0, 2], [0, 1, 2]]
    never = dataclasses.replace(shop, release=np.array([0, CENTURY_DAYS, 1]))
    assert never.available_videos(2).tolist() == [0, 2]


def test_the_logging_policy_is_a_softmax_of_popularity_and_some_taste_of_the_first_day():
    shop = shop_of(drift=1.0)
    scores = (np.array([0.0, -1.0, -2.0]) + 0.5 * AT_START) / 2.0
    np.testing.assert_allclose(shop.logging_scores(EVERYONE, ALL), scores)
    np.testing.assert_allclose(shop.logging_policy(EVERYONE, ALL), softmax(scores, axis=1))
    np.testing.assert_allclose(shop.logging_scores(EVERYONE, np.array([2])), scores[:, 2:])
    hot = shop_of(temperature=1e9).logging_policy(EVERYONE, ALL)
    np.testing.assert_allclose(hot, np.full((2, 3), 1 / 3), atol=1e-6)
    blind = shop_of(logging_taste=0.0, temperature=1.0).logging_policy(EVERYONE, ALL)
    np.testing.assert_allclose(blind, np.tile(softmax([0.0, -1.0, -2.0]), (2, 1)))


def test_the_oracle_shows_the_favorite_of_the_last_day():
    np.testing.assert_array_equal(shop_of().oracle_policy(EVERYONE, ALL), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(shop_of(drift=1.0).oracle_policy(EVERYONE, ALL), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("block_cells", [2_000_000, 1])
def test_a_policy_s_value_weighs_users_by_activity_and_days_equally(monkeypatch, block_cells):
    monkeypatch.setattr(shop_module, "BLOCK_CELLS", block_cells)
    clicks = expit(-1.0 + AT_START)
    days = [clicks[:, [0]].mean(axis=1), clicks[:, [0, 2]].mean(axis=1), clicks.mean(axis=1)]
    want = np.array([0.25, 0.75]) @ np.mean(days, axis=0)
    assert shop_of().true_policy_value(uniform) == pytest.approx(want)
    drifting = [expit(-1.0 + (1 - s) * AT_START + s * AT_END) for s in (0.0, 0.5, 1.0)]
    days = [
        drifting[0][:, [0]].mean(axis=1),
        drifting[1][:, [0, 2]].mean(axis=1),
        drifting[2].mean(axis=1),
    ]
    want = np.array([0.25, 0.75]) @ np.mean(days, axis=0)
    assert shop_of(drift=1.0).true_policy_value(uniform) == pytest.approx(want)


@pytest.mark.parametrize("block_cells", [2_000_000, 1])
def test_a_policy_s_probability_is_that_of_the_video_among_those_of_its_day(monkeypatch, block_cells):
    monkeypatch.setattr(shop_module, "BLOCK_CELLS", block_cells)

    def by_number(users, videos):
        weights = (users[:, None] + 1.0) + videos[None, :]
        return weights / weights.sum(axis=1, keepdims=True)

    users, videos, days = np.array([1, 0, 1, 0]), np.array([2, 0, 1, 2]), np.array([1, 0, 2, 2])
    got = shop_of().policy_probability(by_number, users, videos, days)
    np.testing.assert_allclose(got, [4 / (2 + 4), 1.0, 3 / (2 + 3 + 4), 3 / (1 + 2 + 3)])


def test_a_video_of_another_day_has_no_probability():
    shop = shop_of()
    for video, day in ((1, 1), (2, 0)):
        with pytest.raises(EventsError, match=f"a video of day {day}"):
            shop.policy_probability(uniform, np.array([0]), np.array([video]), np.array([day]))


@pytest.mark.parametrize(
    "policy",
    [
        lambda users, videos: np.full((len(users), len(videos)), 0.9 / len(videos)),
        lambda users, videos: np.full((len(users), len(videos) + 1), 1 / (len(videos) + 1)),
        lambda users, videos: np.tile(
            [2.0] + [-1.0 / max(1, len(videos) - 1)] * (len(videos) - 1), (len(users), 1)
        ),
    ],
)
def test_a_policy_of_wrong_sums_shape_or_sign_is_refused(policy):
    shop = dataclasses.replace(shop_of(), release=np.zeros(3, np.int64))
    with pytest.raises(EventsError, match="rows sum to 1"):
        shop.true_policy_value(policy)
    with pytest.raises(EventsError, match="rows sum to 1"):
        shop.policy_probability(policy, np.array([0]), np.array([0]), np.array([0]))


def test_the_ideal_ranking_is_by_affinity_with_ties_by_index():
    shop = shop_of()
    assert shop.ideal_ranking(EVERYONE, 2).tolist() == [[0, 1], [1, 2]], "user 0 likes 1 and 2 equally"
    assert shop.ideal_ranking(EVERYONE, 9).tolist() == [[0, 1, 2], [1, 2, 0]]
    assert shop.ideal_ranking(EVERYONE, 3, day=1).tolist() == [[0, 2], [2, 0]]
    assert shop_of(drift=1.0).ideal_ranking(EVERYONE, 1).tolist() == [[1], [0]]


def test_ids_become_indices_of_users_and_videos():
    shop = shop_of()
    assert shop.user_indices(pa.array(["u1", "u0", "u1"])).tolist() == [1, 0, 1]
    assert shop.video_indices(pa.chunked_array([["v2"], ["v0"]])).tolist() == [2, 0]
    with pytest.raises(EventsError, match=r"2 video ids of 3 are not of this shop, such as u0"):
        shop.video_indices(pa.array(["v0", "u0", "u1"]))


def test_the_base_gives_the_click_rate():
    affinities = np.array([-2.0, 0.0, 3.0])
    base = calibrate_base(0.3, affinities)
    assert expit(base + affinities).mean() == pytest.approx(0.3)
    assert calibrate_base(0.5, np.zeros(4)) == pytest.approx(0.0)


def test_requests_are_rounded_and_at_least_one():
    assert SimulationConfig(users=3, requests_per_user=1.5).requests == 4
    assert SimulationConfig(users=1, requests_per_user=0.1).requests == 1
    assert SimulationConfig(users=200, requests_per_user=2.5).requests == 500
