"""Text search: a floor on the similarity, empty tables of vectors, and suggestions where nothing matches."""

import numpy as np
import pytest

from tests.bundles import embeddings_of
from tests.serving.catalog.small import changed, removed, snapshot
from vrec.bundle.bm25 import Bm25Index
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.eligibility import EligibilityFilter, shopper_context
from vrec.serving.recommend.search import TextSearch, popular_suggestions

NOW = 1_000_000_000
COSINES = {"a": 0.9, "b": 0.5, "c": 0.2, "d": 0.0, "e": -0.5}
"""Of each text with the vector of the search. `b` is for adults, `d` not published yet, `e` not available."""


def texts(cosines=COSINES):
    vectors = np.array([[cosine, np.sqrt(1 - cosine**2)] for cosine in cosines.values()], np.float32)
    return embeddings_of(list(cosines), "text", "text@1", vectors)


def search_with(floor, table, text="zzz", vector=(1.0, 0.0), catalog=None, k=10):
    catalog = catalog or snapshot()
    search = TextSearch(Bm25Index.from_videos(catalog.view.videos), table, floor)
    search = search.with_changes(list(catalog.latest.values()))
    found = search.search(text, np.array(vector, np.float32), k, catalog, eligible(catalog))
    return {item.video_id: item.source for item in found}


def eligible(catalog):
    return EligibilityFilter(
        catalog, RequestFilters(), shopper_context(None, RequestFilters()), EligibilityRulesConfig(), NOW
    )


@pytest.mark.parametrize(
    ("floor", "names"),
    [(0.0, "ac"), (0.2, "ac"), (0.21, "a"), (0.9, "a"), (0.91, "")],
)
def test_a_video_matches_by_meaning_from_the_floor_on(floor, names):
    exact = {name: float(np.float32(cosine)) for name, cosine in COSINES.items()}
    floor = next((cosine for cosine in exact.values() if abs(cosine - floor) < 1e-6), floor)
    assert search_with(floor, texts()) == dict.fromkeys(names, "search:meaning")


def test_a_word_matches_whatever_the_floor():
    assert search_with(1.0, texts(), "mugs") == {"a": "search:words"}
    assert search_with(0.1, texts(), "mugs") == {"a": "search:both", "c": "search:meaning"}


@pytest.mark.parametrize("table", [None, texts().slice(0, 0), texts().slice(5)])
def test_without_text_vectors_words_are_searched(table):
    assert search_with(0.2, table, "mugs") == {"a": "search:words"}
    assert search_with(0.2, table) == {}
    catalog = snapshot().with_changes([changed("n", category="mugs"), removed("b")])
    assert search_with(0.2, table, "mugs", catalog=catalog) == {"a": "search:words", "n": "search:words"}


def test_suggestions_are_the_popular_videos_that_may_be_shown():
    catalog = snapshot()
    found = popular_suggestions(catalog, eligible(catalog), 10)
    # The bundle's popular videos, then the others, without those that may not be shown.
    assert [item.video_id for item in found] == ["a", "c"]
    assert {item.source for item in found} == {"popular"}
    assert len(popular_suggestions(catalog, eligible(catalog), 1)) == 1
