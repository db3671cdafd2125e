"""Calls that an answer of the assistant needs: of the shop's orders tool, and of a language model."""

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal, TypeVar

from vrec.assistant.answers import Answer, AnswerKind
from vrec.assistant.config import AssistantConfig
from vrec.assistant.connectors.json_calls import CallFailed, WrongAnswer
from vrec.assistant.connectors.order_answers import (
    order_change_answer,
    orders_answer,
    orders_away_answer,
    signed_out_answer,
)
from vrec.assistant.connectors.order_questions import order_wish
from vrec.assistant.connectors.orders import OrderLookup
from vrec.assistant.language_model.chat import ChatModel, ModelRefused
from vrec.assistant.language_model.parsing import ShopVocabulary, parse_by_model
from vrec.assistant.language_model.phrasing import phrase_by_model
from vrec.assistant.text import one_line
from vrec.assistant.wording import wording
from vrec.core.secrets import read_secret
from vrec.serving.conversation.messages import ConverseQuery, ConverseResult
from vrec.serving.deployments.circuit_breaker import CircuitBreaker
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.observability import metrics

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
Task = Literal["orders", "parse", "phrase"]
Converse = Callable[[ConverseQuery], Awaitable[ConverseResult]]
"""From a query to the answer of the rules."""
PHRASED: frozenset[AnswerKind] = frozenset({"cards", "nothing", "detail", "talk"})
"""Kinds of answers that may be put into other words: no quotes, no orders, no promises of a person."""


class CustomerService:
    """Callers of the shop's tools for one HTTP replica. Whatever they do, there is an answer of the rules."""

    def __init__(self, config: AssistantConfig, recorder: metrics.MetricsRecorder) -> None:
        """Build the callers of the settings without connecting; raises ServeError for an unreadable key."""
        self._config, self._recorder = config, recorder
        self._orders, self._model = None, None
        if config.orders.url is not None:
            self._orders = OrderLookup(config.orders, read_secret(config.orders.key_variable, os.environ))
        if config.llm.url is not None:
            self._model = ChatModel(config.llm, read_secret(config.llm.key_variable, os.environ))
        self._breakers = {"orders": CircuitBreaker("orders"), "model": CircuitBreaker("model")}

    async def answer(
        self, query: ConverseQuery, currency: str, converse: Converse, account: str | None = None
    ) -> ConverseResult:
        """Return the answer to a message.

        Args:
            query: The message, and the conversation before it.
            currency: ISO 4217 code of the shop's prices.
            converse: Answers by rules.
            account: Id by which the orders tool knows the shopper; None for that of the query.
        """
        result = await converse(query)
        if result.vocabulary is not None and self._model is not None and self._config.llm.parses:
            result = await self._parsed(query, result, result.vocabulary, self._model, converse)
        answer = result.reply.answer
        if answer.kind == "order":
            answer = await self._about_orders(query, answer, currency, account or query.user_id)
        elif answer.kind in PHRASED and answer.understood:
            answer = await self._phrased(answer, result)
        return replace(result, reply=replace(result.reply, answer=answer))

    async def close(self) -> None:
        """Close all connections."""
        for caller in (self._orders, self._model):
            if caller is not None:
                await caller.close()

    async def _parsed(
        self, query: ConverseQuery, result: ConverseResult, shop: ShopVocabulary, model: ChatModel,
        converse: Converse,
    ) -> ConverseResult:  # fmt: skip
        """Return the rules' answer to what the model understands where they understood nothing."""
        text, language = query.message.text, result.reply.answer.language
        said = await self._ask("parse", lambda: parse_by_model(model, text, shop, language))
        return result if said is None else await converse(replace(query, understood=said))

    async def _about_orders(
        self, query: ConverseQuery, answer: Answer, currency: str, account: str
    ) -> Answer:
        words, text, lookup = wording(answer.language, currency), query.message.text, self._orders
        if order_wish(text) == "change":
            return order_change_answer(words)
        if lookup is None:
            return answer
        if not query.message.vouched:
            return signed_out_answer(words)
        found = await self._ask("orders", lambda: lookup.of(account))
        return orders_away_answer(words) if found is None else orders_answer(found, text, words)

    async def _phrased(self, answer: Answer, result: ConverseResult) -> Answer:
        model = self._model
        if model is None or not self._config.llm.phrases:
            return answer
        names = [one_line(card.get("title") or "") or name for name, card in result.cards.items()]
        text = await self._ask("phrase", lambda: phrase_by_model(model, answer.text, names, answer.language))
        return answer if text is None else replace(answer, text=text)

    async def _ask(self, task: Task, call: Callable[[], Awaitable[T]]) -> T | None:
        """Return the answer of a tool; None if it has none that can be used."""

        async def counted() -> T | None:
            try:
                return await call()
            except ModelRefused as error:
                # The endpoint is well: the circuit stays closed.
                self._note(task, "refused", error)
                return None
            except CallFailed as error:
                self._note(task, "failed", error)
                if task == "orders" and isinstance(error, WrongAnswer):
                    # What is wrong with one shopper's orders keeps no other from theirs.
                    return None
                raise BackendUnavailable(str(error)) from None

        breaker = self._breakers["orders" if task == "orders" else "model"]
        try:
            found = await breaker.call(counted)
        except BackendUnavailable:
            return None
        if found is not None:
            self._recorder.record(metrics.ASSISTANT_CALLS, task=task, outcome="used")
        return found

    def _note(self, task: Task, outcome: str, error: Exception) -> None:
        self._recorder.record(metrics.ASSISTANT_CALLS, task=task, outcome=outcome)
        logger.warning("the assistant's helper gave nothing", extra={"task": task, "why": str(error)[:300]})
