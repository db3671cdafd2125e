"""The catalog as arrays, where columns are missing or empty."""

import numpy as np

from tests.ranking.reranking.shop import NOW, catalog_of
from vrec.ranking.reranking.catalog import normalize_tag

ROWS = [
    {
        "video_id": "a",
        "kind": "live",
        "creator_id": "ann",
        "category": "mugs",
        "price": 2.5,
        "published_at": NOW + 1,
        "expires_at": NOW + 2,
    },
    {
        "video_id": "b",
        "creator_id": "",
        "category": None,
        "tags": [" Red ", "RED", "", "straße"],
        "available": False,
    },
    {"video_id": "c", "creator_id": "bob", "category": "", "published_at": 0},
    {"video_id": "d", "creator_id": "ann", "category": "mugs"},
]


def test_every_column_of_a_messy_catalog():
    catalog = catalog_of(ROWS, {"d": [0.0, 2.0], "a": [0.0, 0.0], "gone": [1.0, 0.0]})
    assert list(catalog.video_ids) == ["a", "b", "c", "d"]
    assert catalog.row_by_id == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert [catalog.creators[code] for code in catalog.creator[[0, 2, 3]]] == ["ann", "bob", "ann"]
    assert catalog.creator[1] == -1
    assert (catalog.category >= 0).tolist() == [True, False, False, True]
    assert set(catalog.categories) == {"mugs"}
    assert [catalog.kinds[code] for code in catalog.kind] == ["live", "product", "product", "product"]
    assert list(catalog.tags) == [frozenset(), frozenset({"red", "strasse"}), frozenset(), frozenset()]
    np.testing.assert_array_equal(catalog.price, np.float32([2.5, np.nan, np.nan, np.nan]))
    assert catalog.available.tolist() == [True, False, True, True]
    # Exact to the microsecond.
    np.testing.assert_array_equal(catalog.published_at, [NOW + 1, np.nan, 0, np.nan])
    np.testing.assert_array_equal(catalog.expires_at, [NOW + 2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(catalog.vectors, [[0, 0], [0, 0], [0, 0], [0, 1]])
    assert catalog.find(["d", "gone", "a"]).tolist() == [3, -1, 0]
    assert catalog.find([]).shape == (0,)


def test_tags_are_compared_without_case_and_outer_spaces():
    assert normalize_tag("  Adult Only ") == "adult only"
