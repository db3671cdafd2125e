"""Questions about what was shown, which are answered and are no searches."""

import pytest

from tests.assistant.test_dialogue import BY_ID, talk
from vrec.assistant.moments import says_of
from vrec.assistant.phrases import asks_of_shown


@pytest.mark.parametrize(
    ("question", "fact", "is_told"),
    [
        ("is the first one linen?", "linen", True),
        ("Is it waterproof?", "waterproof", False),
        ("can the second be washed in a machine, is it silk?", "silk", False),
        ("does it come with a hood?", "hood", False),
        ("这件是亚麻的吗", "亚麻", True),
        ("它防水吗", "防水", False),
        ("第二件防不防水", "防水", False),
        ("這件防水嗎？", "防水", False),
    ],
)
def test_a_fact_of_a_card_is_told_or_said_to_be_unknown(question, fact, is_told):
    before, _ = talk("a red dress")
    after, answer = talk("a red dress", question)
    assert answer.kind == "detail"
    assert fact in answer.text
    assert (fact not in answer.unchecked) == is_told
    assert after.query == before.query
    assert set(answer.video_ids) <= set(before.shown)


@pytest.mark.parametrize(
    "wish",
    [
        "does it come in white?",
        "do you have it in white?",
        "have you got the first one in white?",
        "有白色的吗",
        "does the first have a white version?",
        "第一件白色的有吗",
        "第一件有真丝的吗，要白色的",
    ],
)
def test_a_question_for_another_color_is_a_wish(wish):
    _, answer = talk("a red dress", wish)
    assert answer.kind == "cards"
    assert {BY_ID[name]["tags"][0] for name in answer.video_ids} == {"white"}


@pytest.mark.parametrize(
    "text", ["what about bowls?", "do you have silk?", "any waterproof ones?", "show me that"]
)
def test_other_questions_ask_nothing_of_what_was_shown(text):
    assert not asks_of_shown(text)


@pytest.mark.parametrize(
    ("subtitle", "labels", "tells"),
    [
        ("It is fully water-resistant up to 3 m", ["waterproof"], True),
        ("这款完全防水", ["waterproof"], True),
        ("Look at the lids of these boxes", ["lid"], True),
        ("A solid thing", ["lid"], False),
        ("Made with love", [], False),
        ("anything", ["!"], False),
    ],
)
def test_a_subtitle_tells_of_a_quality_by_any_of_its_names(subtitle, labels, tells):
    assert says_of(subtitle, labels) == tells
