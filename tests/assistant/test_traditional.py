"""Traditional Chinese characters are understood as simplified ones."""

from hypothesis import given
from hypothesis import strategies as st

from tests.assistant.test_dialogue import talk
from vrec.assistant.text import normal_form
from vrec.assistant.traditional import simplified


@given(st.text())
def test_simplifying_keeps_the_length_and_what_is_simplified(text):
    once = simplified(text)
    assert len(once) == len(text)
    assert simplified(once) == once


@given(st.text())
def test_the_normal_form_has_no_other(text):
    assert normal_form(normal_form(text)) == normal_form(text)


def test_a_conversation_in_traditional_characters_is_that_in_simplified_ones():
    pairs = [
        ("我想買紅色的連衣裙", "我想买红色的连衣裙"),
        ("便宜一點", "便宜一点"),
        ("不要紅色，換成白色", "不要红色，换成白色"),
        ("五十塊以內的碗", "五十块以内的碗"),
        ("還有別的嗎", "还有别的吗"),
        ("轉人工客服", "转人工客服"),
    ]
    for length in range(1, len(pairs) + 1):
        (before, one), (after, other) = (talk(*(pair[n] for pair in pairs[:length])) for n in (0, 1))
        assert (before, one) == (after, other)


def test_characters_that_are_words_of_their_own_stay():
    assert simplified("著名乾隆") == "著名乾隆"
    assert simplified("漂亮") == "漂亮"
