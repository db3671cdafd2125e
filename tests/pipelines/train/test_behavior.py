"""Pairs, popularity and targets against a few lines of plain Python."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.config.train_encoder import BehaviorConfig
from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS
from vrec.encoders.learned.features import FeatureSet
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.train.behavior import build_behavior
from vrec.retrieval.models.als import Als

NO_TARGETS = BehaviorConfig(targets="none", least_users=1, pairs_per_user=10_000)
PLAIN = InterestConfig(half_life_days=None)
START = datetime(2025, 1, 1, tzinfo=UTC)


def features(count: int) -> FeatureSet:
    """Features of v00, v01, …: what they are is of no consequence here."""
    rows = np.random.default_rng(0).normal(0, 1, (count, 4))
    return FeatureSet.from_embeddings([f"v{i:02}" for i in range(count)], {"text": rows}, {"text": "t"})


def interactions(watched) -> pa.Table:
    """INTERACTIONS of (user, video) in the order of time."""
    rows = [
        {"user_id": f"u{user}", "video_id": f"v{video:02}", "weight": 1.0, "at": START + timedelta(hours=i)}
        for i, (user, video) in enumerate(watched)
    ]
    return pa.Table.from_pylist(rows, schema=INTERACTIONS.arrow())


def unordered(behavior) -> list[tuple[int, int]]:
    ends = zip(behavior.left.tolist(), behavior.right.tolist(), strict=True)
    return sorted((min(pair), max(pair)) for pair in ends)


def expected_pairs(watched, window: int, videos: int) -> list[tuple[int, int]]:
    """All pairs at most `window` steps apart, of each user's videos by when each was last watched."""
    found = []
    for user in {user for user, _ in watched}:
        last = {video: at for at, (who, video) in enumerate(watched) if who == user and video < videos}
        history = sorted(last, key=last.__getitem__)
        found += [
            (min(one, other), max(one, other))
            for (i, one), (j, other) in combinations(enumerate(history), 2)
            if j - i <= window
        ]
    return sorted(found)


LOGS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60)


@settings(deadline=None)
@given(LOGS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_pairs_are_those_of_plain_python_whatever_the_order_of_rows(watched, window, random):
    config = NO_TARGETS.model_copy(update={"window": window})
    wanted = expected_pairs(watched, window, 8)
    table = interactions(watched)
    shuffled = table.take(random.sample(range(len(watched)), len(watched)))
    if not wanted:
        with pytest.raises(FitError):
            build_behavior(table, features(8), config, PLAIN)
        return
    found = build_behavior(table, features(8), config, PLAIN)
    again = build_behavior(shuffled, features(8), config, PLAIN)
    assert unordered(found.behavior) == wanted
    assert np.array_equal(found.behavior.left, again.behavior.left)
    assert np.array_equal(found.behavior.right, again.behavior.right)
    ends = [row for pair in wanted for row in pair]
    assert found.behavior.popularity.tolist() == np.bincount(ends, minlength=8).tolist()
    assert found.pairs == len(wanted)
    assert found.videos == len({video for _, video in watched if video < 8})
    assert found.unknown == len({video for _, video in watched if video >= 8})


@settings(deadline=None)
@given(LOGS, st.integers(1, 6), st.integers(0, 5))
def test_no_user_has_more_pairs_than_the_bound_and_those_are_of_all_their_pairs(watched, most, seed):
    wanted = expected_pairs(watched, 10, 10)
    if not wanted:
        return
    config = NO_TARGETS.model_copy(update={"pairs_per_user": most, "seed": seed})
    found = unordered(build_behavior(interactions(watched), features(10), config, PLAIN).behavior)
    each = [expected_pairs([w for w in watched if w[0] == user], 10, 10) for user in range(5)]
    assert len(found) == sum(min(most, len(pairs)) for pairs in each)
    rest = list(wanted)
    for pair in found:
        rest.remove(pair)


def test_either_video_of_a_pair_is_the_left_one_as_often():
    watched = [(user, video) for user in range(200) for video in (0, 1)]
    behavior = build_behavior(interactions(watched), features(2), NO_TARGETS, PLAIN).behavior
    assert 70 < (behavior.left == 0).sum() < 130


def test_targets_are_the_vectors_of_als_for_videos_that_enough_users_watched():
    rng = np.random.default_rng(1)
    watched = [(user, int(video)) for user in range(30) for video in rng.choice(12, 5, replace=False)]
    watched += [(0, 13), (99, 14)]
    config = BehaviorConfig(least_users=2)
    table = interactions(watched)
    found = build_behavior(table, features(16), config, PLAIN)
    model = Als(config.als).fit(aggregate_interactions(table, PLAIN))
    places = {video: at for at, video in enumerate(model.videos.ids.to_pylist())}
    targets, known = found.behavior.targets, found.behavior.has_target
    assert targets is not None
    assert known is not None
    counts = np.bincount([video for _, video in set(watched)], minlength=16)
    assert known.tolist() == (counts >= 2).tolist()
    for row in np.flatnonzero(known):
        assert np.array_equal(targets[row], model.item_factors[places[f"v{row:02}"]])
    assert found.targets == known.sum()
    assert (found.behavior.popularity[counts < 2] == 0).all()


def test_events_that_know_no_video_of_the_features_are_refused_with_examples_of_both():
    table = interactions([(0, 50), (0, 51)])
    with pytest.raises(
        FitError, match=r"2 videos, such as v50, but none of the 3 with features, such as v00"
    ):
        build_behavior(table, features(3), NO_TARGETS, PLAIN)


def test_shoppers_of_one_video_each_teach_nothing():
    with pytest.raises(FitError, match="no shopper of 3 watched two"):
        build_behavior(interactions([(0, 0), (1, 0), (2, 1)]), features(3), NO_TARGETS, PLAIN)


def test_a_video_needs_exactly_the_number_of_users_that_is_set():
    watched = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (2, 0)]  # 3, 2 and 2 users
    table = interactions(watched)
    pairs = [
        unordered(
            build_behavior(
                table, features(3), NO_TARGETS.model_copy(update={"least_users": n}), PLAIN
            ).behavior
        )
        for n in (1, 2)
    ]
    assert pairs[0] == pairs[1] == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 2)]
    with pytest.raises(FitError, match="that 3 shoppers watched"):
        build_behavior(table, features(3), NO_TARGETS.model_copy(update={"least_users": 3}), PLAIN)


