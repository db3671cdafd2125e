"""Uploads: the last new videos that were refused, by whom they were sent, and why."""

from fastapi import Response

from vrec.serving.console.requests import ConsoleRequest
from vrec.serving.http.audit import NEW_VIDEO_OPERATIONS
from vrec.serving.messages import AuditEntry

MAX_UPLOADS = 100
"""Maximum number of refused uploads on the page."""
ENTRIES_AT_ONCE, MAX_ENTRIES = 1_000, 20_000
"""Entries of the audit log that are read in one call, and in all: those before are left out."""


async def show_uploads(page: ConsoleRequest) -> Response:
    """Show the last uploads that were refused."""
    found: list[AuditEntry] = []
    before: int | None = None
    for _ in range(MAX_ENTRIES // ENTRIES_AT_ONCE):
        entries = await page.backend.audit.page(before, ENTRIES_AT_ONCE)
        found += [
            entry for _, entry in entries if entry.operation in NEW_VIDEO_OPERATIONS and entry.status >= 400
        ]
        if len(found) >= MAX_UPLOADS or len(entries) < ENTRIES_AT_ONCE:
            break
        before = entries[-1][0]
    return page.page("uploads.html", uploads=found[:MAX_UPLOADS], most=MAX_ENTRIES)


ROUTES = (("GET", "/catalog/uploads", show_uploads),)
