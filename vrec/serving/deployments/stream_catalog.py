"""Catalog of an HTTP replica, as its streams need it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vrec.core.schema import VIDEOS
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.catalog.versions import card_version
from vrec.serving.deployments.handles import EncoderHandle
from vrec.serving.deployments.protocol import BackendUnavailable, Card
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import CatalogEdit, EmbeddedVideo
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.streams.states import is_stream

logger = logging.getLogger("ray.serve")


class ServedStreamCatalog:
    """`StreamCatalog` over the catalog in service."""

    def __init__(self, catalog: LiveCatalog[Any], encoder: EncoderHandle | None, timeout_s: float) -> None:
        """Build it over the catalog, the encoder's handle, and the seconds that embedding may take."""
        self._catalog, self._encoder, self._timeout_s = catalog, encoder, timeout_s

    def card(self, video_id: str) -> Card | None:
        """See StreamCatalog."""
        return self._state(None).card(video_id)

    def possible(self, video_ids: Sequence[str]) -> list[str]:
        """See StreamCatalog."""
        return self._state(None).possible_streams(video_ids)

    async def edit(self, video_id: str, choose: Callable[[Card | None], Sequence[CatalogEdit]]) -> None:
        """See StreamCatalog."""
        await self._catalog.edit_all(lambda state: choose(self._state(state).card(video_id)), urgent=True)

    async def remove(self, cards: Mapping[str, Card | None]) -> list[str]:
        """Remove the rows of streams that are still as they were.

        Args:
            cards: Rows as they were by stream id; None for a stream that had none.

        Returns:
            Ids of the streams that have no row now, and of those whose id a video has.
        """
        gone: list[str] = []

        def choose(state: Any) -> Sequence[CatalogEdit]:
            now = {name: self._state(state).card(name) for name in cards}
            rows = {name: card for name, card in now.items() if card is not None and is_stream(card)}
            same = {name for name, card in rows.items() if _version(card) == _version(cards[name])}
            gone[:] = [name for name in cards if name not in rows or name in same]
            return [CatalogEdit(name, "remove") for name in cards if name in same]

        await self._catalog.edit_all(choose)
        return gone

    async def restore(self, cards: Mapping[str, Card | None]) -> None:
        """Add rows, by stream id, of which the catalog has none; None of a stream that had none."""

        def choose(state: Any) -> Sequence[CatalogEdit]:
            lost = (
                card
                for name, card in cards.items()
                if card is not None and self._state(state).card(name) is None
            )
            names = [column.name for column in VIDEOS.columns[1:]]
            return [
                CatalogEdit(card["video_id"], "add", {name: card[name] for name in names}) for card in lost
            ]

        await self._catalog.edit_all(choose)

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

    def _state(self, state: Any) -> PopularFallback:
        state = state or self._catalog.value
        if state is None:
            raise BackendUnavailable("no bundle is loaded yet")
        return state.fallback


def _version(card: Card | None) -> str | None:
    return None if card is None else card_version(card)
