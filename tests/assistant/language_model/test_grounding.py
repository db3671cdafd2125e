"""The check of phrased texts, by properties."""

from hypothesis import assume, given
from hypothesis import strategies as st

from vrec.assistant.commands import commands
from vrec.assistant.language_model.grounding import grounding_fault
from vrec.assistant.language_model.plain_words import CHINESE_PLAIN, ENGLISH_PLAIN
from vrec.assistant.vocabulary import ATTRIBUTES, PRODUCTS, SHADES, names

TOLD = {
    "en": "12 found for sneakers · red · under $100.",
    "zh": "找到12个：运动鞋 · 红色 · 低于¥100。",
}
NAMED = {
    name
    for line in (*PRODUCTS, *ATTRIBUTES, *(", ".join((one.name, *one.names)) for one in SHADES))
    for name in names(line)
}


def test_plain_words_name_no_product_color_or_quality():
    assert not NAMED & (ENGLISH_PLAIN | CHINESE_PLAIN)


def test_plain_words_have_no_numbers_and_no_commands():
    assert not any(character.isdigit() for word in ENGLISH_PLAIN | CHINESE_PLAIN for character in word)
    assert not any(set("二三四五六七八九十百千万两半") & set(word) for word in CHINESE_PLAIN)
    assert not [word for word in CHINESE_PLAIN if {kind for kind, _ in commands(word)} & {"cart", "order"}]


@given(st.sampled_from(["en", "zh"]), st.sampled_from(sorted(NAMED)), st.data())
def test_a_named_thing_that_the_rules_did_not_name_is_refused(language, name, data):
    told = TOLD[language]
    assume(name not in told)
    place = data.draw(st.integers(0, len(told)))
    text = f"{told[:place]} {name} {told[place:]}"
    assert grounding_fault(text, told, (), language) is not None


@given(st.sampled_from(["en", "zh"]), st.text(min_size=1, max_size=40), st.data())
def test_foreign_text_anywhere_is_refused_unless_it_is_plain(language, more, data):
    told = TOLD[language]
    place = data.draw(st.integers(0, len(told)))
    text = f"{told[:place]} {more} {told[place:]}"
    if grounding_fault(text, told, (), language) is None:
        words = "".join(c for c in more.casefold() if c.isalpha())
        assert words == "" or all(
            c.casefold() in "".join(ENGLISH_PLAIN | CHINESE_PLAIN) + told for c in words
        )
        assert not any(c.isdigit() for c in more)
        assert not set(more) & set("<>[]{}*_`#|@/\\$€£¥=&+^")


def test_the_rules_own_text_is_grounded():
    for language, told in TOLD.items():
        assert grounding_fault(told, told, (), language) is None
