"""Texts as a person reads them."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.robustness.content.doctored import hidden_title, look_alike_title, stuffed_title
from vrec.robustness.content.plain_text import (
    MAX_REPEATS,
    MAX_WORDS,
    limit_repeats,
    plain_text,
    without_stuffing,
)

HONEST = [
    "Red summer dress, 100% silk",
    "Платье красное летнее",
    "Носок Nike 42",
    "Кроссовки Adidas Superstar",
    "тест nike",
    "红色连衣裙 夏季新款 T恤 iPhone15",
    "かわいい猫のビデオ",
    "α-lipoic acid, β-carotene 10 μg",
    "Αθήνα tour",
    "T-шорты",
    "می\u200cخواهم بخرم",
    "हिन्दी क्\u200dष",
    "ไทย",
    "crème brûlée, naïve façade",
    "Tiếng Việt",
    "👩\u200d🔧 family",
]


@pytest.mark.parametrize("title", HONEST)
def test_honest_titles_of_many_scripts_stay(title):
    assert plain_text(title) == unicodedata.normalize("NFKC", title)


@pytest.mark.parametrize(
    ("doctored", "plain"),
    [
        ("Nikе аir mах", "Nike air max"),
        ("сосо chanel perfume", "coco chanel perfume"),
        ("ΝΙΚΕ air", "NIKE air"),
        ("Плaтье кpаcное", "Платье красное"),
        ("红\u200b色\u2060连\ufeff衣裙", "红色连衣裙"),
        ("d\u00adr\u200ce\u200ds\u202es", "dress"),
        ("𝓡𝓮𝓭 Ｄｒｅｓｓ ①", "Red Dress 1"),
        ("r\ufe0fe\U000e0041d", "red"),
        ("\u3164red\u115f", "red"),
        ("e\u0301\u0301\u0301\u0301", "é\u0301\u0301"),
        ("a\ud800b", "a?b"),
    ],
)
def test_doctored_titles_become_plain(doctored, plain):
    assert plain_text(doctored) == plain


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
def test_plain_text_is_plain_and_takes_any_text(text):
    once = plain_text(text)
    assert plain_text(once) == once


@given(
    st.lists(st.sampled_from(["shoes", "mug", "Dress", "apex"]), min_size=1, max_size=4), st.integers(0, 99)
)
def test_hidden_and_look_alike_titles_are_undone_beside_a_latin_word(words, seed):
    title = " ".join([*words, "with gift"])
    assert plain_text(hidden_title(title, seed)) == title
    assert plain_text(look_alike_title(title)) == title


@given(st.lists(st.sampled_from(["a", "b", "c"])))
def test_words_count_a_few_times_in_their_order(words):
    kept = list(limit_repeats(words))
    assert Counter(kept) == {word: min(times, MAX_REPEATS) for word, times in Counter(words).items()}
    assert all(word in iter(words) for word in kept)


def test_stuffing_is_cut_and_honest_texts_stay():
    assert without_stuffing(stuffed_title("phone case", ["iphone"], 20)) == "phone case iphone iphone iphone"
    honest = "the cat and the dog and the bird, and the mouse and the fox at the end"
    assert without_stuffing(honest) == honest
    assert without_stuffing("红色连衣裙,夏季!") == "红色连衣裙,夏季!"
    many = " ".join(f"word{n}" for n in range(MAX_WORDS + 50))
    assert without_stuffing(many) == " ".join(f"word{n}" for n in range(MAX_WORDS))
    assert without_stuffing("") == ""
