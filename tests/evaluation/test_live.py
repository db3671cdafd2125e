"""Replay of live streams: ranks against sorting, baselines by hand, means over users."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.evaluation.live import (
    differences,
    mean_of_users,
    most_watched,
    popular_now,
    rank_of,
    recent_repeats,
    replay_ranks,
)
from vrec.retrieval.live.log import LiveLog
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import simulate_live


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_the_rank_is_the_place_in_a_stable_sort(scores, data):
    place = data.draw(st.integers(0, len(scores) - 1))
    order = sorted(range(len(scores)), key=lambda n: (-scores[n], n))
    assert rank_of(np.array(scores, float), place) == 1 + order.index(place)


@pytest.fixture(scope="module")
def log() -> LiveLog:
    drawn = simulate_live(LiveSimulationConfig(shoppers=80, streamers=60, days=7, dim=4))
    return LiveLog.from_tables(drawn.events, drawn.streams, drawn.vectors)


def ranks_by_loop(log: LiveLog, row: int) -> tuple[dict[str, int], bool]:
    """Return the rank by each baseline from the log's rows, and whether the streamer was watched before."""
    at, user = log.view_start[row], log.view_user[row]
    live = [n for n in range(len(log.streams)) if log.started[n] <= at < log.ended[n]]
    before = [n for n in range(len(log.view_start)) if log.view_user[n] == user and log.view_start[n] < at]
    seconds, recent = dict.fromkeys(live, 0.0), dict.fromkeys(live, 0.0)
    for stream in live:
        for n in before:
            if log.streamer[log.view_stream[n]] == log.streamer[stream]:
                seconds[stream] += (min(log.view_end[n], at) - log.view_start[n]) / 1e6
                recent[stream] += 0.5 ** ((at - log.view_start[n]) / 86.4e9 / 3)
    watching = (log.view_start < at) & (at < log.view_end)
    viewers = {stream: int((log.view_stream[watching] == stream).sum()) for stream in live}
    target = log.view_stream[row]
    keys = {
        "popular": lambda s: (-viewers[s], s),
        "most": lambda s: (-round(seconds[s], 6), -viewers[s], s),
        "recent": lambda s: (-recent[s], -viewers[s], s),
    }
    ranks = {name: 1 + sorted(live, key=key).index(target) for name, key in keys.items()}
    return ranks, seconds[target] > 0 or recent[target] > 0


def test_baselines_rank_as_a_loop_does(log):
    views = np.arange(len(log.view_start) - 60, len(log.view_start))
    scorers = {"popular": popular_now, "most": most_watched, "recent": recent_repeats(3.0)}
    found = replay_ranks(log, views, scorers, early_leave_s=60.0, max_history=10_000)
    assert len(found.view) + found.skipped == 60
    assert len(found.view) > 40
    for n, row in enumerate(found.view.tolist()):
        ranks, known = ranks_by_loop(log, row)
        assert {name: values[n] for name, values in found.ranks.items()} == ranks
        assert found.is_repeat[n] == known


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 15), st.integers(1, 15), st.booleans()), min_size=3)
)
def test_every_user_counts_once(rows):
    users, first, other, kept = (np.array(column) for column in zip(*rows, strict=True))
    kept[0] = True
    means = mean_of_users(first.astype(float), users, kept)
    by_user = [
        np.mean([rank <= 10 for user, rank, _, keep in rows_of(rows, kept) if keep and user == one])
        for one in sorted(set(users[kept].tolist()))
    ]
    assert means[1] == pytest.approx(np.mean(by_user))
    gained, _ = differences(first.astype(float), other.astype(float), users, kept)
    assert gained == pytest.approx(means - mean_of_users(other.astype(float), users, kept))


def rows_of(rows, kept):
    return [(user, first, other, keep) for (user, first, other, _), keep in zip(rows, kept, strict=True)]


@pytest.mark.parametrize("drifting", [True, False])
def test_content_is_the_latest_or_the_first_vector(log, drifting):
    def score(log, views, now):
        rows = log.content.rows_at(now.stream, now.at) if drifting else log.content.first_rows(now.stream)
        np.testing.assert_array_equal(now.vectors, log.content.take(rows))
        return now.viewers

    views = np.arange(len(log.view_start) - 30, len(log.view_start))
    options = {"early_leave_s": 60.0, "max_history": 100, "drifting": drifting}
    assert len(replay_ranks(log, views, {"it": score}, **options).view) > 15
