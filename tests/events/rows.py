"""Rows of events and interactions, few enough ids and times that they clash."""

import datetime as dt

import pyarrow as pa
from hypothesis import strategies as st

from vrec.core.schema import EVENTS, INTERACTIONS, VIDEOS, conform

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def day(number: float) -> dt.datetime:
    return START + dt.timedelta(days=number)


def interactions(*rows: tuple[str, str, float, float]) -> pa.Table:
    """INTERACTIONS from (user, video, weight, day)."""
    columns = [*zip(*rows, strict=True)] or [(), (), (), ()]
    arrays = [columns[0], columns[1], columns[2], [day(number) for number in columns[3]]]
    types = [field.type for field in INTERACTIONS.arrow()]
    made = [pa.array(a, t) for a, t in zip(arrays, types, strict=True)]
    return pa.Table.from_arrays(made, schema=INTERACTIONS.arrow())


def events(*rows: dict) -> pa.Table:
    """EVENTS from rows that name only what matters to the test."""
    full = [
        {"event_id": str(n), "user_id": "u", "video_id": "v", "domain": "shop", "at": START} | row
        for n, row in enumerate(rows)
    ]
    fields = EVENTS.arrow()
    columns = {f.name: pa.array([r.get(f.name) for r in full], f.type) for f in fields}
    return conform(pa.table(columns), EVENTS, stage="test")


def videos(**durations: float | None) -> pa.Table:
    """VIDEOS by id with their durations in seconds."""
    rows = [
        {"video_id": v, "uri": "", "kind": "clip", "creator_id": "", "domain": "shop"}
        | {"product_ids": [], "tags": [], "duration_s": d, "available": True}
        for v, d in durations.items()
    ]
    columns = {f.name: pa.array([r.get(f.name) for r in rows], f.type) for f in VIDEOS.arrow()}
    return conform(pa.table(columns), VIDEOS, stage="test")


def some_interactions(least: int = 1) -> st.SearchStrategy[pa.Table]:
    row = st.tuples(
        st.sampled_from(["ann", "bob", "cy", "dee"]),
        st.sampled_from([f"v{n}" for n in range(8)]),
        st.floats(1 / 128, 50, width=32),
        st.integers(0, 9).map(lambda n: n / 2),
    )
    return st.lists(row, min_size=least, max_size=40).map(lambda rows: interactions(*rows))


def shuffled(table: pa.Table, random) -> pa.Table:
    order = list(range(table.num_rows))
    random.shuffle(order)
    return table.take(pa.array(order, pa.int64()))


def row_set(table: pa.Table) -> list[tuple]:
    return sorted(tuple(row.values()) for row in table.to_pylist())


def pair_set(table: pa.Table) -> set[tuple[str, str]]:
    return {(row["user_id"], row["video_id"]) for row in table.to_pylist()}
