"""Sends events in the background, in batches, and keeps them until the service has them."""

import atexit
import json
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vrec_client.client import VrecClient
from vrec_client.errors import VrecError
from vrec_client.generated.models import EventsRequest, SessionEventRequest, UserEventRequest
from vrec_client.generated.types import Unset
from vrec_client.queue import Rows, TextQueue

MAX_BATCH = 1000
"""Most events that the service takes in a request."""
LONGEST_PAUSE_S = 30.0
IN_MEMORY = ":memory:"
INVALID = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Statuses by which the service refuses the events themselves."""

log = logging.getLogger("vrec_client")


class QueueFull(Exception):
    """The queue holds as many events as it may, because the service has not taken them."""


class EventsNotSent(Exception):
    """A sender without a file was closed before the service took all events; `events` has the others."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        super().__init__(f"{len(events)} events were not sent before the sender was closed")


class EventSender:
    """Queue of events, and a thread that sends them in batches.

    An event stays in the queue until the service has confirmed that it is durable. Sending it twice does no
    harm, because each `event_id` counts once. With a file the queue survives the process, even if it is
    killed: the next sender with the file sends what is left, and several processes may share it. Without a
    file, `close`, which also runs when the interpreter exits, sends what is left; a killed process loses it.
    After a fork, the child's sender has an empty queue, or the shared file.
    """

    def __init__(
        self,
        client: VrecClient,
        *,
        file: str | Path | None = None,
        batch: int = 500,
        every_s: float = 1.0,
        capacity: int = 100_000,
        on_rejected: Callable[[dict[str, Any], str], None] | None = None,
    ) -> None:
        """Open the queue and start the thread.

        Args:
            client: Client with a key for `events`; it must stay open until the sender is closed.
            file: SQLite file of the queue; by default the queue is in memory.
            batch: Number of events in a request, at most 1,000; as many are sent at once.
            every_s: Maximum seconds that an event waits for others.
            capacity: Maximum number of events in the queue.
            on_rejected: Called with each event that the service calls invalid, and the reason. By default
                both are logged.
        """
        if not 1 <= batch <= MAX_BATCH:
            raise ValueError(f"batch: {batch} is not between 1 and {MAX_BATCH}")
        self._client, self._file = client, IN_MEMORY if file is None else str(file)
        self._batch, self._every_s, self._capacity = batch, every_s, capacity
        self._on_rejected = on_rejected or _log_rejected
        self._closed = self._ended = False
        self._start()
        self._at_exit = partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=partial(_start_in_child, weakref.ref(self)))

    def _start(self) -> None:
        self._changed = threading.Condition()
        self._queue = TextQueue(self._file)
        self._flush_until = 0.0
        self._thread = threading.Thread(target=self._run, name="vrec-events", daemon=True)
        self._thread.start()

    def send(self, event: UserEventRequest | SessionEventRequest) -> None:
        """Put an event into the queue. An event without `at` gets the present time.

        Raises:
            QueueFull: The queue is full.
            ValueError: The sender is closed.
        """
        body = event.to_dict()
        if isinstance(event.at, Unset):
            body["at"] = datetime.now(UTC).isoformat()
        text = json.dumps(body, ensure_ascii=False)
        with self._changed:
            if self._closed:
                raise ValueError("the sender is closed")
            if self._queue.size >= self._capacity and self._queue.recount() >= self._capacity:
                raise QueueFull(f"{self._capacity} events wait, and the service does not take them")
            self._queue.add(text)
            if self._queue.size >= self._batch:
                self._changed.notify_all()

    def flush(self, timeout_s: float = 10) -> int:
        """Send the queue now; return the number of events that are left in it after the time or before."""
        until = time.monotonic() + timeout_s
        with self._changed:
            self._flush_until = until
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue.size or not self._thread.is_alive(), timeout_s)
            self._flush_until = 0.0
            return self._queue.size

    def close(self, timeout_s: float = 10) -> None:
        """Send what is left and stop. With a file, what the service does not take stays in it.

        Raises:
            EventsNotSent: The queue is in memory, and the service did not take all events in time.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self._at_exit)
        self.flush(timeout_s)
        with self._changed:
            self._changed.notify_all()
        # The thread may be in the middle of a request, which has its own time limit.
        self._thread.join(timeout_s)
        with self._changed:
            self._ended = True
            left = self._queue.first(self._queue.size) if self._file == IN_MEMORY else []
            self._queue.close()
        if left:
            raise EventsNotSent([json.loads(text) for _, text in left])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._wait(pause)
                rows = [] if self._ended else self._queue.first(self._batch)
                if not rows:
                    self._changed.notify_all()
                if self._closed and not (rows and self._flushing()):
                    return
            if not rows:
                continue
            reason = self._post(rows)
            pause = 0.0 if reason is None else min(LONGEST_PAUSE_S, max(0.1, 2 * pause))
            if reason is not None:
                log.warning("events were not sent, and are again in %.1f s: %s", pause, reason)

    def _wait(self, pause: float) -> None:
        # After a failure for its pause, though shorter in a flush; else for a full batch or `every_s`.
        if pause:
            self._changed.wait_for(lambda: self._closed, min(pause, 0.5) if self._flushing() else pause)
        else:
            self._changed.wait_for(
                lambda: self._queue.size >= self._batch or self._flushing() or self._closed, self._every_s
            )

    def _flushing(self) -> bool:
        return time.monotonic() < self._flush_until

    def _post(self, rows: Rows) -> str | None:
        # Sends events; returns why they are still in the queue, or None.
        events = [json.loads(text) for _, text in rows]
        try:
            self._client.add_events(body=EventsRequest.from_dict({"events": events}))
        except VrecError as error:
            if error.status not in INVALID:
                return str(error)
            return self._reject(rows, error)
        except Exception as error:
            # Whatever it is, such as a proxy's page with status 200: the thread goes on and keeps the events.
            return f"{type(error).__name__}: {error}"
        self._remove(rows)
        return None

    def _reject(self, rows: Rows, error: VrecError) -> str | None:
        # Takes invalid events out of the queue, which the service stores none beside, and sends the others.
        wrong = _named_events(error) if len(rows) > 1 else {0: str(error)}
        if not wrong:
            half = len(rows) // 2
            return self._post(rows[:half]) or self._post(rows[half:])
        for place, reason in sorted(wrong.items()):
            self._on_rejected(json.loads(rows[place][1]), reason)
        self._remove([rows[place] for place in wrong])
        others = [row for place, row in enumerate(rows) if place not in wrong]
        return self._post(others) if others else None

    def _remove(self, rows: Rows) -> None:
        with self._changed:
            if not self._ended:
                self._queue.remove([key for key, _ in rows])
            self._changed.notify_all()


def _named_events(error: VrecError) -> dict[int, str]:
    # The reasons of the events that the problem names as `events.PLACE.FIELD`.
    named: dict[int, str] = {}
    if error.problem is not None and not isinstance(error.problem.errors, Unset):
        for one in error.problem.errors:
            if place := re.match(r"events\.(\d+)\b", one.where):
                named.setdefault(int(place[1]), f"{one.where}: {one.detail}")
    return named


def _log_rejected(event: dict[str, Any], reason: str) -> None:
    log.error("the service refuses the event %s: %s", event.get("event_id"), reason)


def _close_at_exit(sender: "weakref.ref[EventSender]") -> None:
    if (one := sender()) is not None:
        try:
            one.close()
        except EventsNotSent as error:
            log.error("%s; give the sender a file to keep them", error)


def _start_in_child(sender: "weakref.ref[EventSender]") -> None:
    # The parent's thread and locks do not exist here, and its connection must not be used here.
    if (one := sender()) is not None and not one._closed:
        one._start()
