"""Reversed events: by a plain reading of the rule in any order; what is reversed is no interaction."""

from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import day, events, shuffled
from vrec.core.schema import EVENT_KINDS, REVERSED_BY
from vrec.events.config import InterestConfig, OwnKindConfig
from vrec.events.interactions import weigh_events
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed

REVERSIBLE = ("like", "unlike", "purchase", "refund", "hide", "dislike", "unhide", "click")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("ab"),
            "video_id": st.sampled_from("vw"),
            "kind": st.sampled_from(REVERSIBLE),
            "at": st.integers(0, 5).map(day),
        }
    ),
    max_size=30,
)


def in_force(rows):
    """Ids of the rows that nothing reverses, found pair by pair by looking at every row for every row."""
    gone = set()
    for row in rows:
        mine = [r for r in rows if (r["user_id"], r["video_id"]) == (row["user_id"], row["video_id"])]
        ends = {"like": "unlike", "hide": "unhide", "dislike": "unhide"}.get(row["kind"])
        if any(r["kind"] == ends and r["at"] >= row["at"] for r in mine):
            gone.add(row["event_id"])
    # Refunds from the oldest on: each takes the newest purchase up to it that no other has taken.
    for refund in sorted((r for r in rows if r["kind"] == "refund"), key=lambda r: (r["at"], r["event_id"])):
        left = [
            r
            for r in rows
            if r["kind"] == "purchase"
            and r["at"] <= refund["at"]
            and (r["user_id"], r["video_id"]) == (refund["user_id"], refund["video_id"])
            and r["event_id"] not in gone
        ]
        gone |= {max(left, key=lambda r: (r["at"], r["event_id"]))["event_id"]} if left else set()
    return [row["event_id"] for row in rows if row["event_id"] not in gone]


@given(ROWS, st.randoms())
def test_what_later_events_reverse_is_left_out_whatever_the_order_of_the_rows(rows, random):
    rows = [row | {"event_id": f"e{n:02}"} for n, row in enumerate(rows)]
    table = events(*rows)
    assert drop_reversed(to_polars(table))["event_id"].to_list() == in_force(rows)
    mixed = drop_reversed(to_polars(shuffled(table, random)))["event_id"].to_list()
    assert sorted(mixed) == sorted(in_force(rows))


@given(ROWS)
def test_what_is_reversed_is_no_interaction(rows):
    rows = [row | {"event_id": f"e{n:02}"} for n, row in enumerate(rows)]
    left = [row for row in rows if row["event_id"] in in_force(rows) and row["kind"] not in REVERSED_BY]
    config = InterestConfig()
    assert weigh_events(events(*rows), config).equals(weigh_events(events(*left), config))
    positive = {"like": 2.0, "purchase": 5.0, "click": 1.0}
    assert weigh_events(events(*rows), config)["weight"].to_pylist() == [
        positive[row["kind"]] for row in left if row["kind"] in positive
    ]


def test_own_kinds_weigh_what_they_count_as_and_no_negative_one_is_an_interaction():
    kinds = {
        "save": OwnKindConfig(weight=2.5),
        "report": OwnKindConfig(counts_as="negative", weight=3.0),
        "zoom": OwnKindConfig(counts_as="neutral", weight=9.0),
    }
    rows = events(*[{"kind": kind, "video_id": kind} for kind in (*EVENT_KINDS, *kinds)])
    config = InterestConfig(own_kinds=kinds)
    found = weigh_events(rows, config)
    assert not {"report", "zoom", "dislike", "hide", "skip"} & set(found["video_id"].to_pylist())
    assert found.to_pylist()[-1]["video_id"] == "save"
    assert found.to_pylist()[-1]["weight"] == 2.5
    assert config.signed_weight("report") == -3
    assert config.signed_weight("zoom") == 0
