"""Conditional requests: files that a client has already are not sent again."""

import re
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers
from starlette.responses import Response

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_KEPT = ("etag", "last-modified", "cache-control", "content-security-policy", "vary")


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
