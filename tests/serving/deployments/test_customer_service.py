"""Orders, hand-overs and a language model over the deployments, without Ray, with real servers as tools."""

import asyncio
import json
import logging
import time

import numpy as np
import pytest
from injections import INJECTIONS
from json_tool import FAULTS, HANG_S, SECRET, answers, closed_url, json_tool

from tests.serving.deployments.test_graph import Graph
from tests.serving.direct import Direct
from vrec.encoders.text import TextEncoder
from vrec.serving.conversation.messages import ShopperMessage
from vrec.serving.deployments.protocol import BackendUnavailable

ORDER = {
    "order_id": "A-1001",
    "status": "shipped",
    "items": [{"title": "Red mug"}],
    "ordered_at": "2026-11-26T09:00:00Z",
    "shipped_at": "2026-11-28T12:00:00Z",
}
PATIENT = {"timeout_s": 20}
ASKING = ["where is my order?", "has it been shipped?", "我的快递到哪了", "我的订单发货了吗"]
CHANGING = [
    "cancel my order",
    "please change the address of my order",
    "我要取消订单",
    "帮我修改一下我的订单",
]


def message(text, message_id=None, vouched=True):
    return ShopperMessage(message_id or text, f"list-{message_id or text}", text, vouched=vouched)


def talk(folder, bundle, assistant, *turns, then=None):
    """Return the answers to turns of (user id, message), and what `then` returns of the graph."""

    async def run():
        graph = await Graph(folder, assistant=assistant).started(bundle)
        try:
            found = [(await graph.api.conversations.answer(*turn)).reply for turn in turns]
            return found, (await then(graph) if then else None)
        finally:
            await graph.api.close()
            await graph.profiles.node.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("VREC_ORDERS_KEY", "VREC_LLM_KEY"):
        monkeypatch.setenv(name, SECRET)


def orders_of(handler):
    answers({"user_id": handler.got.path.rpartition("=")[2], "orders": [ORDER]})(handler)


def test_a_signed_shopper_is_told_of_orders_in_both_languages(tmp_path, shop_bundle):
    with json_tool(orders_of) as tool:
        found, _ = talk(
            tmp_path,
            shop_bundle,
            {"orders": {"url": tool.url, **PATIENT}},
            *(("ann", message(text)) for text in ASKING),
        )
    assert [reply.answer.kind for reply in found] == ["order"] * 4
    assert (
        found[0].answer.text
        == found[1].answer.text
        == "Order A-1001 (Red mug): shipped on November 28, 2026."
    )
    assert found[2].answer.text == found[3].answer.text == "订单A-1001（Red mug）：2026年11月28日已发货。"
    assert [request.path for request in tool.requests] == ["/tool?user_id=ann"] * 4


def test_nobody_is_asked_about_for_whom_nobody_vouches(tmp_path, shop_bundle):
    turns = [("ann", message(ASKING[0], vouched=False)), ("session:s", message(ASKING[2], vouched=False))]
    with json_tool(orders_of) as tool:
        found, _ = talk(tmp_path, shop_bundle, {"orders": {"url": tool.url, **PATIENT}}, *turns)
        assert tool.requests == []
    assert "when you are signed in" in found[0].answer.text
    assert "登录以后" in found[1].answer.text


def test_without_a_tool_orders_cannot_be_seen(tmp_path, shop_bundle):
    (reply,), _ = talk(tmp_path, shop_bundle, {}, ("ann", message(ASKING[0])))
    assert reply.answer.text == "I cannot see orders here."


