"""Every numeric feature of users, candidates and histories by hand, on a messy catalog."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ranking.features.messy import NOW, catalog_of, counts_row, interests_of, request_of, space_of
from vrec.core.errors import RankError
from vrec.profiles.profile import InterestEvent, Profile
from vrec.profiles.user import HOUR_US
from vrec.profiles.video import COMPLETIONS, TIMED_WATCHES, WATCH_S, WATCH_SHARE
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.numeric import liked_history, log_hours, request_counts
from vrec.ranking.features.space import BLOCKS, FIELDS
from vrec.ranking.features.video_counts import RATES, VIDEO_COUNT_KEYS, log_odds

USER = Profile(
    "user",
    "u",
    np.array([5.0, 2.0], np.float32),
    {
        "event:impression": 30.0,
        "event:click": 9.0,
        "event:watch": 6.0,
        "event:like": 2.0,
        "event:cart": 1.0,
        "event:purchase": 1.0,
        "watch_s": 90.0,
        "interests": 8.0,
        "category:mugs": 3.0,
        "category:pans": 1.0,
        "creator:ann": 4.0,
        "taste_weight": 2.0,
    },
    ((NOW - 7 * HOUR_US, "e1"), (NOW - 3 * HOUR_US, "e2")),
    tuple(
        InterestEvent(NOW - hours * HOUR_US, f"e{hours}", video, weight, "watch")
        for hours, video, weight in ((9, "a", 2.0), (5, "gone", 1.0), (4, "b", 3.0), (2, "a", 0.5))
    ),
)


def named(builder, request, block):
    """Columns of a block before scaling, by name."""
    return dict(zip(BLOCKS[block], builder.raw([request]).blocks[block].T, strict=True))


def builder_of(**config):
    space = space_of(**config)
    return FeatureBuilder(space, catalog_of(space))


def logit(total, trials, rate, strength):
    p = (total + strength * rate) / (trials + strength)
    return np.log(p / (1 - p))


def test_every_number_about_a_user():
    found = {name: v[0] for name, v in named(builder_of(), request_of("a", user=USER), "user").items()}
    priors = [(0.3 + 0.02 * n, 4.0 + n) for n in range(5)]
    expected = {
        "log_impression": np.log(31),
        "log_click": np.log(10),
        "log_watch": np.log(7),
        "log_like": np.log(3),
        "log_cart": np.log(2),
        "log_purchase": np.log(2),
        "click_rate": logit(9, 30, *priors[0]),
        "watch_rate": logit(6, 30, *priors[1]),
        "like_rate": logit(2, 30, *priors[2]),
        "cart_rate": logit(1, 9, *priors[3]),
        "purchase_rate": logit(1, 9, *priors[4]),
        # 8 s is the mean over users, 10 watches its weight.
        "log_watch_s": np.log1p((90 + 10 * 8) / (6 + 10)),
        "log_idle_hours": np.log(4),
        "no_event": 0,
        "log_history": np.log(4),
        "no_history": 0,
        "no_taste": 0,
        "no_liked_vector": 0,
    }
    assert found == pytest.approx(expected)


def test_every_number_about_a_new_user():
    found = {name: v[0] for name, v in named(builder_of(), request_of("a"), "user").items()}
    flags = {name: value for name, value in found.items() if name.startswith("no_")}
    assert flags == {"no_event": 1, "no_history": 1, "no_taste": 1, "no_liked_vector": 1}
    assert np.isnan(found["log_idle_hours"])
    assert found["click_rate"] == pytest.approx(np.log(0.3 / 0.7))
    assert found["log_watch_s"] == pytest.approx(np.log(9))
    assert found["log_history"] == found["log_impression"] == 0


def test_every_number_about_a_candidate():
    watched = {WATCH_SHARE: 2.5, TIMED_WATCHES: 5, COMPLETIONS: 1, WATCH_S: 40}
    counts = counts_row(impression=50, click=8, watch=5, like=3, cart=2, purchase=1, **watched)
    columns = named(builder_of(), request_of("a", user=USER, counts=[counts]), "candidate")
    found = {name: values[0] for name, values in columns.items()}
    priors = [(0.1 + 0.02 * n, 10.0 + n) for n in range(7)]
    expected = {
        "click_rate": logit(8, 50, *priors[0]),
        "watch_rate": logit(5, 50, *priors[1]),
        "like_rate": logit(3, 50, *priors[2]),
        "cart_rate": logit(2, 8, *priors[3]),
        "purchase_rate": logit(1, 8, *priors[4]),
        "share_watched_rate": logit(2.5, 5, *priors[5]),
        "completion_rate": logit(1, 5, *priors[6]),
        # 6 s is the mean over videos.
        "log_watch_s": np.log1p((40 + 10 * 6) / (5 + 10)),
        "log_impressions": np.log(51),
        "log_clicks": np.log(9),
        "log_watches": np.log(6),
        "log_age_hours": np.log(49),
        "no_age": 0,
        "category_affinity": np.log((3 + 5 * 0.5) / ((8 + 5) * 0.5)),
        "creator_affinity": np.log((4 + 5 * 0.6) / ((8 + 5) * 0.6)),
        # Of a's known tags, red (a has it, of 3 entries) and blue (a and b).
        "tags_affinity": np.mean([1 / 3, 2 / 3]),
        # The taste (5, 2) − 2 · (1, 1) is at (3, 0), a at (1, 0).
        "taste_cosine": 1,
        "liked_cosine_max": 1,
        # Only a of the history has a vector: the mean is over one entry, not three.
        "liked_cosine_mean": 1,
        "liked": 1,
        "log_liked_hours": np.log(3),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_a_candidate_lacks():
    columns = named(builder_of(), request_of("b", "c", "d", "never seen", user=USER), "candidate")
    assert columns["no_age"].tolist() == [1, 1, 0, 1]
    # d is published in the future, which counts as age 0.
    np.testing.assert_array_equal(columns["log_age_hours"], [np.nan, np.nan, 0, np.nan])
    # b has no category; d's has no index, and so the share of unknown ones; the unknown video has neither.
    pans, new = np.log((1 + 5 * 0.3) / (13 * 0.3)), np.log((5 * 0.2) / (13 * 0.2))
    np.testing.assert_allclose(columns["category_affinity"], [0, pans, new, 0])
    bob, ann, other = (np.log((n + 5 * s) / (13 * s)) for n, s in ((0, 0.3), (4, 0.6), (0, 0.1)))
    np.testing.assert_allclose(columns["creator_affinity"], [bob, ann, other, 0])
    np.testing.assert_allclose(columns["tags_affinity"], [2 / 3, 0, 0, 0])
    np.testing.assert_allclose(columns["taste_cosine"], [np.nan, 0, -1, np.nan], atol=1e-6)
    np.testing.assert_allclose(columns["liked_cosine_mean"], [np.nan, 0, -1, np.nan], atol=1e-6)
    assert columns["liked"].tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(columns["log_liked_hours"], [np.log(5), np.nan, np.nan, np.nan])


def test_a_user_whose_id_is_a_video_s_is_still_the_user():
    twin = replace(USER, entity_id="a")
    builder = builder_of()
    one, other = (builder.raw([request_of("a", "b", user=user)]) for user in (USER, twin))
    for block in one.blocks:
        np.testing.assert_array_equal(one.blocks[block], other.blocks[block])


def test_history_entries_by_hand():
    found = named(builder_of(), request_of("a", user=USER), "history")
    np.testing.assert_allclose(found["log_age_hours"], np.log([3, 5, 6]))
    # a was liked twice: the later time, the larger weight.
    np.testing.assert_allclose(found["log_weight"], np.log1p([2.0, 3.0, 1.0]))


def test_an_entry_at_the_moment_itself_does_not_count():
    now = replace(
        USER,
        history=(InterestEvent(NOW, "e", "a", 1.0, "watch"), InterestEvent(NOW - 1, "f", "b", 1.0, "watch")),
    )
    assert liked_history(request_of("a", user=now)).at == {"b": NOW - 1}


def test_hours_are_of_microseconds_and_never_below_zero():
    np.testing.assert_allclose(log_hours(np.array([3_600_000_000, 0, -5])), [np.log(2), 0, 0])


@pytest.mark.parametrize(
    ("config", "block", "name", "value"),
    [
        ({"affinity_strength": 2.0}, "candidate", "category_affinity", np.log((3 + 2 * 0.5) / (10 * 0.5))),
        ({"watch_strength": 4.0}, "candidate", "log_watch_s", np.log1p(6.0)),
        ({"watch_strength": 4.0}, "user", "log_watch_s", np.log1p((90 + 4 * 8) / (6 + 4))),
        # With one tag, only the first known one counts: red.
        ({"tags": 1}, "candidate", "tags_affinity", 1 / 3),
    ],
)
def test_settings_change_their_numbers(config, block, name, value):
    assert named(builder_of(**config), request_of("a", user=USER), block)[name][0] == pytest.approx(value)


def test_history_positions_and_limit_settings():
    builder = builder_of(history=2, positions=2, limit=0.5)
    slots = np.array([0, 1, 2, -1], np.int16)
    features = builder.build([request_of("a", "b", "c", "d", user=USER, positions=slots)])
    rows = builder.catalog.rows
    assert features.history.tolist() == [[rows["a"], rows["b"]]]
    assert features.position.tolist() == [1, 2, 2, 0]
    assert np.abs(features.user).max() == 0.5
    assert np.abs(features.candidate).max() == 0.5
    assert builder.space.shape.positions == 3


def test_several_requests_keep_their_own_counts_moments_and_histories():
    builder = builder_of()
    later = request_of("b", "a", user=replace(USER, entity_id="w"), at=NOW + 10 * HOUR_US, surface="other")
    new = request_of("a", user=Profile("user", "new"), counts=[counts_row(impression=4)])
    together = builder.build([request_of("a", user=USER), new, request_of(), later])
    assert together.request.tolist() == [0, 1, 3, 3]
    assert together.context[:, 0].tolist() == [1, 1, 1, 0]
    age = BLOCKS["candidate"].index("log_age_hours")
    np.testing.assert_allclose(together.candidate[:, age], [np.log(49), np.log(49), 0, np.log(59)], rtol=1e-6)
    assert (together.history[1:3] == 0).all()
    np.testing.assert_allclose(together.history_dense[3, :3, 0], np.log([13, 15, 16]), rtol=1e-6)


def test_no_requests_have_no_counts():
    assert request_counts([]).shape == (0, 11)
    with pytest.raises(RankError, match="a request of user u has 2 candidates and 1 positions"):
        builder_of().build([request_of("a", "b", positions=np.zeros(1, np.int16))])


def slow_log_odds(counts, rates, priors):
    """Rate by rate and video by video."""
    found = []
    for rate, (mean, strength) in zip(rates, priors.tolist(), strict=True):
        total, trials = (counts[:, VIDEO_COUNT_KEYS.index(key)].copy() for key in (rate.total, rate.trials))
        share = (total + strength * mean) / (np.maximum(total, trials) + strength)
        found.append(np.log(share) - np.log1p(-share))
    return found


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 40), largest=st.sampled_from([1, 50, 10**6]))
def test_rates_all_at_once_are_those_one_by_one_to_the_last_bit(seed, size, largest):
    rng = np.random.default_rng(seed)
    counts = np.round(rng.random((size, len(VIDEO_COUNT_KEYS))) * largest, 1)
    priors = np.stack([rng.uniform(0.01, 0.99, len(RATES)), rng.uniform(0.1, 100, len(RATES))], axis=1)
    for found, want in zip(log_odds(counts.T, priors), slow_log_odds(counts, RATES, priors), strict=True):
        assert found.tobytes() == want.tobytes()


def one_by_one(catalog, request):
    """Affinities and likes of one request, candidate by candidate, from what they are said to be."""
    space, liked = catalog.space, liked_history(request)
    counts, strength, columns = request.user.counts, space.config.affinity_strength, defaultdict(list)
    for video in request.video_ids:
        row = catalog.rows.get(video, 0)
        for name, keys in (("category", interests_of(catalog, 0)), ("creator_id", interests_of(catalog, 1))):
            key, share = keys[row], space.shares[name][catalog.arrays.fields[row, FIELDS.index(name)]]
            own = max(0.0, counts.get(key, 0.0))
            lift = np.log((own + strength * share) / ((counts.get("interests", 0.0) + strength) * share))
            columns[f"{name.removesuffix('_id')}_affinity"].append(0.0 if key is None else lift)
        at = liked.at.get(video)
        columns["liked"].append(float(at is not None))
        hours = np.nan if at is None else log_hours(np.array([request.context.at - at]))[0]
        columns["log_liked_hours"].append(hours)
    return columns


@given(data=st.data())
def test_candidates_of_several_requests_are_as_one_by_one(data):
    builder = builder_of()
    videos = st.lists(st.sampled_from([*builder.catalog.rows, "unheard-of"]), max_size=9)
    sides = st.sampled_from([USER, replace(USER, history=()), Profile("user", "blank")])
    requests = [
        request_of(*data.draw(videos), user=data.draw(sides)) for _ in range(data.draw(st.integers(1, 4)))
    ]
    raw = builder.raw(requests).blocks["candidate"]
    found_before = [replace(r, rows=builder.catalog.find(r.video_ids).astype(np.int32)) for r in requests]
    assert builder.raw(found_before).blocks["candidate"].tobytes() == raw.tobytes()
    parts = [one_by_one(builder.catalog, request) for request in requests]
    for name in ("category_affinity", "creator_affinity", "liked", "log_liked_hours"):
        want = [value for part in parts for value in part[name]]
        assert raw[:, BLOCKS["candidate"].index(name)] == pytest.approx(want, rel=1e-14, nan_ok=True)
