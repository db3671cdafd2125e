"""Handles of nodes that run in the test's own process: what Serve's handles do, without Ray."""

import asyncio


class Direct:
    """`handle.method.remote(…)` is awaited as a call of the node's method; `broken` raises instead."""

    def __init__(self, node):
        self.node, self.broken = node, None

    def __getattr__(self, name):
        return _Method(self, name)

    def options(self, **_):
        """Return the handle itself: there is one replica."""
        return self


class _Method:
    def __init__(self, handle, name):
        self._handle, self._name = handle, name

    def remote(self, *args):
        async def call():
            if self._handle.broken is not None:
                raise self._handle.broken
            return await getattr(self._handle.node, self._name)(*args)

        return asyncio.ensure_future(call())
