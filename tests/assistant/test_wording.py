"""Texts of answers: all translated, none left over."""

import re
from pathlib import Path

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from vrec import assistant
from vrec.assistant.wording import CATALOGS, wording

FIELDS = re.compile(r"%\(\w+\)[sd]")


def forms(text):
    return list(text) if isinstance(text, tuple | list) else [text]


def test_every_text_is_translated_and_no_translation_is_left_over():
    keywords = {"say": None, "counted": (1, 2)}
    folder = str(Path(assistant.__file__).parent)
    texts = {found[2] for found in extract_from_dir(folder, [("**.py", "python")], keywords=keywords)}
    with (CATALOGS / "zh" / "assistant.po").open("rb") as file:
        translations = {one.id: one for one in read_po(file, locale="zh") if one.id}
    assert len(texts) > 40
    assert set(translations) == texts
    for one in translations.values():
        for form in forms(one.string):
            assert form
            assert set(FIELDS.findall(form)) == set(FIELDS.findall(forms(one.id)[-1])), one.id


def test_whole_amounts_have_no_decimals():
    assert wording("en", "EUR").money(20) == "€20"
    assert wording("en", "EUR").money(19.9) == "€19.90"
    assert wording("zh", "CNY").money(1200) == "¥1,200"
    assert wording("en").money(5.5) == "5.50"
