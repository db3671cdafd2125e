"""Which bundle a node serves: it moves to another that is sound, and stays with the one it has otherwise."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from vrec.bundle.catalog import BundleCatalog
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import StorageFolder
from vrec.serving.observability import metrics

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

SERVED = "served.json"
"""In the data folder: the last bundle that passed its own questions, and its encoder."""


class ServedBundle(Generic[T]):
    """What a node has made of the bundle that it serves.

    A bundle is loaded and asked its own questions while the one before goes on answering. One that is refused
    leaves everything as it was; a node that has none yet, such as one started anew after a refusal, takes the
    last that passed.
    """

    def __init__(
        self, data: str, load: Callable[[str], tuple[BundleCatalog, T]], *, remembers: bool = False
    ) -> None:
        """`load` gives the bundle in a folder and what the node works with, or raises; it runs in a thread.

        Of all nodes those that `judge`, whose `load` asks the bundle its own questions, say which was good.
        """
        self._folder, self._load_one, self._judge = StorageFolder(data), load, remembers
        self._lock = asyncio.Lock()
        self.now: T | None = None
        self.bundle: BundleCatalog | None = None
        self.refused: str | None = None
        """Why the bundle that was asked for last is not served; None where it is."""

    @property
    def version(self) -> str:
        """The version of the bundle that is served, "" before there is one."""
        return "" if self.bundle is None else self.bundle.version

    async def swap_to(self, uri: str) -> bool:
        """Whether another bundle is served by now than before.

        Raises BundleError where there was none, and neither this one nor the last good one is sound.
        """
        async with self._lock:
            if self.bundle is not None and self.bundle.uri == uri and self.refused is None:
                return False
            try:
                self.bundle, self.now = await asyncio.to_thread(self._load, uri)
                self._set_refused(None)
                if self._judge:
                    await asyncio.to_thread(self._remember, self.bundle)
            except VrecError as error:
                self._set_refused(f"{uri}: {error}")
                logger.error("bundle refused", extra={"bundle": uri, "why": str(error)})
                last = self._last().get("uri")
                if self.bundle is not None:
                    return False
                if last is None or last == uri:
                    raise
                self.bundle, self.now = await asyncio.to_thread(self._load, last)
            logger.info("bundle served", extra={"bundle": self.bundle.uri, "version": self.version})
            return True

    def _set_refused(self, why: str | None) -> None:
        self.refused = why
        metrics.metrics_recorder().record(metrics.REFUSED, float(why is not None))

    def _load(self, uri: str) -> tuple[BundleCatalog, T]:
        if not uri:
            raise BundleError("no bundle is named", fix="give one: `vrec serve --bundle DIR`")
        bundle, made = self._load_one(uri)
        last = self._last()
        if last and bundle.encoder != last["encoder"]:
            raise BundleError(
                f"{uri} was made with the encoder {bundle.encoder}, and the profiles here with "
                f"{last['encoder']}: tastes are vectors of one encoder",
                fix="serve it with a new serve.data and serve.store, and send the exported events there",
            )
        return bundle, made

    def _last(self) -> dict[str, Any]:
        try:
            return json.loads(self._folder.read(SERVED))
        except (FileNotFoundError, ValueError):
            return {}

    def _remember(self, bundle: BundleCatalog) -> None:
        said = {"uri": bundle.uri, "version": bundle.version, "encoder": bundle.encoder}
        if self._last() != said:
            self._folder.write_json(SERVED, said)
