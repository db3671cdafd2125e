"""Random histories of sending, removing, joining and renaming, and the profiles that they come to."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from tests.profiles.histories import CONFIG, CONTENT, PAIRED_KINDS, some_history
from vrec.core.compute import pc
from vrec.core.errors import SessionTaken, UnknownEvent
from vrec.core.types import ApplyResult
from vrec.profiles.profile import profiles_from_table
from vrec.profiles.update import build_profiles

SESSIONS, USERS = ("session:s", "session:t"), ("u", "w")
ALL_SESSIONS, ALL_USERS = (*SESSIONS, "session:r"), (*USERS, "x")
RENAMES = [(old, new) for names in (ALL_SESSIONS, ALL_USERS) for old in names for new in names]
IDS = [f"e{n:02}" for n in range(31)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(st.integers(0, 30), min_size=4, max_size=16)),
        st.tuples(st.just("send"), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
        st.tuples(st.just("remove"), st.sampled_from(IDS)),
        st.tuples(st.just("join"), st.tuples(st.sampled_from(SESSIONS), st.sampled_from(USERS))),
        st.tuples(st.just("rename"), st.sampled_from(RENAMES)),
        st.tuples(st.just("open"), st.none()),
    ),
    min_size=1,
    max_size=14,
)
FEW = some_history(users=(SESSIONS[0], *USERS), least=15, videos=("v0", "v1"), kinds=[*PAIRED_KINDS, "watch"])
HISTORIES = FEW | some_history(users=(*SESSIONS, *USERS), least=1)
"""Histories of which one half is dense: almost every event reverses another or is reversed."""


class Model:
    """A log in plain Python, in which everything is done anew."""

    def __init__(self, events):
        self.events, self.log, self.known, self.owners = events, [], set(), {}

    def send(self, store, rows):
        table = self.events.take(pa.array([row % self.events.num_rows for row in rows]))
        before = len(self.known)
        for row in table.to_pylist():
            if row["event_id"] not in self.known:
                self.known.add(row["event_id"])
                self.log.append(row)
        new = len(self.known) - before
        assert store.apply(table) == ApplyResult(new, len(rows) - new)

    def remove(self, store, event_id):
        if event_id not in self.known:
            with pytest.raises(UnknownEvent, match=event_id):
                store.remove(event_id)
            return
        left = [row for row in self.log if row["event_id"] != event_id]
        assert store.remove(event_id) == (len(left) < len(self.log))
        self.log = left

    def join(self, store, pair):
        session, user = pair
        if self.owners.get(session, user) != user:
            with pytest.raises(SessionTaken, match=session):
                store.join(session, user)
            return
        moved = 0 if session in self.owners else sum(row["user_id"] == session for row in self.log)
        assert store.join(session, user) == moved
        self.owners[session] = user

    def rename(self, store, pair):
        old, new = pair
        owned = sum(self.owners.get(row["user_id"], row["user_id"]) == old for row in self.log)
        assert store.rename(old, new) == (0 if old == new else owned)
        if old == new:
            return
        sent = new
        if old in self.owners:
            account = self.owners.pop(old)
            if self.owners.setdefault(new, account) != account:
                sent = account
        self.owners = {session: new if user == old else user for session, user in self.owners.items()}
        self.log = [row | {"user_id": sent} if row["user_id"] == old else row for row in self.log]

    def table(self):
        rows = [row | {"user_id": self.owners.get(row["user_id"], row["user_id"])} for row in self.log]
        return pa.Table.from_pylist(rows, schema=self.events.schema)

    def check(self, store):
        """Assert that the store has the profiles and the log of these events, and nothing else."""
        table = self.table()
        built = profiles_from_table(build_profiles(table, CONTENT, CONFIG))
        counts = {(p.entity, p.entity_id) for p in built if any(k.startswith("event:") for k in p.counts)}
        videos = {"v0", "v1", "v2", "unknown"}
        reads = {"user": [*ALL_USERS, *ALL_SESSIONS], "video": sorted(videos)}
        found = {
            (kind, name): profile
            for kind, names in reads.items()
            for read in (store.get(kind, names), *(store.get(kind, [name]) for name in names))
            for name, profile in read.items()
        }
        expected = {(p.entity, p.entity_id): p for p in built if (p.entity, p.entity_id) in counts}
        for session, user in self.owners.items():
            if ("user", user) in expected:
                expected["user", session] = expected["user", user]
        assert found.keys() == expected.keys()
        for key, profile in expected.items():
            assert_same(found[key], profile if key[0] == "user" else replace(profile, seen=()))
        assert store.export(0, 1_000)[0].equals(table)


def assert_same(found, expected):
    """Assert that two profiles are equal up to rounding; a count of 0 is none."""

    def counts(profile):
        return {key: value for key, value in profile.counts.items() if abs(value) > 1e-5}

    assert (found.entity, found.entity_id) == (expected.entity, expected.entity_id)
    assert (found.seen, found.history) == (expected.seen, expected.history)
    assert counts(found) == pytest.approx(counts(expected), rel=1e-6, abs=1e-6)
    assert (found.vector is None) == (expected.vector is None)
    if found.vector is not None:
        assert np.allclose(found.vector, expected.vector, rtol=1e-5, atol=1e-6)


def run_steps(place, events, steps):
    """Do all steps in a store and in the model, and compare them after each."""
    model, store = Model(events), place.open()
    try:
        for step, argument in steps:
            if step == "open":
                store.close()
                store = place.open()
            else:
                getattr(model, step)(store, argument)
            model.check(store)
        store.close()
        store = place.open()
        model.check(store)
        # Whatever is sent again counts as repeated, also if it was removed.
        known = events.filter(
            pc.is_in(events["event_id"], value_set=pa.array(sorted(model.known), pa.string()))
        )
        assert store.apply(known).new == 0
        model.check(store)
    finally:
        store.close()
