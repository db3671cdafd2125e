"""An uploaded video read as it comes: the file into the data folder, the fields beside it checked."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vrec.serving.catalog.uploads import IncomingUpload, UploadStore
from vrec.serving.http.errors import HttpProblem, validation_problem
from vrec.serving.http.schemas.requests import NewVideoFields

FORM = "multipart/form-data"
FILE = "file"
FIELD_BYTES = 65_536
"""What all fields besides the file, and the headers of all parts, may have together."""
FLUSH_BYTES = 1 << 20
LIST_FIELDS = frozenset({"tags", "product_ids"})
"""Fields that may come several times."""
_SCALARS = frozenset(NewVideoFields.model_fields) - LIST_FIELDS


async def read_form(request: Request, uploads: UploadStore) -> tuple[NewVideoFields, str]:
    """What a form says of a video, and the URI of its file, which is kept by then.

    Raises the problem of a form that is not as it should be, and VideoError, OutputError for the file.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    incoming = await asyncio.to_thread(uploads.begin)
    try:
        parts = await _read(request, boundary, incoming)
        given = _fields_of(parts)
        return given, await asyncio.to_thread(incoming.commit)
    finally:
        await asyncio.to_thread(incoming.discard)


async def _read(request: Request, boundary: bytes, incoming: IncomingUpload) -> "_FormParser":
    parts = _FormParser()
    parser = MultipartParser(boundary, parts.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            if len(parts.waiting) >= FLUSH_BYTES:
                await asyncio.to_thread(incoming.write, parts.take())
    except FormParserError as error:
        raise _invalid_form(f"the form cannot be read: {error}") from None
    if not parts.ended:
        raise _invalid_form("the form ends before its last boundary")
    await asyncio.to_thread(incoming.write, parts.take())
    if not parts.files:
        raise _invalid_form(f"the form has no part called {FILE}")
    return parts


class _FormParser:
    """A form's parts while they come in."""

    def __init__(self) -> None:
        self.fields: dict[str, list[bytes]] = {}
        self.files = 0
        self.ended = False
        self.waiting = bytearray()
        """Bytes of the file that are not written yet."""
        self._size = 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._field: str | None = None
        self._data = bytearray()

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def take(self) -> bytes:
        """The bytes of the file that came since the last call."""
        taken, self.waiting = bytes(self.waiting), bytearray()
        return taken

    def _begin(self) -> None:
        self._header = self._value = self._disposition = b""
        self._field, self._data = None, bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field != FILE:
            return
        self.files += 1
        if self.files > 1:
            raise _invalid_form(f"the form has more than one {FILE}: send one video at a time")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == FILE:
            self.waiting += data[start:end]
            return
        self._count(end - start)
        self._data += data[start:end]

    def _on_part_end(self) -> None:
        if self._field is not None and self._field != FILE:
            self.fields.setdefault(self._field, []).append(bytes(self._data))

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > FIELD_BYTES:
            raise HttpProblem(413, "too-large", f"the fields have more than {FIELD_BYTES:,} bytes: send less")

    def _on_end(self) -> None:
        self.ended = True


def _fields_of(parts: _FormParser) -> NewVideoFields:
    given: dict[str, Any] = {}
    for name, values in parts.fields.items():
        texts = [value.decode("utf-8", "replace") for value in values]
        if name in LIST_FIELDS:
            given[name] = [text for text in texts if text]
        elif name in _SCALARS and len(texts) == 1:
            # What a page's form sends for a box that was left empty.
            given |= {name: texts[0]} if texts[0] else {}
        else:
            given[name] = texts
    return _validated(given)


def _validated(given: Mapping[str, Any]) -> NewVideoFields:
    try:
        return NewVideoFields.model_validate(given, strict=False)
    except ValidationError as error:
        raise validation_problem(error) from None


def _boundary(kind: str) -> bytes:
    _, options = parse_options_header(kind)
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise _invalid_form("Content-Type names no boundary")
    return boundary


def _invalid_form(what: str) -> HttpProblem:
    detail = f"{what}: send the video as `curl -F file=@clip.mp4 -F creator_id=me` does"
    return HttpProblem(422, "invalid-form", detail)
