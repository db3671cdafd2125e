"""Hidden videos against a plain walk over the events in their order."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import day, events
from vrec.events.hiding import NO_PAIRS, PAIRS, hidden_pairs

KINDS = ("hide", "dislike", "unhide", "click", "skip")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("ab"),
            "video_id": st.sampled_from("xy"),
            "kind": st.sampled_from(KINDS),
            "at": st.integers(0, 3).map(day),
        }
    ),
    max_size=12,
)


def walk(rows, hidden=()):
    """Hide and show one after the other; of one moment, `unhide` comes last."""
    found = set(hidden)
    for row in sorted(rows, key=lambda row: (row["at"], row["kind"] == "unhide")):
        pair = row["user_id"], row["video_id"]
        if row["kind"] in ("hide", "dislike"):
            found.add(pair)
        elif row["kind"] == "unhide":
            found.discard(pair)
    return sorted(found)


def pairs(table):
    assert table.schema == PAIRS
    return [tuple(row.values()) for row in table.to_pylist()]


@given(ROWS, ROWS)
def test_the_last_event_of_a_pair_decides(rows, earlier):
    before = hidden_pairs(events(*earlier))
    assert pairs(before) == walk(earlier)
    assert pairs(hidden_pairs(events(*rows), before)) == walk(rows, walk(earlier))


def test_without_events_nothing_changes():
    assert hidden_pairs(events()) == NO_PAIRS
    before = pa.table({"user_id": ["a"], "video_id": ["x"]}, schema=PAIRS)
    assert hidden_pairs(events(), before) == before
