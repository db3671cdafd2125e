"""Handles of nodes that run in the test's own process: what Serve's handles do, without Ray."""

import asyncio

from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment


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


class UnrankedService:
    """A profiles node and an HTTP node without ranking, both in this process."""

    def __init__(self, config):
        self.profiles = Direct(ProfilesDeployment(config))
        self.api = ApiDeployment(config, Direct(None), self.profiles, None)

    async def start(self, bundle):
        """Load the bundle in both, and return the service."""
        await self.profiles.node.reconfigure({"bundle": bundle.uri})
        await self.api.reconfigure({"bundle": bundle.uri})
        return self

    async def stop(self):
        """End both nodes' tasks and close the store."""
        self.profiles.node._task.cancel()
        self.api._task.cancel()
        await asyncio.gather(self.profiles.node._task, self.api._task, return_exceptions=True)
        await asyncio.to_thread(self.profiles.node._store.close)
