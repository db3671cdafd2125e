"""Calls of the running service over HTTP: its log, its bundles, moves, and metrics."""

import io
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.schema import EVENTS, conform
from vrec.evaluation.promotion.watch import ResponseCounts
from vrec.loop.errors import ServiceRefused

CURSOR = "X-Next-Cursor"
AGAIN = (429, 502, 503, 504)
"""Statuses after which a call is sent again."""
ATTEMPTS, WAIT_S = 4, 1.0
"""Attempts of a call, and the seconds before the second one, which double."""
POLL_S = 0.5
"""Seconds between two looks whether a move has ended."""
_RESPONSES = re.compile(r'^ray_vrec_http_seconds_count\{[^}]*status="(\d+)"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BundleInService:
    """Bundle that a service has."""

    name: str | None
    """Name of its folder below `serve.bundles`; None for a bundle from elsewhere."""
    version: str


class ServiceClient:
    """Client of one service. Redirects are refused, so that the key goes nowhere else."""

    def __init__(self, url: str, key: str = "", timeout_s: float = 60.0) -> None:
        """Build it without connecting.

        Args:
            url: Address of the service, such as `http://127.0.0.1:8000`.
            key: API key with the scopes read and manage; "" where the service has no keys.
            timeout_s: Seconds that a call may take.
        """
        self._url, self._timeout_s = url.rstrip("/"), timeout_s
        self._headers = {"X-API-Key": key} if key else {}
        self._opener = urllib.request.build_opener(_NoRedirects)

    def export(self, after: int) -> tuple[pa.Table, int]:
        """Return the next EVENTS of the log after a cursor, and the cursor after them; raises
        ServiceRefused."""
        body, headers = self._call("GET", f"/v1/events?after={after}")
        try:
            table = pq.read_table(io.BytesIO(body))
            return conform(table, EVENTS, stage="loop: export"), int(headers[CURSOR])
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise ServiceRefused(f"{self._url}/v1/events is not vrec's export of events: {error}") from None

    def in_service(self) -> BundleInService:
        """Return the bundle in service; raises ServiceRefused."""
        found = self._json("GET", "/v1/bundles")["in_service"]
        return BundleInService(found["name"], found["version"])

    def move(self, bundle: str, wait_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Move the service to a bundle of its folder, and wait until it has it.

        Args:
            bundle: Name of the bundle.
            wait_s: Seconds that the move, and one that runs before, may take.
            sleep: Function that waits for some seconds.

        Raises:
            ServiceRefused: The bundle is refused, or the move took too long; the one before stays in service.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                self._json("POST", "/v1/bundles:move", {"bundle": bundle})
                break
            except _Problem as problem:
                if problem.kind != "move-runs" or time.monotonic() > until:
                    raise
                sleep(POLL_S)
        while time.monotonic() < until:
            found = self._json("GET", "/v1/bundles")
            move = found["move"]
            if move is not None and move["bundle"] == bundle and move["state"] == "done":
                return
            if move is None or move["bundle"] != bundle or move["state"] == "failed":
                why = "another move replaced it" if move is None or not move["why"] else move["why"]
                raise ServiceRefused(f"{self._url} was not moved to {bundle}: {why}")
            sleep(POLL_S)
        raise ServiceRefused(f"{self._url} was not moved to {bundle} in {wait_s:g} s")

    def responses(self) -> ResponseCounts:
        """Return the responses since the service's processes began, by `/metrics`; raises ServiceRefused."""
        text = self._call("GET", "/metrics")[0].decode(errors="replace")
        counts = [(status, float(count)) for status, count in _RESPONSES.findall(text)]
        errors = sum(count for status, count in counts if status.startswith("5"))
        return ResponseCounts(int(sum(count for _, count in counts)), int(errors))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = self._call(method, path, body)[0]
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServiceRefused(f"{self._url}{path}: the answer is no JSON object")
        return found

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and headers of an answer of status 2xx.

        Raises:
            ServiceRefused: There is none, after further attempts where that may help.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        shown = path.partition("?")[0]
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(WAIT_S * 2 ** (attempt - 1))
            last = attempt + 1 == ATTEMPTS
            try:
                with self._opener.open(request, timeout=self._timeout_s) as reply:
                    return reply.read(), reply.headers
            except urllib.error.HTTPError as error:
                if last or error.code not in AGAIN:
                    raise _Problem.of(error, f"{self._url}{shown}") from None
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                if last:
                    raise ServiceRefused(f"{self._url}{shown}: no answer: {reason}") from None
        raise AssertionError("the last attempt returns or raises")


class _Problem(ServiceRefused):
    """Answer with a status that is not 2xx."""

    kind = ""

    @classmethod
    def of(cls, error: urllib.error.HTTPError, where: str) -> "_Problem":
        """Return the problem in the body of an answer (RFC 9457)."""
        try:
            found = json.loads(error.read())
            kind, detail = str(found["type"]).rpartition(":")[2], str(found["detail"])
        except (ValueError, KeyError, TypeError, OSError):
            kind, detail = "", str(error.reason)
        problem = cls(f"{where}: HTTP {error.code}: {detail}")
        problem.kind = kind
        return problem


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None
