"""Catalog of an HTTP replica, as its streams need it."""

import logging
from collections.abc import Callable, Sequence

from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.deployments.protocol import BackendUnavailable, Card, EncoderHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import CatalogEdit, EmbeddedVideo
from vrec.serving.recommend.fallback import PopularFallback

logger = logging.getLogger("ray.serve")


class ServedStreamCatalog:
    """`StreamCatalog` over the catalog in service."""

    def __init__(
        self, catalog: LiveCatalog[PopularFallback], encoder: EncoderHandle | None, timeout_s: float
    ) -> None:
        """Build it over the catalog, the encoder's handle, and the seconds that embedding may take."""
        self._catalog, self._encoder, self._timeout_s = catalog, encoder, timeout_s

    def card(self, video_id: str) -> Card | None:
        """See StreamCatalog."""
        return self._state(None).card(video_id)

    async def edit(self, video_id: str, choose: Callable[[Card | None], Sequence[CatalogEdit]]) -> None:
        """See StreamCatalog."""
        await self._catalog.edit_all(lambda state: choose(self._state(state).card(video_id)))

    async def embed(self, title: str | None, tags: Sequence[str]) -> EmbeddedVideo | None:
        """See StreamCatalog."""
        bundle = self._catalog.served.bundle
        if self._encoder is None or bundle is None or bundle.encoder is None or not (title or tags):
            return None
        try:
            return await await_reply(self._encoder.words.remote(title, tuple(tags)), self._timeout_s)
        except Exception as error:  # whatever it is, the stream can be found by its words
            logger.warning("no vector of a stream's words", extra={"why": str(error)[:300]})
            return None

    def _state(self, state: PopularFallback | None) -> PopularFallback:
        state = state or self._catalog.value
        if state is None:
            raise BackendUnavailable("no bundle is loaded yet")
        return state
