"""Title and tags in Chinese and English."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text, text_name

PAIRS = [
    ("red dress", "红色连衣裙"),
    ("wireless headphones", "无线耳机"),
    ("running shoes", "跑鞋"),
    ("ceramic coffee mug", "陶瓷咖啡杯"),
    ("bedside lamp", "床头灯"),
    ("potted plant", "盆栽植物"),
    ("power drill", "电钻"),
    ("cat food", "猫粮"),
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(TextEncoderConfig())


def embed(encoder: TextEncoder, *texts: str) -> np.ndarray:
    return encoder.encode([Clip(str(i), text=text) for i, text in enumerate(texts)])


def test_chinese_and_english_names_of_one_thing_are_nearest(encoder):
    english = embed(encoder, *(pair[0] for pair in PAIRS))
    chinese = embed(encoder, *(pair[1] for pair in PAIRS))
    cosines = english @ chinese.T
    everyone = np.arange(len(PAIRS))
    assert (cosines.argmax(axis=1) == everyone).all()
    assert (cosines.argmax(axis=0) == everyone).all()


def test_long_texts_are_cut_and_the_cut_is_part_of_the_name(encoder):
    long = "red dress " * 5_000
    assert np.allclose(embed(encoder, long), embed(encoder, long[:1000]), atol=1e-6)
    assert text_name(TextEncoderConfig(max_chars=999)) != text_name(TextEncoderConfig())
    assert text_name(TextEncoderConfig(threads=2)) == text_name(TextEncoderConfig())


@pytest.mark.parametrize(
    "text", ["🎉🎉", "!!!", "\ud800 lone surrogate", "é", "\u200b", "\x00", "ﷺ", "a" * 999]
)
def test_odd_texts_give_a_vector_or_are_absent(encoder, text):
    if clip_text(text) is None:
        with pytest.raises(ValueError, match="has no text"):
            embed(encoder, text)
    else:
        assert np.linalg.norm(embed(encoder, text)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", [None, "", "  \n\t　"])
def test_blank_text_is_absent(encoder, text):
    assert clip_text(text) is None
    with pytest.raises(ValueError, match="nothing-said has no text"):
        encoder.encode([Clip("nothing-said", text=text)])


def test_title_and_tags_become_one_text():
    assert clip_text("Red  dress", ["summer", " silk ", "summer", ""]) == "Red dress. summer, silk"
    assert clip_text(None, ["夏季", "真丝"]) == "夏季, 真丝"
    assert clip_text("Red dress") == "Red dress"
    assert clip_text("  ", [" "]) is None


@given(st.text(max_size=30), st.lists(st.text(max_size=10), max_size=4))
def test_clip_text_is_stable_and_never_blank(title, tags):
    text = clip_text(title, tags)
    if text is not None:
        assert text == clip_text(text)
        assert text.strip() == text
        text.encode("utf-8")
