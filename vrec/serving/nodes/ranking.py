"""The node that ranks: candidates, features, the ranker and the list, for one request at a time."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vrec.bundle.bundle import Bundle
from vrec.profiles.profile import Profile
from vrec.serve_config import ServeConfig
from vrec.serving.journal import Journal
from vrec.serving.reload import Served
from vrec.serving.stock import Stock
from vrec.serving.wire import Answer, Ask, Change, Filters

logger = logging.getLogger("ray.serve")

STATES_AT_ONCE = 2_000
"""Videos whose counts are asked for in one call."""


class RankingNode:
    """Answers from memory. Only the shopper's profile is fetched for each request, so that it is the newest.

    Videos' counts and changes of the catalogue are followed every `refresh_s`. What is missing is left out
    and named in the answer: a shopper without a profile is a stranger.
    """

    def __init__(self, config: ServeConfig, profiles: Any, encoder: Any) -> None:
        """`profiles` and `encoder` are handles of those nodes; `encoder` may be None."""
        # Replicas share the machine's cores.
        torch.set_num_threads(1)
        self._config, self._profiles, self._encoder = config, profiles, encoder
        self._served: Served[Stock] = Served(config.data, self._load, judge=True)
        self._journal, self._changes = Journal(config.data), list[Change]()
        self._cursor: int | None = None
        self._changing = asyncio.Lock()
        self._rng = np.random.default_rng()
        self._task: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the bundle that is named, where it is sound, without leaving a request unanswered."""
        async with self._changing:
            if self._task is None:
                self._changes += await asyncio.to_thread(self._journal.read_new)
            if await self._served.move(user_config["bundle"]):
                await self._learn_states()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_up())

    async def recommend(self, ask: Ask) -> Answer:
        """What to show a shopper now."""
        begun, missing = time.perf_counter(), []
        try:
            call = self._profiles.get.remote(ask.user_id)
            profile = await asyncio.wait_for(call, self._config.profile_timeout_s)
        except Exception as error:  # whatever it is, an answer without it is better than none
            logger.warning("no profile", extra={"request_id": ask.request_id, "why": _said(error)})
            profile, missing = None, ["profiles"]
        waited = time.perf_counter() - begun
        answer = self._stock.recommend(ask, profile or Profile("user", ask.user_id), self._rng)
        spent = {"profile": waited * 1e3, **answer.spent_ms}
        return replace(answer, degraded=(*missing, *answer.degraded), spent_ms=spent)

    async def similar(self, video_id: str, k: int, filters: Filters, at: int) -> Answer:
        """The videos most like one; raises UnknownVideo."""
        return self._stock.similar(video_id, k, filters, at)

    async def search(self, text: str, k: int, filters: Filters, at: int) -> Answer:
        """The videos that a text asks for; by its words alone where it cannot be embedded."""
        vector, missing = None, []
        if self._encoder is not None:
            try:
                vector = await asyncio.wait_for(
                    self._encoder.text.remote(text), self._config.ranking_timeout_s / 2
                )
            except Exception as error:  # as above
                logger.warning("no text vector", extra={"why": _said(error)})
                missing = ["encoder"]
        answer = self._stock.search(text, vector, k, filters, at)
        return replace(answer, degraded=(*missing, *answer.degraded))

    async def cards(self, video_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of videos by id; those that are not known are absent."""
        found = ((name, self._stock.card(name)) for name in video_ids)
        return {name: card for name, card in found if card is not None}

    async def ready(self) -> str:
        """The version that is served."""
        return self._served.version

    async def refused(self) -> str | None:
        """Why the bundle that was asked for last is not served."""
        return self._served.refused

    @property
    def _stock(self) -> Stock:
        if self._served.now is None:
            raise RuntimeError("a request came before the first bundle")
        return self._served.now

    def _load(self, uri: str) -> tuple[Bundle, Stock]:
        bundle = Bundle.load(uri)
        bundle.check()
        return bundle, Stock(bundle, self._config).with_changes(self._changes)

    async def _learn_states(self) -> None:
        """Fetches the counts of all videos; where profiles are away, `_keep_up` tries again."""
        self._cursor, cursor = None, None
        names = self._stock.video_ids
        try:
            for start in range(0, len(names), STATES_AT_ONCE):
                some = names[start : start + STATES_AT_ONCE]
                upto, states = await self._profiles.states.remote(some)
                cursor = upto if cursor is None else cursor
                self._stock.set_states(some, states)
            self._cursor = cursor or 0
        except Exception as error:  # as above
            logger.warning("no counts of videos", extra={"why": _said(error)})

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                async with self._changing:
                    await self._follow()
            except Exception as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": _said(error)})

    async def _follow(self) -> None:
        if changes := await asyncio.to_thread(self._journal.read_new):
            self._changes += changes
            self._served.now = await asyncio.to_thread(self._stock.with_changes, changes)
        if self._cursor is None:
            await self._learn_states()
            return
        self._cursor, names, states = await self._profiles.states_since.remote(self._cursor)
        if names:
            self._stock.set_states(names, states)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
