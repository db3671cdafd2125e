"""A node in the process of another one: a call of it is a call, and no message."""

from collections.abc import Awaitable, Callable
from typing import Any


class LocalHandle:
    """What a Serve handle offers, over a node that runs in this very process."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __getattr__(self, name: str) -> "_LocalMethod":
        return _LocalMethod(getattr(self.node, name))


class _LocalMethod:
    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.remote = method
        """Called as a handle's method is, and awaited as what that gives."""
