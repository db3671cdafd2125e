"""Messages of shoppers in many words, by kind: what holds after each, against a shop that was drawn."""

from itertools import groupby

import pytest

from tests.assistant.understanding.shop import PlainShop, expectations

BY_KIND = {kind: list(ones) for kind, ones in groupby(expectations(), key=lambda one: one.kind)}
MISSED = {
    "i had bad luck with nordlicht, so not them",
    "less white, please: none at all",
    "boots in size 38, sorry, 39",
    "white stains too easily",
    "不强求皮的",
    "黑不黑的都行",
}
"""Messages that are not understood."""


@pytest.fixture(scope="module")
def shop():
    return PlainShop()


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_message_means_the_same_in_other_words(shop, kind):
    faults = {one.message: fault for one in BY_KIND[kind] if (fault := shop.fault(one))}
    assert faults.keys() == MISSED & {one.message for one in BY_KIND[kind]}, faults


def test_there_are_thirty_messages_of_each_kind_in_both_languages():
    for kind, ones in BY_KIND.items():
        assert len(ones) >= 30, kind
        assert 0 < sum(one.message.isascii() for one in ones) < len(ones), kind
