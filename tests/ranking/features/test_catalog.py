"""Catalog features by hand, where fields, numbers, tags or vectors are missing."""

import numpy as np
import pytest

from tests.ranking.features.messy import (
    NOW,
    ROWS,
    VECTORS,
    catalog_of,
    embeddings_of,
    interests_of,
    space_of,
    videos_of,
)
from vrec.core.types import CatalogContent
from vrec.profiles.user import HOUR_US
from vrec.ranking.features.catalog import NEVER, table_numbers
from vrec.ranking.features.space import FIELDS


def test_every_feature_of_a_messy_catalog():
    catalog = catalog_of(space_of())
    assert catalog.rows == {"a": 1, "b": 2, "c": 3, "d": 4}
    fields = dict(zip(FIELDS, catalog.arrays.fields.T.tolist(), strict=True))
    assert fields == {
        "video_id": [0, 1, 2, 0, 0],
        "creator_id": [0, 1, 2, 1, 0],
        "category": [0, 1, 0, 2, 0],
        "kind": [0, 1, 1, 1, 1],
        "domain": [0, 1, 1, 1, 1],
        "language": [0, 0, 0, 0, 0],
    }
    # The first two known tags of a: red is 2, blue 1; "rare" has no index and takes no column.
    assert catalog.arrays.tags.tolist() == [[0, 0], [2, 1], [1, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(
        catalog.arrays.dense,
        [
            [0, 0, 0, 0, 0],
            [np.log(10), 0, np.log(4), 0, 0],
            [0, 1, 0, 1, 1],
            [0, 1, 0, 1, 0],
            [0, 1, 0, 1, 0],
        ],
        rtol=1e-6,
    )
    np.testing.assert_allclose(catalog.arrays.vectors, [[0, 0], [1, 0], [0, 0], [0, 1], [-1, 0]], atol=1e-6)
    assert catalog.published.tolist() == [NEVER, NOW - 48 * HOUR_US, NEVER, NEVER, NOW + 5 * HOUR_US]
    assert interests_of(catalog, 1) == [None, "creator:ann", "creator:bob", "creator:ann", "creator:new"]
    assert interests_of(catalog, 0) == [None, "category:mugs", None, "category:pans", "category:new"]
    assert catalog.find(["d", "gone", "a"]).tolist() == [4, 0, 1]
    assert len(catalog) == 5


def test_a_vector_equal_to_the_mean_is_none_but_of_a_known_encoder():
    catalog = catalog_of(space_of(), vectors={"a": [1.0, 1.0]})
    assert not catalog.arrays.vectors.any()
    assert catalog.arrays.dense[1, -1] == 0


def test_a_catalog_of_one_video_and_of_none():
    one = catalog_of(space_of(), ROWS[3:], {"d": [0.0, 1.0]})
    # The two videos of the vocabulary have rows of their own, without any fact.
    assert one.rows == {"a": 1, "b": 2, "d": 3}
    assert one.arrays.fields[1].tolist() == [1, 0, 0, 0, 0, 0]
    assert one.arrays.dense[1].tolist() == [0, 1, 0, 1, 1]
    none = catalog_of(space_of(), [], None)
    assert none.rows == {"a": 1, "b": 2}


def test_restricted_to_some_videos_as_newer_ones_say():
    old = catalog_of(space_of())
    change = CatalogContent(videos_of([ROWS[0] | {"category": "pans", "price": 8.0}, {"video_id": "e"}]))
    few = old.restricted_to(["a"]).with_videos(change)
    mixed = old.restricted_to(["e", "b", "gone", "a", "b"], few)
    assert mixed.rows == {"e": 1, "b": 2, "a": 3}
    assert mixed.arrays.fields[:, 2].tolist() == [0, 1, 0, 2]
    assert interests_of(mixed, 0) == [None, "category:mugs", None, "category:pans"]
    assert mixed.arrays.dense[3, 2] == pytest.approx(np.log(9))
    # a keeps its vector: the change had none.
    np.testing.assert_allclose(mixed.arrays.vectors[3], [1, 0], atol=1e-6)
    assert mixed.published[3] == NOW - 48 * HOUR_US
    assert len(old) == 5


def test_numbers_are_log_seconds_and_log_price_and_zero_is_known():
    rows = [{"video_id": "a", "duration_s": 0.0, "price": 0.0}, {"video_id": "b", "duration_s": np.inf}]
    found = table_numbers(videos_of(rows))
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [np.nan, 1, np.nan, 1]])


def test_embeddings_alone_make_a_video_known():
    space = space_of()
    catalog = catalog_of(space, [], None).with_videos(
        CatalogContent(None, embeddings_of({"z": VECTORS["c"]}))
    )
    np.testing.assert_allclose(catalog.arrays.vectors[catalog.rows["z"]], [0, 1], atol=1e-6)
    assert catalog.arrays.dense[catalog.rows["z"]].tolist() == [0, 1, 0, 1, 0]
