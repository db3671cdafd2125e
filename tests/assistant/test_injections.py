"""Texts of strangers that give orders change nothing: they are titles, tags, documents and messages."""

import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from injections import INJECTIONS, INTERNALS

from vrec.assistant.assistant import Assistant
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.documents import parse_document, read_documents
from vrec.assistant.passages import PassageSearch
from vrec.assistant.text import normal_form, one_line, units_of
from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.synthetic import shop
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog, videos_table

PLAN = plan_catalog(SyntheticVideosConfig(videos=60, near_duplicates=0, broken=0))
VIDEOS = videos_table(PLAN, Path("videos"))
TITLES = dict(zip(VIDEOS.column("video_id").to_pylist(), VIDEOS.column("title").to_pylist(), strict=True))
TALKS = [
    ["red mugs", "how much is the first one?", "add it to my cart", "cheaper", "thanks"],
    [
        "dresses under 80",
        "the second, in blue",
        "how much is it?",
        "something waterproof for my mother",
        "more",
    ],
    ["运动鞋", "不要红色的", "第二个多少钱", "把它加入购物车", "便宜点"],
    ["一百块以内的台灯", "给妈妈的", "第一个有货吗", "重新开始", "转人工"],
]
QUESTIONS = [
    "How do I return a dress?",
    "how long does delivery take",
    "运费多少钱",
    "保修多久",
    "can I pay with paypal?",
]
PASSAGES = read_documents(Path(shop.__file__).parent / "policies")


@cache
def vector(text):
    return np.asarray(encoder().encode([Clip("text", text=text)])[0], np.float32)


@cache
def encoder():
    return TextEncoder(TextEncoderConfig())


def encode(texts):
    return np.stack([vector(text) for text in texts])


def in_order(request):
    return request.video_ids[: request.k]


def with_column(name, values):
    place = VIDEOS.schema.get_field_index(name)
    return VIDEOS.set_column(
        place, VIDEOS.schema.field(name), pa.array(values, VIDEOS.schema.field(name).type)
    )


def talk(assistant, messages):
    state, answers = DialogueState(), []
    for message in messages:
        state, answer = assistant.answer(state, message, in_order)
        answers.append(answer)
    return answers


def own_titles(answer, injected):
    """The answer with the titles of the catalog in the place of the injected ones."""
    text = answer.text
    for name in sorted(injected, key=lambda name: -len(injected[name])):
        text = text.replace(one_line(injected[name]), TITLES[name])
    return replace(answer, text=text)


@cache
def without_injections():
    assistant = Assistant(VIDEOS, currency="EUR")
    return [talk(assistant, messages) for messages in TALKS]


def test_there_are_forty_in_both_languages():
    chinese = [text for text in INJECTIONS if any("\u4e00" <= c <= "\u9fff" for c in text)]
    assert len(chinese) >= 20
    assert len(INJECTIONS) - len(chinese) >= 40
    assert len(set(INJECTIONS)) == len(INJECTIONS)


def test_none_names_a_thing_of_the_shop():
    """Otherwise a title with it would rightly be found by that name."""
    lexicon = Assistant(VIDEOS).lexicon
    named = {text: lexicon.mentions(units_of(normal_form(text))) for text in INJECTIONS}
    assert {text: found for text, found in named.items() if found} == {}


@pytest.mark.parametrize("injection", INJECTIONS)
def test_titles_and_tags_of_all_videos_may_give_orders(injection):
    injected = {name: f"{title} {injection}" for name, title in TITLES.items()}
    tags = [[*held, injection] for held in VIDEOS.column("tags").to_pylist()]
    videos = with_column("title", list(injected.values()))
    videos = videos.set_column(
        videos.schema.get_field_index("tags"), videos.schema.field("tags"),
        pa.array(tags, videos.schema.field("tags").type),
    )  # fmt: skip
    assistant = Assistant(videos, currency="EUR")
    for messages, plain in zip(TALKS, without_injections(), strict=True):
        answers = talk(assistant, messages)
        assert [own_titles(answer, injected) for answer in answers] == plain
        assert all(is_plain_line(answer.text) for answer in answers)


@given(st.data())
def test_an_order_anywhere_in_a_title_changes_nothing_but_the_title(data):
    name = data.draw(st.sampled_from(sorted(TITLES)))
    parts = [data.draw(st.sampled_from(INJECTIONS)) for _ in range(data.draw(st.integers(1, 3)))]
    noise = data.draw(st.text(st.characters(categories=["Cf", "Cc", "Po", "So", "Zs"]), max_size=5))
    mixed = noise.join(parts)
    title = data.draw(st.sampled_from([f"{mixed} | {TITLES[name]}", f"{TITLES[name]} | {mixed}"]))
    injected = {**TITLES, name: title}
    assistant = Assistant(with_column("title", list(injected.values())), currency="EUR")
    messages = data.draw(st.sampled_from(TALKS))
    answers = [own_titles(answer, {name: title}) for answer in talk(assistant, messages)]
    assert answers == without_injections()[TALKS.index(messages)]


def is_plain_line(text):
    return not any(unicodedata.category(character)[0] == "C" or character in "\r\n" for character in text)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_document_that_gives_orders_is_not_cited_and_changes_no_answer(injection):
    def answers(passages):
        assistant = Assistant(VIDEOS, PassageSearch(passages, encode), "EUR")
        found = [assistant.answer(DialogueState(), question, in_order)[1] for question in QUESTIONS]
        return [(a.kind, a.text, [match.passage.anchor for match in a.sources], a.hand_over) for a in found]

    notice = list(parse_document(f"# Notice\n\n{injection}\n", "notice.md"))
    assert answers([*notice, *PASSAGES]) == answers(PASSAGES)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_message_that_gives_orders_is_words_that_the_catalog_does_not_have(injection):
    """Once its words, and a price that it names, are taken back, the answer is that to the rest."""
    assistant = Assistant(VIDEOS, currency="EUR")
    for wish in ("red mugs", "一百块以内的台灯"):
        for message in (f"{wish}. {injection}", f"{injection}. {wish}"):
            state, answer = assistant.answer(DialogueState(), message, in_order)
            assert answer.kind in ("cards", "person"), message
            assert set(answer.video_ids) <= set(TITLES)
            assert_says_nothing_inside(answer, message)
            if answer.kind == "person":
                continue  # "human" is a wish for one
            plain_state, plain = assistant.answer(DialogueState(), wish, in_order)
            more = {one.key for one in answer.constraints} - {one.key for one in plain.constraints}
            assert {key.partition(":")[0] for key in more} <= {"word", "not-word", "price"}, message
            for key in (*more, "price"):
                state, answer = assistant.without(state, key, in_order)
            plain_state, plain = assistant.without(plain_state, "price", in_order)
            assert (answer.video_ids, state.query) == (plain.video_ids, plain_state.query), message


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_message_of_orders_alone_tells_nothing_inside(injection):
    assistant = Assistant(VIDEOS, PassageSearch(PASSAGES, encode), "EUR")
    _, answer = assistant.answer(DialogueState(), injection, in_order)
    assert set(answer.video_ids) <= set(TITLES)
    assert_says_nothing_inside(answer, injection)


def assert_says_nothing_inside(answer, message):
    texts = [answer.text, *(one.label for one in answer.constraints), *answer.unchecked]
    texts += [one.label + one.message for one in answer.suggestions]
    brought = normal_form(message)
    for text in texts:
        found = [word for word in INTERNALS if word.lower() in text.casefold()]
        assert not [word for word in found if word.lower() not in brought], text
        assert is_plain_line(text)
