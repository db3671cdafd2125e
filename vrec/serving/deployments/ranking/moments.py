"""Moments in a ranking process: searched over its bundle, for the videos that an answer may have now."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.serving.budgets.cpu import measures_cpu
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.deployments.ranking.part import RankingPart
from vrec.serving.messages import ReadPosition, RecommendQuery
from vrec.serving.moments.messages import MomentQuery, MomentResult, MomentsMissing
from vrec.serving.moments.search import MomentSearch

logger = logging.getLogger("ray.serve")


class RankingMoments(RankingPart):
    """Part of `RankingDeployment` that finds moments."""

    @measures_cpu
    async def find_moments(self, query: MomentQuery, after: ReadPosition | None = None) -> MomentResult:
        """Return moments, with all catalog edits up to a position.

        Raises:
            MomentsMissing: The bundle, or the example, has no moments.
            UnknownVideo: The video of the example, or the only one to search in, is not in the catalog.
        """
        await self._reach(after)
        engine, missing = self._engine, self._missing()
        moments = engine.moments
        if moments is None:
            raise MomentsMissing("the bundle in service has no moments")
        named = query.video_ids if len(query.video_ids) == 1 else ()
        for video_id in named if query.like is None else (query.like[0],):
            if engine.card(video_id) is None:
                raise UnknownVideo(f"{video_id} is not in the catalog")
        vectors: list[Vectors | None] = [None, None]
        if query.text is not None and self._encoder is not None:
            calls = [self._encoder.text.remote(query.text)]
            if moments.joint:
                calls.append(self._encoder.joint_text.remote(query.text))
            vectors, failed = await self._vectors(calls)
            missing += ["encoder"] if failed else []
        asked = RecommendQuery(
            request_id="", user_id="", surface="search", k=query.k, at=query.at, filters=query.filters
        )
        streams = self._streams.book
        search = MomentSearch(moments, engine.snapshot, self._config.search.min_similarity)

        def find() -> MomentResult:
            allowed = engine.allowed(asked, Profile("user", ""), self._rules.book, streams=streams)
            found = (
                search.by_example(query, allowed)
                if query.text is None
                else search.by_words(query, vectors[0], vectors[1], allowed)
            )
            return MomentResult(tuple(found), engine.version, tuple(missing))

        # Over a large catalog the search takes longer than the others may wait for.
        return await asyncio.to_thread(find)

    async def _vectors(self, calls: Sequence[Awaitable[Any]]) -> tuple[list[Vectors | None], bool]:
        """Return the vectors of a text, and whether the encoder did not answer."""
        try:
            async with asyncio.timeout(self._config.ranking_timeout_s / 2):
                found = await asyncio.gather(*calls)
        except Exception as error:  # whatever it is, a search by words is better than none
            logger.warning("no text vector", extra={"why": f"{type(error).__name__}: {error}"[:300]})
            return [None, None], True
        return [*found, None][:2], False
