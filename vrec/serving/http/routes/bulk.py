"""Route that changes many videos of the catalog from a stream of lines."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.core.pauses import pause_if_due, with_pauses
from vrec.core.schema import VIDEOS
from vrec.serving.catalog.uploads import readable_uri
from vrec.serving.catalog.upserts import UpsertResult
from vrec.serving.deployments.protocol import ServingBackend, UnknownVideo
from vrec.serving.http.body import COMMON_ERRORS, schema_ref
from vrec.serving.http.errors import HttpProblem, error_responses, to_problem, validation_problem
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.live_items import live_stream_ids
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.http.schemas.videos import BulkResponse, BulkVideoRow
from vrec.serving.messages import CatalogEdit, VideoUpsert
from vrec.serving.streams.states import StreamIsLive

BULK_PATH = "/v1/videos:bulk"
NDJSON = "application/x-ndjson"
MAX_ROWS = 100_000
"""Maximum number of lines in one request."""
MAX_LINE_BYTES = 65_536
"""Maximum length of a line."""
ROWS_AT_ONCE = 500
"""Lines that are checked and stored together."""
MAX_DETAIL_CHARS = 300
"""Maximum length of a failure's explanation."""


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the route `/v1/videos:bulk`."""
    router = service_router("catalog", require_scope("manage", keys))
    errors = error_responses(*((401,) if keys else ()), 415, *COMMON_ERRORS)
    lines = {"type": "string", "format": "binary", "description": f"Lines of {schema_ref(BulkVideoRow)}."}
    body = {"requestBody": {"required": True, "content": {NDJSON: {"schema": lines}}}}

    @router.post(BULK_PATH, responses={200: {"model": BulkResponse}, **errors}, openapi_extra=body)
    async def change_videos(request: Request) -> Response:
        """Add and update up to 100,000 videos, one JSON object (BulkVideoRow) per line. A line that fails is
        named and leaves the others in force. What was counted is durable; lines can be sent again."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != NDJSON:
            raise HttpProblem(415, "unsupported-media-type", f"send lines with Content-Type: {NDJSON}")
        result = BulkResult()
        roots = config.security.media_roots, config.security.most_upload_bytes
        pending: list[tuple[int, bytes]] = []
        async for line in read_lines(request.stream()):
            if result.rows + len(pending) == MAX_ROWS:
                await _store(backend, pending, roots, result)
                detail = f"more than {MAX_ROWS:,} lines: send this line and those after it in another request"
                result.fail(line[0], None, HttpProblem(413, "too-large", detail))
                return json_response(result.content())
            pending.append(line)
            if len(pending) == ROWS_AT_ONCE:
                await _store(backend, pending, roots, result, more=True)
                pending = []
        await _store(backend, pending, roots, result)
        return json_response(result.content())

    return router


@dataclass(eq=False, slots=True)
class BulkResult:
    """Outcome of the lines of a bulk request."""

    added: int = 0
    updated: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Number of lines that have an outcome."""
        return self.added + self.updated + len(self.failures)

    def fail(self, line: int, video_id: str | None, error: Exception) -> None:
        """Add a failed line."""
        problem = to_problem(error)
        parts = [f"{one.where}: {one.detail}" for one in getattr(problem, "errors", ())] or [
            str(problem.detail)
        ]
        detail = "; ".join(parts)[:MAX_DETAIL_CHARS]
        kind = f"urn:vrec:problem:{problem.name}"
        self.failures.append({"line": line, "video_id": video_id, "type": kind, "detail": detail})

    def content(self) -> dict[str, Any]:
        """Return a BulkResponse as a dict."""
        failures = sorted(self.failures, key=lambda failure: failure["line"])
        counts = {"added": self.added, "updated": self.updated, "failed": len(failures)}
        return {**counts, "failures": failures}


async def read_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the lines of a body that are not blank, with their numbers from 1, without a byte order mark.

    A line longer than MAX_LINE_BYTES is yielded cut off, at one byte more; the rest of it is not kept.
    """
    kept, number = b"", 1
    async for piece in pieces:
        first, *rest = piece.split(b"\n")
        kept = (kept + first)[: MAX_LINE_BYTES + 1]
        for part in rest:
            if line := _content(kept, number):
                yield number, line
            number, kept = number + 1, part[: MAX_LINE_BYTES + 1]
    if line := _content(kept, number):
        yield number, line


