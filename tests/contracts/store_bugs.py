"""Bugs to plant in a store: each breaks one clause of the protocol and no more than it must."""

import os
import threading
import uuid
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import VrecError
from vrec.core.schema import EVENT_KINDS, EVENTS
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile, ProfileBuilder
from vrec.profiles.stores.codec import event_key, rows_from_table
from vrec.profiles.stores.sqlite.jobs import PendingAppend
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.profiles.update import record_event
from vrec.testing.store_profiles import CONFIG, catalog


class Sound(SqliteStore):
    """The store in a file."""


class NoCheck:
    def __init__(self, config, facts, profiles):
        self._store = Sound(config, facts, profiles)
        for name in ("apply", "submit", "get", "export", "erase", "close"):
            setattr(self, name, getattr(self._store, name))


class CountsTwice(Sound):
    """Every event is new."""

    def submit_all(self, events, sizes):
        rows = rows_from_table(events)
        return self._enqueue(PendingAppend(rows, [os.urandom(16) for _ in rows], sizes))


class RemembersUntilClosed(Sound):
    """Ids are known to the process that saw them."""

    def __init__(self, *args):
        self.salt = uuid.uuid4().hex
        super().__init__(*args)

    def submit_all(self, events, sizes):
        rows = rows_from_table(events)
        return self._enqueue(
            PendingAppend(rows, [event_key(self.salt + row[0], self._secret) for row in rows], sizes)
        )


class KnowsOtherCallsOnly(Sound):
    """What is twice in one table counts twice."""

    def submit_all(self, events, sizes):
        rows, ids = rows_from_table(events), events.column("event_id").to_pylist()
        keys = [event_key(f"{name}{ids[:i].count(name)}", self._secret) for i, name in enumerate(ids)]
        return self._enqueue(PendingAppend(rows, keys, sizes))


class SaysAllIsNew(Sound):
    def apply(self, events):
        return ApplyResult(super().apply(events).new and events.num_rows, 0)


class SameIdOtherEvent(Sound):
    """An id with other content is taken for another event."""

    def submit_all(self, events, sizes):
        rows = rows_from_table(events)
        return self._enqueue(
            PendingAppend(rows, [event_key(row[0] + row[3], self._secret) for row in rows], sizes)
        )


class Altered(Sound):
    """A store whose update rule is altered."""

    def __init__(self, *args):
        super().__init__(*args)
        self._sound = self._fold
        self._fold = self._hot._fold = self.altered

    def altered(self, profile, events):
        raise NotImplementedError


class LastWriteWins(Altered):
    """The last batch makes the profile."""

    def altered(self, profile, events):
        return self._sound(Profile(profile.entity, profile.entity_id), events) if events else profile


class LastComeIsNewest(Altered):
    """The time of the taste is that of the event that came last."""

    def altered(self, profile, events):
        found = self._sound(profile, events)
        if events and "taste_at" in found.counts:
            found.counts["taste_at"] = float(events[-1].at)
        return found


class SeenAsTheyCome(Altered):
    def altered(self, profile, events):
        found = self._sound(profile, events)
        seen = (*profile.seen, *((event.at, event.event_id) for event in events))
        return replace(found, seen=seen[-CONFIG.remember :])


class LateAreLost(Altered):
    """The update rule alone, which takes what is older than it remembers for repeated."""

    def altered(self, profile, events):
        draft = ProfileBuilder(profile)
        for event in sorted(events, key=lambda event: (event.at, event.event_id)):
            record_event(draft, event, catalog().get(event.video_id), CONFIG)
        found = self._sound(profile, events)
        return found if len(draft.build().seen) < CONFIG.remember else replace(found, counts=draft.counts)


class CoarseVectors(Altered):
    def altered(self, profile, events):
        found = self._sound(profile, events)
        if found.vector is None:
            return found
        return replace(found, vector=found.vector.astype(np.float16).astype(np.float32))


class BlankForMisses(Sound):
    def get(self, kind, ids):
        return {name: Profile(kind, name) for name in ids} | super().get(kind, ids)


class KindsMixed(Sound):
    def get(self, kind, ids):
        del kind
        return super().get("video", ids) | super().get("user", ids)


class FailsOnMisses(Sound):
    def get(self, kind, ids):
        found = super().get(kind, ids)
        return {name: found[name] for name in ids}


class AcknowledgedBeforehand(Sound):
    """`apply` returns at once, and what it was given is applied later."""

    def apply(self, events):
        rows_from_table(events)
        sound = super().apply

        def later():
            with suppress(VrecError):
                sound(events)

        threading.Timer(0.05, later).start()
        return ApplyResult(events.num_rows, 0)


class StaleProfiles(Sound):
    """What is in memory is not told of what comes."""

    def __init__(self, *args):
        super().__init__(*args)
        self._hot.record_commit = lambda events: {("user", "nobody") for _ in events if False}


class KeepsTheSoundRows(Sound):
    """Bad rows are refused, the others of their table are not."""

    def submit(self, events):
        if "user_id" in events.column_names:
            good = pc.is_in(events.column("kind"), value_set=pa.array(EVENT_KINDS))
            if not pc.all(good).as_py():
                super().submit(events.filter(good)).result()
        return super().submit(events)


class TakesAnything(Sound):
    def submit(self, events):
        try:
            return super().submit(events)
        except VrecError:
            return super().submit(EVENTS.arrow().empty_table())


class BadRowsInTheFuture(Sound):
    """What is wrong with the rows is told by the future only."""

    def submit(self, events):
        try:
            return super().submit(events)
        except VrecError as error:
            future = Future()
            future.set_exception(error)
            return future
