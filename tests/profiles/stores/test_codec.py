"""Events and profiles as bytes: what is read is what was written, to the last bit, and no other bytes are."""

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vrec.core.errors import EventsError, StoreError
from vrec.core.schema import EVENT_KINDS, EVENTS, FIRST_MICROS, LAST_MICROS
from vrec.profiles.profile import InterestEvent, Profile
from vrec.profiles.stores.codec import (
    event_from_row,
    event_key,
    pack_profile,
    pack_row,
    rows_from_table,
    table_from_rows,
    unpack_profile,
    unpack_row,
)
from vrec.profiles.update import event_rows
from vrec.testing.store_profiles import world

TEXT = st.text(max_size=12)
AT = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.floats(width=32)
PROFILES = st.builds(
    Profile,
    st.sampled_from(["user", "video"]),
    TEXT,
    st.none() | arrays(np.float32, st.integers(0, 5), elements=SINGLE),
    st.dictionaries(TEXT, FINITE, max_size=6),
    st.lists(st.tuples(AT, TEXT), max_size=6).map(tuple),
    st.lists(st.builds(InterestEvent, AT, TEXT, TEXT, FINITE, TEXT), max_size=6).map(tuple),
)
ROWS = st.tuples(
    TEXT,
    TEXT,
    TEXT,
    st.sampled_from(EVENT_KINDS),
    st.none() | st.floats(0, 2**100, width=32),
    st.none() | st.integers(-(2**15), 2**15 - 1),
    st.none() | TEXT,
    st.none() | st.floats(0, 1, width=32),
    TEXT,
    st.integers(FIRST_MICROS, LAST_MICROS),
)


@settings(max_examples=150, deadline=None)
@given(PROFILES)
def test_profiles_come_back_to_the_last_bit(profile):
    found = unpack_profile(pack_profile(profile))
    assert found == profile
    assert all(isinstance(entry, InterestEvent) for entry in found.history)
    if found.vector is not None:
        found.vector[:] = 0  # it is its own, not the packed bytes


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_events_come_back_as_they_were(rows):
    table = table_from_rows(rows)
    assert table.schema.equals(EVENTS.arrow())
    assert [unpack_row(pack_row(row)) for row in rows_from_table(table)] == rows
    assert [event_from_row(row) for row in rows] == list(event_rows(table))


def test_events_that_profiles_refuse_are_refused():
    events = world()[0].slice(0, 3)
    bad = events.set_column(3, EVENTS.arrow().field("kind"), pa.array(["click", "gaze", "click"]))
    with pytest.raises(EventsError, match="gaze"):
        rows_from_table(bad)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"junk",
        msgpack.packb((1, "user")),
        msgpack.packb((9, *range(10))),
        msgpack.packb({"a": 1}),
    ],
)
def test_other_bytes_are_refused(data):
    for unpack in (unpack_profile, unpack_row):
        with pytest.raises(StoreError, match="cannot read"):
            unpack(data)


def test_keys_stay_the_same_for_ever():
    assert event_key("event-1", b"").hex() == "ecff491f4762f725c4383b6eddbc9095"
    assert event_key("event-1", b"a") != event_key("event-1", b"b")
