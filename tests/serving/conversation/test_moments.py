"""The assistant tells where in a video something is said, and names no other video."""

from dataclasses import replace

import pytest

from tests.serving.moments.test_search import IDS, moments
from tests.serving.recommend.engines import change, engine_of, now
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.prices import PriceRange
from vrec.assistant.query import ShoppingQuery
from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.serving.conversation.bundle_assistant import BundleAssistant
from vrec.serving.conversation.messages import ConverseQuery, ShopMoment, ShopperMessage
from vrec.serving.conversation.record import Conversation, pack_conversation, unpack_conversation


@pytest.fixture(scope="module")
def engine(shop_bundle):
    return engine_of(replace(ServingBundle.load(shop_bundle.uri), moments=moments()))


def said(engine, text: str, **state):
    query = ConverseQuery("u", ShopperMessage("m", "r", text), DialogueState(**state), now())
    assistant = BundleAssistant(engine, ServeConfig(), None)
    return assistant.converse(query, Profile("user", "u"), lambda text: None, ShopMoment()).reply


def speaking(word: str) -> str:
    """A video of the shop that a list may have, and in which the word is said."""
    index = moments().indexes["text"]
    return next(name for name in IDS[:-1] if any(word in index.texts[row] for row in index.rows_of(name)))


@pytest.mark.parametrize(
    ("text", "word", "between"),
    [("where does she show the zip?", "zip", " to "), ("哪里有拉链?第几秒", "拉链", " 到 ")],
)
def test_the_times_are_told(engine, text, word, between):
    name = speaking(word)
    reply = said(engine, text, shown=(name,), focus=name, seen=(name,))
    assert reply.answer.kind == "moment"
    assert reply.answer.video_ids == (name,)
    assert "0:0" in reply.answer.text
    assert between in reply.answer.text
    assert [item.video_id for item in reply.items] == [name]


def test_a_video_that_is_gone_is_not_named(engine):
    name = speaking("zip")
    changed = engine.with_changes([replace(change(name), row=None)])
    reply = said(changed, "where does she show the zip?", shown=(name,), seen=(name,))
    assert reply.answer.video_ids == ()


def test_what_is_not_said_is_not_found(engine):
    name = speaking("zip")
    reply = said(engine, "where does she show the qqq?", shown=(name,), focus=name, seen=(name,))
    assert reply.answer.kind == "moment"
    assert "found no such moment" in reply.answer.text


def test_a_bundle_without_moments_says_that_it_found_none(shop_bundle):
    plain = engine_of(ServingBundle.load(shop_bundle.uri))
    name = speaking("zip")
    reply = said(plain, "where does she show the zip?", shown=(name,), focus=name, seen=(name,))
    assert "found no such moment" in reply.answer.text


def test_the_moments_are_those_of_the_cards_and_are_kept_with_the_conversation(engine):
    name = speaking("zip")
    reply = said(engine, "where does she show the zip?", shown=(name,), focus=name, seen=(name,))
    assert {one.video_id for one in reply.moments} == {name}
    assert all(one.start_s < one.end_s for one in reply.moments)
    message = ShopperMessage("m", "r", text="where does she show the zip?")
    kept = unpack_conversation(pack_conversation(Conversation().after(message, reply, 1)))
    assert kept is not None
    assert kept.answers[-1].reply.moments == reply.moments


def by_file(engine, names, text="", **state):
    message = ShopperMessage("m", "r", text, like=tuple(names), example="digest")
    query = ConverseQuery("u", message, DialogueState(**state), now())
    assistant = BundleAssistant(engine, ServeConfig(), None)
    return assistant.converse(query, Profile("user", "u"), lambda text: None, ShopMoment()).reply


def test_what_a_file_found_comes_first_in_its_order(engine):
    names = tuple(reversed(IDS[:3]))
    reply = by_file(engine, names)
    assert reply.answer.video_ids[:3] == names
    assert set(reply.state.seeds) == set(names)
    # Something like them is not they.
    query = ConverseQuery("u", ShopperMessage("m", "r", like=names), DialogueState(), now())
    assistant = BundleAssistant(engine, ServeConfig(), None)
    like = assistant.converse(query, Profile("user", "u"), lambda text: None, ShopMoment()).reply
    assert set(like.answer.video_ids).isdisjoint(names)


def test_what_a_file_found_has_to_fit_what_was_asked_for_and_be_there(engine):
    names = tuple(IDS[:6])
    prices = {name: engine.card(name)["price"] for name in names}
    most = sorted(prices.values())[3] + 0.01
    query = ShoppingQuery(price=PriceRange(most=most))
    reply = by_file(engine, names, query=query)
    assert reply.state.query.price == query.price
    assert all(engine.card(name)["price"] <= most for name in reply.answer.video_ids)
    fitting = [name for name in names if prices[name] <= most]
    assert list(reply.answer.video_ids[: len(fitting)]) == fitting
    assert 0 < len(fitting) < len(names)
    gone = engine.with_changes([replace(change(names[0]), row=None)])
    assert names[0] not in by_file(gone, names).answer.video_ids


@pytest.mark.parametrize(
    ("text", "word"),
    [("does it have a zip?", "zip"), ("Is there a zip? does this have one", "zip"), ("它有拉链吗", "拉链")],
)
def test_a_question_about_a_card_is_answered_by_what_is_said_in_its_video(engine, text, word):
    name = speaking(word)
    reply = said(engine, text, shown=(name,), focus=name, seen=(name,))
    assert reply.answer.kind == "detail"
    (moment,) = reply.moments
    assert moment.video_id == name
    assert word in moment.text
    assert moment.text in reply.answer.text
    assert "0:0" in reply.answer.text


def test_a_fact_that_no_subtitle_names_is_not_told(engine):
    name = speaking("zip")
    for text in ("does it have a qqq?", "is it waterproof?"):
        reply = said(engine, text, shown=(name,), focus=name, seen=(name,))
        assert (reply.answer.kind, reply.moments) == ("detail", ())
        assert "does not say" in reply.answer.text
