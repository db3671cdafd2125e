"""Filter expressions: the same as plain Python says of each video, and errors that name their position."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.catalog.small import VIDEOS_ROWS, changed, names, removed, snapshot, video
from tests.serving.http.client import call, call_json
from vrec.ranking.reranking.catalog import normalize_tag
from vrec.serving.catalog.expressions import InvalidExpression, parse_expression
from vrec.serving.messages import RequestFilters

EDITED = [
    video("a", category="hats", tags=["SALE"], price=7.0),
    video("n", language="en", kind="live", price=0.0),
]
ROWS = {row["video_id"]: row for row in [*VIDEOS_ROWS, *EDITED] if row["video_id"] != "b"}
SHOWN = snapshot().with_changes(
    [
        changed(row["video_id"], **{name: row[name] for name in row if name not in ("video_id", "uri")})
        for row in EDITED
    ]
    + [removed("b")]
)
COLUMNS = {"kind": "kind", "category": "category", "creator": "creator_id", "language": "language"}
KINDS = ["product", "live", "clip"]
TEXTS = ["mugs", "hats", "clip", "live", "c", "bob", "en", "zh", "red", " Sale", "adult", 'a"b\\', "none"]


def equals(row, field, value):
    if field == "tag":
        return normalize_tag(value) in {normalize_tag(tag) for tag in row["tags"]}
    if field == "price":
        return (row.get("price") or 0.0) == value
    own = row.get(COLUMNS[field])
    return own == value or (field == "language" and own is None)


def text_comparisons(field, text):
    values = st.lists(text, min_size=1, max_size=3)
    yield st.builds(lambda f, v: (f"{f} = {json.dumps(v)}", lambda row: equals(row, f, v)), field, text)
    yield st.builds(lambda f, v: (f"{f}!={json.dumps(v)}", lambda row: not equals(row, f, v)), field, text)
    yield st.builds(
        lambda f, vs: (f"{f} IN {json.dumps(vs)}", lambda row: any(equals(row, f, v) for v in vs)),
        field,
        values,
    )
    yield st.builds(
        lambda f, vs: (f"{f} not in {json.dumps(vs)}", lambda row: not any(equals(row, f, v) for v in vs)),
        field,
        values,
    )


def comparisons():
    number = st.sampled_from([0.0, 5.0, 5.5, 7.0, 50.0])
    orders = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}
    return st.one_of(
        *text_comparisons(st.just("kind"), st.sampled_from(KINDS)),
        *text_comparisons(st.sampled_from([*COLUMNS, "tag"][1:]), st.sampled_from(TEXTS)),
        st.builds(
            lambda o, v: (f"price {o} {v:g}", lambda row: orders[o](row.get("price") or 0.0, v)),
            st.sampled_from(sorted(orders)),
            number,
        ),
        st.builds(lambda v: (f"price in [{v:g}, 99]", lambda row: equals(row, "price", v)), number),
    )


EXPRESSIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.builds(lambda a: (f"not ({a[0]})", lambda row: not a[1](row)), inner),
        st.builds(lambda a, b: (f"({a[0]}) and ({b[0]})", lambda row: a[1](row) and b[1](row)), inner, inner),
        st.builds(lambda a, b: (f"({a[0]}) or\n({b[0]})", lambda row: a[1](row) or b[1](row)), inner, inner),
    ),
    max_leaves=6,
)


def matching(text):
    mask = SHOWN.filter_mask(RequestFilters(expression=parse_expression(text)))
    return set(names(SHOWN.catalog, mask.nonzero()[0]))


@settings(max_examples=200, deadline=None)
@given(expression=EXPRESSIONS)
def test_an_expression_matches_what_plain_python_does(expression):
    text, holds = expression
    assert matching(text) == {name for name, row in ROWS.items() if holds(row)}


def test_not_binds_closer_than_and_and_and_than_or():
    assert matching('not price > 5 and kind = "clip" or category = "hats"') == matching(
        '((not price > 5) and kind = "clip") or category = "hats"'
    )


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("price <= 5", {"most_price": 5.0}),
        ('language in ["en"]', {"languages": frozenset({"en"})}),
        ('tag in ["RED", "x"]', {"tags": frozenset({"RED", "x"})}),
        (
            'category = "hats" and creator = "c"',
            {"categories": frozenset({"hats"}), "creators": frozenset({"c"})},
        ),
    ],
)
def test_an_expression_means_what_the_filter_of_its_field_means(text, filters):
    mask = SHOWN.filter_mask(RequestFilters(**filters))
    assert matching(text) == set(names(SHOWN.catalog, mask.nonzero()[0]))


BAD = [
    ("", "at character 1: the expression ends too early"),
    ('pric < 3 and kind = "clip"', "at character 1: there is no field pric: did you mean price?"),
    ('kind = "clip" and price < "3"', "at character 27: price is compared with a number"),
    ('kind < "clip"', "at character 1: kind has no order"),
    ('kind = "zzz"', 'at character 8: kind is never "zzz": it is one of "product", "live", "clip"'),
    ('not kind in ["clip", "Live"]', 'at character 22: kind is never "Live"'),
    ("kind = 3", "at character 8: kind is compared with a text"),
    ('kind = "clip', "at character 8: "),
    ("price < 1 )", "at character 11: ')' is not expected here"),
    ("price < 1 price", "at character 11: 'price' is not expected here"),
    ("price in []", "at character 11: ']' is not expected here"),
    ("(" * 21 + "price < 1" + ")" * 21, "at character 21: nested deeper than 20"),
    ("not " * 21 + "price < 1", "at character 81: nested deeper than 20"),
    (" or ".join(["price<1"] * 201), "more than 200 values"),
    ("price<1 or " * 10_000, "characters, and 4,000 are allowed"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=range(len(BAD)))
def test_a_bad_expression_is_refused_with_position_and_reason(text, words):
    with pytest.raises(InvalidExpression) as found:
        parse_expression(text)
    assert words in str(found.value)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=40)
    | st.lists(st.sampled_from(["not", "(", ")", "price", "<", "1", "and", '"a"', "in", "["])).map(" ".join)
)
def test_any_text_is_parsed_or_refused(text):
    reason = None
    try:
        matching(text)
    except InvalidExpression as error:
        reason = str(error)
    assert reason is None or "at character" in reason


def test_every_list_takes_an_expression_and_names_a_bad_one(made):
    app, shop = made()
    good, bad = {"filters": {"expression": "price <= 20"}}, {"filters": {"expression": "price <= {x}"}}
    for path, body in (("/v1/recommend", {"user_id": "u"}), ("/v1/search", {"text": "red"})):
        assert call_json(app, "POST", path, body | good).status == 200
        reply = call_json(app, "POST", path, body | bad)
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, "filters.expression")
        assert reply.json["errors"][0]["detail"] == "at character 10: '{' is not expected here"
    assert shop.asks[-1].filters.expression == parse_expression("price <= 20")
    for path in ("/v1/videos", "/v1/videos/mugs%2F1/similar"):
        assert call(app, "GET", f"{path}?expression=price%20%3C%3D%2020").status == 200
        reply = call(app, "GET", f"{path}?expression=price")
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, "expression")
