"""Texts of the console: all in the catalogs, all translated, none written into a template."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.profiles.profile import EVENT_KINDS
from vrec.ranking.reranking.eligibility_rules import RULES
from vrec.ranking.reranking.reasons import REASONS
from vrec.serving.console import languages
from vrec.serving.console.labels import LABELS, REASON_TEXTS, reason_label
from vrec.serving.console.languages import CATALOGS, ConsoleLanguage, choose_language, console_language

CONSOLE = Path(languages.__file__).parent
TEMPLATES = sorted((CONSOLE / "templates").glob("*.html"))
FIELDS = re.compile(r"%\(\w+\)s|\{\w*\}")
READ_ALOUD = ("aria-label", "alt", "title", "placeholder")


def marked():
    """All texts that are marked in the source."""
    with (CATALOGS / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "mark": None}
    found = extract_from_dir(str(CONSOLE), methods, options, keywords=keywords)
    return {message[2] for message in found}


@pytest.fixture(scope="module")
def texts():
    return marked()


@pytest.mark.parametrize("code", [code for code in ConsoleLanguage.NAMES if code != "en"])
def test_every_text_is_translated_and_no_translation_is_left_over(texts, code):
    with (CATALOGS / code / "console.po").open("rb") as file:
        catalog = read_po(file, locale=code)
    translations = {one.id: one for one in catalog if one.id}
    assert len(texts) > 150
    assert set(translations) == texts
    assert [one.id for one in translations.values() if one.fuzzy or not all(_forms(one.string))] == []
    for one in translations.values():
        ids = _forms(one.id)
        for form in _forms(one.string):
            assert set(FIELDS.findall(form)) == set(FIELDS.findall(ids[-1])), one.id


def _forms(text):
    return list(text) if isinstance(text, tuple | list) else [text]


class _Words(HTMLParser):
    """Texts of a template that are not made by Jinja."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_data(self, data):
        self.found += re.findall(r"[^\W\d_]{2,}", data)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in READ_ALOUD:
                self.found += re.findall(r"[^\W\d_]{2,}", value or "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.name)
def test_no_text_is_written_into_a_template(template):
    source = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
    source = re.sub(r"<pre.*?</pre>", "", source, flags=re.DOTALL)
    words = _Words()
    words.feed(source)
    assert [word for word in words.found if word != "vrec"] == []


def test_the_tests_find_a_text_that_is_written_into_a_template():
    words = _Words()
    words.feed('<p aria-label="Close it">Save me</p>')
    assert words.found == ["Close", "it", "Save", "me"]


def test_every_code_of_the_service_has_a_text():
    assert set(LABELS["event"]) >= set(EVENT_KINDS)
    assert set(LABELS["rule"]) >= set(RULES)
    named = {text for rule in REASONS.values() for text in (rule.text, rule.unnamed) if text is not None}
    assert set(REASON_TEXTS) == named


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [("en", "watched:v", "because you watched A mug"), ("zh", "watched:v", "因为您看过 A mug"),
     ("zh", "watched:w", "因为您看过的视频"), ("zh", "category:mugs", "因为您喜欢 mugs"),
     ("zh", "new", "因为是新视频"), ("en", "of_a_later_version:x", "of_a_later_version:x")],
)  # fmt: skip
def test_reasons_are_told_with_titles_and_without_ids(code, reason, expected):
    assert reason_label(reason, {"v": "A mug"}, console_language(code)) == expected


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [(None, ["zh-CN,zh;q=0.9,en;q=0.8"], "zh"), (None, ["en-US,zh;q=0.9"], "en"),
     (None, ["de,zh;q=0.5"], "zh"), (None, ["zh;q=0, en"], "en"), (None, ["zh;q=0.2", "en;q=0.7"], "en"),
     (None, [], "en"), (None, ["*"], "en"), ("zh", ["en"], "zh"), ("xx", ["zh-TW"], "zh"),
     (None, ["zh;q=x"], "en")],
)  # fmt: skip
def test_the_language_is_the_chosen_or_the_most_wanted_one(chosen, accepted, expected):
    assert choose_language(chosen, accepted).code == expected


@settings(max_examples=50, deadline=None)
@given(accepted=st.lists(st.text(max_size=60), max_size=3))
def test_any_header_leads_to_a_language(accepted):
    assert choose_language(None, accepted).code in ConsoleLanguage.NAMES


def test_numbers_and_times_are_written_as_the_reader_writes_them():
    english, chinese = console_language("en"), console_language("zh")
    assert (english.number(1234567.891, 1), chinese.number(0.5, 2)) == ("1,234,567.9", "0.5")
    assert (english.percent(0.12345), english.percent(0.12346, 2)) == ("12.3%", "12.35%")
    assert (english.money(1234.5, "EUR"), chinese.money(9.9, "CNY")) == ("€1,234.50", "¥9.90")
    assert (english.scale_money(2500, "USD"), english.scale_money(2.5, "USD")) == ("$2,500", "$2.50")
    noon = 1_700_000_000_000_000
    assert (english.day(noon), chinese.day(noon)) == ("Nov 14", "11月14日")
    assert (english.moment(noon), english.moment(None)) == ("2023-11-14 22:13 UTC", "")
