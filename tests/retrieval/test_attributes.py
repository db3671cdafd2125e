"""Attributes as vectors against scikit-learn and by hand, and filters against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.retrieval.catalogues import videos
from vrec.core.errors import FitError, SchemaError
from vrec.retrieval.attributes import VideoFilters, attribute_vectors, filter_videos, title_words
from vrec.retrieval.config import AttributesConfig

NOTHING = dict.fromkeys(AttributesConfig.model_fields, 0.0)


def only(**weights: float) -> AttributesConfig:
    return AttributesConfig(**NOTHING | weights)


def cosines(table, config) -> np.ndarray:
    rows = attribute_vectors(table, config)[1].toarray()
    return rows @ rows.T


def test_titles_weigh_as_scikit_learn_weighs_them():
    """With its unsmoothed idf less the 1 that it adds, and words that one title alone has left out."""
    titles = ["red silk dress", "red red wool hat", "blue silk scarf", "green hat", "silk hat red"]
    table = videos(**{f"v{n}": {"title": title} for n, title in enumerate(titles)})
    oracle = TfidfVectorizer(min_df=2, smooth_idf=False, norm=None)
    counts = np.log1p(oracle.fit_transform(titles).toarray() / oracle.idf_)
    rows = counts * (oracle.idf_ - 1)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    assert np.allclose(cosines(table, only(title=1)), rows @ rows.T, atol=1e-6)


def test_many_tags_count_no_more_than_one_category():
    table = videos(
        a={"tags": ["x", "y", "z"], "category": "hats"},
        b={"tags": ["x", "y", "z"], "category": "shoes"},
        c={"tags": ["u"], "category": "hats"},
        d={"tags": ["u"], "category": "shoes"},
    )
    likeness = cosines(table, only(tags=1, category=1))
    assert likeness[0, 1] == pytest.approx(0.5)
    assert likeness[0, 2] == pytest.approx(0.5)
    assert cosines(table, only(tags=3, category=1))[0, 1] == pytest.approx(0.75)


def test_rows_are_unit_or_blank_and_ids_keep_their_order():
    table = videos(z={"title": "hat"}, a={"title": "hat"}, m={"title": None}, b={"title": "alone"})
    ids, rows = attribute_vectors(table, only(title=1))
    assert ids == ["z", "a", "m", "b"]
    assert np.allclose(np.linalg.norm(rows.toarray(), axis=1), [1, 1, 0, 0])
    assert rows.dtype == np.float32


def test_what_all_share_tells_nothing():
    table = videos(a={"kind": "live"}, b={"kind": "live"}, c={"kind": "live"})
    assert attribute_vectors(table, AttributesConfig())[1].nnz == 0
    assert attribute_vectors(table, only())[1].shape == (3, 0)


def test_prices_are_alike_within_a_power_of_two():
    prices = [5.0, 7.9, 8.0, 15.0, 0.3, 0.26, 0.0, 0.0, -1.0, -1.5, None]
    table = videos(**{f"v{n}": {"price": price} for n, price in enumerate(prices)})
    alike = cosines(table, only(price=1)) > 0.5
    pairs = {(i, j) for i, j in np.argwhere(alike) if i < j}
    assert pairs == {(0, 1), (2, 3), (4, 5)}


def test_titles_without_spaces_are_read_by_characters_and_pairs():
    assert title_words("Red 连衣裙 2024!") == ["red", "连", "衣", "裙", "连衣", "衣裙", "2024"]
    assert title_words("ワンピース_été") == [*"ワンピース", "ワン", "ンピ", "ピー", "ース", "été"]
    assert title_words("…") == []


def test_empty_catalogue_has_no_vectors():
    table = videos(a={}).slice(0, 0)
    ids, rows = attribute_vectors(table, AttributesConfig())
    assert (ids, rows.shape[0]) == ([], 0)
    with pytest.raises(SchemaError, match="missing video_id"):
        attribute_vectors(table.drop_columns(["video_id"]), AttributesConfig())


@given(st.data())
def test_filters_pass_what_a_plain_loop_passes(data):
    values = {
        "kind": st.sampled_from(["live", "clip"]),
        "category": st.sampled_from(["hats", "shoes", None]),
        "creator_id": st.sampled_from(["ann", "bo"]),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=3),
        "price": st.sampled_from([None, 1.5, 2.5, 3.5]),
        "available": st.booleans(),
    }
    table = videos(**{f"v{n}": data.draw(st.fixed_dictionaries(values)) for n in range(6)})
    rows = table.to_pylist()
    wanted = {
        name: (data.draw(st.sampled_from([row[name] for row in rows])),)
        for name in ("kind", "category", "creator_id")
        if data.draw(st.booleans())
    }
    wanted = {name: value for name, value in wanted.items() if value != (None,)}
    tags = tuple(sorted({tag for row in rows for tag in row["tags"]}))[:1]
    if tags:
        wanted["tags"] = tags
    low, high = data.draw(st.sampled_from([None, 2.5])), data.draw(st.sampled_from([None, 2.5]))
    available = data.draw(st.sampled_from([None, True, False]))

    def passes(row) -> bool:
        return (
            all(row[name] in value for name, value in wanted.items() if name != "tags")
            and ("tags" not in wanted or bool(set(row["tags"]) & set(wanted["tags"])))
            and (low is None or (row["price"] is not None and row["price"] >= low))
            and (high is None or (row["price"] is not None and row["price"] <= high))
            and (available is None or row["available"] == available)
        )

    filters = VideoFilters(**wanted, min_price=low, max_price=high, available=available)
    assert filter_videos(table, filters) == [row["video_id"] for row in rows if passes(row)]


def test_value_that_no_video_has_is_named_with_the_nearest():
    table = videos(a={"category": "shoes"}, b={"category": "hats"})
    with pytest.raises(FitError, match=r"VIDEOS\.category is never shoe; did you mean shoes\?"):
        filter_videos(table, VideoFilters(category=("hats", "shoe")))
    with pytest.raises(FitError, match="tags is never x"):
        filter_videos(table, VideoFilters(tags=("x",)))
    assert filter_videos(table, VideoFilters(category=())) == []
    with pytest.raises(ValueError, match="colour"):
        VideoFilters(colour="red")  # type: ignore[call-arg]


FIELDS = {
    "tags": (["x"], ["y"]),
    "title": ("hat", "dress"),
    "category": ("hats", "shoes"),
    "creator_id": ("ann", "bo"),
    "kind": ("live", "clip"),
    "domain": ("shop", "news"),
    "language": ("en", "de"),
    "price": (5.0, 50.0),
    "duration_s": (10.0, 100.0),
}


@pytest.mark.parametrize("field", FIELDS)
def test_each_weight_is_its_columns_share_of_the_similarity(field: str):
    """a and b agree in one column alone; another column, of weight 1, tells them apart."""
    assert FIELDS.keys() == AttributesConfig.model_fields.keys()
    other = "tags" if field == "category" else "category"
    one, two = FIELDS[field]
    high, low = FIELDS[other]
    table = videos(
        a={field: one, other: high},
        b={field: one, other: low},
        c={field: two, other: high},
        d={field: two, other: low},
    )
    similarity = cosines(table, only(**{field: 3, other: 1}))
    np.testing.assert_allclose(similarity[0], [1, 3 / 4, 1 / 4, 0], atol=1e-6)
    np.testing.assert_allclose(cosines(table, only(**{field: 2}))[0], [1, 1, 0, 0], atol=1e-6)


def test_idf_and_counts_by_hand():
    """Of four videos two have x, twice in the first, and three have y."""
    table = videos(a={"tags": ["x", "x", "y"]}, b={"tags": ["x", "y"]}, c={"tags": ["y", "z"]}, d={})
    rows = attribute_vectors(table, only(tags=1))[1].toarray()
    x, y = np.log(4 / 2), np.log(4 / 3)
    first, second = np.array([np.log(3) * x, np.log(2) * y]), np.array([x, y])
    want = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert (rows @ rows.T)[0, 1] == pytest.approx(want, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0], rtol=1e-6)


def test_durations_are_alike_within_a_power_of_two():
    lengths = [4.0, 7.9, 8.0, 0.5, 0.9, 0.0, None, -4.0]
    table = videos(**{f"v{n}": {"duration_s": length} for n, length in enumerate(lengths)})
    alike = cosines(table, only(duration_s=1)) > 0.5
    assert {(i, j) for i, j in np.argwhere(alike) if i < j} == {(0, 1), (3, 4)}


@pytest.mark.parametrize("field", ["kind", "category", "creator_id", "domain", "language"])
def test_each_filter_reads_its_own_column(field: str):
    one, two = FIELDS[field]
    third = None if field in ("category", "language") else two
    table = videos(a={field: one}, b={field: two}, c={field: third})
    assert filter_videos(table, VideoFilters(**{field: (one,)})) == ["a"]
    assert filter_videos(table, VideoFilters(**{field: (one, two)}))[:2] == ["a", "b"]


def test_bounds_of_price_are_inclusive_and_availability_is_asked_for_by_default():
    table = videos(
        a={"price": 1.1},
        b={"price": 2.2},
        c={"price": 3.3},
        d={"price": None},
        e={"price": 2.2, "available": False},
    )
    assert filter_videos(table, VideoFilters()) == ["a", "b", "c", "d"]
    assert filter_videos(table, VideoFilters(min_price=2.2)) == ["b", "c"]
    assert filter_videos(table, VideoFilters(max_price=2.2)) == ["a", "b"]
    assert filter_videos(table, VideoFilters(min_price=1.2, max_price=3.2, available=None)) == ["b", "e"]
    assert filter_videos(table, VideoFilters(available=False)) == ["e"]
    assert filter_videos(table.slice(0, 0), VideoFilters()) == []


def test_an_unknown_value_is_refused_with_the_fix():
    table = videos(a={"domain": "shop"}, b={"domain": "news"})
    with pytest.raises(FitError, match=r"filter_videos: VIDEOS\.domain is never zzz$") as error:
        filter_videos(table, VideoFilters(domain=("shop", "zzz")))
    assert error.value.fix == "give values that occur in the catalog's domain"
