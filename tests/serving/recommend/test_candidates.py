"""Where candidates come from, against plain loops, and the popular videos without a ranker."""

import pickle
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.recommend.engines import (
    change,
    engine_of,
    ids,
    now,
    query_of,
    rng,
    shoppers,
    wanted,
)
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import CatalogChange, RequestFilters
from vrec.serving.recommend import candidates
from vrec.serving.recommend.candidates import content_candidates, neighbor_candidates, underexposed_candidates
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.recommend.rank_fusion import fuse_ranks

NAMES = [f"video-{n:02}" for n in range(100)]


@pytest.fixture(scope="module")
def changed(bundle):
    """Snapshot where one video is gone, one has another vector, one another price, and two are new."""
    base = CatalogSnapshot.from_view(
        BundleCatalogView.from_content(bundle.content, bundle.encoder, bundle.popular)
    )
    return base.with_changes(
        [
            CatalogChange("video-03", now(), None),
            change("video-04", vector=np.eye(16)[0]),
            change("video-05", price=1.0),
            change("new", vector=np.eye(16)[1]),
            change("blank"),
        ]
    )


@settings(max_examples=50, deadline=None)
@given(
    liked=st.lists(st.sampled_from([*NAMES, "new", "unheard-of"]), unique=True, max_size=12),
    seed=st.integers(0, 9),
)
def test_neighbours_are_added_up_over_the_history(bundle, changed, liked, seed):
    weights = rng(seed).random(len(liked)).tolist()
    expected = defaultdict(float)
    for name, weight in zip(liked, weights, strict=True):
        for neighbour, score in bundle.neighbors.find(name, 99):
            expected[neighbour] += weight * score
    expected.pop("video-03", None)
    rows = neighbor_candidates(changed, bundle.neighbors, liked, weights)
    found = [changed.catalog.video_ids[row] for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == set(expected)
    scores = np.array([expected[name] for name in found])
    assert (np.diff(scores) <= 1e-5).all()
    # A changed video is given by its new row.
    assert all(changed.listed[rows])


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 99),
    need=st.sampled_from([1, 5, 40]),
    share=st.sampled_from([None, 0.1, 0.9]),
    scanned=st.sampled_from([0, 20_000]),
)
def test_content_finds_the_nearest_changed_videos_among_them(bundle, changed, seed, need, share, scanned):
    query = rng(seed).normal(size=16).astype(np.float32)
    query /= np.linalg.norm(query)
    mask = None if share is None else changed.listed & (rng(seed).random(changed.count) < share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "MAX_SCANNED_ROWS", scanned)
        rows = content_candidates(changed, bundle.index, query, need, mask)
    wanted_rows = np.flatnonzero(changed.listed if mask is None else mask)
    wanted_rows = wanted_rows[changed.catalog.vectors[wanted_rows].any(axis=1)]
    scores = changed.catalog.vectors[wanted_rows] @ query
    best = wanted_rows[np.argsort(-scores, kind="stable")][:need]
    if mask is not None:
        rows = rows[mask[rows]]
    assert rows[: len(best)].tolist() == best.tolist()


def test_changed_videos_keep_their_vectors_unless_they_have_others(bundle, changed):
    catalog = changed.catalog
    own = dict(
        zip(
            bundle.content.embeddings["entity_id"].to_pylist(),
            bundle.content.embeddings["vector"].to_pylist(),
            strict=True,
        )
    )
    assert catalog.vectors[catalog.row_by_id["video-05"]] == pytest.approx(own["video-05"], abs=1e-6)
    assert catalog.vectors[catalog.row_by_id["video-04"]].tolist() == np.eye(16)[0].tolist()
    assert not catalog.vectors[catalog.row_by_id["blank"]].any()
    assert "video-03" not in catalog.row_by_id
    assert len(changed) == len(changed.video_ids) == 101
    assert set(changed.catalog.row_by_id) == set(changed.video_ids)


def test_popular_and_dated_orders_hold_every_video_once(changed, bundle):
    names = [changed.catalog.video_ids[row] for row in changed.popular]
    assert sorted(names) == sorted(changed.video_ids)
    kept = [name for name in bundle.popular if name != "video-03"]
    assert names[: len(kept)] == kept
    assert set(names[-2:]) == {"new", "blank"}
    dates = {name: changed.card(name)["published_at"] for name in changed.video_ids}
    listed = [changed.catalog.video_ids[row] for row in changed.published_rows(now())]
    assert sorted(listed) == sorted(name for name, at in dates.items() if at.timestamp() * 1e6 <= now())
    at = [dates[name] for name in listed]
    assert at == sorted(at, reverse=True)
    early = sorted(dates.values())[40]
    assert {
        changed.catalog.video_ids[row] for row in changed.published_rows(int(early.timestamp() * 1e6))
    } == {name for name, one in dates.items() if one <= early}


def test_what_was_never_shown_is_drawn_more_than_the_rest(changed, bundle):
    changed.video_counts[:] = 100.0
    rare = [changed.catalog.row_by_id[name] for name in ("video-10", "new")]
    changed.video_counts[rare] = 0.0
    counts = Counter()
    for seed in range(60):
        counts.update(underexposed_candidates(changed, 2, None, rng(seed))[:2].tolist())
    often = {row for row, _ in counts.most_common(2)}
    assert often == set(rare)
    assert len(counts) > 40
    none = np.zeros(changed.count, np.bool_)
    assert not len(underexposed_candidates(changed, 2, none, rng(0)))


