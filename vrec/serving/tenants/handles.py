"""Handle of a deployment that hosts the shops of all tenants, whose calls go to one of them."""

from collections.abc import Awaitable
from typing import Any


class TenantHandle:
    """Handle with the methods of the shop's class: each call names the tenant before its arguments."""

    def __init__(self, handle: Any, tenant: str) -> None:
        """Take the handle of a `TenantHost`."""
        self._handle, self._tenant = handle, tenant

    def __reduce__(self) -> tuple[type, tuple[Any, str]]:
        return TenantHandle, (self._handle, self._tenant)

    def __getattr__(self, name: str) -> "_TenantMethod":
        return _TenantMethod(getattr(self._handle, name), self._tenant)


class _TenantMethod:
    """Method of such a handle."""

    def __init__(self, method: Any, tenant: str) -> None:
        self._method, self._tenant = method, tenant

    def remote(self, *args: Any) -> Awaitable[Any]:
        """Send the call for the tenant."""
        return self._method.remote(self._tenant, *args)
