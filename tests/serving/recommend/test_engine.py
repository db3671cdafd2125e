"""What a ranking process answers: never what must not be given, and what changed is known at once."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import shop
from tests.serving.recommend.engines import (
    DAY_US,
    bundle_content,
    change,
    engine_of,
    ids,
    now,
    profiles,
    query_of,
    shoppers,
    wanted,
)
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.errors import SchemaError, ServeError
from vrec.profiles.profile import InterestEvent, Profile, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles, video_metadata
from vrec.profiles.user import TASTE_AT, TASTE_WEIGHT, last_purchases
from vrec.ranking.config import LabelsConfig
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.labels import build_labels
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.serving.catalog import snapshot as snapshot_module
from vrec.serving.catalog.updates import changes_to_content
from vrec.serving.messages import CatalogChange, RequestFilters
from vrec.serving.recommend.engine import RecommendEngine

CATEGORIES = [f"category-{n}" for n in range(5)]
CREATORS = [f"creator-{n}" for n in range(12)]


def subsets(values, most=3):
    return st.one_of(st.none(), st.frozensets(st.sampled_from(values), max_size=most))


FILTERS = st.builds(
    RequestFilters,
    kinds=subsets(["product", "clip"]),
    categories=subsets([*CATEGORIES, "nowhere"]),
    creators=subsets(CREATORS, 8),
    tags=subsets([" TAG-3", "tag-5", "Tag-19", "unheard-of"]),
    languages=subsets(["en", "zh"]),
    most_price=st.one_of(st.none(), st.sampled_from([0.0, 20.0, 60.0])),
    exclude=st.frozensets(st.sampled_from([f"video-{n:02}" for n in range(100)]), max_size=9),
    blocked_creators=st.frozensets(st.sampled_from(CREATORS), max_size=2),
    blocked_categories=st.frozensets(st.sampled_from(CATEGORIES), max_size=2),
)
CHANGES = st.lists(
    st.builds(
        change,
        st.sampled_from([f"video-{n:02}" for n in range(0, 100, 7)] + ["new-1", "new-2"]),
        available=st.booleans(),
        tags=st.sampled_from([[], ["ADULT "], ["tag-5"]]),
        language=st.sampled_from([None, "zh"]),
        price=st.sampled_from([None, 5.0, 99.0]),
        published_at=st.sampled_from([None, now() - DAY_US, now() + DAY_US]),
        category=st.sampled_from([None, "category-1", "another"]),
        kind=st.sampled_from(["product", "live"]),
    )
    | st.builds(
        CatalogChange,
        st.sampled_from([f"video-{n:02}" for n in range(0, 100, 7)] + ["new-1"]),
        st.just(now()),
        st.none(),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def engine(bundle):
    return engine_of(bundle)


def cards(engine):
    return {name: engine.card(name) for name in engine.video_ids}


@settings(max_examples=60, deadline=None)
@given(
    filters=FILTERS,
    changes=CHANGES,
    k=st.sampled_from([1, 4, 30, 1000]),
    user=st.sampled_from([None, *range(0, 80, 9)]),
    age=st.sampled_from([None, 12, 40]),
    order=st.sampled_from(["ranked", "popular"]),
    seed=st.integers(0, 3),
)
def test_all_that_may_be_given_is_and_nothing_else(engine, filters, changes, k, user, age, order, seed):
    shopper = Profile("user", "nobody") if user is None else shoppers()[user]
    changed_engine = engine.with_changes(changes)
    query = query_of(k, shopper.entity_id, filters=filters, age=age, order=order, request_id=f"r{seed}")
    answer = changed_engine.recommend(query, shopper)
    allowed = {
        name
        for name, row in cards(changed_engine).items()
        if wanted(row, filters, age=age) and name not in last_purchases(shopper)
    }
    assert len(ids(answer)) == len(set(ids(answer))) == min(k, len(allowed))
    assert set(ids(answer)) <= allowed
    assert answer.candidates >= len(answer.items)
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= i.p_conv <= i.p_click <= 1 and i.watch_s >= 0 for i in answer.items)
    assert all(i.propensity == 1 for i in answer.items)
    assert set(answer.spent_ms) == {"candidates", "features", "ranker", "rerank"}
    # Without exploration the request id makes no difference.
    again = changed_engine.recommend(replace(query, request_id="another"), shopper)
    assert replace(again, spent_ms={}) == replace(answer, spent_ms={})


@settings(max_examples=40, deadline=None)
@given(filters=FILTERS, changes=CHANGES, k=st.sampled_from([1, 7, 1000]), one=st.integers(0, 99))
def test_similar_and_found_videos_pass_rules_and_filters_too(engine, filters, changes, k, one):
    changed_engine = engine.with_changes(changes)
    rows = cards(changed_engine)
    name = changed_engine.video_ids[one % len(changed_engine.video_ids)]
    similar = changed_engine.similar(name, k, filters, now())
    assert name not in ids(similar)
    words = f"{rows[name]['title'] or ''} {' '.join(rows[name]['tags'])} category"
    searched = changed_engine.search(words, np.ones(8, np.float32), k, filters, now())
    for answer, kind in ((similar, "similar:"), (searched, "search:")):
        assert len(ids(answer)) == len(set(ids(answer))) <= k
        assert all(wanted(rows[found], filters) for found in ids(answer))
        assert all(item.source.startswith(kind) for item in answer.items)


@settings(max_examples=30, deadline=None)
@given(
    changes=CHANGES,
    size=st.sampled_from([1, 2, 5]),
    room=st.sampled_from([0, 2, 1024]),
)
def test_changes_one_after_the_other_give_what_they_give_at_once(bundle, changes, size, room):
    changes = [replace(one, at=now() + n) for n, one in enumerate(changes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "INITIAL_SPARE_ROWS", room)
        first = engine_of(bundle)
        one_by_one = first
        for start in range(0, len(changes), size):
            one_by_one = one_by_one.with_changes(changes[start : start + size])
        at_once = first.with_changes(changes)
    user = shoppers()[3]
    query = query_of(30, user.entity_id, at=now() + DAY_US * 2)
    answers = [one.recommend(query, user) for one in (at_once, one_by_one)]
    assert set(cards(at_once)) == set(cards(one_by_one))
    assert cards(at_once) == cards(one_by_one)
    assert set(ids(answers[0])) == set(ids(answers[1]))
    expected = {i.video_id: i.p_click for i in answers[0].items}
    assert {i.video_id: i.p_click for i in answers[1].items} == pytest.approx(expected, rel=1e-5)


def test_a_new_stock_leaves_the_old_one_as_it_was(engine):
    user, query = shoppers()[5], query_of(20, shoppers()[5].entity_id)
    before, rows = engine.recommend(query, user), cards(engine)
    first = ids(before)[0]
    after = engine.with_changes(
        [
            CatalogChange(first, now(), None),
            change("video-01", price=1.0),
            change("brand-new", vector=np.eye(16)[0]),
        ]
    )
    assert engine.with_changes([]) is engine
    assert (len(engine.video_ids), len(after.video_ids)) == (100, 100)
    assert first not in ids(after.recommend(query, user))
    assert first not in ids(after.similar("video-01", 99, RequestFilters(), now()))
    assert after.card(first) is None
    assert first not in after.video_ids
    after.set_video_counts(["brand-new"], np.full((1, 11), 5.0))
    assert replace(engine.recommend(query, user), spent_ms={}) == replace(before, spent_ms={})
    assert cards(engine) == rows
    assert first in ids(engine.similar("video-01", 99, RequestFilters(), now()))


def test_a_video_that_is_sold_out_is_gone_at_once_and_back_when_it_is_there(engine):
    user = shoppers()[5]
    query = query_of(20, user.entity_id)
    first = ids(engine.recommend(query, user))[0]
    gone = engine.with_changes([change(first, at=now(), available=False)])
    assert first not in ids(gone.recommend(query, user))
    assert gone.recommend(query, user).excluded_by_rule["unavailable"] == 1
    assert gone.card(first)["available"] is False
    back = gone.with_changes([change(first, at=now() + 1)])
    expected = {i.video_id: i.p_click for i in engine.recommend(query, user).items}
    found = {i.video_id: i.p_click for i in back.recommend(query, user).items}
    # Its counts and its vector went along.
    assert found == pytest.approx(expected, rel=1e-5)


def liking(vector, liked=()):
    """A shopper with a taste for a direction, who watched some videos."""
    counts = {TASTE_AT: float(now()), TASTE_WEIGHT: 1.0}
    history = tuple(InterestEvent(now() - 9 + n, f"e{n}", name, 1.0, "watch") for n, name in enumerate(liked))
    return Profile("user", "u", np.asarray(vector, np.float32), counts, (), history)


def test_a_new_video_is_recommended_to_who_likes_its_kind_and_found(bundle):
    few = ServeConfig.model_validate({"candidates": {"most": 8, "content": 4, "popular": 2, "new": 0}})
    engine = engine_of(bundle, few)
    rows = bundle.content.embeddings.column("vector").to_pylist()
    direction, text = np.array(rows[60]), np.eye(8)[5]
    new = change("new", vector=direction, text=text, title="Zanzibar lantern", tags=["glow"])
    after = engine.with_changes([new])
    fitting, other = liking(direction), liking(-direction)
    sources = {i.video_id: i.source for i in after.recommend(query_of(8), fitting).items}
    assert sources["new"] == "content"
    assert "new" not in ids(after.recommend(query_of(8), other))
    assert "new" not in ids(engine.recommend(query_of(8), fitting))
    nearest = bundle.content.embeddings.column("entity_id")[60].as_py()
    assert "new" in ids(after.similar(nearest, 5, RequestFilters(), now()))
    assert nearest in ids(after.similar("new", 5, RequestFilters(), now()))
    assert [
        (i.video_id, i.source) for i in after.search("zanzibar", None, 5, RequestFilters(), now()).items
    ] == [("new", "search:words")]
    assert ids(after.search("", text, 5, RequestFilters(), now()))[0] == "new"
    assert after.search("glow", text, 1, RequestFilters(), now()).items[0].source == "search:both"
    unmatched = engine.search("zanzibar", None, 5, RequestFilters(), now())
    assert {item.source for item in unmatched.items} == {"popular"}
    foreign = replace(new, encoders={"fused": "another", "text": "another"})
    elsewhere = engine.with_changes([foreign])
    assert "new" not in ids(elsewhere.recommend(query_of(8), fitting))
    assert ids(elsewhere.search("zanzibar", None, 5, RequestFilters(), now())) == ["new"]
    assert "new" not in ids(elsewhere.search("", text, 50, RequestFilters(), now()))


def test_a_new_video_nobody_has_seen_is_tried_among_the_new_ones(engine):
    after = engine.with_changes([change("fresh", published_at=None), change("dated", published_at=now() - 5)])
    sources = {i.video_id: i.source for i in after.recommend(query_of(200), Profile("user", "u")).items}
    assert sources["fresh"] == sources["dated"] == "new"


def test_the_ranker_knows_a_changed_video_as_if_it_had_all_anew(bundle, engine):
    vector = bundle.content.embeddings.column("vector").to_pylist()[10]
    changes = [
        change("twin", vector=vector, creator_id="creator-3", tags=["tag-5"], price=9.0, duration_s=40.0),
        change("video-11", at=now(), creator_id="creator-4", price=80.0, duration_s=3.0),
    ]
    user = shoppers()[9]
    answer = (
        engine.with_changes(changes[:1])
        .with_changes(changes[1:])
        .recommend(query_of(300, user.entity_id), user)
    )
    content = changes_to_content(changes, "simulated", 16)
    whole = bundle.ranker.with_videos(content)
    names = ids(answer)
    assert {"twin", "video-11"} <= set(names)
    states = np.array([profile_counts(profiles().get(("video", name))) for name in names])
    expected = whole.predict_requests(
        [RankingRequest(user, RequestContext(now(), "shop"), tuple(names), states)]
    )
    for head in ("p_click", "watch_s", "p_conv"):
        assert [getattr(item, head) for item in answer.items] == pytest.approx(
            getattr(expected, head).tolist(), rel=1e-4
        )
    shown = {item.video_id: item for item in answer.items}
    before = engine.recommend(query_of(300, user.entity_id), user)
    assert shown["video-11"].p_click != {i.video_id: i for i in before.items}["video-11"].p_click


def test_a_stranger_can_have_all_that_there_is(engine):
    answer = engine.recommend(query_of(1000), Profile("user", "nobody"))
    assert set(ids(answer)) == {name for name, row in cards(engine).items() if wanted(row, RequestFilters())}
    assert len(answer.items) > 90


def test_a_taste_that_does_not_fit_counts_as_none(engine):
    user, query = shoppers()[7], query_of(12, shoppers()[7].entity_id)
    without = engine.recommend(query, replace(user, vector=None))
    for vector in (np.ones(3, np.float32), np.full(16, np.nan, np.float32), np.ones((0,), np.float32)):
        found = engine.recommend(query, replace(user, vector=vector))
        assert replace(found, spent_ms={}) == replace(without, spent_ms={})
    assert "content" not in {item.source for item in without.items}


def test_a_history_of_unknown_videos_is_as_good_as_none(engine):
    query = query_of(12)
    strange = engine.recommend(query, liking(np.ones(16), ["never-heard-of", "nor-of-this"]))
    assert len(strange.items) == 12
    assert "cf" not in {item.source for item in strange.items}


def test_popular_order_is_the_bundle_s_and_the_rest_follows(bundle, engine):
    user = shoppers()[2]
    answer = engine.recommend(query_of(1000, user.entity_id, order="popular"), user)
    bought = last_purchases(user)
    assert bought
    popular = [name for name in bundle.popular if name not in bought]
    assert ids(answer)[: len(popular)] == popular
    assert {item.source for item in answer.items} == {"popular"}
    # A fifth of the videos that anyone watched.
    assert ["popular" in item.reasons for item in answer.items[:10]] == [True] * 10
    assert not any("popular" in item.reasons for item in answer.items[20:])
    assert [item.score for item in answer.items] == [1 / n for n in range(1, len(answer.items) + 1)]
    ranked = engine.recommend(query_of(1000, user.entity_id), user)
    expected = {item.video_id: item.p_click for item in ranked.items}
    assert {i.video_id: i.p_click for i in answer.items} == pytest.approx(expected, rel=1e-5)


def test_what_was_bought_long_ago_comes_back_where_the_surface_says_so(bundle):
    config = ServeConfig.model_validate({"rerank": {"surfaces": {"again": {"rules": {"bought_days": 1}}}}})
    engine, user = engine_of(bundle, config), shoppers()[2]
    bought = {
        n for n, at in last_purchases(user).items() if at < now() - DAY_US and engine.card(n)["available"]
    }
    assert bought
    assert bought <= set(ids(engine.recommend(query_of(1000, user.entity_id, surface="again"), user)))
    assert not bought & set(ids(engine.recommend(query_of(1000, user.entity_id), user)))


def test_counts_of_videos_are_taken_and_unknown_videos_passed_over(bundle):
    engine = engine_of(bundle)
    before = {i.video_id: i.p_click for i in engine.recommend(query_of(100), Profile("user", "u")).items}
    state = profile_counts(profiles()["video", "video-10"]) + 40
    engine.set_video_counts(["nobody", "video-10"], np.stack([state, state]))
    after = {i.video_id: i.p_click for i in engine.recommend(query_of(100), Profile("user", "u")).items}
    assert {name for name in before if before[name] != after[name]} == {"video-10"}


def test_rows_that_are_no_video_s_are_refused_and_nothing_changes(engine):
    odd = change("video-01")
    with pytest.raises(ServeError, match=r"video video-02 has rows of \['video-01'\]"):
        engine.with_changes([replace(odd, video_id="video-02")])
    with pytest.raises(SchemaError, match="missing uri"):
        engine.with_changes([replace(odd, row=odd.row.drop_columns(["uri"]))])
    assert len(engine.video_ids) == 100


def test_the_humble_ranker_serves_as_well(bundle):
    content = bundle_content()
    config, facts = ProfilesConfig(), video_metadata(content)
    requests = list(
        replay_requests(shop().events, replay_video_counts(shop().events, facts, config), facts, config)
    )
    labels = build_labels(shop().events, shop().videos, LabelsConfig())
    ranker = RateBaselineRanker.fit(RateBaselineConfig(), requests, labels, content)
    engine = engine_of(replace(bundle, ranker=ranker)).with_changes(
        [change("new", duration_s=3.0, price=2.0)]
    )
    user = shoppers()[4]
    answer = engine.recommend(query_of(300, user.entity_id), user)
    assert "new" in ids(answer)
    assert len({item.p_click for item in answer.items}) > 5


class Recording(NetworkRanker):
    """The same ranker, which keeps what it was asked."""

    def predict(self, features, *, as_shown=False):
        self.asked.append((features, list(self.catalog.rows)))
        return super().predict(features, at_logged_positions=as_shown)


@pytest.mark.parametrize("changed", [False, True], ids=["as in the bundle", "beside a change"])
def test_features_of_serving_are_those_of_the_replay_to_the_last_bit(bundle, changed):
    log, content, config = shop().events, bundle_content(), bundle.profiles
    facts = video_metadata(content)
    requests = list(replay_requests(log, replay_video_counts(log, facts, config), facts, config))
    ranker = copy(bundle.ranker)
    ranker.__class__, ranker.asked = Recording, []
    at = log.column("at").cast("int64")
    compared = 0
    for request in requests[40::71]:
        moment = request.context.at
        before = build_profiles(log.filter(pc.less(at, moment)), content, config)
        known = {(p.entity, p.entity_id): p for p in profiles_from_table(before)}
        engine = RecommendEngine(replace(bundle, ranker=ranker), ServeConfig())
        engine.set_video_counts(
            engine.video_ids, np.array([profile_counts(known[("video", n)]) for n in engine.video_ids])
        )
        if changed:
            engine = engine.with_changes([change("new", at=0, vector=np.eye(16)[0], published_at=None)])
        user = known.get(("user", request.user.entity_id), Profile("user", request.user.entity_id))
        query = query_of(100, user.entity_id, at=moment, surface=request.context.surface)
        ranker.asked.clear()
        answer = engine.recommend(query, user)
        features, _ = ranker.asked[0]
        offline = bundle.ranker.builder.build([request])
        assert (features.user == offline.user).all()
        assert (features.context == offline.context).all()
        assert (features.history_dense == offline.history_dense).all()
        candidates = sorted(ids(answer))
        assert len(features) == len(candidates)
        for row, name in enumerate(request.video_ids):
            if name not in candidates:
                continue
            compared += 1
            place = candidates.index(name)
            assert (features.candidate[place] == offline.candidate[row]).all()
            for part in ("fields", "tags", "dense", "vectors"):
                ours = getattr(features.catalog, part)[features.video[place]]
                theirs = getattr(offline.catalog, part)[offline.video[row]]
                assert (ours == theirs).all(), part
            for part in ("fields", "vectors"):
                ours = getattr(features.catalog, part)[features.history[0]]
                assert (ours == getattr(offline.catalog, part)[offline.history[0]]).all(), part
    assert compared > 20
