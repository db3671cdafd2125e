import datetime as dt
from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.events.rows import day, interactions, pair_set, row_set, shuffled, some_interactions
from vrec.core.errors import EvaluationError, EventsError
from vrec.events.config import (
    InterestConfig,
    LeaveLastOutConfig,
    RandomSplitConfig,
    SplitConfig,
    TimeSplitConfig,
)
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import (
    InteractionSplit,
    cold_users,
    cold_videos,
    draw_test_users,
    given_split,
    history_lengths,
    popularity_thirds,
    split_interactions,
    video_ages,
)

configs = st.one_of(
    st.builds(TimeSplitConfig, test_share=st.floats(0.05, 0.9)),
    st.builds(TimeSplitConfig, test_from=st.integers(0, 9).map(lambda n: day(n / 2))),
    st.builds(LeaveLastOutConfig, last_n=st.integers(1, 3)),
    st.builds(RandomSplitConfig, test_share=st.floats(0.05, 0.9), seed=st.integers(0, 9)),
)


def tried(
    table: pa.Table, config: TimeSplitConfig | LeaveLastOutConfig | RandomSplitConfig
) -> InteractionSplit | None:
    try:
        return split_interactions(table, config)
    except EvaluationError:
        return None


@given(some_interactions(), configs)
def test_nothing_is_lost_but_the_repeats_that_are_counted(table, config):
    got = tried(table, config)
    assume(got is not None)
    assert not pair_set(got.train) & pair_set(got.test)
    assert len(pair_set(got.test)) == got.test.num_rows, "one row a pair"
    assert got.train.num_rows > 0
    assert got.test.num_rows > 0
    tested = pair_set(got.test)
    later = [r for r in row_set(table) if (r[0], r[1]) in tested]
    assert got.train.num_rows + len(later) + got.dropped_repeats == table.num_rows
    kept = row_set(table)
    for row in row_set(got.train):
        kept.remove(row)
    left = [r for r in kept if (r[0], r[1]) not in tested]
    assert len(left) == got.dropped_repeats, (
        "train holds rows of the table, and what is in neither part is a repeat"
    )
    assert {(r[0], r[1]) for r in left} <= pair_set(got.train)
    whole = aggregate_interactions(table, InterestConfig())
    want = [r for r in row_set(whole) if (r[0], r[1]) in tested]
    assert row_set(got.test) == want, "a test pair has all of its weight and its last time"


