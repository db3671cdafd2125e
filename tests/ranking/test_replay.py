"""Replay: nothing of a moment or later is seen at it, and any part of a log gives its part of the whole."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import events, shuffled
from tests.ranking.logs import (
    CONFIG,
    micros,
    requests_of,
    same_features,
    shop,
    shop_builder,
    some_log,
)
from vrec.core.compute import pc
from vrec.core.errors import EventsError, RankError
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import apply_event, build_profiles, event_rows, video_metadata
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, profile_counts
from vrec.ranking.replay import impressions, replay_requests, replay_video_counts


def parts_of(log, content):
    facts = video_metadata(content)
    return replay_video_counts(log, facts, CONFIG), facts


def served(log, content, request):
    """The request as serving makes it: profiles by `apply`, event by event, of all that came before."""
    facts = video_metadata(content)
    before = log.filter(pa.array(micros(log) < request.context.at))
    order = np.lexsort((before.column("event_id").to_pylist(), micros(before)))
    profiles: dict[tuple[str, str], Profile] = {}
    for event in event_rows(before.take(pa.array(order))):
        for key in (("user", event.user_id), ("video", event.video_id)):
            owned = profiles.get(key, Profile(*key))
            profiles[key] = apply_event(owned, event, facts.get(event.video_id), CONFIG)
    user = ("user", request.user.entity_id)
    states = [profile_counts(profiles.get(("video", video_id))) for video_id in request.video_ids]
    return replace(request, user=profiles.get(user, Profile(*user)), video_counts=np.array(states))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_serving_and_replay_give_the_same_features_to_the_last_bit(pick):
    log, content = shop()
    requests = requests_of(log, content)
    request = requests[pick % len(requests)]
    builder = shop_builder()
    assert same_features(builder.build([served(log, content, request)]), builder.build([request]))


@settings(max_examples=60, deadline=None)
@given(some_log(), st.data())
def test_serving_and_replay_agree_where_times_and_requests_clash(log, data):
    _, content = shop()
    requests = requests_of(log, content)
    if requests:
        request = data.draw(st.sampled_from(requests))
        builder = shop_builder()
        assert same_features(builder.build([served(log, content, request)]), builder.build([request]))


@settings(max_examples=120, deadline=None)
@given(some_log(), some_log(least=0), st.data())
def test_what_happens_at_a_moment_or_later_changes_no_feature_of_it(log, other, data):
    _, content = shop()
    shown = impressions(log)
    if not shown.num_rows:
        return
    moment = data.draw(st.sampled_from(sorted(set(micros(shown)))))
    now = pc.and_(pc.equal(log.column("kind"), "impression"), pa.array(micros(log) == moment))
    kept = log.filter(pc.or_(pa.array(micros(log) < moment), now))
    renamed = other.set_column(
        0, other.schema.field(0), pc.binary_join_element_wise("x", other.column(0), "")
    )
    later = renamed.filter(pa.array(micros(renamed) >= moment))
    # Impressions of the same requests would be other candidates of theirs, not other features.
    later = later.filter(
        pc.or_(pa.array(micros(later) > moment), pc.not_equal(later.column("kind"), "impression"))
    )
    changed = pa.concat_tables([kept, later])

    def features(table):
        found = [r for r in requests_of(table, content) if r.context.at == moment]
        return shop_builder().build(found)

    assert same_features(features(log), features(changed))


def test_states_are_the_counts_of_a_table_before_each_impression():
    log, content = shop()
    states, _ = parts_of(log, content)
    rows = dict(zip(states.column("event_id").to_pylist(), states.column("state").to_pylist(), strict=True))
    frame = pl.from_arrow(log)
    assert len(rows) == (frame["kind"] == "impression").sum()
    for shown in frame.filter(pl.col("kind") == "impression").sample(40, seed=1).iter_rows(named=True):
        before = frame.filter(pl.col("video_id") == shown["video_id"], pl.col("at") < shown["at"])
        state = dict(zip(VIDEO_COUNT_KEYS, rows[shown["event_id"]], strict=True))
        for kind, count in before["kind"].value_counts().iter_rows():
            assert state[f"event:{kind}"] == count
        watched = before.filter(pl.col("kind") == "watch")["value"].cast(pl.Float64).sum()
        assert state["watch_s"] == pytest.approx(watched)
        assert sum(v for k, v in state.items() if k.startswith("event:")) == before.height


def test_a_request_s_profile_is_that_of_the_user_s_earlier_events():
    log, content = shop()
    for request in requests_of(log, content)[::29]:
        before = log.filter(pa.array(micros(log) < request.context.at))
        profiles = {
            p.entity_id: p
            for p in profiles_from_table(build_profiles(before, content, CONFIG))
            if p.entity == "user"
        }
        user = request.user.entity_id
        assert request.user == profiles.get(user, Profile("user", user))


@settings(max_examples=60, deadline=None)
@given(some_log(), st.randoms(use_true_random=False))
def test_any_subset_of_videos_or_users_in_any_order_gives_its_part(log, random):
    _, content = shop()
    states, facts = parts_of(log, content)
    videos = sorted(set(log.column("video_id").to_pylist()))
    parts = []
    for video in videos:
        own = log.filter(pc.equal(log.column("video_id"), video))
        parts.append(replay_video_counts(shuffled(own, random), facts, CONFIG))
    assert pa.concat_tables(parts).combine_chunks().equals(states)
    whole = list(replay_requests(shuffled(log, random), shuffled(states, random), facts, CONFIG))
    single = []
    for user in sorted(set(log.column("user_id").to_pylist())):
        single += replay_requests(log.filter(pc.equal(log.column("user_id"), user)), states, facts, CONFIG)
    assert len(whole) == len(single)
    if whole:
        assert same_features(shop_builder().build(whole), shop_builder().build(single))


@settings(max_examples=60, deadline=None)
@given(some_log())
def test_requests_hold_all_impressions_in_the_order_of_impressions(log):
    _, content = shop()
    shown, requests = impressions(log), requests_of(log, content)
    assert [v for r in requests for v in r.video_ids] == shown.column("video_id").to_pylist()
    users = [r.user.entity_id for r in requests for _ in r.video_ids]
    assert users == shown.column("user_id").to_pylist()
    assert [r.context.at for r in requests for _ in r.video_ids] == micros(shown).tolist()
    slots = [-1 if p is None else p for p in shown.column("position").to_pylist()]
    assert [p for r in requests for p in r.positions.tolist()] == slots
    keys = [(r.user.entity_id, r.context.at) for r in requests]
    named_requests = {
        (u, a, i)
        for u, a, i in zip(users, micros(shown), shown.column("request_id").to_pylist(), strict=True)
    }
    assert len(keys) == len(named_requests)


def test_impressions_of_one_request_are_its_candidates():
    rows = [
        {"kind": "impression", "video_id": "b", "position": 1, "request_id": "r", "domain": "feed"},
        {"kind": "impression", "video_id": "a", "position": 0, "request_id": "r", "domain": "feed"},
        # Without a position it is the last of its request, although its event_id is the first.
        {"kind": "impression", "video_id": "d", "request_id": "r", "event_id": "+", "domain": "feed"},
        {"kind": "impression", "video_id": "z", "request_id": "s", "event_id": "a"},
        {"kind": "impression", "video_id": "c", "request_id": "s", "event_id": "b"},
        {"kind": "click", "video_id": "a", "request_id": "r"},
    ]
    _, content = shop()
    one, two = requests_of(events(*rows), content)
    assert (one.video_ids, one.positions.tolist(), one.context.surface) == (
        ("a", "b", "d"),
        [0, 1, -1],
        "feed",
    )
    assert (two.video_ids, two.positions.tolist()) == (("z", "c"), [-1, -1])
    assert impressions(events(*rows)).column("video_id").to_pylist() == ["a", "b", "d", "z", "c"]
    assert one.user == Profile("user", "u")
    assert not one.video_counts.any()


def test_logs_that_cannot_be_replayed_are_refused():
    log, content = shop()
    states, facts = parts_of(log, content)
    with pytest.raises(RankError, match=r"1 of [\d,]+ events repeat another's event_id, such as r0-"):
        replay_video_counts(pa.concat_tables([log, log.slice(4, 1)]), facts, CONFIG)
    with pytest.raises(
        RankError, match=r"replay: [\d,]+ impressions have no row in VIDEO_COUNTS, such as r0-"
    ):
        list(replay_requests(log, states.slice(9), facts, CONFIG))
    wrong = log.set_column(3, log.schema.field("kind"), pa.repeat("glance", log.num_rows))
    with pytest.raises(EventsError, match=r"EVENTS\.kind is not usable"):
        replay_video_counts(wrong, facts, CONFIG)
    nothing = log.slice(0, 0)
    assert not replay_video_counts(nothing, facts, CONFIG).num_rows
    assert not list(replay_requests(nothing, states, facts, CONFIG))


@settings(max_examples=60, deadline=None)
@given(
    some_log(kinds=["impression", "impression", "like", "unlike", "purchase", "refund", "hide", "unhide"]),
    st.data(),
)
def test_from_its_moment_on_a_reversal_leaves_what_there_was_without_the_reversed(log, data):
    _, content = shop()
    requests = requests_of(log, content)
    if not requests:
        return
    request = data.draw(st.sampled_from(requests))
    before = log.filter(pa.array(micros(log) < request.context.at))
    profiles = {
        (p.entity, p.entity_id): p for p in profiles_from_table(build_profiles(before, content, CONFIG))
    }
    assert request.user == profiles.get(
        ("user", request.user.entity_id), Profile("user", request.user.entity_id)
    )
    states = [profile_counts(profiles.get(("video", video_id))) for video_id in request.video_ids]
    assert np.allclose(request.video_counts, np.array(states))
