"""Facets of a changing catalog: after any changes they are those of the catalog read anew."""

import unicodedata

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.assistant.catalog import CatalogFacets
from vrec.assistant.lexicon import TRUE, ShopLexicon
from vrec.assistant.prices import PriceRange
from vrec.assistant.query import FacetValues, ShoppingQuery
from vrec.assistant.text import normal_form, stems_of, units_of
from vrec.assistant.vocabulary import SHADES
from vrec.core.schema import VIDEOS

IDS = tuple("abcdefgh")
TITLES = (
    None,
    "",
    "Red silk dress",
    "Teal mug, 350 ml",
    "Coral red hat",
    "蓝色马克杯",
    "Waterproof boots",
    "Red",
)
TAGS = ("red", "silk", "Rose Gold", "summer", "紫色", "waterproof", "sale")
CATEGORIES = (None, "mugs", "hats", "Women > Dresses", "zithers")


def row(video_id, title, tags, category, price, creator_id="ann", *, available=True):
    return {
        "video_id": video_id, "uri": f"/{video_id}.mp4", "kind": "product", "product_ids": [],
        "creator_id": creator_id, "domain": "shop", "category": category, "tags": tags, "title": title,
        "language": None, "price": price, "duration_s": None, "published_at": None, "expires_at": None,
        "available": available,
    }  # fmt: skip


rows = st.builds(
    row,
    st.sampled_from(IDS),
    st.sampled_from(TITLES),
    st.lists(st.sampled_from(TAGS), max_size=3),
    st.sampled_from(CATEGORIES),
    st.sampled_from([None, 5.0, 20.0, 99.5]),
    st.sampled_from(["ann", "bob"]),
    available=st.booleans(),
)
changes = st.lists(
    st.tuples(st.lists(rows, max_size=4), st.sets(st.sampled_from(IDS), max_size=2)), max_size=6
)
QUERIES = (
    ShoppingQuery(),
    ShoppingQuery(wanted=FacetValues(category=("mugs", "zithers"))),
    ShoppingQuery(wanted=FacetValues(color=("red",))),
    ShoppingQuery(unwanted=FacetValues(color=("red",), word=("silk",))),
    ShoppingQuery(wanted=FacetValues(tag=("rose gold", "sale"))),
    ShoppingQuery(wanted=FacetValues(attribute=("waterproof",), creator=("bob",))),
    ShoppingQuery(wanted=FacetValues(product=("hat",)), price=PriceRange(least=5.0, most=50.0, above=True)),
    ShoppingQuery(price=PriceRange(most=20.0)),
)


def table(held):
    return pa.Table.from_pylist(list(held), VIDEOS.arrow())


def fitting(facets, query):
    return sorted(facets.video_ids[facets.fitting(query)].tolist())


@given(first=st.lists(rows, max_size=8, unique_by=lambda one: one["video_id"]), later=changes)
@settings(max_examples=60)
def test_changes_lead_to_the_facets_of_the_catalog_read_anew(first, later):
    present = {one["video_id"]: one for one in first}
    facets = CatalogFacets(table(first), ShopLexicon(table(first)))
    for put, gone in later:
        changed = {one["video_id"]: one for one in put if one["video_id"] not in gone}
        before = {query: fitting(facets, query) for query in QUERIES}
        after = facets.with_changes(table(changed.values()), gone)
        assert {query: fitting(facets, query) for query in QUERIES} == before
        facets = after
        present = {name: one for name, one in (present | changed).items() if name not in gone}
    anew = CatalogFacets(table(present.values()), ShopLexicon(table(present.values())))
    for query in QUERIES:
        assert fitting(facets, query) == fitting(anew, query)
    for name in IDS:
        assert facets.card(name) == anew.card(name)
    assert sorted(facets.video_ids[facets.listed].tolist()) == sorted(present)
    assert facets.prices.shape == facets.listed.shape == facets.video_ids.shape


@given(first=st.lists(rows, max_size=6), more=st.lists(rows, max_size=6), text=st.sampled_from(TITLES + TAGS))
@settings(max_examples=40)
def test_a_lexicon_with_more_videos_names_what_one_of_all_of_them_names(first, more, text):
    lexicon = ShopLexicon(table(first)).with_videos(table(more))
    anew = ShopLexicon(table([*first, *more]))
    units = units_of(normal_form(text or ""))
    assert [(one.first, one.end, set(one.terms)) for one in lexicon.mentions(units)] == [
        (one.first, one.end, set(one.terms)) for one in anew.mentions(units)
    ]
    assert (lexicon.categories, lexicon.creators, lexicon.tags) == (anew.categories, anew.creators, anew.tags)
    for category in lexicon.categories:
        assert lexicon.category_name(category, "zh") == anew.category_name(category, "zh")


WORDS = (*TITLES[2:], *TAGS, "Rose", "gold", "dark", "blue", "navy", "粉", "包", "mugs", "-", "hats’")
LEXICON = ShopLexicon(table([row("a", "x", list(TAGS), one, 1.0) for one in CATEGORIES]))


@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
@settings(max_examples=200)
def test_the_colors_of_a_text_are_those_among_its_mentions(words):
    text = " ".join(words)
    mentions = LEXICON.mentions(units_of(normal_form(text)))
    shades = {term.value for one in mentions for term in one.terms if term.kind == "color"}
    families = {family for shade in SHADES if shade.name in shades for family in shade.families}
    plain = {TRUE[shade] for shade in shades if shade in TRUE}
    assert LEXICON.colors_in(text, stems_of(text)) == shades | plain | families


@given(text=st.text(max_size=30))
def test_the_normal_form_has_no_invisible_characters_and_stays_as_it_is(text):
    form = normal_form(text)
    assert all(one == " " or unicodedata.category(one)[0] != "C" for one in form)
    assert form == form.strip()
    assert stems_of(text) == tuple(unit.stem for unit in units_of(form))
