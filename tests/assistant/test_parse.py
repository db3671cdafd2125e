"""Understanding of single messages."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.assistant.lexicon import ShopLexicon
from vrec.assistant.parse import MessageParser
from vrec.assistant.query import FACETS
from vrec.assistant.text import language_of

SHOP = pa.table(
    {
        "category": ["dresses", "sneakers", "mugs", "womens_hats", "灯具"],
        "creator_id": ["ann_studio", "bob", "", "", ""],
        "tags": [["silk", "summer sale"], ["running"], ["stoneware"], [], None],
    }
)
PARSER = MessageParser(ShopLexicon(SHOP))


def facets(said):
    wanted = {facet: said.wanted.of(facet) for facet in FACETS if said.wanted.of(facet)}
    unwanted = {f"no {facet}": said.unwanted.of(facet) for facet in FACETS if said.unwanted.of(facet)}
    return wanted | unwanted


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("I'm looking for a red dress", {"category": ("dresses",), "color": ("red",)}),
        ("我想买一条红色的连衣裙", {"category": ("dresses",), "color": ("red",)}),
        ("有没有红裙子", {"category": ("dresses",), "color": ("red",)}),
        ("I want a 红色 dress", {"category": ("dresses",), "color": ("red",)}),
        ("trainers", {"category": ("sneakers",)}),
        ("鞋", {"category": ("sneakers",)}),
        ("a hat please", {"category": ("womens_hats",)}),
        ("帽子", {"category": ("womens_hats",)}),
        ("a lamp", {"category": ("灯具",)}),
        ("not red", {"no color": ("red",)}),
        ("not red or blue, green please", {"color": ("green",), "no color": ("red", "blue")}),
        ("not red but blue", {"color": ("blue",), "no color": ("red",)}),
        ("blue instead of red", {"color": ("blue",), "no color": ("red",)}),
        ("I'd rather it wasn't red", {"no color": ("red",)}),
        ("no reddish ones", {"no color": ("red",)}),
        ("red is too loud", {"no color": ("red",)}),
        ("红色太素了", {"no color": ("red",)}),
        ("红色不看了，有蓝色的吗", {"color": ("blue",), "no color": ("red",)}),
        ("any material but no silk", {"no attribute": ("silk",)}),
        ("不要红色的，要蓝色的", {"color": ("blue",), "no color": ("red",)}),
        ("红色的不要", {"no color": ("red",)}),
        ("除了黑色都行", {"no color": ("black",)}),
        ("I don't want mugs", {"no category": ("mugs",)}),
        (
            "silk dress by Ann Studio",
            {"category": ("dresses",), "attribute": ("silk",), "creator": ("ann_studio",)},
        ),
        ("summer sale", {"tag": ("summer sale",)}),
        (
            "sneakers in size 42 without zips",
            {"category": ("sneakers",), "size": ("42",), "no word": ("zips",)},
        ),
        ("42码的运动鞋", {"category": ("sneakers",), "size": ("42",)}),
        ("a large one, in large", {"size": ("l",), "word": ("large",)}),
        ("sofas", {"product": ("sofa",)}),
        ("有沙发吗", {"product": ("sofa",)}),
        ("navy blue", {"color": ("navy",)}),
        ("包邮的", {"word": ("包邮",)}),
        ("something waterproof", {"attribute": ("waterproof",)}),
        ("防水的", {"attribute": ("waterproof",)}),
        ("a squeaky one", {"word": ("squeaky",)}),
        ("under 20", {}),
        ("", {}),
        ("？！…", {}),
    ],
)
def test_facets(message, expected):
    assert facets(PARSER.parse(message)) == expected


@pytest.mark.parametrize(
    ("message", "places"),
    [
        ("the second, in blue", [2]),
        ("add the 3rd one", [3]),
        ("#4", [4]),
        ("number two and number five", [2, 5]),
        ("the last one", [-1]),
        ("第二个", [2]),
        ("第十双多少钱", [10]),
        ("最后一个", [-1]),
        ("for the first time", []),
        ("second hand", []),
        ("第一次来", [1]),
    ],
)
def test_references(message, places):
    assert [one.place for one in PARSER.parse(message).references] == places


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("start again", "reset"),
        ("重新开始", "reset"),
        ("can I talk to a human", "person"),
        ("转人工", "person"),
        ("where is my order?", "order"),
        ("我的快递到哪了", "order"),
        ("has order A-8 been refunded?", "order"),
        ("what did I order?", "order"),
        ("add the second one to my cart", "cart"),
        ("把第二个加入购物车", "cart"),
        ("how much is it", "detail"),
        ("how much does the second one cost?", "detail"),
        ("这个多少钱", "detail"),
        ("when does the mug video say that it is dishwasher safe?", "moment"),
        ("something like this", "similar"),
        ("类似的", "similar"),
        ("show me more", "more"),
        ("还有吗", "more"),
        ("hello", "greeting"),
        ("谢谢", "thanks"),
    ],
)
def test_commands(message, command):
    assert PARSER.parse(message).commands[:1] == (command,)


@pytest.mark.parametrize("message", ["how much does it weigh?", "how much do they hold?"])
def test_a_question_for_another_measure_asks_for_no_price(message):
    assert "detail" not in PARSER.parse(message).commands


@pytest.mark.parametrize("currency", ["euros", "euro", "eur", "dollars", "dollar", "pounds", "bucks"])
def test_the_name_of_a_currency_leaves_no_letters(currency):
    said = PARSER.parse(f"a red dress under 30 {currency}")
    assert said.prices
    assert not said.wanted.word


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("a red dress", "en"),
        ("红色的裙子", "zh"),
        ("我想要 red dress", "zh"),
        ("show me 红色 dresses under fifty please", "en"),
        ("50?", "en"),
    ],
)
def test_languages(message, language):
    assert language_of(message) == language


def test_a_message_without_letters_keeps_the_language():
    assert PARSER.parse("< 50", "zh").language == "zh"


@given(st.text(max_size=200))
def test_any_message_is_read(message):
    PARSER.parse(message)


@given(
    st.sampled_from(["red dress", "红色的连衣裙", "not blue", "under 50 euros"]),
    st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad"),
)
def test_invisible_characters_change_nothing(message, invisible):
    hidden = invisible.join(message)
    said, plain = PARSER.parse(hidden), PARSER.parse(message)
    assert facets(said) == facets(plain)
    assert said.prices == plain.prices


@pytest.mark.parametrize(
    ("text", "facet"),
    [
        ("any price", "price"),
        ("the price doesn't matter", "price"),
        ("价格不限", "price"),
        ("多少钱都行", "price"),
        ("any brand is fine", "creator"),
        ("其他牌子也可以", "creator"),
        ("forget about the size", "size"),
        ("颜色随便", "color"),
    ],
)
def test_a_facet_can_stop_to_matter(text, facet):
    assert PARSER.parse(text).any_of == (facet,)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("no sorry, I meant blue", "blue"),
        ("actually, green", "green"),
        ("说错了，要黑色", "black"),
        ("不对，是蓝色的", "blue"),
    ],
)
def test_a_correction_refuses_nothing(text, meant):
    said = PARSER.parse(text)
    assert said.unwanted.is_empty
    assert said.wanted.color == (meant,)
    assert said.wanted.word == ()


def test_a_wish_is_taken_back_without_being_refused():
    said = PARSER.parse("it doesn't have to be silk")
    assert said.freed.attribute == ("silk",)
    assert said.unwanted.is_empty
    assert said.wanted.attribute == ()


@pytest.mark.parametrize("text", ["pink isn't my thing", "粉色除外"])
def test_a_refusal_may_stand_behind_what_it_refuses(text):
    assert PARSER.parse(text).unwanted.color == ("pink",)


@pytest.mark.parametrize("text", ["sneekers", "sneaker", "sneakrs", "snaekers"])
def test_a_slip_of_one_letter_finds_the_category(text):
    assert PARSER.parse(text).wanted.category == ("sneakers",)


@pytest.mark.parametrize("text", ["block", "blank", "streakers", "snickers"])
def test_another_word_is_no_slip(text):
    assert PARSER.parse(text).wanted.word == (text,)


def test_a_word_of_the_catalog_is_no_slip():
    said = PARSER.parse("sneekers", None, lambda word: word == "sneeker")
    assert said.wanted.word == ("sneekers",)


@pytest.mark.parametrize(
    ("text", "before", "language"),
    [
        ("灯具 please", "zh", "en"),
        ("ok", "zh", "zh"),
        ("summer sale 的", "en", "zh"),
        ("灯具", "en", "en"),
        ("灯具", None, "zh"),
        ("mugs", None, "en"),
    ],
)
def test_names_of_the_shop_tell_no_language(text, before, language):
    assert PARSER.parse(text, before).language == language


@pytest.mark.parametrize(
    ("message", "either"), [("silk or cotton", True), ("真丝或棉的", True), ("silk, cotton", False)]
)
def test_alternatives_are_told_from_what_is_wanted_together(message, either):
    said = PARSER.parse(message)
    assert said.either == either
    assert said.wanted.attribute == ("silk", "cotton")


def test_a_word_of_customer_service_is_no_slip_of_a_product():
    shop = pa.table({"category": ["chargers"], "creator_id": [""], "tags": [["usb"]]})
    said = MessageParser(ShopLexicon(shop)).parse("what do you charge for engraving?")
    assert said.wanted.category == ()


@pytest.mark.parametrize("message", ["旧的你们收不收", "贵不贵", "I have a cold, can I come?"])
def test_questions_are_told_without_a_sign(message):
    assert PARSER.parse(message).is_question


def test_in_a_question_an_ordinal_with_a_noun_of_its_own_is_no_card():
    def places(message):
        return [one.place for one in PARSER.parse(message, None, lambda _: False).references]

    assert places("we live on the third floor, what does it cost?") == []
    assert places("what does the third cost?") == [3]
    assert places("is the second dress in stock?") == [2]


def test_a_second_thought_is_no_second_card():
    assert PARSER.parse("on second thought, a hat").references == ()


@pytest.mark.parametrize("message", ["any colour except that one", "除了这个颜色"])
def test_another_color_than_this_one_frees_no_color(message):
    said = PARSER.parse(message)
    assert said.other_color
    assert said.any_of == ()
    assert not said.points