@given(some_interactions(), configs, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_of_no_consequence(table, config, random):
    one, other = tried(table, config), tried(shuffled(table, random), config)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.train.equals(other.train)
        assert one.test.equals(other.test)
        assert (one.cutoff, one.dropped_repeats, one.name) == (
            other.cutoff,
            other.dropped_repeats,
            config.kind,
        )


@given(some_interactions(), st.floats(0.05, 0.9))
def test_time_knows_nothing_of_the_test(table, share):
    got = tried(table, TimeSplitConfig(test_share=share))
    assume(got is not None)
    assert max(got.train["at"].to_pylist()) < got.cutoff <= min(got.test["at"].to_pylist())
    later = [at for at in table["at"].to_pylist() if at >= got.cutoff]
    assert len(later) >= max(1, round(share * table.num_rows))
    assert sum(at > got.cutoff for at in later) < max(1, round(share * table.num_rows)), (
        "no earlier than needed"
    )


@given(some_interactions(), st.integers(1, 3))
def test_last_takes_each_users_latest_videos(table, n):
    last = defaultdict(dict)
    for row in table.to_pylist():
        seen = last[row["user_id"]]
        seen[row["video_id"]] = max(seen.get(row["video_id"], row["at"]), row["at"])
    want = {
        (user, video)
        for user, seen in last.items()
        if len(seen) > n
        for video in sorted(seen, key=lambda v: (seen[v], v))[-n:]
    }
    got = tried(table, LeaveLastOutConfig(last_n=n))
    assert (pair_set(got.test) if got else set()) == want
    if got:
        assert got.cutoff is None
        assert got.dropped_repeats == 0


@given(some_interactions(), st.floats(0.05, 0.9), st.integers(0, 5))
def test_random_takes_a_share_of_each_users_videos_and_leaves_one(table, share, seed):
    got = tried(table, RandomSplitConfig(test_share=share, seed=seed))
    every, tested = defaultdict(set), defaultdict(set)
    for user, video in pair_set(table):
        every[user].add(video)
    for user, video in pair_set(got.test) if got else set():
        tested[user].add(video)
    for user, seen in every.items():
        assert len(tested[user]) == min(int(len(seen) * share + 0.5), len(seen) - 1)


def test_random_follows_its_seed():
    table = interactions(*[("u", f"v{n}", 1, 0) for n in range(40)])
    parts = {seed: split_interactions(table, RandomSplitConfig(seed=seed)) for seed in (0, 1)}
    assert split_interactions(table, RandomSplitConfig(seed=1)).test.equals(parts[1].test)
    assert not parts[0].test.equals(parts[1].test)


def test_random_takes_every_video_alike():
    table = interactions(*[("u", f"v{n}", 1, 0) for n in range(5)])
    counts = defaultdict(int)
    for seed in range(400):
        for _, video in pair_set(split_interactions(table, RandomSplitConfig(seed=seed)).test):
            counts[video] += 1
    assert sum(counts.values()) == 400
    assert all(55 <= counts[f"v{n}"] <= 105 for n in range(5)), dict(counts)


def test_a_repeat_after_the_cut_is_counted_and_left_out():
    table = interactions(("u", "a", 1, 0), ("u", "a", 1, 5), ("u", "b", 2, 5), ("u", "b", 3, 6))
    got = split_interactions(table, TimeSplitConfig(test_from=day(5)))
    assert row_set(got.test) == [("u", "b", 5.0, day(6))]
    assert row_set(got.train) == [("u", "a", 1.0, day(0))]
    assert got.dropped_repeats == 1
    assert got.cutoff == day(5)


def test_a_cut_without_a_zone_is_utc():
    table = interactions(("u", "a", 1, 0), ("u", "b", 1, 1))
    naive = dt.datetime(2026, 3, 2)
    assert split_interactions(table, TimeSplitConfig(test_from=naive)).cutoff == day(1)


def test_a_user_with_one_event_stays_in_train():
    table = interactions(("one", "a", 1, 9), ("two", "a", 1, 0), ("two", "b", 1, 1))
    for config in (LeaveLastOutConfig(), RandomSplitConfig(test_share=0.9)):
        got = split_interactions(table, config)
        assert ("one", "a") in pair_set(got.train)
        assert {user for user, _ in pair_set(got.test)} == {"two"}


@pytest.mark.parametrize(
    ("rows", "config", "message"),
    [
        ([], TimeSplitConfig(), "there are no interactions"),
        (
            [("u", "a", 1, 0), ("u", "b", 1, 0)],
            TimeSplitConfig(),
            r"time: train is empty: 2 interactions from",
        ),
        ([("u", "a", 1, 0)], TimeSplitConfig(test_from=day(3)), r"time: test is empty: .* cut at 2026-03-04"),
        (
            [("u", "a", 1, 0), ("u", "a", 1, 1)],
            TimeSplitConfig(),
            r"test is empty: .*1 repeat what the user has",
        ),
        (
            [("u", "a", 1, 0)],
            LeaveLastOutConfig(),
            r"last: test is empty: no user of 1 has more than 1 videos",
        ),
        (
            [("u", "a", 1, 0)],
            RandomSplitConfig(),
            r"random: test is empty: no user of 1 has a video to spare",
        ),
    ],
)
def test_an_empty_part_is_explained(rows, config, message):
    with pytest.raises(EvaluationError, match=message):
        split_interactions(interactions(*rows), config)


def test_weights_that_are_not_numbers_are_refused():
    with pytest.raises(EventsError, match="split: weight has 1"):
        split_interactions(interactions(("u", "a", float("nan"), 0)), TimeSplitConfig())


def test_the_kind_of_split_is_chosen_by_name():
    choice = TypeAdapter(SplitConfig)
    assert choice.validate_python({"kind": "last", "last_n": 2}) == LeaveLastOutConfig(last_n=2)
    with pytest.raises(ValidationError):
        choice.validate_python({"kind": "last", "test_share": 0.1})


def test_cold_ones_are_counted_by_the_other_side_once():
    table = interactions(
        ("u", "a", 1, 0), ("u", "a", 1, 0), ("w", "b", 1, 0), ("x", "b", 1, 0),
        ("u", "b", 1, 5), ("new", "a", 1, 5), ("new", "z", 1, 5),
    )  # fmt: skip
    got = split_interactions(table, TimeSplitConfig(test_from=day(5)))
    assert cold_videos(got, 0) == ["z"]
    assert cold_videos(got, 1) == ["a", "z"]
    assert cold_videos(got, 2) == ["a", "b", "z"]
    assert cold_users(got, 0) == ["new"]
    assert cold_users(got, 1) == ["new", "u"]


@given(some_interactions())
def test_thirds_hold_a_third_each_as_near_as_whole_videos_can(table):
    thirds = popularity_thirds(table)
    pairs = pair_set(table)
    ranked = sorted({v for _, v in pairs}, key=lambda v: (-sum(v == w for _, w in pairs), v))
    assert thirds["head"] + thirds["mid"] + thirds["tail"] == ranked
    before = 0
    for video in ranked:
        want = "head" if before < len(pairs) / 3 else "mid" if before < 2 * len(pairs) / 3 else "tail"
        assert video in thirds[want]
        before += sum(video == w for _, w in pairs)


def test_nothing_has_no_thirds():
    assert popularity_thirds(interactions()) == {"head": [], "mid": [], "tail": []}


def test_a_time_split_takes_the_latest_share_to_the_nearest_whole_row():
    table = interactions(*[("u", f"v{n}", 1, n) for n in range(7)])
    for share, first in ((0.2, 6), (0.3, 5), (0.01, 6), (0.5, 3)):
        assert split_interactions(table, TimeSplitConfig(test_share=share)).cutoff == day(first)


def test_what_happens_at_the_cutoff_is_test_and_test_from_wins_over_the_share():
    table = interactions(("u", "a", 1, 0), ("u", "b", 1, 1), ("w", "c", 1, 1), ("u", "d", 1, 2))
    got = split_interactions(table, TimeSplitConfig(test_from=day(1), test_share=0.9))
    assert pair_set(got.train) == {("u", "a")}
    assert pair_set(got.test) == {("u", "b"), ("w", "c"), ("u", "d")}


def test_test_weights_are_sums_without_decay_and_train_rows_stay_apart():
    table = interactions(("u", "a", 1, 0), ("u", "a", 2, 1), ("u", "b", 3, 50), ("u", "b", 5, 90))
    got = split_interactions(table, LeaveLastOutConfig())
    assert row_set(got.test) == [("u", "b", 8.0, day(90))]
    assert row_set(got.train) == [("u", "a", 1.0, day(0)), ("u", "a", 2.0, day(1))]


def test_of_equal_times_the_greater_id_is_the_last():
    table = interactions(("u", "b", 1, 0), ("u", "a", 1, 0), ("u", "c", 1, 0))
    assert pair_set(split_interactions(table, LeaveLastOutConfig()).test) == {("u", "c")}


def test_users_and_videos_of_one_id_are_not_mixed_up():
    table = interactions(
        ("a", "b", 1, 0), ("b", "a", 1, 0), ("c", "a", 1, 0), ("a", "c", 1, 5), ("d", "a", 1, 5)
    )
    got = split_interactions(table, TimeSplitConfig(test_from=day(5)))
    assert (cold_videos(got, 0), cold_videos(got, 1), cold_videos(got, 2)) == (["c"], ["c"], ["a", "c"])
    assert (cold_users(got, 0), cold_users(got, 1)) == (["d"], ["a", "d"])


def test_thirds_of_a_catalogue_of_one_video_and_of_ties():
    assert popularity_thirds(interactions(("u", "v", 1, 0))) == {"head": ["v"], "mid": [], "tail": []}
    alike = interactions(*[("u", v, 1, 0) for v in "fedcba"], ("u", "a", 1, 1))
    assert popularity_thirds(alike) == {"head": ["a", "b"], "mid": ["c", "d"], "tail": ["e", "f"]}


def test_a_given_split_is_taken_as_published_except_for_repeats():
    train = interactions(("u", "a", 1, 0), ("u", "b", 1, 1), ("v", "a", 1, 5))
    test = interactions(("u", "c", 1, 0), ("u", "a", 1, 9), ("new", "d", 1, 2), ("new", "d", 2, 3))
    got = given_split(train, test)
    assert (got.name, got.cutoff, got.dropped_repeats) == ("given", None, 1)
    assert pair_set(got.train) == {("u", "a"), ("u", "b"), ("v", "a")}
    assert got.test.to_pydict()["video_id"] == ["d", "c"]
    assert got.test.to_pydict()["weight"] == [3, 1]
    with pytest.raises(EvaluationError, match="test is empty: all 3 pairs of it are in train"):
        given_split(train, train)
    with pytest.raises(EvaluationError, match="train is empty"):
        given_split(train.slice(0, 0), test)


def test_users_are_grouped_by_their_history_and_videos_by_their_age():
    train = interactions(
        *(("few", f"v{n}", 1, 0) for n in range(4)),
        *(("some", f"v{n}", 1, 40) for n in range(5)),
        *(("many", f"w{n}", 1, 30 + n / 2) for n in range(20)),
        ("few", "v0", 1, 1),
    )
    test = interactions(
        *((user, "x", 1, 50) for user in ("few", "some", "many", "new")),
        ("many", "v0", 1, 50),
        ("some", "w0", 1, 50),
        ("some", "w19", 1, 50),
        ("many", "v4", 1, 50),
    )
    split = given_split(train, test)
    assert history_lengths(split) == {
        "1 to 4 videos in history": ["few"],
        "5 to 19 videos in history": ["some"],
        "20 or more in history": ["many"],
    }
    assert video_ages(split) == {
        "videos up to a week old": ["v4", "w19"],
        "videos up to a month old": ["w0"],
        "videos older than a month": ["v0"],
    }


@given(some_interactions(), st.integers(1, 6), st.integers(0, 3))
def test_drawn_test_users_keep_all_their_rows_and_nothing_else_changes(table, most, seed):
    split = tried(table, LeaveLastOutConfig(last_n=2))
    assume(split is not None)
    assert split is not None
    drawn = draw_test_users(split, most, seed)
    users = set(drawn.test["user_id"].to_pylist())
    assert len(users) == min(most, len(set(split.test["user_id"].to_pylist())))
    assert drawn.test.to_pylist() == [row for row in split.test.to_pylist() if row["user_id"] in users]
    assert drawn.train.equals(split.train)
    assert draw_test_users(split, most, seed).test.equals(drawn.test)
