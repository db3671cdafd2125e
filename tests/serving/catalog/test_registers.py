"""State of the journal: it merges in any order, and goes through bytes unchanged."""

from datetime import UTC, datetime

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings

from tests.serving.catalog.journals import added, removed, updated
from vrec.core.errors import SchemaError
from vrec.serving.catalog.clock import FIRST_STAMP, Stamp
from vrec.serving.catalog.registers import (
    BundleCut,
    JournalState,
    Register,
    edit_registers,
    pack_state,
    unpack_state,
)
from vrec.serving.messages import CatalogEdit

STAMPS = st.builds(Stamp, st.integers(0, 4), st.integers(0, 1), st.sampled_from("xy"))


@st.composite
def states(draw):
    """A state in which a register's value depends on its stamp alone, as in every journal."""
    names = st.dictionaries(st.sampled_from(["title", "price", "present"]), STAMPS, max_size=3)
    videos = draw(st.dictionaries(st.sampled_from("abc"), names, max_size=3))
    cuts = st.builds(BundleCut, STAMPS, STAMPS, st.frozensets(st.sampled_from("abc")))
    return JournalState(
        {
            video: {name: Register(stamp, stamp.time * 10, f"{name}{stamp}") for name, stamp in one.items()}
            for video, one in videos.items()
        },
        draw(st.dictionaries(st.sampled_from(["b1", "b2"]), cuts, max_size=2)),
    )


def merged(*parts):
    state = JournalState()
    for part in parts:
        state.merge(part)
    return {name: one for name, one in state.videos.items() if one}, state.cuts


@settings(max_examples=50, deadline=None)
@given(states(), states(), states())
def test_states_merge_in_any_order_and_any_number_of_times(a, b, c):
    assert merged(a, b, c) == merged(c, b, a) == merged(b, a, c, a, b)
    ab = JournalState(*merged(a, b))
    assert merged(ab, c) == merged(a, b, c)


@settings(max_examples=50, deadline=None)
@given(states(), states())
def test_a_merge_names_the_videos_that_it_changed(a, b):
    state = JournalState(*merged(a))
    before = dict(merged(state)[0])
    changed = state.merge(b)
    after = merged(state)[0]
    assert changed == {name for name in after if before.get(name) != after[name]}


@settings(max_examples=50, deadline=None)
@given(states())
def test_a_state_comes_back_from_its_bytes(state):
    found = unpack_state(pack_state(state), at=5)
    times = {one.stamp.time * 10 or 5 for video in state.videos.values() for one in video.values()}
    assert {one.at for video in found.videos.values() for one in video.values()} == times
    plain = {n: {f: (r.stamp, r.value) for f, r in v.items()} for n, v in state.videos.items()}
    assert {n: {f: (r.stamp, r.value) for f, r in v.items()} for n, v in found.videos.items()} == plain
    assert found.cuts == state.cuts


@pytest.mark.parametrize(
    "data",
    [b"", b"half", msgpack.packb(7), msgpack.packb((1, {}, {})), msgpack.packb((2, {}, 5)),
     msgpack.packb((2, {"v": [(1, 2)]}, {})), msgpack.packb((2, {"v": 5}, {})),
     pack_state(JournalState({"v": {"title": Register(Stamp(1, 0, "n"), 1, "t")}}))[:-1]],
)  # fmt: skip
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match=r"\w"):
        unpack_state(data, 0)


def test_an_update_sets_what_it_names_and_an_addition_everything():
    stamp = Stamp(1, 0, "n")
    when = datetime(2026, 1, 2, tzinfo=UTC)
    assert edit_registers(updated("v", price=12.34, published_at=when, tags=["a"]), stamp) == {
        "price": Register(stamp, 0, 12.34),
        "published_at": Register(stamp, 0, 1_767_312_000_000_000),
        "tags": Register(stamp, 0, ("a",)),
    }
    assert edit_registers(removed("v"), stamp) == {"present": Register(stamp, 0, False)}
    vector = np.array([[0.6, 0.8]])
    found = edit_registers(added("v", {"text": vector}, {"text": "t@1"}), stamp)
    assert set(found) == {
        "uri", "kind", "product_ids", "creator_id", "domain", "category", "tags", "title", "language",
        "price", "duration_s", "published_at", "expires_at", "available", "present",
        "vector:frames", "vector:audio", "vector:text", "vector:fused",
    }  # fmt: skip
    assert found["vector:text"].value == ("t@1", vector.astype("<f4").tobytes())
    assert (found["vector:fused"].value, found["title"].value, found["present"].value) == (None, None, True)


@pytest.mark.parametrize(
    "fields",
    [{"video_id": "w"}, {"nonsense": 1}, {"title": 5}, {"available": None}, {"available": "yes"},
     {"tags": ["a", None]}, {"tags": "a"}, {"price": "dear"}, {"published_at": "soon"}, {"kind": None}],
)  # fmt: skip
def test_a_field_that_videos_do_not_have_or_a_value_of_another_type_is_refused(fields):
    with pytest.raises(SchemaError, match="a catalog change"):
        edit_registers(CatalogEdit("v", "update", fields), Stamp(1, 0, "n"))


def test_an_addition_without_what_may_not_be_null_is_refused():
    with pytest.raises(SchemaError, match="sets uri to None"):
        edit_registers(added("v", uri=None), Stamp(1, 0, "n"))


def test_a_bundle_is_cut_behind_the_last_change_made_before_it_in_the_order_of_stamps():
    # The first change was stamped by a clock far ahead, the storage knew better.
    state = JournalState({
        "a": {"title": Register(Stamp(900, 0, "n"), 10, "x")},
        "b": {"title": Register(Stamp(900, 1, "m"), 20, "x"), "price": Register(Stamp(900, 2, "m"), 30, 1.0)},
    })  # fmt: skip
    assert state.cut_before(10) == FIRST_STAMP
    assert state.cut_before(11) == Stamp(900, 0, "n")
    assert state.cut_before(30) == Stamp(900, 1, "m")
    # One whose time went back lies before a later one that is before the bundle: so does it.
    state.videos["a"]["title"] = Register(Stamp(900, 0, "n"), 99, "x")
    assert state.cut_before(30) == Stamp(900, 1, "m")
