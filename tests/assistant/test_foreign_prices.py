"""Amounts in a currency that is not the shop's: said, and not taken for one of the shop's."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.assistant.test_dialogue import BY_ID, ROWS, talk
from vrec.assistant.assistant import Assistant
from vrec.assistant.config import AssistantConfig
from vrec.assistant.currencies import currencies_in
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.numerals import with_digits
from vrec.assistant.prices import in_shop_currency
from vrec.assistant.text import normal_form
from vrec.assistant.understanding.price_phrases import price_wishes
from vrec.core.schema import VIDEOS

NAMES = {
    "USD": ["${}", "{} dollars", "US${}", "{} usd", "{}美元", "{} bucks", "{}$"],
    "EUR": ["€{}", "{} euros", "{}€", "{} EUR", "{}欧元", "{}歐元"],
    "GBP": ["£{}", "{} pounds", "{} quid", "{}英镑"],
    "JPY": ["{} yen", "{}日元", "¥{}"],
    "CNY": ["{} yuan", "¥{}", "人民币{}", "{} RMB"],
}
OF_ANY = ["{}", "{}元", "{}块", "{} kuai"]


def wishes(text, shop, rates=()):
    text = with_digits(normal_form(text))
    return in_shop_currency(text, price_wishes(text), shop, dict(rates))


@given(st.sampled_from(sorted(NAMES)), st.data(), st.integers(1, 9_999), st.sampled_from(sorted(NAMES)))
def test_an_amount_counts_in_the_shop_s_currency_alone(code, data, amount, shop):
    named = data.draw(st.sampled_from(NAMES[code])).format(amount)
    kept, foreign = wishes(f"something under {named}", shop)
    may_be = currencies_in(normal_form(named))
    assert code in may_be
    if shop in may_be:
        assert (kept[0].range.most, foreign) == (amount, ())
    else:
        assert kept == ()
        assert len(foreign) == 1
        assert str(amount) in foreign[0]
    assert [wish.range.most for wish in wishes(f"under {named}", None)[0]] == [amount]


@given(st.sampled_from(OF_ANY), st.integers(1, 9_999), st.sampled_from(sorted(NAMES)))
def test_an_amount_without_a_currency_is_one_of_the_shop_s(form, amount, shop):
    kept, foreign = wishes(f"under {form.format(amount)}", shop)
    assert (kept[0].range.most, foreign) == (amount, ())


@given(st.floats(0.01, 200), st.integers(1, 9_999))
def test_with_a_rate_it_is_converted(rate, amount):
    kept, foreign = wishes(f"between {amount} and {2 * amount} pounds", "EUR", {"GBP": rate})
    assert foreign == ()
    assert kept[0].range.least == pytest.approx(amount * rate, abs=0.005)
    assert kept[0].range.most == pytest.approx(2 * amount * rate, abs=0.005)


@pytest.mark.parametrize(
    "text", ["I can't wait", "the 10 won't do", "a cadbury egg for 5", "costs a $10 bill"]
)
def test_other_words_are_no_currencies(text):
    assert set(currencies_in(text)) <= {"USD", "AUD", "CAD", "HKD", "NZD", "SGD", "TWD"}
    assert wishes(text, "USD")[1] == ()


def test_the_answer_says_so_and_the_next_amount_counts():
    _, answer = talk("dresses under 10 dollars")
    assert answer.kind == "cards"
    assert "Prices here are in euros" in answer.text
    assert "under 10 dollars" in answer.text
    assert {BY_ID[name]["category"] for name in answer.video_ids} == {"dresses"}
    state, answer = talk("碗，10美元以内", "100欧元以内")
    assert state.query.price.most == 100
    assert answer.language == "zh"
    assert talk("碗，10美元以内")[0].query.price.is_any
    assert "欧元标价" in talk("碗，10美元以内")[1].text


def test_a_shop_may_declare_rates():
    videos = pa.Table.from_pylist(ROWS, schema=VIDEOS.arrow())
    config = AssistantConfig.model_validate({"rates": {"USD": 0.5}})
    shop = Assistant(videos, None, "EUR", config)
    state, answer = shop.answer(DialogueState(), "under 40 dollars", lambda request: request.video_ids)
    assert state.query.price.most == 20
    assert {BY_ID[name]["category"] for name in answer.video_ids} == {"bowls"}
