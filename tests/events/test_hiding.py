"""Hidden videos against a plain walk over the events in their order."""

from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import day, events
from vrec.events.hiding import HIDES, NO_HIDES, hidden_pairs, last_hides

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


def walk(rows):
    """Hide and show one after the other; of one moment, `unhide` comes last."""
    found = set()
    for row in sorted(rows, key=lambda row: (row["at"], row["kind"] == "unhide")):
        pair = row["user_id"], row["video_id"]
        if row["kind"] in ("hide", "dislike"):
            found.add(pair)
        elif row["kind"] == "unhide":
            found.discard(pair)
    return sorted(found)


def pairs(hides):
    assert hides.schema == HIDES
    return [tuple(row.values()) for row in hidden_pairs(hides).to_pylist()]


@given(ROWS, ROWS)
def test_the_last_event_of_a_pair_decides_in_whatever_part_it_came(one, other):
    assert pairs(last_hides(events(*one))) == walk(one)
    both = last_hides(events(*one, *other))
    assert pairs(both) == walk([*one, *other])
    for first, second in ((one, other), (other, one)):
        assert last_hides(events(*second), last_hides(events(*first))) == both


def test_without_events_nothing_changes():
    assert last_hides(events()) == NO_HIDES
    before = last_hides(events({"kind": "hide"}))
    assert before.num_rows == 1
    assert last_hides(events(), before) == before
