"""Tenant whose work the running task does: log records, metrics and cursors carry it.

It is ambient, as a request id in tracing is, so that no line of code can forget to pass it on. Tasks and
`asyncio.to_thread` inherit it. What decides about data does not: a tenant's data folder, store and catalog
are objects of its own.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DEFAULT_TENANT = ""
"""Name of the shop of a service without tenants, which no text mentions."""
_CURRENT: ContextVar[str] = ContextVar("vrec_tenant", default=DEFAULT_TENANT)


def current_tenant() -> str:
    """Return the tenant of the running task."""
    return _CURRENT.get()


@contextmanager
def as_tenant(name: str) -> Iterator[None]:
    """Do the work inside the `with`, and all tasks that it starts, as a tenant's."""
    token = _CURRENT.set(name)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def name_tenants_in_logs() -> None:
    """Let every log record of this process have the `tenant`, except the default's records."""
    before = logging.getLogRecordFactory()
    if isinstance(before, _TenantRecords):
        return
    logging.setLogRecordFactory(_TenantRecords(before))


class _TenantRecords:
    """Factory of log records that adds the tenant to those of another factory."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        if tenant := _CURRENT.get():
            record.tenant = tenant
        return record
