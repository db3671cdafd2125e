"""Shard of the catalog: a replica with one part, of the bundle in service and of the one before."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.serving.bundle_swap import fixes_in_tracebacks
from vrec.serving.deployments.shards.part import PartDeployment
from vrec.serving.deployments.store_ends import SharedEnds
from vrec.serving.tenants.context import DEFAULT_TENANT
from vrec.serving.tenants.handles import TenantHandle

logger = logging.getLogger("ray.serve")

KEEP_S = 30.0
"""Seconds for which nobody may have asked for the bundle before until it is let go of."""
LOOK_S = 1.0
"""Seconds between two looks at that."""


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """Answer of a shard that has other bundles than the one that was asked for."""

    versions: tuple[str, ...]


class CatalogShard:
    """Deployment of one part of the catalog.

    Replicas move to another bundle at different times. So each holds the one before, which goes on following
    all changes, until lists are made from the new one everywhere: a list is always of one bundle.
    """

    def __init__(self, config: ServeConfig, profiles: Any, number: int) -> None:
        """Build it without a bundle.

        Args:
            config: The settings of the service.
            profiles: Handle of a `ProfilesHost`.
            number: Number of the part.
        """
        handle: Any = TenantHandle(profiles, DEFAULT_TENANT)
        ends = SharedEnds(profiles.ends.remote, config.refresh_s / 2, config.apply_timeout_s)
        self._make = lambda: PartDeployment(config, handle, number, ends.reader(DEFAULT_TENANT))
        self._now: PartDeployment | None = None
        self._before: PartDeployment | None = None
        self._uri, self._asked_now = "", False
        self._asked_before = time.monotonic()
        self._watch: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound, and keep the one before for a while."""
        uri = user_config["bundle"]
        if uri == self._uri:
            return
        part = self._make()
        try:
            with fixes_in_tracebacks():
                await part.reconfigure({"bundle": uri})
        except VrecError:
            await part.close()
            if self._now is None:
                raise
            logger.exception("shard stays with its bundle")
            return
        self._uri = uri
        if self._now is not None and part.served.version == self._now.served.version:
            await part.close()
            return
        before, self._before, self._now = self._before, self._now, part
        self._asked_now, self._asked_before = False, time.monotonic()
        if before is not None:
            await before.close()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._let_go())

    async def ask(self, method: str, version: str, *args: Any) -> Any:
        """Return the answer of a method of the part of one bundle, or OtherVersion if it is not here."""
        shops = [shop for shop in (self._now, self._before) if shop is not None]
        part = next((shop for shop in shops if shop.served.version == version), None)
        if part is None:
            return OtherVersion(tuple(shop.served.version for shop in shops))
        if part is self._before:
            self._asked_before = time.monotonic()
        else:
            self._asked_now = True
        return await getattr(part, method)(*args)

    async def ready(self) -> str:
        """Return the version in service."""
        return "" if self._now is None else self._now.served.version

    async def check_health(self) -> None:
        """Raise if the changes are not followed any more; Serve then replaces the replica."""
        if self._now is not None:
            await self._now.check_health()

    async def _let_go(self) -> None:
        while self._before is not None:
            await asyncio.sleep(LOOK_S)
            before = self._before
            if self._asked_now and time.monotonic() - self._asked_before > KEEP_S:
                self._before = None
                with suppress(Exception):  # it is of no use any more
                    await before.close()
