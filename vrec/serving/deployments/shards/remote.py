"""Calls from the gathering process to the replicas of a shard."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vrec.core.errors import ServeError
from vrec.serving.deployments.shards.deployment import OtherVersion
from vrec.serving.deployments.shards.part import Draft
from vrec.serving.messages import ReadPosition

if TYPE_CHECKING:
    from vrec.serving.scatter.messages import (
        FactsQuery,
        LookQuery,
        PartFacts,
        PartRecords,
        PartRows,
        PopularKey,
    )

logger = logging.getLogger("ray.serve")

ATTEMPTS = 3
"""Calls of a shard for one answer: a replica that dies meanwhile leaves it to another copy."""


class WrongVersion(ServeError):
    """Bundle that a shard does not have, or has no more."""

    fix = "wait until all shards have moved to the bundle"


class RemotePart:
    """Part of the catalog in the replicas of a shard, for one request over one bundle."""

    def __init__(
        self,
        handle: Any,
        version: str,
        after: ReadPosition | None,
        draft: Draft | None = None,
        *,
        timeout_s: float,
    ) -> None:
        """Take the handle of a `CatalogShard`.

        Args:
            handle: The handle.
            version: Version of the bundle.
            after: Changes that the answer has to have.
            draft: Rule that holds for the request only.
            timeout_s: Seconds to wait for an answer.
        """
        self._handle, self._version, self._after, self._draft = handle, version, after, draft
        self._timeout_s = timeout_s

    async def facts(self, ask: "FactsQuery") -> "PartFacts | None":
        """See CatalogPart."""
        return await self._call("facts", ask, self._after)

    async def look(self, ask: "LookQuery") -> "PartRows | None":
        """See CatalogPart."""
        return await self._call("look", ask, self._after, self._draft)

    async def records(self, video_ids: Sequence[str]) -> "PartRecords | None":
        """See CatalogPart."""
        return await self._call("records", video_ids)

    async def popular_before(self, keys: "Sequence[PopularKey]") -> list[int] | None:
        """See CatalogPart."""
        return await self._call("popular_before", keys)

    async def _call(self, method: str, *args: Any) -> Any:
        """Return the answer of a copy of the shard, None if there is none; raises WrongVersion."""
        error: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(ATTEMPTS):
                    try:
                        found = await self._handle.ask.remote(method, self._version, *args)
                    except TimeoutError:
                        raise
                    except Exception as one:  # whatever it is, another copy may answer
                        error = one
                        continue
                    if isinstance(found, OtherVersion):
                        there = ", ".join(found.versions)
                        raise WrongVersion(f"a shard has the bundle {there}, not {self._version}")
                    return found
        except TimeoutError as one:
            error = one
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        logger.warning("a shard does not answer", extra={"why": why})
        return None