def test_a_user_with_the_id_of_a_video_and_videos_of_one_moment_are_no_exception():
    rows = [
        {"user_id": user, "video_id": video, "weight": 1.0, "at": START}
        for user, video in (("v00", "v02"), ("v00", "v00"), ("v00", "v01"), ("v01", "v01"))
    ]
    table = pa.Table.from_pylist(rows, schema=INTERACTIONS.arrow())
    config = NO_TARGETS.model_copy(update={"window": 1})
    found = build_behavior(table, features(3), config, PLAIN)
    # Of one moment the lower id counts as earlier: v00, v01, v02.
    assert unordered(found.behavior) == [(0, 1), (1, 2)]
    assert found.behavior.popularity.tolist() == [1, 2, 1]
    assert (found.pairs, found.videos, found.paired, found.targets, found.unknown) == (2, 3, 3, 0, 0)
    assert (found.behavior.targets, found.behavior.has_target) == (None, None)


def test_the_seed_draws_the_pairs_and_their_order():
    watched = [(0, video) for video in range(10)]
    found = [
        build_behavior(
            interactions(watched),
            features(10),
            NO_TARGETS.model_copy(update={"pairs_per_user": 9, "seed": seed}),
            PLAIN,
        ).behavior
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(found[0].left, found[1].left)
    assert unordered(found[0]) != unordered(found[2])


def test_targets_fade_with_interest_and_als_has_the_settings_given():
    watched = [(user, video) for user in range(6) for video in range(6) if (user + video) % 3]
    table = interactions([*watched, *watched[::5]])
    fading = InterestConfig(half_life_days=0.1)
    config = BehaviorConfig(least_users=1)
    plain, faded = (
        build_behavior(table, features(6), config, interest).behavior.targets for interest in (PLAIN, fading)
    )
    assert plain.shape == (6, config.als.factors)
    assert not np.array_equal(plain, faded)
    small = config.model_copy(update={"als": config.als.model_copy(update={"factors": 2})})
    assert build_behavior(table, features(6), small, PLAIN).behavior.targets.shape == (6, 2)
