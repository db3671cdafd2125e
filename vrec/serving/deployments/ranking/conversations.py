"""The assistant in a ranking process: answers to messages, and what a search asks for."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from vrec.profiles.profile import Profile
from vrec.serving.budgets.cpu import measures_cpu
from vrec.serving.conversation.messages import ConverseQuery, ConverseResult, ShopMoment
from vrec.serving.deployments.ranking.part import RankingPart
from vrec.serving.messages import ReadPosition
from vrec.serving.tenants.context import current_tenant
from vrec.serving.tenants.turns import ranking_turns

if TYPE_CHECKING:
    from vrec.serving.conversation.served import ServedAssistant

logger = logging.getLogger("ray.serve")


class RankingConversations(RankingPart):
    """Part of `RankingDeployment` that understands messages and searches."""

    _assistant: "ServedAssistant | None" = None

    async def _profile(self, user_id: str) -> Profile | None:
        raise NotImplementedError

    @measures_cpu
    async def converse(self, query: ConverseQuery, after: ReadPosition | None = None) -> ConverseResult:
        """Answer a message to the assistant, with all catalog edits up to a position."""
        await self._reach(after)
        missing, profile = self._missing(), None
        try:
            profile = await self._profile(query.user_id)
        except Exception as error:  # whatever it is, an answer without it is better than none
            logger.warning("no profile", extra={"why": f"{type(error).__name__}: {error}"[:300]})
            missing = [*missing, "profiles"]
        shopper = profile or Profile("user", query.user_id)
        moment = ShopMoment(self._rules.book, self._streams.book)
        async with ranking_turns().turn(current_tenant()):
            result = await self._conversations().converse(query, shopper, moment)
        degraded = (*missing, *result.reply.degraded)
        return replace(result, reply=replace(result.reply, degraded=degraded))

    async def search_subject(self, text: str) -> str | None:
        """Return what stands in place of the video in the event of a search; None if it asks for nothing
        that videos have. See `vrec.profiles.searches`."""
        return await self._conversations().search_subject(text)

    def _conversations(self) -> "ServedAssistant":
        # Imported here, so that a process that only names this class to Serve does not load torch.
        from vrec.serving.conversation.served import ServedAssistant

        if self._assistant is None:
            self._assistant = ServedAssistant(self._config, lambda: self._engine, self._encoder)
        return self._assistant