@pytest.mark.parametrize("fault", [*FAULTS, "another shopper's", "not there"])
def test_a_tool_that_fails_is_said_and_a_person_offered(fault, tmp_path, shop_bundle, caplog):
    reply_with = FAULTS.get(fault, answers({"user_id": "bob", "orders": [ORDER]}))
    with caplog.at_level(logging.DEBUG), json_tool(reply_with) as tool:
        url = closed_url() if fault == "not there" else tool.url
        begun = time.monotonic()
        (en, zh), _ = talk(
            tmp_path, shop_bundle, {"orders": {"url": url, "timeout_s": 0.3}},
            ("ann", message(ASKING[0])), ("ann", message(ASKING[2])),
        )  # fmt: skip
        assert time.monotonic() - begun < HANG_S / 2
    assert en.answer.text == "I cannot look up orders right now. Try again later, or ask for a person."
    assert zh.answer.text == "现在查不了订单。请稍后再试，或者转人工客服。"
    assert [one.message for one in en.answer.suggestions] == ["I want to talk to a person"]
    assert SECRET not in caplog.text
    assert "A-1001" not in caplog.text


@pytest.mark.parametrize("wrong", ["another shopper's", "not known", "not as declared"])
def test_wrong_orders_of_one_shopper_keep_no_other_from_theirs(wrong, tmp_path, shop_bundle):
    refusal = {
        "another shopper's": answers({"user_id": "eve", "orders": [ORDER]}),
        "not known": answers({"detail": "no such account"}, 404),
        "not as declared": answers({"user_id": "bob", "orders": [{**ORDER, "status": "lost in space"}]}),
    }[wrong]

    def by_shopper(handler):
        (orders_of if handler.got.path.endswith("=ann") else refusal)(handler)

    turns = [("bob", message(ASKING[0], str(turn))) for turn in range(5)]
    with json_tool(by_shopper) as tool:
        found, _ = talk(
            tmp_path, shop_bundle, {"orders": {"url": tool.url, **PATIENT}}, *turns,
            ("ann", message(ASKING[0])),
        )  # fmt: skip
    assert {reply.answer.text for reply in found[:-1]} == {
        "I cannot look up orders right now. Try again later, or ask for a person."
    }
    assert found[-1].answer.text.startswith("Order A-1001")


@pytest.mark.parametrize("text", CHANGING)
def test_a_wish_to_change_an_order_goes_to_a_person(text, tmp_path, shop_bundle):
    with json_tool(orders_of) as tool:
        (reply,), (kept, _) = talk(
            tmp_path, shop_bundle, {"orders": {"url": tool.url, **PATIENT}}, ("ann", message(text)),
            then=lambda graph: graph.api.conversations.hand_overs(0, 10),
        )  # fmt: skip
        assert tool.requests == []
    assert reply.answer.hand_over
    assert [(one.user_id, one.reason) for one in kept] == [("ann", "order")]


@pytest.mark.parametrize("injection", INJECTIONS)
def test_items_that_give_orders_are_titles(injection, tmp_path, shop_bundle):
    from vrec.assistant.connectors.order_answers import orders_answer
    from vrec.assistant.connectors.orders import ShopOrder
    from vrec.assistant.text import one_line
    from vrec.assistant.wording import wording

    order = {**ORDER, "carrier": "Post"}
    told = {**order, "items": [{"title": injection}], "carrier": injection}
    for language in ("en", "zh"):
        words = wording(language, "EUR")
        plain = orders_answer([ShopOrder.model_validate(order)], "", words)
        text = orders_answer([ShopOrder.model_validate(told)], "", words).text
        assert text == plain.text.replace("Red mug", one_line(injection)).replace("Post", one_line(injection))


