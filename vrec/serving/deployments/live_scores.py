"""Scores of live streams for a shopper at the moment of a request, by the model of the bundle in service."""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vrec.retrieval.live.online import OnlineLiveModel
from vrec.retrieval.live.rates import StreamerRates
from vrec.retrieval.live.views import NamedRates, OpenStream, WatchedView
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.recommend.live import ScoreStreams
from vrec.serving.streams.states import StreamBook, StreamState
from vrec.serving.streams.views import FindFacts, category_of, watched_views

logger = logging.getLogger("ray.serve")

MAX_SHOPPER_EVENTS = 1_000
"""Newest events of a shopper in which views of streams are looked for: what a list costs does not grow with
what a shopper does."""


class LiveScores:
    """Rates of streamers, followed, and views of shoppers, read when they are needed."""

    def __init__(self, profiles: ProfilesHandle, find: FindFacts, timeout_s: float) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            find: Function that returns metadata of videos.
            timeout_s: Seconds to wait for a shopper's events.
        """
        self._profiles, self._find, self._timeout_s = profiles, find, timeout_s
        self._rates: NamedRates | None = None

    async def follow(self, model: OnlineLiveModel | None, book: StreamBook) -> None:
        """Read the rates of the streamers who are live; raises what the call raises."""
        if model is None:
            self._rates = None
            return
        streamers = sorted({one.streamer_id for one in book.states.values() if one.ended_at is None})
        self._rates = await self._profiles.live_rates.remote(streamers) if streamers else None

    async def scorer(
        self, model: OnlineLiveModel | None, user_id: str | None, at: int
    ) -> ScoreStreams | None:
        """Return the function that scores streams for a shopper, None for a stranger.

        There is no function without a model, and if the shopper's events cannot be read.
        """
        if model is None:
            return None
        if user_id is None:
            return self._scorer(model, [], at)
        try:
            async with asyncio.timeout(self._timeout_s):
                call = self._profiles.events_of.remote(user_id, None, MAX_SHOPPER_EVENTS)
                events, _ = await call
        except Exception as error:  # whatever it is, an order without the model is better than none
            logger.warning("no views of a shopper", extra={"why": f"{type(error).__name__}: {error}"[:300]})
            return None
        return self._scorer(model, list(watched_views(events, self._find)), at)

    def _scorer(self, model: OnlineLiveModel, views: Sequence[WatchedView], at: int) -> ScoreStreams:
        rates = self._rates or NamedRates({}, StreamerRates(0, model.early_leave_s))
        return lambda states: self._score(model, states, views, rates, at)

    def _score(
        self,
        model: OnlineLiveModel,
        states: Sequence[StreamState],
        views: Sequence[WatchedView],
        rates: NamedRates,
        at: int,
    ) -> npt.NDArray[np.floating]:
        streams = [
            OpenStream(
                state.stream_id,
                state.streamer_id,
                category_of(state.stream_id, self._find),
                state.started_at,
                float(state.viewers or 0),
            )
            for state in states
        ]
        return model.score(streams, views, rates, at)
