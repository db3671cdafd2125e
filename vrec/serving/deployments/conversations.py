"""Conversations with the assistant, as one HTTP replica answers and keeps them."""

import asyncio
import logging
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

from vrec.config.serve import ServeConfig
from vrec.profiles.searches import search_subject
from vrec.serving.budgets.cpu import charge_cpu
from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.conversation.hand_overs import HandOver, hand_over_of
from vrec.serving.conversation.messages import (
    ConversationTurn,
    ConverseQuery,
    ConverseResult,
    ShopperMessage,
)
from vrec.serving.conversation.record import (
    Conversation,
    KeptAnswer,
    begin_conversation,
    pack_conversation,
    unpack_conversation,
)
from vrec.serving.deployments.customer_service import CustomerService
from vrec.serving.deployments.handles import ProfilesHandle, RankingHandle
from vrec.serving.deployments.learned_searches import ApplyEvents, search_row
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.replies import await_reply
from vrec.serving.deployments.stored_shoppers import UNKEPT
from vrec.serving.messages import ReadPosition
from vrec.serving.observability import metrics

logger = logging.getLogger(__name__)
ATTEMPTS = 20
"""Attempts of a turn, each of which fails if another process adds a turn meanwhile."""
REPEATED = "again"
"""Kind, in metrics, of an answer to a message that was sent before."""


class ConversationOperations:
    """Conversations in the store, whose answers come from ranking; see ConversationsBackend.

    A turn is written only over the conversation that it was answered from. Of two at the same time, the later
    one is answered once more, with the other one before it; so none is lost.
    """

    def __init__(
        self,
        profiles: ProfilesHandle,
        ranking: RankingHandle,
        position: Callable[[], ReadPosition],
        config: ServeConfig,
        recorder: metrics.MetricsRecorder,
        *,
        apply: ApplyEvents,
    ) -> None:
        """Build it over handles, the position that answers have to have, the settings, a recorder, and what
        stores events."""
        self._apply, self._learns = apply, config.assistant.learns
        self._profiles, self._ranking, self._position = profiles, ranking, position
        self._timeout_s, self._store_timeout_s = config.assistant.timeout_s, config.apply_timeout_s
        self._recorder, self._currency = recorder, config.currency
        self.service = CustomerService(config.assistant, recorder)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(
        self, user_id: str, message: ShopperMessage, account: str | None = None
    ) -> ConversationTurn:
        """Answer a message; see ConversationsBackend."""
        begun = time.perf_counter()
        # Turns that come to this replica wait for each other, so that none is answered in vain.
        lock = self._turns.setdefault(user_id, asyncio.Lock())
        async with lock:
            turn, kind = await self._answer(user_id, message, account or user_id)
        self._recorder.record(metrics.ASSISTANT, time.perf_counter() - begun, kind=kind)
        return turn

    async def get(self, user_id: str) -> Conversation | None:
        """Return a conversation; see ConversationsBackend."""
        return (await self._read(user_id))[1]

    async def forget(self, user_id: str) -> bool:
        """Remove a conversation; see ConversationsBackend."""
        return await await_reply(self._profiles.forget_conversation.remote(user_id), self._store_timeout_s)

    async def hand_overs(self, after: int, limit: int) -> tuple[list[HandOver], int]:
        """Return hand-overs; see ConversationsBackend."""
        call = self._profiles.hand_overs.remote(after, limit)
        return await await_reply(call, self._store_timeout_s)

    async def close(self) -> None:
        """Close the connections to the shop's tools."""
        await self.service.close()

    async def _answer(
        self, user_id: str, message: ShopperMessage, account: str
    ) -> tuple[ConversationTurn, str]:
        handed_over: HandOver | None = None
        for _ in range(ATTEMPTS):
            version, present = await self._read(user_id)
            before = present or begin_conversation(user_id, message, version)
            if (known := before.answer_to(message)) is not None:
                return _turn(before, known, None), REPEATED
            result = await self._converse(user_id, message, before, account)
            after = before.after(message, result.reply, wall_clock_us())
            if result.reply.answer.hand_over and handed_over is None:
                # First: an answer that says so is only given when it is so. A turn that lost against another
                # one is answered again, and is handed over already.
                handed_over = hand_over_of(user_id, message, after)
                call = self._profiles.add_hand_over.remote(handed_over)
                await await_reply(call, self._store_timeout_s)
            if version == UNKEPT:
                return _turn(after, after.answers[-1], result), result.reply.answer.kind
            call = self._profiles.put_conversation.remote(user_id, pack_conversation(after), version)
            if await await_reply(call, self._store_timeout_s) is not None:
                await self._learn(user_id, before, after)
                return _turn(after, after.answers[-1], result), result.reply.answer.kind
        raise BackendUnavailable("the conversation is changed faster than it can be written")

    async def _converse(
        self, user_id: str, message: ShopperMessage, before: Conversation, account: str
    ) -> ConverseResult:
        """Return the answer to a message: by ranking, from the catalog and the shop's documents.

        What is asked elsewhere, before or after, belongs here; nothing is kept of an answer until the turn
        is written.
        """
        query = ConverseQuery(user_id, message, before.state, wall_clock_us())

        async def converse(asked: ConverseQuery) -> ConverseResult:
            call = self._ranking.converse.remote(asked, self._position())
            result = await await_reply(call, self._timeout_s)
            charge_cpu(result.cpu_ms)
            return result

        return await self.service.answer(query, self._currency, converse, account)

    async def _learn(self, user_id: str, before: Conversation, after: Conversation) -> None:
        """Store what a turn newly asks for as a search of the shopper; the answer does not depend on it."""
        known = {one.key for kept in before.answers[-1:] for one in kept.reply.answer.constraints}
        kept = after.answers[-1]
        asked = [one.key for one in kept.reply.answer.constraints]
        subject = search_subject((facet, value) for facet, _, value in (key.partition(":") for key in asked))
        if not self._learns or subject is None or known.issuperset(asked):
            return
        event_id = f"search:{kept.request_id}"
        row = search_row(event_id, user_id, subject, kept.request_id, wall_clock_us())
        try:
            await self._apply([row])
        except Exception as error:  # whatever it is, the shopper has the answer
            logger.warning("a search is not counted", extra={"why": str(error)[:300]})

    async def _read(self, user_id: str) -> tuple[int, Conversation | None]:
        """Return the version and conversation of a shopper; one in an unknown format counts as none."""
        call = self._profiles.conversation.remote(user_id)
        version, record = await await_reply(call, self._store_timeout_s)
        return version, unpack_conversation(record)


def _turn(conversation: Conversation, kept: KeptAnswer, result: ConverseResult | None) -> ConversationTurn:
    cards = {} if result is None else result.cards
    return ConversationTurn(
        conversation.conversation_id, kept.number, kept.message_id, kept.request_id, kept.reply, cards
    )
