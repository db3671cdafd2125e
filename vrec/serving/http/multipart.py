"""Streaming parser of uploads: the file goes to the data folder, the fields are validated."""

import asyncio
from typing import Any, Protocol, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vrec.serving.catalog.uploads import UploadStore
from vrec.serving.http.audit import name_new_video
from vrec.serving.http.errors import HttpProblem, validation_problem
from vrec.serving.http.schemas.videos import NewVideoFields

FieldsModel = TypeVar("FieldsModel", bound=BaseModel)
FORM = "multipart/form-data"
FILE = "file"
UPLOAD_PATH = "/v1/uploads"
"""Path of the route that reads such forms."""
EXAMPLE_PATH = "/v1/moments:by-file"
"""Path of the route that reads forms with an example to search moments by."""
ASSISTANT_FILE_PATH = "/v1/assistant:by-file"
"""Path of the route that reads forms with an example of what a shopper asks for."""
FIELD_BYTES = 65_536
"""Maximum bytes of all fields besides the file and of the headers of all parts together."""
FLUSH_BYTES = 1 << 20
"""Bytes of the file that are collected before they are written."""
LIST_FIELDS = frozenset({"tags", "product_ids"})
"""Fields that may occur several times."""
_SCALARS = frozenset(NewVideoFields.model_fields) - LIST_FIELDS


async def read_form(request: Request, uploads: UploadStore) -> tuple[NewVideoFields, str]:
    """Read the form of a request and store its file.

    Returns:
        The fields of the video, and the URI of the stored file.

    Raises:
        HttpProblem: The form or one of its fields is invalid.
        VideoError: The file is not a video or too large.
        OutputError: The file cannot be written.
    """
    boundary = _boundary(request.headers.get("content-type", ""))
    incoming, form = await asyncio.to_thread(uploads.begin), _FormParser()
    try:
        await _parse(request, boundary, incoming, form)
        fields = _validated_fields(form)
        return fields, await asyncio.to_thread(incoming.commit)
    finally:
        # A form that is refused may have named the video before.
        named = form.fields.get("video_id", [])
        name_new_video(request, named[0].decode("utf-8", "replace") if len(named) == 1 else None)
        await asyncio.to_thread(incoming.discard)


class _FileInMemory:
    """File of a form that is kept in memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.content = max_bytes, bytearray()

    def write(self, data: bytes) -> None:
        self.content += data
        if len(self.content) > self._max_bytes:
            detail = (
                f"the file has more than {self._max_bytes:,} bytes: send a smaller picture or a shorter clip"
            )
            raise HttpProblem(413, "too-large", detail)


async def read_example_form(
    request: Request, model: type[FieldsModel], max_bytes: int
) -> tuple[FieldsModel, bytes]:
    """Read the form of a request with a file of at most `max_bytes`; return its fields and the file's bytes.

    Raises:
        HttpProblem: The form or one of its fields is invalid, or the file is empty or too large.
    """
    if not request.headers.get("content-type", "").lower().startswith(FORM):
        raise HttpProblem(415, "unsupported-media-type", f"send the file in a form with Content-Type: {FORM}")
    boundary = _boundary(request.headers.get("content-type", ""))
    incoming, form = _FileInMemory(max_bytes), _FormParser()
    await _parse(request, boundary, incoming, form)
    if not incoming.content:
        raise _invalid_form("the file has no bytes")
    named = {
        name: [value.decode("utf-8", "replace") for value in values] for name, values in form.fields.items()
    }
    fields = {name: texts[0] if len(texts) == 1 else texts for name, texts in named.items() if texts != [""]}
    try:
        return model.model_validate(fields, strict=False), bytes(incoming.content)
    except ValidationError as error:
        raise validation_problem(error) from None


class _Incoming(Protocol):
    def write(self, data: bytes) -> None: ...


async def _parse(request: Request, boundary: bytes, incoming: _Incoming, form: "_FormParser") -> None:
    parser = MultipartParser(boundary, form.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            if len(form.pending) >= FLUSH_BYTES:
                await asyncio.to_thread(incoming.write, form.take())
    except FormParserError as error:
        raise _invalid_form(f"the form cannot be read: {error}") from None
    if not form.ended:
        raise _invalid_form("the form ends before its last boundary")
    await asyncio.to_thread(incoming.write, form.take())
    if not form.files:
        raise _invalid_form(f"the form has no part named {FILE}")


class _FormParser:
    """Fields and file of a form, collected while it arrives."""

    def __init__(self) -> None:
        self.fields: dict[str, list[bytes]] = {}
        self.files = 0
        self.ended = False
        self.pending = bytearray()
        """Bytes of the file that are not written yet."""
        self._size = 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._field: str | None = None
        self._data = bytearray()

    def callbacks(self) -> Any:
        """Return the callbacks for MultipartParser."""
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
        """Return the bytes of the file that arrived since the last call."""
        taken, self.pending = bytes(self.pending), bytearray()
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
            raise _invalid_form(f"the form has more than one {FILE}")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == FILE:
            self.pending += data[start:end]
            return
        self._count(end - start)
        self._data += data[start:end]

    def _on_part_end(self) -> None:
        if self._field is not None and self._field != FILE:
            self.fields.setdefault(self._field, []).append(bytes(self._data))

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > FIELD_BYTES:
            detail = f"the fields have more than {FIELD_BYTES:,} bytes: shorten them"
            raise HttpProblem(413, "too-large", detail)

    def _on_end(self) -> None:
        self.ended = True


def _validated_fields(form: _FormParser) -> NewVideoFields:
    """Return the fields; raise HttpProblem for invalid ones."""
    fields: dict[str, str | list[str]] = {}
    for name, values in form.fields.items():
        texts = [value.decode("utf-8", "replace") for value in values]
        if name in LIST_FIELDS:
            fields[name] = [text for text in texts if text]
        elif name in _SCALARS and len(texts) == 1:
            # A page's form sends an empty text for an input that was left empty.
            fields |= {name: texts[0]} if texts[0] else {}
        else:
            fields[name] = texts
    try:
        return NewVideoFields.model_validate(fields, strict=False)
    except ValidationError as error:
        raise validation_problem(error) from None


def _boundary(content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise _invalid_form("Content-Type has no boundary")
    return boundary


def _invalid_form(reason: str) -> HttpProblem:
    detail = f"{reason}: send one video, as `curl -F file=@clip.mp4 -F creator_id=me` does"
    return HttpProblem(422, "invalid-form", detail)
