"""What the assistant never does, whatever is said: tell orders to who is not vouched for, have a model speak
where its words could be taken for the shop's."""

import asyncio
import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vrec.assistant.answers import Answer, AnswerKind
from vrec.assistant.config import AssistantConfig
from vrec.assistant.connectors.order_questions import order_wish
from vrec.assistant.connectors.orders import read_orders
from vrec.assistant.dialogue import DialogueState
from vrec.config.serve import ServeConfig
from vrec.serving.conversation.messages import AssistantReply, ConverseQuery, ConverseResult, ShopperMessage
from vrec.serving.deployments.customer_service import PHRASED, CustomerService
from vrec.serving.http.conversations import ConversationResponder
from vrec.serving.http.schemas.assistant import ASSISTANT_BODY, UserAssistantRequest
from vrec.serving.observability.metrics import InMemoryMetricsRecorder

ORDER = {
    "order_id": "A-1001", "status": "packed", "items": [{"title": "Zinnober"}],
    "ordered_at": "2026-11-26T09:00:00Z",
}  # fmt: skip
CONFIG = AssistantConfig.model_validate(
    {"llm": {"url": "http://127.0.0.1:9/v1", "model": "m"}, "orders": {"url": "http://127.0.0.1:9/orders"}}
)
TALK = st.sampled_from(
    ["where is my order?", "cancel my order A-1001", "我的快递到哪了", "退款进度", "has my refund arrived?"]
) | st.text(max_size=60)
USERS = st.text(min_size=1, max_size=20) | st.sampled_from(["ann", "session:s", "domain:social:x"])
KINDS = st.sampled_from(get_args(AnswerKind))


class Recorded:
    """A model and an orders tool that note what they are asked; the model repeats what it is told."""

    def __init__(self):
        self.prompts, self.users = [], []

    async def ask(self, instructions, data, *, wants_json=False):
        self.prompts.append(json.dumps(data, ensure_ascii=False))
        return data.get("text") or data.get("answer") or str(data)

    async def of(self, user_id):
        self.users.append(user_id)
        return read_orders({"user_id": user_id, "orders": [ORDER]}, user_id)


def answered(answer, user_id="ann", text="hello", *, vouched=True):
    """Return the final answer where the rules give one, and the notes of the tools."""
    service, tools = CustomerService(CONFIG, InMemoryMetricsRecorder()), Recorded()
    service._orders = service._model = tools
    sent = ShopperMessage("m", "r", text, vouched=vouched)

    async def converse(query):
        return ConverseResult(AssistantReply(answer, query.state, (), "b"))

    result = asyncio.run(service.answer(ConverseQuery(user_id, sent, DialogueState(), 0), "EUR", converse))
    return result.reply.answer, tools


@given(KINDS, st.text(max_size=200), st.booleans())
def test_a_model_phrases_nothing_but_lists_facts_and_small_talk(kind, text, understood):
    said = Answer(kind, "en", text, understood=understood)
    after, tools = answered(said)
    assert {"cards", "nothing", "detail", "talk"} == PHRASED
    if kind not in PHRASED or not understood:
        assert tools.prompts == []
    if kind not in PHRASED and kind != "order":
        assert after == said


@given(USERS, TALK, st.booleans())
def test_orders_are_those_of_a_shopper_who_is_vouched_for_and_no_model_sees_them(user_id, text, vouched):
    after, tools = answered(
        Answer("order", "en", "I cannot see orders here."), user_id, text, vouched=vouched
    )
    looked_up = vouched and order_wish(text) == "status"
    assert tools.users == ([user_id] if looked_up else [])
    assert tools.prompts == []
    assert ("Zinnober" in after.text) == looked_up
    assert looked_up or ORDER["order_id"] not in after.text


@given(st.sampled_from(["ann", "session:s", "domain:x:y", "ann\n", ""]), st.booleans(), st.booleans())
def test_who_is_vouched_for_has_an_account_and_a_key(name, is_session, has_key):
    body = json.dumps({"session_id" if is_session else "user_id": name, "message": "hi"})
    try:
        request = ASSISTANT_BODY.validate_json(body)
    except ValidationError:
        return
    responder = ConversationResponder(None, ServeConfig())
    sent = responder.message(request, "r", vouched=has_key)
    assert sent.vouched == (has_key and not is_session)
    assert isinstance(request, UserAssistantRequest) != is_session
    assert request.user_key.startswith("session:") == is_session


@pytest.mark.parametrize("kind", sorted(PHRASED))
def test_what_may_be_phrased_is_asked_for(kind):
    said = Answer(kind, "en", "Here are some for you:")
    after, tools = answered(said)
    assert len(tools.prompts) == 1
    assert replace(after, text=said.text) == said
