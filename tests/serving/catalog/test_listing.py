"""Pages of the catalog: every video once, whatever changes between pages, by filters and words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.catalog.small import changed, names, removed, snapshot, video
from vrec.serving.catalog.listing import CatalogQuery, list_rows
from vrec.serving.messages import RequestFilters

ROWS = [
    video(
        f"v{number:02}",
        available=number % 3 > 0,
        category="mugs" if number % 2 else None,
        price=float(number),
    )
    for number in (5, 3, 9, 0, 7, 1, 8, 2, 6, 4)
]


def page(shown, **query):
    found = list_rows(shown, CatalogQuery(**({"limit": 100} | query)))
    return names(shown.catalog, found.rows), found.matching, found.has_more


CHANGES = st.lists(
    st.tuples(st.sampled_from([f"v{number:02}" for number in range(12)] + ["a", "v035", "z"]), st.booleans()),
    max_size=4,
)


@settings(max_examples=80, deadline=None)
@given(limit=st.integers(1, 4), between=st.lists(CHANGES, max_size=12))
def test_a_video_that_is_there_throughout_comes_once_in_order_whatever_changes_between_pages(limit, between):
    shown, after, seen = snapshot(ROWS, {}), "", []
    throughout, ever = {row["video_id"] for row in ROWS}, {row["video_id"] for row in ROWS}
    has_more, steps = True, iter(between)
    for _ in range(40):
        if not has_more:
            break
        found, _, has_more = page(shown, limit=limit, after=after)
        assert len(found) <= limit
        seen += found
        after = found[-1] if found else after
        edits = [changed(name) if stays else removed(name) for name, stays in next(steps, ())]
        shown = shown.with_changes(edits)
        now = {name for name in [*ever, "a", "v035", "z", "v10", "v11"] if name in shown.catalog.row_by_id}
        throughout, ever = throughout & now, ever | now
    assert not has_more
    assert seen == sorted(set(seen))
    assert throughout <= set(seen) <= ever


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"available": True}, "12457 8"),
        ({"available": False}, "0369"),
        ({"filters": RequestFilters(categories=frozenset({"mugs"}), most_price=5.0)}, "135"),
        ({"text": "v0 MUG"}, "13579"),
        ({"text": "v0 mug 7"}, "7"),
        ({"text": "nothing"}, ""),
        ({"after": "v06"}, "789"),
        ({"after": "v065", "available": False}, "9"),
    ],
)
def test_filters_and_words_choose_the_videos(query, expected):
    assert page(snapshot(ROWS, {}), **query)[0] == [f"v0{digit}" for digit in expected.replace(" ", "")]


def test_a_text_is_found_in_every_text_of_bundled_and_changed_videos_without_regard_to_case():
    rows = [
        video("one", title="Ein roter Hut"), video("two", tags=["Röd", "hat"]),
        video("three", creator_id="ROTER"),
        video("four"),
    ]  # fmt: skip
    shown = snapshot(rows, {})
    assert page(shown, text="roter")[:2] == (["one", "three"], 2)
    assert page(shown, text="RÖD")[0] == ["two"]
    shown = shown.with_changes([changed("one", title="Ein Hut"), changed("five", tags=["x", "Roter"])])
    assert page(shown, text="roter")[0] == ["five", "three"]
    assert page(shown.with_changes([removed("five")]), text="roter")[0] == ["three"]


def test_the_number_of_matching_videos_is_that_of_all_pages():
    assert page(snapshot(ROWS, {}), limit=3) == (["v00", "v01", "v02"], 10, True)
    assert page(snapshot(ROWS, {}), limit=10) == ([f"v0{n}" for n in range(10)], 10, False)
    assert page(snapshot(ROWS, {}), limit=3, after="v06") == (["v07", "v08", "v09"], 10, False)
