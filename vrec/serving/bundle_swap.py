"""Hot swap of the bundle of a deployment: it moves to a sound bundle, and refuses any other."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from vrec.bundle.catalog import BundleCatalog, name_once
from vrec.core.errors import BundleError, VrecError
from vrec.core.masking import mask_credentials
from vrec.core.tables import StorageFolder
from vrec.serving.last_good import SERVED, check_encoder, read_last_good
from vrec.serving.observability import metrics

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
BundleCheck = Callable[[BundleCatalog], None]
"""Function that raises BundleError for a bundle that is not accepted."""
FIX_NOTE = "Fix: "
"""Start of the line after an error's message in a traceback that says how to fix it."""


@contextmanager
def fixes_in_tracebacks() -> Iterator[None]:
    """Note the fix of an error raised inside the `with`: of a replica's error, Serve keeps only the text."""
    try:
        yield
    except VrecError as error:
        error.add_note(f"{FIX_NOTE}{error.fix}")
        raise


class ServedBundle(Generic[T]):
    """Bundle in service and what a deployment has loaded from it.

    A bundle is loaded and checked while the one before goes on answering. A refused bundle changes nothing; a
    deployment without a bundle, such as one restarted after a refusal, takes the last good one.
    """

    def __init__(
        self,
        data: str,
        load: Callable[[str], tuple[BundleCatalog, T]],
        *,
        remembers: bool = False,
        check: BundleCheck | None = None,
    ) -> None:
        """Build it without a bundle.

        Args:
            data: The data folder of the service.
            load: Function that loads and checks the bundle in a folder, or raises VrecError; it runs in a
                thread.
            remembers: Whether to write SERVED after a good bundle: for the deployment whose `load` runs the
                bundle's smoke requests.
            check: Function that raises BundleError for a sound bundle that is not accepted here.
        """
        self._folder, self._load_unchecked, self._remembers = StorageFolder(data), load, remembers
        self._check = check
        self._lock = asyncio.Lock()
        self.loaded: T | None = None
        """What `load` made of the bundle in service; None before the first bundle."""
        self.bundle: BundleCatalog | None = None
        self.refused: str | None = None
        """Reason why the bundle requested last was refused; None if it is in service."""
        self.loaded_at = 0
        """µs since 1970 when the bundle in service came into service; 0 before the first one."""
        self.fix = ""
        """What to do about it."""

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Reason why the bundle requested last was refused, and the fix; None if it is in service."""
        return None if self.refused is None else (self.refused, self.fix)

    @property
    def version(self) -> str:
        """Version of the bundle in service, "" before the first one."""
        return "" if self.bundle is None else self.bundle.version

    async def swap_to(self, uri: str) -> bool:
        """Load the bundle in a folder and put it in service.

        Returns:
            Whether the bundle in service changed.

        Raises:
            VrecError: There is no bundle in service, and neither this one nor the last good one is sound.
        """
        async with self._lock:
            if self.bundle is not None and self.bundle.uri == uri and self.refused is None:
                return False
            try:
                self.bundle, self.loaded = await asyncio.to_thread(self._load, uri)
                self._set_refused(None)
                if self._remembers:
                    await asyncio.to_thread(self._remember, self.bundle)
            except VrecError as error:
                shown = mask_credentials(uri)
                self._set_refused(name_once(shown, str(error)), error.fix)
                logger.error("bundle refused", extra={"bundle": shown, "why": str(error)})
                last = self.last_good().get("uri")
                if self.bundle is not None:
                    return False
                if last is None or last == uri:
                    raise
                try:
                    self.bundle, self.loaded = await asyncio.to_thread(self._load, last)
                except VrecError:
                    # The bundle that was asked for is the one to mend, not the one before.
                    raise error from None
            self.loaded_at = time.time_ns() // 1000
            shown = mask_credentials(self.bundle.uri)
            logger.info("bundle served", extra={"bundle": shown, "version": self.version})
            return True

    def _set_refused(self, why: str | None, fix: str = "") -> None:
        self.refused, self.fix = why, fix
        metrics.metrics_recorder().record(metrics.REFUSED, float(why is not None))

    def _load(self, uri: str) -> tuple[BundleCatalog, T]:
        if not uri:
            raise BundleError("no bundle is named", fix="name one with `vrec serve --bundle DIR`")
        bundle, loaded = self._load_unchecked(uri)
        check_encoder(bundle, self._folder)
        if self._check is not None:
            self._check(bundle)
        return bundle, loaded

    def last_good(self) -> dict[str, Any]:
        """Return what SERVED holds: uri, version and encoder of the last good bundle, the version before."""
        return read_last_good(self._folder)

    def _remember(self, bundle: BundleCatalog) -> None:
        served = {"uri": bundle.uri, "version": bundle.version, "encoder": bundle.encoder}
        last = self.last_good()
        if {name: last.get(name) for name in served} != served:
            same = last.get("version") == bundle.version
            previous = last.get("previous") if same else last.get("version")
            self._folder.write_json(SERVED, served | {"previous": previous})
