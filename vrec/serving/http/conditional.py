"""Conditional requests: files that a client has already are not sent again, changes name what they change."""

import re
from email.utils import parsedate_to_datetime
from typing import Annotated

from fastapi import Header
from starlette.datastructures import Headers
from starlette.responses import Response

IfMatchOne = Annotated[str | None, Header(alias="If-Match", max_length=200, pattern=r'^(\*|(W/)?"[^"]*")$')]
"""Version that a thing must have to be changed, as its ETag has it; `*` for any."""
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_KEPT = ("etag", "last-modified", "cache-control", "content-security-policy", "vary")


def named_version(if_match: str | None) -> str | None:
    """Return the version in an If-Match header; None for any."""
    return None if if_match is None or if_match == "*" else if_match.removeprefix("W/").strip('"')


def not_modified(request: Headers, response: Response) -> Response | None:
    """Return the 304 response to a GET or HEAD if the client has this response already, else None.

    Args:
        request: Headers of the request. If-None-Match counts before If-Modified-Since (RFC 9110, 13.2.2).
        response: The complete response, with `etag` and `last-modified`.
    """
    tags = request.getlist("if-none-match")
    if tags:
        listed = ",".join(tags)
        known = listed.strip() == "*" or response.headers["etag"] in _TAG.findall(listed)
    else:
        known = _is_later(request.get("if-modified-since"), response.headers["last-modified"])
    if not known:
        return None
    return Response(None, 304, {name: response.headers[name] for name in _KEPT if name in response.headers})


def _is_later(given: str | None, modified: str) -> bool:
    """Return whether a date is not before the last modification; an invalid one counts as absent."""
    try:
        return given is not None and parsedate_to_datetime(given) >= parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return False
