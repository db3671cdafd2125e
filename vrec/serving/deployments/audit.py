"""Audit log: who called what operation of the scope `manage`, when, and with what outcome."""

from dataclasses import asdict

import msgpack

from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import AuditEntry

AUDIT_LOG = "audit"
"""Log of the store that has the entries."""
MAX_ENTRIES = 100_000
"""Number of entries that are kept, the last ones."""
FORMAT = 1
"""First value of each record; others are left out."""


class AuditLog:
    """Audit log in the store of profiles."""

    def __init__(self, profiles: ProfilesHandle, timeout_s: float) -> None:
        """Build it over the deployment of the store, and the seconds that a call may take."""
        self._profiles, self._timeout_s = profiles, timeout_s

    async def append(self, entry: AuditEntry) -> None:
        """Add an entry durably; raises StoreError or BackendUnavailable."""
        packed = msgpack.packb((FORMAT, asdict(entry)))
        assert packed is not None  # it is None for streaming packers only
        call = self._profiles.append_record.remote(AUDIT_LOG, packed, None, MAX_ENTRIES)
        await await_reply(call, self._timeout_s)

    async def page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return the last at most `limit` entries before a number (None: of all), the last first.

        Raises:
            StoreError: The store cannot be read.
            BackendUnavailable: It does not answer.
        """
        call = self._profiles.records_before.remote(AUDIT_LOG, before, limit)
        entries: list[tuple[int, AuditEntry]] = []
        for number, record in await await_reply(call, self._timeout_s):
            form, values = msgpack.unpackb(record)
            if form == FORMAT:
                entries.append((number, AuditEntry(**values)))
        return entries
