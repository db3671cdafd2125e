"""Texts of the page: each has a Chinese one with the same values, and no translation is left over."""

import ast
import re
from html.parser import HTMLParser

from vrec.ranking.reranking.reasons import REASONS
from vrec.serving.http.routes.pages import WEB

STRING = r'"(?:[^"\\\n]|\\.)*"'
MODULES = {file.name: file.read_text("utf-8") for file in WEB.glob("*.js")}
CHINESE = {
    ast.literal_eval(key) if key.startswith('"') else key: ast.literal_eval(value)
    for key, value in re.findall(rf"^  ({STRING}|\w+):\s+({STRING}),$", MODULES["zh.js"], re.MULTILINE)
}
SOURCES = {name: text for name, text in MODULES.items() if name != "zh.js"}
NAMES = ("vrec",)
"""Texts that are the same in every language."""


class Texts(HTMLParser):
    """All texts of a document that people read or hear."""

    def __init__(self, document):
        super().__init__()
        self.found = set()
        self.feed(document)

    def handle_data(self, data):
        self.found.add(data.strip())

    def handle_starttag(self, tag, attributes):
        self.found |= {value for name, value in attributes if name in ("placeholder", "aria-label")}


def document_texts():
    found = Texts((WEB / "index.html").read_text("utf-8")).found
    return {text for text in found if re.search("[A-Za-z]", text) and text not in NAMES}


def values(text):
    return set(re.findall(r"\{\w*\}", text))


def test_every_text_of_the_document_and_of_the_modules_has_a_translation():
    called = rf"\b(?:say|counted)\(\s*({STRING})(?:,\s*({STRING}))?"
    said = {
        ast.literal_eval(text)
        for source in SOURCES.values()
        for pair in re.findall(called, source)
        for text in pair
        if text
    }
    # A choice of two texts is one argument.
    chosen = re.findall(rf"\bsay\(\w+ \? ({STRING}) : ({STRING})\)", "".join(SOURCES.values()))
    said |= {ast.literal_eval(text) for pair in chosen for text in pair}
    assert len(said) > 80
    assert (said | document_texts()) - CHINESE.keys() == set()


def test_reasons_of_the_service_have_a_translation():
    texts = {text for rule in REASONS.values() for text in (rule.text, rule.unnamed) if text}
    assert texts - CHINESE.keys() == set()


def test_no_translation_is_left_over_and_values_are_the_same():
    literals = {ast.literal_eval(text) for source in SOURCES.values() for text in re.findall(STRING, source)}
    reasons = {text for rule in REASONS.values() for text in (rule.text, rule.unnamed) if text}
    assert CHINESE.keys() - literals - document_texts() - reasons == set()
    assert {text for text, other in CHINESE.items() if values(text) != values(other)} == set()


def test_the_page_stays_lean():
    """All of the page in English, and the Chinese texts, which English readers do not load."""
    size = sum(file.stat().st_size for file in WEB.iterdir() if file.name != "zh.js")
    assert size <= 120 * 1024
    assert (WEB / "zh.js").stat().st_size <= 20 * 1024
