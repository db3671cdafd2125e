"""Search by words: BM25 by hand, Chinese without a dictionary, and the order of what is found."""

import math
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.bundle.bm25 import Bm25Index, tokenize
from vrec.core.schema import VIDEOS

K1, B = 1.5, 0.75


def videos(*rows: dict) -> pa.Table:
    """VIDEOS that say only what matters here."""
    blank = {"uri": "", "kind": "clip", "product_ids": [], "domain": "", "creator_id": "", "tags": []}
    full = [blank | {"video_id": f"v{n}", "available": True} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=VIDEOS.arrow())


def titled(*titles: str | None) -> Bm25Index:
    return Bm25Index.from_videos(videos(*({"title": title} for title in titles)))


def found(index: Bm25Index, text: str, k: int = 10) -> list[str]:
    return [video_id for video_id, _ in index.search(text, k)]


def by_hand(documents: list[list[str]], asked: list[str]) -> list[float]:
    """BM25 of each document: Σ ln(1 + (N − n + ½) / (n + ½)) · f / (f + k₁ (1 − b + b · length / mean))."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in set(asked):
            n = sum(word in other for other in documents)
            rarity = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            score += rarity * counts[word] / (counts[word] + K1 * (1 - B + B * len(document) / mean))
        scores.append(score)
    return scores


WORD = st.sampled_from(["red", "mug", "shoe", "blue", "tea"])


@given(st.lists(st.lists(WORD, max_size=6), min_size=1, max_size=6), st.lists(WORD, min_size=1, max_size=4))
def test_scores_are_those_of_the_formula_and_ties_go_by_id(documents, asked):
    result = titled(*map(" ".join, documents)).search(" ".join(asked), 10)
    documents = [[w for n, w in enumerate(words) if words[:n].count(w) < 3] for words in documents]
    expected = by_hand(documents, asked) if any(documents) else [0.0] * len(documents)
    scores = {f"v{n}": score for n, score in enumerate(expected) if score > 0}
    assert dict(result) == pytest.approx(scores, rel=1e-5)
    assert result == sorted(result, key=lambda row: (-row[1], row[0]))


def test_doctored_titles_gain_nothing():
    plain, stuffed = "phone case", "phone case" + " iphone iphone" * 40
    index = titled("iphone iphone iphone case", stuffed, "red dress", "r\u200bed dreѕs")
    scores = dict(index.search("iphone", 10))
    assert scores["v1"] < scores["v0"]
    assert found(index, "red dress") == ["v2", "v3"]
    assert found(index, "drеss") == ["v2", "v3"], "a query is folded as titles are"
    again = titled(plain, plain + " gold" * 3, plain + " gold" * 300)
    assert len({round(score, 6) for name, score in again.search("gold", 10)}) == 1


def test_all_that_the_catalogue_says_is_searched():
    index = Bm25Index.from_videos(
        videos(
            {"title": "Hand-made mug"},
            {"tags": ["Mug", "gift"]},
            {"category": "mug"},
            {"creator_id": "mug.works"},
            {"title": "shoe"},
        )
    )
    assert set(found(index, "MUG")) == {"v0", "v1", "v2", "v3"}
    assert found(index, "mug gift")[0] == "v1"
    assert len(found(index, "mug", k=2)) == 2


@pytest.mark.parametrize("query", ["", "  ", "…!?_", "unheard-of", "\u0000", "🙂"])
def test_a_query_without_a_known_token_finds_nothing(query):
    assert titled("red mug", None).search(query, 5) == []


def test_a_catalogue_without_a_word_finds_nothing():
    index = titled(None, "…")
    assert index.search("mug", 5) == []
    assert len(index) == 2
    assert titled("mug").search("mug", 0) == []


def test_chinese_is_found_without_a_dictionary():
    index = titled("红色运动鞋", "蓝色手机壳 iPhone15", "茶杯", "色红")
    assert found(index, "运动鞋") == ["v0"]
    assert found(index, "手机壳") == ["v1"]
    assert found(index, "iphone15手机") == ["v1"]
    assert set(found(index, "鞋")) == {"v0"}
    # Two characters side by side are another word the other way round.
    assert found(index, "红色") == ["v0"]
    assert found(titled("靴 メンズ", "スニーカー"), "スニーカー") == ["v1"]
    assert found(titled("여름 원피스", "겨울 코트"), "원피스를") == ["v0"]


def test_tokens_are_words_and_pairs_of_characters():
    assert list(tokenize("Ｒed\u00a0MUG_2 Café")) == ["red", "mug", "2", "café"]
    assert list(tokenize("cafe\u0301")) == ["café"]
    assert list(tokenize("红a色红", is_query=True)) == ["红", "a", "色红"]
    assert list(tokenize("色红")) == ["色", "红", "色红"]


@given(st.text(max_size=30))
def test_any_text_is_found_by_itself_or_has_no_tokens(text):
    index = titled(text, "another thing")
    first = index.search(text, 2)
    assert bool(first) == bool(list(tokenize(text, is_query=True)))
    assert not first or "v0" in dict(first)


@given(st.permutations(range(4)))
def test_the_order_of_the_rows_is_of_no_consequence_and_a_restored_one_answers_the_same(order):
    rows = [
        {"video_id": f"v{n}", "title": title} for n, title in enumerate(["red mug", "red", "mug", "红色 mug"])
    ]
    index, other = (
        Bm25Index.from_videos(videos(*rows)),
        Bm25Index.from_videos(videos(*(rows[n] for n in order))),
    )
    restored = Bm25Index.from_arrays(other.ids, *other.to_arrays())
    for query in ("mug red", "红色", "nothing"):
        assert index.search(query, 4) == other.search(query, 4) == restored.search(query, 4)