def _content(line: bytes, number: int) -> bytes:
    """Return a line without the byte order mark of a file's first line; empty for a blank one."""
    line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    return line if line.strip() else b""


async def _store(
    backend: ServingBackend,
    lines: Sequence[tuple[int, bytes]],
    roots: tuple[Sequence[str], int],
    result: BulkResult,
    *,
    more: bool = False,
) -> None:
    """Check lines and store the sound ones together; `more` says that further lines of the request follow."""
    rows = await _without_live(backend, await asyncio.to_thread(_parse_all, lines, result), result)
    upserts = await asyncio.to_thread(_upserts, [row for _, row in rows], roots)
    stored: Sequence[UpsertResult | TimeoutError]
    try:
        stored = await backend.upsert(upserts, more=more) if upserts or not more else ()
    except (VrecError, TimeoutError) as error:
        stored = [error] * len(upserts)
    for (number, row), outcome in zip(rows, stored, strict=True):
        if isinstance(outcome, Exception):
            result.fail(number, row.video_id, outcome)
        elif outcome == "add":
            result.added += 1
        else:
            result.updated += 1


async def _without_live(
    backend: ServingBackend, rows: list[tuple[int, BulkVideoRow]], result: BulkResult
) -> list[tuple[int, BulkVideoRow]]:
    """Return the rows that are no live streams; the others fail, and all do if that cannot be known."""
    try:
        live = await live_stream_ids(backend, list(dict.fromkeys(row.video_id for _, row in rows)))
        errors = {name: StreamIsLive(name) for name in live}
    except (VrecError, TimeoutError) as error:
        errors = {row.video_id: error for _, row in rows}
    for number, row in rows:
        if row.video_id in errors:
            result.fail(number, row.video_id, errors[row.video_id])
    return [(number, row) for number, row in rows if row.video_id not in errors]


def _parse_all(lines: Sequence[tuple[int, bytes]], result: BulkResult) -> list[tuple[int, BulkVideoRow]]:
    """Return the sound lines; the others fail."""
    rows: list[tuple[int, BulkVideoRow]] = []
    with with_pauses():
        for number, line in lines:
            try:
                rows.append((number, _parse(line)))
            except HttpProblem as problem:
                result.fail(number, _video_id(line), problem)
            pause_if_due()
    return rows


def _upserts(rows: Sequence[BulkVideoRow], roots: tuple[Sequence[str], int]) -> list[VideoUpsert]:
    upserts: list[VideoUpsert] = []
    with with_pauses():
        for row in rows:
            upserts.append(_upsert(row, roots))
            pause_if_due()
    return upserts


def _parse(line: bytes) -> BulkVideoRow:
    if len(line) > MAX_LINE_BYTES:
        raise HttpProblem(422, "invalid-request", f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return BulkVideoRow.model_validate_json(line)
    except ValidationError as error:
        raise validation_problem(error) from None


def _upsert(row: BulkVideoRow, roots: tuple[Sequence[str], int]) -> VideoUpsert:
    unchanged = {"creator_id"} if row.creator_id is None else set()
    fields = row.model_dump(exclude_unset=True, exclude={"video_id", "uri", *unchanged})
    return VideoUpsert(CatalogEdit(row.video_id, "update", fields), _addition(row, roots))


def _addition(row: BulkVideoRow, roots: tuple[Sequence[str], int]) -> CatalogEdit | VrecError:
    """Return the edit that adds a video, or why it cannot be added."""
    if row.uri is None or row.creator_id is None:
        return UnknownVideo(f"{row.video_id} is not in the catalog, and needs uri and creator_id to be added")
    try:
        uri = readable_uri(row.uri, *roots)
    except VrecError as error:
        return error
    card = row.model_dump() | {"uri": uri, "published_at": datetime.now(UTC)}
    names = [column.name for column in VIDEOS.columns[1:]]
    return CatalogEdit(row.video_id, "add", {name: card.get(name) for name in names})


def _video_id(line: bytes) -> str | None:
    """Return the id in a line that is invalid otherwise; None if there is none that a response can hold."""
    try:
        name = json.loads(line)["video_id"]
        name.encode()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        # No JSON, brackets without end, no object or no id in it, an id that is no text or no Unicode.
        return None
    return name
