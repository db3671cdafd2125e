"""What a message does to a conversation, over a catalog of linen, cotton and silk things."""

import itertools
from dataclasses import replace

import pyarrow as pa
import pytest

from vrec.assistant.assistant import Assistant
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.query import ShoppingQuery
from vrec.core.schema import VIDEOS

CATEGORIES = {"dresses": 80.0, "bowls": 15.0, "rain jackets": 120.0}
COLORS = ("red", "white", "navy")
TAGS = ("linen", "cotton", "silk")
ROWS = [
    {
        "video_id": f"{category}-{color}-{tag}", "uri": "", "kind": "product", "product_ids": [],
        "creator_id": "", "domain": "shop", "category": category, "tags": [color, tag],
        "title": f"{tag} {category}, {color}", "language": "en", "price": price, "duration_s": 9.0,
        "published_at": None, "expires_at": None, "available": True,
    }
    for (category, price), color, tag in itertools.product(CATEGORIES.items(), COLORS, TAGS)
]  # fmt: skip
BY_ID = {row["video_id"]: row for row in ROWS}
ASSISTANT = Assistant(pa.Table.from_pylist(ROWS, schema=VIDEOS.arrow()), currency="EUR")


def talk(*messages):
    state, answer = DialogueState(), None
    for message in messages:
        state, answer = ASSISTANT.answer(state, message, lambda request: request.video_ids[: request.k])
    return state, answer


def tags_of(answer):
    return {tag for name in answer.video_ids for tag in BY_ID[name]["tags"]}


def test_of_alternatives_one_is_enough():
    state, answer = talk("a dress, linen or cotton, in white")
    assert {BY_ID[name]["tags"][1] for name in answer.video_ids} == {"linen", "cotton"}
    assert not answer.relaxed
    assert state.query.attribute_groups == [("linen", "cotton")]


def test_an_alternative_may_be_named_later():
    _, answer = talk("a linen dress in white", "or a silk one")
    assert tags_of(answer) == {"white", "linen", "silk"}


def test_what_the_shop_does_not_have_is_no_alternative_to_what_it_has():
    state, answer = talk("do you have umbrellas?", "a rain jacket would do too")
    assert answer.kind == "cards"
    assert state.query.wanted.category == ("rain jackets",)


def test_what_is_asked_of_one_subject_ends_where_nothing_of_another_fits_it():
    state, answer = talk("dresses over 50", "show me bowls")
    assert answer.relaxed == ("price",)
    assert "50" in answer.text
    assert state.query.price.is_any
    assert talk("dresses over 50", "show me rain jackets")[0].query.price.least == 50


@pytest.mark.parametrize("message", ["any color except that one", "红色太素了，换个颜色"])
def test_another_color_refuses_the_one_that_is_spoken_of(message):
    state, answer = talk("a red dress", message)
    assert state.query.unwanted.color == ("red",)
    assert not state.query.wanted.color
    assert answer.video_ids
    assert "red" not in tags_of(answer)


@pytest.mark.parametrize("message", ["thanks! you've been marvelous", "thank you, splendidly done"])
def test_thanks_with_words_that_no_video_has_asks_for_nothing(message):
    before, _ = talk("a red dress")
    after, answer = talk("a red dress", message)
    assert answer.kind == "talk"
    assert after.query == before.query


def test_a_question_about_a_card_may_have_words_that_no_video_has():
    before, _ = talk("a red dress")
    _, answer = talk("a red dress", "what would number 2 set me back")
    assert answer.kind == "detail"
    assert answer.video_ids == (before.shown[1],)


def test_an_english_word_leaves_a_chinese_conversation_chinese():
    assert talk("看看裙子", "要 navy 或者 white 的 dress please")[1].language == "zh"
    assert talk("看看裙子", "in navy please")[1].language == "en"


def test_more_of_a_list_that_has_been_shown_to_its_end_says_so():
    messages = ["a red dress"]
    _, answer = talk(*messages)
    while answer.video_ids and len(messages) < 20:
        messages.append("show me more")
        _, answer = talk(*messages)
    assert answer.kind == "cards"
    assert answer.text == "You have seen all that fits."


def test_cards_follow_the_sentence_that_offers_them():
    _, answer = talk("a red dress for my mother under 1")
    assert answer.relaxed
    assert answer.unchecked
    assert answer.text.endswith(":")


@pytest.mark.parametrize(
    "turn",
    [
        "on second thought I need a bowl instead",
        "Actually skip the dresses. Bowls!",
        "裙子不看了，有碗么",
        "算了，看看碗",
    ],
)
def test_who_turns_from_a_subject_begins_anew(turn):
    state, answer = talk("red linen dresses over 50", turn)
    assert state.query.wanted.category == ("bowls",)
    assert state.query == replace(ShoppingQuery(), wanted=state.query.wanted)
    assert state.query.wanted.with_values("category", ()).is_empty
    assert (answer.kind, answer.relaxed) == ("cards", ())


@pytest.mark.parametrize("turn", ["what about bowls?", "show me bowls", "make it navy instead"])
def test_who_goes_on_keeps_the_color(turn):
    state, _ = talk("navy dresses", turn)
    assert state.query.wanted.color == ("navy",)


def test_alternatives_of_another_subject_take_its_place():
    assert talk("dresses", "bowls or rain jackets")[0].query.wanted.category == ("bowls", "rain jackets")
    assert talk("dresses", "or bowls?")[0].query.wanted.category == ("dresses", "bowls")
    assert talk("裙子", "碗或者雨衣")[0].query.wanted.category == ("bowls", "rain jackets")
    assert talk("裙子", "或者碗")[0].query.wanted.category == ("dresses", "bowls")


def test_cheaper_than_about_an_amount_has_no_lower_bound_and_than_a_range_has_one():
    state, _ = talk("about 100", "cheaper")
    assert (state.query.price.least, state.query.price.most) == (None, 80)
    state, answer = talk("between 10 and 130", "cheaper")
    assert state.query.price.least == 10
    assert {BY_ID[name]["price"] for name in answer.video_ids} <= {80.0, 15.0}
    assert talk("大概100块", "再便宜点")[0].query.price.least is None


def test_a_thing_that_the_shop_does_not_have_is_not_looked_for_among_what_was_asked_for():
    _, answer = talk("red dresses", "do you sell surfboards?")
    assert answer.kind == "nothing"
    assert talk("red dresses", "do you have any nice ones?")[1].kind != "nothing"


@pytest.mark.parametrize("message", ["what's popular?", "something popular please", "有什么热门的"])
def test_what_is_popular_is_shown_and_no_filter(message):
    state, answer = talk(message)
    assert (answer.kind, len(answer.video_ids)) == ("cards", 5)
    assert state.query.is_empty


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("budget 200", "zh"),
        ("navy", "zh"),
        ("cheaper", "en"),
        ("what about the red one?", "en"),
        ("show me more", "en"),
    ],
)
def test_a_word_or_two_of_english_leave_a_chinese_conversation_chinese(message, language):
    assert talk("看看裙子", message)[1].language == language


def test_an_amount_to_the_cent_is_no_approximation():
    state, answer = talk("exactly 15 euros")
    assert {BY_ID[name]["price"] for name in answer.video_ids} == {15.0}
    assert state.query.price.has(15.0)
    assert not state.query.price.has(15.01)
    assert talk("正好80块")[0].query.price.most == 80
    assert talk("my budget is about 80")[0].query.price.has(90)
    assert not talk("my budget is 80")[0].query.price.has(90)
