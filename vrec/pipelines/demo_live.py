"""`vrec demo --live`: drawn live streams, reported to a running service until they are stopped."""

import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from vrec.config.settings import Settings
from vrec.core.errors import OutputError, ServeError, os_error_reason
from vrec.synthetic.live.broadcast import Broadcast, BroadcastNow
from vrec.synthetic.videos import plan_catalog

_log = logging.getLogger(__name__)

STREAMS = "streams"
"""Folder of the streams in the demo's folder."""
CALL_TIMEOUT_S = 30.0
"""Seconds that a request to the service may take."""
MAX_FAILURES = 15
"""Consecutive segments whose beats may fail before the streams end: a service may start again meanwhile."""


def demo_live(out: str, url: str, settings: Settings, *, segments: int | None = None) -> int:
    """Write segments of drawn live streams in real time, and report them to a service.

    Args:
        out: The demo's folder; the streams lie in `streams` there.
        url: The service, such as `http://127.0.0.1:8000`.
        settings: `demo`.
        segments: Segments of each stream after which to end; None goes on until KeyboardInterrupt.

    Returns:
        The number of segments of each stream.

    Raises:
        ServeError: The service does not answer, or refuses the streams.
        OutputError: The folder cannot be written.
    """
    config = settings.demo.live
    broadcast = Broadcast(Path(out).absolute() / STREAMS, plan_catalog(settings.demo.draw), config)
    service = _StreamClient(url.rstrip("/"))
    _log.info("drawing clips for %d live streams", config.streams)
    broadcast.prepare()
    begun, written, failures = time.monotonic(), 0, 0
    try:
        while segments is None or written < segments:
            try:
                now = broadcast.advance()
            except OSError as error:
                raise OutputError(f"{out}: cannot be written: {os_error_reason(error)}") from None
            try:
                service.report(now)
                failures = 0
            except ServeError:
                failures += 1
                if not written or failures > MAX_FAILURES:
                    raise
            if not written:
                _log.info("%d live streams: %s. Ctrl-C ends them", config.streams, f"{url}/")
            written += 1
            time.sleep(max(0.0, begun + written * config.segment_s - time.monotonic()))
    finally:
        service.end()
    return written


class _StreamClient:
    """Streams as the service knows them."""

    def __init__(self, url: str) -> None:
        self._url, self._started = url, set[str]()

    def report(self, streams: list[BroadcastNow]) -> None:
        """Start streams that the service does not know as live, and beat for all others."""
        beats = [
            {"stream_id": one.stream_id, "viewers": one.viewers, "product_ids": [one.product_id]}
            for one in streams
            if one.stream_id in self._started
        ]
        if beats:
            results = self._send("POST", "/v1/streams:beat", {"beats": beats})["beats"]
            over = {one["stream_id"] for one in results if one["outcome"] != "live"}
            self._started -= over
        for one in streams:
            if one.stream_id not in self._started:
                self._start(one)

    def end(self) -> None:
        """End all streams, as far as the service answers."""
        for name in sorted(self._started):
            try:
                self._send("DELETE", f"/v1/streams/{quote(name, safe='')}", None)
            except ServeError as error:
                _log.warning("%s was not ended: %s", name, error)
        self._started.clear()

    def _start(self, one: BroadcastNow) -> None:
        body = {
            "streamer_id": one.streamer_id,
            "title": f"Live with {one.streamer_id}",
            "product_ids": [one.product_id],
            "source": str(one.playlist),
        }
        path = f"/v1/streams/{quote(one.stream_id, safe='')}"
        self._send("PUT", path, body)
        self._started.add(one.stream_id)
        self._send("POST", f"{path}/beat", {"viewers": one.viewers})

    def _send(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = requests.request(method, f"{self._url}{path}", json=body, timeout=CALL_TIMEOUT_S)
        except requests.RequestException as error:
            raise ServeError(
                f"{self._url} does not answer: {type(error).__name__}",
                fix="start the service by the command that `vrec demo` printed, and give its address",
            ) from None
        if not answer.ok:
            raise ServeError(
                f"{self._url} refuses a live stream: HTTP {answer.status_code} {answer.text[:200]}",
                fix="serve the demo without API keys, and end other streams of the same ids",
            )
        return answer.json() if answer.content else None
