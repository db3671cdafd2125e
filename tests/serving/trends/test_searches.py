"""Counts of searches against a plain recount, and texts that are the same search."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.serving.trends.searches import (
    MAX_SEARCH_CHARS,
    SearchCounts,
    SearchSent,
    hash_shopper,
    normalize_search,
    pack_searches,
    unpack_searches,
    utc_day,
)
from vrec.serving.trends.windows import WINDOW_US

SENT = st.builds(
    SearchSent,
    st.sampled_from(["red mug", "hat", "帽子"]),
    st.integers(0, 6).map(lambda n: bytes([n])),
    st.integers(1, 3),
    st.integers(0, 2 * WINDOW_US["1h"]),
)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("  Red\t MUG ", "red mug"), ("ＲＥＤ mug", "red mug"), ("Straße", "strasse"), ("帽子", "帽子"),
        (" ", None), ("x" * MAX_SEARCH_CHARS, "x" * MAX_SEARCH_CHARS), ("x" * (MAX_SEARCH_CHARS + 1), None),
    ],
)  # fmt: skip
def test_texts_that_are_one_search(text, counted):
    assert normalize_search(text) == counted


@given(st.lists(SENT, max_size=40), st.integers(0, 3 * WINDOW_US["1h"]), st.integers(1, 4))
def test_no_text_is_shown_that_too_few_persons_sent(searches, at, fewest):
    counts = SearchCounts(1_000)
    counts.add(searches)
    last = {}
    for one in searches:
        key = one.text, one.period, one.shopper
        last[key] = max(one.at, last.get(key, one.at))
    persons = defaultdict(lambda: defaultdict(set))
    for (text, period, shopper), sent in last.items():
        if sent > at - WINDOW_US["1h"]:
            persons[text][period].add(shopper)
    want = {
        text: sum(map(len, periods.values()))
        for text, periods in persons.items()
        if max(map(len, periods.values())) >= fewest
    }
    found = counts.popular("1h", at, fewest)
    assert dict(found) == want
    assert found == sorted(found, key=lambda one: (-one.shoppers, one.text))


@given(st.lists(SENT, max_size=60), st.integers(1, 10))
def test_the_last_pairs_are_kept(searches, most):
    counts, seen = SearchCounts(most), {}
    counts.add(searches)
    for one in searches:
        key = one.text, one.period, one.shopper
        seen.pop(key, None)
        seen[key] = None
    assert len(seen) <= most or list(counts._last) == list(seen)[-most:]


@given(st.lists(SENT, max_size=5))
def test_records_hold_searches(searches):
    assert unpack_searches(pack_searches(searches)) == searches


def test_two_keys_give_a_shopper_two_hashes():
    assert hash_shopper(b"a" * 32, "ann") == hash_shopper(b"a" * 32, "ann")
    assert hash_shopper(b"a" * 32, "ann") != hash_shopper(b"b" * 32, "ann")
    assert hash_shopper(b"a" * 32, "ann") != hash_shopper(b"a" * 32, "bob")


def test_a_day_begins_at_midnight_in_utc():
    day = 86_400_000_000
    assert utc_day(20_000 * day) == utc_day(20_000 * day - 1) + 1 == utc_day(20_001 * day - 1)