@given(st.lists(st.permutations(range(6)), min_size=2, max_size=2), st.integers(1, 8), st.integers(0, 5))
def test_fusion_adds_reciprocal_ranks(changed, orders, k, cut):
    given_orders = {"one": orders[0][:cut], "two": orders[1]}
    alone = {2}
    expected = Counter()
    for rows in given_orders.values():
        for rank, row in enumerate(rows):
            expected[row] += (2 if row in alone else 1) / (61 + rank)
    items = fuse_ranks(given_orders, k, "x", changed, alone)
    best = sorted(expected, key=lambda row: (-expected[row], changed.catalog.video_ids[row]))[:k]
    assert [item.video_id for item in items] == [changed.catalog.video_ids[row] for row in best]
    for item, row in zip(items, best, strict=True):
        assert item.score == pytest.approx(expected[row])
        assert item.source == ("x:both" if row in given_orders["one"] else "x:two")


def test_similar_videos_come_from_both_sides_and_unknown_ones_are_refused(bundle):
    engine = engine_of(bundle)
    sources = {item.source for item in engine.similar("video-10", 100, RequestFilters(), now()).items}
    assert "similar:both" in sources
    assert sources <= {"similar:cf", "similar:content", "similar:both"}
    for one, name in (
        (engine, "unheard-of"),
        (engine.with_changes([CatalogChange("video-10", 1, None)]), "video-10"),
    ):
        with pytest.raises(UnknownVideo, match=f"no video {name} is in the catalog"):
            one.similar(name, 5, RequestFilters(), now())


def test_search_is_by_words_alone_where_the_vector_does_not_fit(bundle):
    engine = engine_of(bundle)
    tag = engine.card("video-20")["tags"][0]
    words = engine.search(tag, None, 100, RequestFilters(), now())
    assert {item.source for item in words.items} == {"search:words"}
    assert "video-20" in ids(words)
    for vector in (np.ones(5, np.float32), np.full(8, np.nan, np.float32)):
        assert engine.search(tag, vector, 100, RequestFilters(), now()) == words
    unmatched = engine.search("", None, 5, RequestFilters(), now()).items
    assert [item.source for item in unmatched] == ["popular"] * 5
    renamed = engine.with_changes([change("video-20", title="Zanzibar", tags=[])])
    assert "video-20" not in ids(renamed.search(tag, None, 100, RequestFilters(), now()))
    assert ids(renamed.search("zanzibar", None, 100, RequestFilters(), now())) == ["video-20"]


def test_meaning_is_by_cosine_of_the_bundle_s_texts(bundle):
    engine = engine_of(bundle)
    query = rng(4).normal(size=8).astype(np.float32)
    names = bundle.texts["entity_id"].to_pylist()
    scores = np.array(bundle.texts["vector"].to_pylist(), np.float32) @ query
    best = [
        names[row] for row in np.argsort(-scores) if scores[row] > 0 and engine.card(names[row])["available"]
    ]
    assert ids(engine.search("", query, 20, RequestFilters(), now())) == best[:20]


def test_a_video_s_new_text_takes_the_place_of_the_old_one(bundle):
    engine = engine_of(bundle)
    query = np.array(bundle.texts["vector"].to_pylist()[30], np.float32)
    name = bundle.texts["entity_id"][30].as_py()
    assert name in ids(engine.search("", query, 100, RequestFilters(), now()))
    turned = engine.with_changes([change(name, text=-query)])
    assert name not in ids(turned.search("", query, 100, RequestFilters(), now()))
    assert ids(turned.search("", -query, 1, RequestFilters(), now())) == [name]
    other = engine.with_changes([change(name, price=1.0)])
    assert ids(other.search("", query, 9, RequestFilters(), now())) == ids(
        engine.search("", query, 9, RequestFilters(), now())
    )


def test_the_fallback_gives_the_popular_videos_by_the_same_rules(bundle):
    engine = engine_of(bundle)
    changes = [change("video-07", available=False), change("extra", tags=["adult"]), change("plain")]
    fallback = pickle.loads(pickle.dumps(PopularFallback(bundle, ServeConfig()).with_changes(changes)))
    engine = engine.with_changes(changes)
    filters = RequestFilters(
        blocked_creators=frozenset({"creator-1"}), exclude=frozenset({bundle.popular[0]})
    )
    for age, k in ((None, 500), (30, 500), (None, 3)):
        query = query_of(k, "u", filters=filters, age=age, order="popular")
        answer = fallback.answer(query, ("ranking",))
        full = engine.recommend(query, Profile("user", "u"))
        assert ids(answer) == ids(full)
        assert answer.degraded == ("ranking",)
        assert answer.bundle == bundle.version
        assert all(wanted(fallback.card(name), filters, age=age) for name in ids(answer))
        assert ("extra" in ids(answer)) == (age == 30)
    assert fallback.card("video-07") == engine.card("video-07")


def test_the_fallback_needs_no_torch():
    code = "import sys, vrec.serving.recommend.fallback; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_k_beyond_what_is_ranked_gives_as_many_as_are_ranked(bundle):
    few = ServeConfig.model_validate({"candidates": {"most": 12}})
    user = shoppers()[1]
    answer = engine_of(bundle, few).recommend(query_of(50, user.entity_id), user)
    assert len(answer.items) == answer.candidates == 12
    wide = replace(query_of(50, user.entity_id), filters=RequestFilters(kinds=frozenset({"live"})))
    assert engine_of(bundle, few).recommend(wide, user).items == ()
