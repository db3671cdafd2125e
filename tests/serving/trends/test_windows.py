"""Sums of a sliding window against a count from scratch."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.serving.trends.windows import BASELINE, SLICES, WindowCounts

SLICE = 10
WINDOW = SLICE * SLICES
END = 1_000_000


def counted(steps):
    """A window of 120 µs after (key, kind, at) steps that come at their time plus a delay."""
    counts = WindowCounts([WINDOW], 1 << 10)
    for key, kind, at, now in steps:
        counts.advance(now)
        counts.record([(key, f"v{key % 7}", kind, at)])
    return counts


def sums(counts, number=0):
    recent, before = counts.sums(number)
    return dict(recent), dict(before)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, WINDOW * 8), st.integers(0, 200)), max_size=80),
    st.integers(0, WINDOW * 8),
)
def test_sums_are_those_of_the_counted_choices(rows, later):
    rows = sorted(rows, key=lambda row: row[1] + row[2])
    now = END + max([row[1] + row[2] for row in rows], default=0) + later
    counts = counted([(key, "click", END + at, END + at + delay) for key, at, delay in rows])
    counts.advance(now)
    # By hand: of a pair's choices, as they arrive, one counts if it is a window and two slices later.
    last, recent, before = {}, Counter(), Counter()
    for key, offset, delay in rows:
        at, came = END + offset, END + offset + delay
        if key in last and at < last[key] + WINDOW + 2 * SLICE:
            continue
        last[key] = at
        place = now // SLICE - at // SLICE
        if came // SLICE - at // SLICE <= SLICES * (BASELINE + 1):
            recent[f"v{key % 7}"] += place <= SLICES
            before[f"v{key % 7}"] += SLICES < place <= SLICES * (BASELINE + 1)
    assert sums(counts) == tuple({k: v for k, v in one.items() if v} for one in (recent, before))


KINDS = ["click", "like", "purchase", "unlike", "refund", "hide", "dislike", "unhide", "cart"]


def in_force(kinds):
    """Whether anything chosen is in force after these kinds, and the video not hidden."""
    likes = others = purchases = hidden = 0
    for kind in kinds:
        if kind == "like":
            likes = 1
        elif kind == "unlike":
            likes = 0
        elif kind == "purchase":
            purchases += 1
        elif kind == "refund":
            purchases = max(0, purchases - 1)
        elif kind in ("hide", "dislike"):
            hidden = 1
        elif kind == "unhide":
            hidden = 0
        else:
            others = 1
    return bool(likes or others or purchases) and not hidden


@given(st.lists(st.sampled_from(KINDS), max_size=12))
def test_what_is_reversed_or_hidden_does_not_count(kinds):
    counts = counted([(3, kind, END + n, END + n) for n, kind in enumerate(kinds)])
    assert sums(counts) == ({"v3": 1} if in_force(kinds) else {}, {})
    counts.advance(END + 2 * WINDOW)
    assert sums(counts) == ({}, {"v3": 1} if in_force(kinds) else {})
    counts.advance(END + (BASELINE + 2) * WINDOW)
    assert sums(counts) == ({}, {})


def test_one_shopper_counts_once_and_many_purchases_can_be_refunded():
    steps = [(3, "purchase", END + n % 5, END + n % 5) for n in range(300)]
    counts = counted(steps)
    assert sums(counts) == ({"v3": 1}, {})
    for _ in range(300):
        counts.record([(3, "v3", "refund", END + 9)])
    assert sums(counts) == ({}, {})


def test_of_too_many_pairs_those_that_came_first_are_forgotten():
    twice = [(key, "v", "click", END) for key in [*range(101), *range(101)]]
    counts, large = WindowCounts([WINDOW], 100), WindowCounts([WINDOW], 1_000)
    counts.record(twice)
    assert 101 < counts.sums(0).recent["v"] <= 202
    large.record(twice)
    assert large.sums(0).recent["v"] == 101


class OneByOne:
    """One window that follows each event alone: what batches and windows together have to equal."""

    def __init__(self, window_us, remembered):
        self.slice_us, self.remembered = window_us // SLICES, remembered
        self.pairs, self.slices, self.now = {}, Counter(), 0

    def record(self, key, video_id, kind, at):
        last, done = self.pairs.get(key, (-(1 << 62), ()))
        apart = self.slice_us * (SLICES + 2)
        if at <= last - apart:
            return
        if at >= last + apart:
            last, done = at, ()
        counted, counts = in_force(done), in_force((*done, kind))
        if counts and not counted and kind != "unhide":
            last = at
        number = last // self.slice_us
        if counts != counted and number >= self.now // self.slice_us - SLICES * (BASELINE + 1):
            self.slices[number, video_id] += counts - counted
        if signs(done) != signs((*done, kind)):
            self.pairs[key] = last, (*done, kind)
        if len(self.pairs) > self.remembered:
            for old in list(self.pairs)[: len(self.pairs) // 2]:
                del self.pairs[old]

    def sums(self):
        recent, before = Counter(), Counter()
        for (number, video_id), count in self.slices.items():
            age = self.now // self.slice_us - number
            recent[video_id] += count * (age <= SLICES)
            before[video_id] += count * (SLICES < age <= SLICES * (BASELINE + 1))
        return tuple({name: n for name, n in one.items() if n} for one in (recent, before))


def signs(kinds):
    """What is in force of a pair after these kinds, hidden or not."""
    likes = others = purchases = hidden = 0
    for kind in kinds:
        likes = {"like": 1, "unlike": 0}.get(kind, likes)
        purchases = max(0, purchases + {"purchase": 1, "refund": -1}.get(kind, 0))
        hidden = {"hide": 1, "dislike": 1, "unhide": 0}.get(kind, hidden)
        others |= kind in ("click", "cart")
    return likes, others, purchases, hidden


STEP = st.tuples(st.integers(1, 9), st.sampled_from(KINDS), st.integers(0, WINDOW * 9), st.integers(0, 9))


@given(st.lists(STEP, max_size=120), st.integers(3, 12), st.data())
def test_batches_of_several_windows_count_as_one_event_at_a_time_in_each_window(steps, remembered, data):
    windows = (WINDOW, 3 * WINDOW, 5 * WINDOW)
    together, alone = WindowCounts(windows, remembered), [OneByOne(one, remembered) for one in windows]
    events = [(key, f"v{key % 4}", kind, END + at) for key, kind, at, _ in steps]
    now, start = END, 0
    while start < len(events):
        size = data.draw(st.integers(1, 40))
        now += data.draw(st.integers(0, WINDOW * 2))
        together.advance(now)
        together.record(events[start : start + size])
        for reference in alone:
            reference.now = now
            for event in events[start : start + size]:
                reference.record(*event)
        start += size
        for number, reference in enumerate(alone):
            assert sums(together, number) == reference.sums()


@pytest.mark.parametrize("late", [WINDOW + 2 * SLICE, 3 * WINDOW])
def test_an_event_from_long_before_the_pair_s_last_one_does_not_count(late):
    counts = counted([(1, "click", END, END), (1, "click", END - late, END)])
    assert sums(counts) == ({"v1": 1}, {})