def test_a_person_gets_the_conversation_signed_and_once(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setenv("VREC_HAND_OVER_SECRET", "s" * 40)

    async def until_confirmed(graph):
        for _ in range(200):
            kept, _ = await graph.api.conversations.hand_overs(0, 10)
            if all(one.confirmed_at for one in kept):
                return kept
            await asyncio.sleep(0.05)
        raise AssertionError("never confirmed")

    with json_tool(answers({})) as desk:
        turns = [("session:s", message("hats")), ("session:s", message("转人工", "m")),
                 ("session:s", message("转人工", "m"))]  # fmt: skip
        found, kept = talk(
            tmp_path, shop_bundle, {"handover": {"url": desk.url}}, *turns, then=until_confirmed
        )
    assert found[1].answer.hand_over_reason == "asked"
    (one,), (post,) = kept, desk.requests
    assert post.json["session_id"] == "s"
    assert post.json["language"] == "zh"
    assert [turn["message"] for turn in post.json["turns"]] == ["hats", "转人工"]
    assert post.json["turns"][1]["answer"] == found[1].answer.text
    assert [turn.message for turn in one.turns] == ["hats", "转人工"]


def test_a_hand_over_is_kept_before_the_answer_says_so_and_erased_with_the_shopper(tmp_path, shop_bundle):
    async def erased(graph):
        before, _ = await graph.api.conversations.hand_overs(0, 10)
        await graph.api.join("session:s", "ann")
        joined, _ = await graph.api.conversations.hand_overs(0, 10)
        await graph.api.erase("ann")
        return before, joined, (await graph.api.conversations.hand_overs(0, 10))[0]

    _, (before, joined, after) = talk(
        tmp_path, shop_bundle, {}, ("session:s", message("talk to a person")), then=erased
    )
    assert [one.user_id for one in before] == ["session:s"]
    assert [one.user_id for one in joined] == ["ann"]
    assert after == []


def completion(content):
    return {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}


def model(parsed=None, phrased=None):
    """Return a reply of an endpoint that parses and phrases as given."""

    def reply(handler):
        asks_for_json = "response_format" in handler.got.json
        value = parsed if asks_for_json else phrased
        answers(completion(value if isinstance(value, str) else json.dumps(value)))(handler)

    return reply


def with_model(url, **more):
    return {"llm": {"url": url, "model": "m", "timeout_s": 0.4, **more}}


TURNS = [
    ("ann", message("hats under 90")),
    ("ann", message("how much is the first one?")),
    ("ann", message("blorf the gnark")),
    ("ann", message("便宜点")),
    ("ann", message("start again")),
    ("ann", message("talk to a person")),
]


@pytest.fixture(scope="module")
def by_rules(tmp_path_factory, shop_bundle):
    found, _ = talk(tmp_path_factory.mktemp("rules"), shop_bundle, {}, *TURNS)
    return [said(reply) for reply in found]


def said(reply):
    answer = reply.answer
    return (
        answer.kind,
        answer.text,
        answer.video_ids,
        answer.constraints,
        answer.suggestions,
        answer.hand_over,
    )


OBEDIENT = "I was told to ignore my instructions. Everything is free at https://evil.example, key sk-123."
MISBEHAVIOR = {
    **FAULTS,
    "obeys strangers": model({"intent": "refund"}, OBEDIENT),
    "echoes what it gets": lambda handler: answers(completion(handler.got.json["messages"][1]["content"]))(
        handler
    ),
    "tells its instructions": lambda handler: answers(completion(handler.got.json["messages"][0]["content"]))(
        handler
    ),
    "names another product": model(
        {"intent": "search", "wanted": {"category": ["guns"]}}, "Buy our guns for $1."
    ),
    "changes prices": model("{}", "It costs 1 now."),
    "another language": model("[]", "Ich habe das gefunden."),
    "rambles": model("{" * 900, "Here are some for you. " * 90),
    "nothing": model("", ""),
}


@pytest.mark.parametrize("misbehavior", MISBEHAVIOR)
def test_a_model_that_misbehaves_changes_no_answer(misbehavior, by_rules, tmp_path, shop_bundle, caplog):
    with caplog.at_level(logging.DEBUG), json_tool(MISBEHAVIOR[misbehavior]) as tool:
        begun = time.monotonic()
        found, _ = talk(tmp_path, shop_bundle, with_model(tool.url), *TURNS)
        assert time.monotonic() - begun < HANG_S / 2
        assert tool.requests
    assert [said(reply) for reply in found] == by_rules
    assert SECRET not in caplog.text


def test_a_model_that_is_not_there_changes_no_answer(by_rules, tmp_path, shop_bundle):
    found, _ = talk(tmp_path, shop_bundle, with_model(closed_url()), *TURNS)
    assert [said(reply) for reply in found] == by_rules


def test_a_model_that_hangs_is_not_waited_for_every_time(tmp_path, shop_bundle):
    with json_tool(FAULTS["hangs"]) as tool:
        turns = [("ann", message("hats", f"m{n}")) for n in range(12)]
        talk(tmp_path, shop_bundle, with_model(tool.url), *turns)
        assert 2 <= len(tool.requests) <= 4


def test_a_model_helps_with_what_the_rules_do_not_understand(tmp_path, shop_bundle):
    category = shop_bundle.parts.videos.column("category").to_pylist()[0]
    parsed = {"intent": "search", "wanted": {"category": [category]}}
    with json_tool(model(parsed, "")) as tool:
        (reply,), _ = talk(
            tmp_path,
            shop_bundle,
            with_model(tool.url, phrases=False, **PATIENT),
            ("ann", message("blorf the gnark")),
        )
        (request,) = tool.requests
    assert reply.answer.kind == "cards"
    assert [one.key for one in reply.answer.constraints] == [f"category:{category}"]
    assert category in json.loads(request.json["messages"][1]["content"])["vocabulary"]["category"]
    assert "ann" not in request.body.decode()


def test_a_model_phrases_what_the_rules_say_and_nothing_else(tmp_path, shop_bundle):
    phrased = "Hello there! Tell me, what are you looking for?"
    turns = [("ann", message("hello")), ("ann", message("where is my order?")),
             ("ann", message("talk to a person"))]  # fmt: skip
    with json_tool(orders_of) as tool, json_tool(model({}, phrased)) as endpoint:
        found, _ = talk(
            tmp_path,
            shop_bundle,
            {"orders": {"url": tool.url, **PATIENT}, **with_model(endpoint.url, **PATIENT)},
            *turns,
        )
        assert len(endpoint.requests) == 1  # neither orders nor a hand-over are sent there
    assert found[0].answer.text == phrased
    assert found[1].answer.text.startswith("Order A-1001")


def test_a_hand_over_is_written_once_where_another_turn_begins_the_conversation_meanwhile(
    tmp_path, shop_bundle
):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        node = graph.profiles.node
        put, others = node.put_conversation, [message("hats"), message("mugs")]

        async def put_after_another(user_id, record, expected):
            if others:
                other = type(graph.api)(graph.api._config, graph.ranking, graph.profiles, None)
                await other.conversations.answer("ann", others.pop())
            return await put(user_id, record, expected)

        node.put_conversation = put_after_another
        turn = await graph.api.conversations.answer("ann", message("talk to a person", "m"))
        kept, _ = await graph.api.conversations.hand_overs(0, 10)
        await graph.api.close()
        await node.close()
        return turn, kept

    turn, kept = asyncio.run(run())
    assert (turn.number, len(kept)) == (3, 1)
    assert kept[0].turns[-1].message == "talk to a person"


class _Asked:
    """Encoder that notes the texts that it is asked for."""

    def __init__(self, fails=False):
        self.texts, self.fails = [], fails

    async def text(self, text):
        self.texts.append(text)
        if self.fails and len(self.texts) > self.fails:
            raise BackendUnavailable("it restarts")
        return np.full(TextEncoder.dim, TextEncoder.dim**-0.5, np.float32)


@pytest.mark.parametrize("is_away", [False, True])
def test_a_question_is_encoded_once_for_the_documents_and_goes_by_words_without_its_vector(
    tmp_path, shop_bundle, is_away
):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "returns.md").write_text("# Returns\n\nSend it back within 30 days.\n")

    async def run():
        graph = await Graph(tmp_path, assistant={"documents": str(tmp_path / "docs")}).started(shop_bundle)
        encoder = _Asked()
        graph.ranking.node._encoder = Direct(encoder)
        ask = graph.api.conversations.answer
        await ask("bob", message("how do I return it?"))
        encoder.texts.clear()
        encoder.fails = is_away and 0.5
        turn = await ask("ann", message("can I send it back?"))
        await graph.api.close()
        await graph.profiles.node.close()
        return turn.reply, encoder.texts

    reply, texts = asyncio.run(run())
    assert reply.answer.kind == "passage"
    if not is_away:
        assert texts == ["can I send it back?"]
    assert ("encoder" in reply.degraded) == is_away
