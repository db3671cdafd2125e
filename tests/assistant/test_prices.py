"""What messages say of prices."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.assistant.numerals import with_digits
from vrec.assistant.prices import PriceRange
from vrec.assistant.text import normal_form
from vrec.assistant.understanding.price_phrases import price_wishes

AMOUNTS = st.integers(1, 99_999).map(float) | st.integers(1, 99_999).map(lambda cents: cents / 100)
AT_MOST = [
    "at most {}",
    "no more than {} dollars",
    "up to ${}",
    "{} or less",
    "不超过{}元",
    "{}块以内",
    "预算{}",
    "最多{}元",
]
BELOW = ["under {}", "below €{}", "less than {} euros", "cheaper than {}", "低于{}元", "不到{}块"]
AT_LEAST = ["at least {}", "{} or more", "no less than ${}", "至少{}元", "{}元以上", "不低于{}"]
ABOVE = ["over {}", "more than {} dollars", "高于{}元", "超过{}块"]
ABOUT = ["about {}", "around ${}", "{}元左右", "大概{}块", "{} dollars or so"]


def said(text):
    return price_wishes(with_digits(normal_form(text)))


def amount(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def ranges(text, value):
    (wish,) = said(text.format(amount(value)))
    return wish.range


@given(st.sampled_from(AT_MOST), AMOUNTS)
def test_an_upper_bound_holds_the_price_itself(text, value):
    assert ranges(text, value) == PriceRange(most=value)


@given(st.sampled_from(BELOW), AMOUNTS)
def test_below_excludes_the_price_itself(text, value):
    assert ranges(text, value) == PriceRange(most=value, below=True)


@given(st.sampled_from(AT_LEAST), AMOUNTS)
def test_a_lower_bound_holds_the_price_itself(text, value):
    assert ranges(text, value) == PriceRange(least=value)


@given(st.sampled_from(ABOVE), AMOUNTS)
def test_above_excludes_the_price_itself(text, value):
    assert ranges(text, value) == PriceRange(least=value, above=True)


@given(st.sampled_from(ABOUT), AMOUNTS)
def test_about_allows_a_fifth_either_way(text, value):
    price = ranges(text, value)
    assert price.has(value)
    assert price.has(value * 1.19)
    assert price.has(value * 0.81)
    assert not price.has(value * 1.21)
    assert not price.has(value * 0.79)


@pytest.mark.parametrize(
    "text",
    ["between {} and {}", "from ${} to ${}", "{}-{} dollars", "{}到{}元", "{}至{}块之间", "{}和{}之间"],
)
@given(low=AMOUNTS, high=AMOUNTS)
def test_a_range_holds_both_ends_in_either_order(text, low, high):
    (wish,) = said(text.format(amount(low), amount(high)))
    assert wish.range == PriceRange(min(low, high), max(low, high))


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("cheaper", "cheaper"),
        ("something less expensive please", "cheaper"),
        ("that is too expensive", "cheaper"),
        ("便宜点", "cheaper"),
        ("太贵了", "cheaper"),
        ("不要太贵的", "cheaper"),
        ("more expensive", "dearer"),
        ("更贵的", "dearer"),
        ("高档一点的", "dearer"),
    ],
)
def test_comparisons_are_steps(text, step):
    (wish,) = said(text)
    assert (wish.step, wish.range) == (step, None)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("the cheapest one", "cheaper"),
        ("最便宜的", "cheaper"),
        ("most expensive first", "dearer"),
        ("最贵的", "dearer"),
    ],
)
def test_an_order_by_price_can_be_asked_for(text, order):
    (wish,) = said(text)
    assert (wish.order, wish.range, wish.step) == (order, None, None)


@pytest.mark.parametrize(
    "text", ["5 hats", "the second one", "2 mugs for 3 people", "iphone 15", "一件衣服", "第3个"]
)
def test_other_numbers_are_no_prices(text):
    assert said(text) == []


@given(
    st.builds(PriceRange, st.none() | AMOUNTS, st.none() | AMOUNTS, st.booleans(), st.booleans()),
    st.builds(PriceRange, st.none() | AMOUNTS, st.none() | AMOUNTS, st.booleans(), st.booleans()),
)
def test_a_later_wish_always_holds_after_narrowing(before, later):
    both = before.narrowed(later)
    if later.is_empty:
        return
    assert not both.is_empty
    if later.least is not None:
        assert (both.least, both.above) == (later.least, later.above)
    if later.most is not None:
        assert (both.most, both.below) == (later.most, later.below)


@given(st.text(max_size=80))
def test_any_text_gives_phrases_in_order_that_do_not_overlap(text):
    wishes = said(text)
    assert all(one.end <= other.start for one, other in itertools.pairwise(wishes))


@pytest.mark.parametrize(
    ("text", "least", "most"), [("两百来块", 160, 240), ("三百多块", 300, 400), ("一百出头", 100, 130)]
)
def test_a_chinese_amount_may_be_approximate(text, least, most):
    (wish,) = price_wishes(with_digits(text))
    assert wish.range is not None
    assert (wish.range.least, wish.range.most) == (least, most)
