"""Bugs to plant in a store's log, its erasure and its end; see `store_bugs`."""

import os
import threading
import time
import uuid
from concurrent.futures import Future
from contextlib import suppress

import pyarrow as pa

from tests.contracts.store_bugs import Sound
from vrec.core.compute import pc
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.stores.codec import rows_from_table
from vrec.profiles.stores.sqlite.jobs import PendingAppend


class ExportSkips(Sound):
    """The first event behind a cursor is left out."""

    def export(self, after=0, limit=1000):
        return super().export(after + 1 if after else 0, limit)


class ExportRepeats(Sound):
    """The last of a page is the first of the next."""

    def export(self, after=0, limit=1000):
        found, cursor = super().export(max(0, after - 1), limit)
        return found, max(after, cursor)


class ExportByTime(Sound):
    def export(self, after=0, limit=1000):
        found, cursor = super().export(after, limit)
        return found.sort_by([("at", "ascending")]), cursor


class ExportForgetsNulls(Sound):
    def export(self, after=0, limit=1000):
        found, cursor = super().export(after, limit)
        place = found.column_names.index("position")
        return found.set_column(place, found.schema.field(place), pc.fill_null(found["position"], 0)), cursor


class CursorStartsAnew(Sound):
    """The end of the log gives the beginning's cursor."""

    def export(self, after=0, limit=1000):
        found, cursor = super().export(after, limit)
        return found, cursor if found.num_rows else 0


class EndIsOneShort(Sound):
    def latest_cursor(self):
        return max(0, super().latest_cursor() - 1)


class ExportsWhatItHasSeen(Sound):
    """The cursor runs ahead to the log's end as it is after the read."""

    def export(self, after=0, limit=1000):
        found, cursor = super().export(after, limit)
        time.sleep(0.003)
        end = super().export(cursor, 1)[1]
        return (found, end) if found.num_rows else (found, cursor)


class EraseLeavesEvents(Sound):
    def _erase(self, user_id):
        with self._file.writing(True):
            count = len(
                self._file._db.execute("SELECT 1 FROM events WHERE user_id = ?", (user_id,)).fetchall()
            )
            self._file._db.execute("UPDATE events SET user_id = '-' WHERE user_id = ?", (user_id,))
        self._hot.invalidate([("user", user_id)])
        return count


class EraseLeavesTheProfile(Sound):
    def _erase(self, user_id):
        kept = self._file.load(("user", user_id), self._fold)
        count = super()._erase(user_id)
        if kept.profile.counts:
            with self._file.writing(True):
                self._file.put([kept])
        return count


class EraseTakesCounts(Sound):
    """Profiles of videos are made anew of the events that are left."""

    def _erase(self, user_id):
        count = super()._erase(user_id)
        with self._file.writing(True):
            self._file._db.execute("DELETE FROM profiles WHERE entity = 'video'")
        return count


class EraseForgetsTails(Sound):
    """Events that no stored profile has yet are not taken in before they go."""

    def _erase(self, user_id):
        with self._file.writing(True):
            return self._file.erase(user_id)


class EraseForgetsIds(Sound):
    def _erase(self, user_id):
        count = super()._erase(user_id)
        with self._file.writing(True):
            self._file._db.execute("DELETE FROM events WHERE row IS NULL")
        return count


class CutsIds(Sound):
    """Ids end at a NUL, as C's do."""

    def get(self, kind, ids):
        found = super().get(kind, [name.split("\0")[0] for name in ids])
        return {name: found[name] for name in ids if name in found}


class NotOnDisk(Sound):
    """Each opening begins anew."""

    def __init__(self, config, facts, profiles):
        super().__init__(config.model_copy(update={"path": config.path + uuid.uuid4().hex}), facts, profiles)


class CountsCallsTogether(Sound):
    """The first of several calls has the counts of all."""

    def submit_all(self, events, sizes):
        return super().submit_all(events, [sum(sizes), *(0 for _ in sizes[1:])])


class WritesInTheBackground(Sound):
    """Closing does not wait for what was submitted."""

    def submit(self, events):
        future, sound = Future(), super().submit
        rows_from_table(events)

        def later():
            with suppress(VrecError):
                future.set_result(sound(events).result())

        threading.Timer(0.1, later).start()
        return future


class KnowsNobodyWhenClosed(Sound):
    def get(self, kind, ids):
        return {} if self._closed else super().get(kind, ids)


class NotesIdsAfterwards(Sound):
    """Ids are looked up before waiting for the writer, and noted when the events are kept."""

    def __init__(self, *args):
        super().__init__(*args)
        self.noted = set()

    def apply(self, events):
        ids = events.column("event_id").to_pylist()
        rows = rows_from_table(events.filter(pa.array([name not in self.noted for name in ids], pa.bool_())))
        keys = [os.urandom(16) for _ in rows]
        new = self._enqueue(PendingAppend(rows, keys, [len(rows)])).result()[0].new
        self.noted.update(ids)
        return ApplyResult(new, len(ids) - new)


class WaitsInSubmit(Sound):
    """What is submitted is the answer itself."""

    def submit(self, events):
        return super().submit(events).result()

    def apply(self, events):
        return self.submit(events)
