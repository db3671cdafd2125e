"""Cursors: where the next page of a list begins, as text that a client sends back as it is."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgpack

from vrec.serving.http.errors import FieldProblem, HttpProblem
from vrec.serving.tenants.context import current_tenant

CURSOR_FORMAT = "vrec-cursor"
"""`format` of cursors in the OpenAPI document."""
MAX_CURSOR_CHARS = 65_536
"""Maximum length of a cursor."""
MAX_CURSOR_BYTES = 1_000_000
"""Maximum size of what a cursor holds."""
_VERSION = 2


def encode_cursor(request: Sequence[Any], position: Any) -> str:
    """Return a cursor.

    Args:
        request: Plain data that the requests for all pages have in common.
        position: Plain data that tells where the next page begins.
    """
    packed = msgpack.packb((_VERSION, _digest(request), position))
    assert packed is not None  # it is None for streaming packers only
    return base64.urlsafe_b64encode(zlib.compress(packed)).decode()


def decode_cursor(cursor: str, request: Sequence[Any], kind: type, field: str) -> Any:
    """Return the position that `encode_cursor` was given.

    Args:
        cursor: Text that a client sent.
        request: As for `encode_cursor`.
        kind: Type of the position.
        field: Field that held the cursor, for the message.

    Raises:
        HttpProblem: The text is no cursor, or one of another request or tenant.
    """
    try:
        decoder = zlib.decompressobj()
        packed = decoder.decompress(base64.b64decode(cursor, b"-_", validate=True), MAX_CURSOR_BYTES)
        if not decoder.eof:
            raise ValueError("cut off, or too large")
        version, digest, position = msgpack.unpackb(packed)
    except (ValueError, TypeError, binascii.Error, zlib.error, msgpack.UnpackException):
        raise refused_cursor(
            field, "it is not a cursor of this service: send `next_cursor` as it came"
        ) from None
    if version != _VERSION or not isinstance(position, kind):
        raise refused_cursor(
            field, "it is a cursor of another operation or version: begin again without cursor"
        )
    if digest != _digest(request):
        detail = "it is a cursor of another request: send the other fields as before, or no cursor"
        raise refused_cursor(field, detail)
    return position


def _digest(request: Sequence[Any]) -> bytes:
    """Return a digest of the request and of the tenant, whose cursor no other one accepts."""
    tenant = current_tenant()
    return sha256(
        repr((tenant, *request) if tenant else tuple(request)).encode(errors="surrogatepass")
    ).digest()[:12]


def refused_cursor(field: str, detail: str) -> HttpProblem:
    """Return the problem of a cursor that the request cannot have."""
    problem = f"the cursor in `{field}` cannot be used: {detail}"
    return HttpProblem(422, "invalid-request", problem, errors=[FieldProblem(where=field, detail=detail)])
