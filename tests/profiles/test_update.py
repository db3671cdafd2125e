"""Profiles: any split of the stream gives equal profiles, repeated events change nothing, late ones count."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.compute import pc
from vrec.core.errors import EventsError, SchemaError
from vrec.core.schema import EVENT_KINDS, NEGATIVE_KINDS, PROFILES, conform
from vrec.core.types import CatalogContent
from vrec.events.config import InterestConfig
from vrec.events.interactions import DAY_US, weigh_events
from vrec.profiles.profile import (
    EventRecord,
    InterestEvent,
    Profile,
    VideoMetadata,
    profiles_from_table,
    profiles_to_table,
)
from vrec.profiles.update import ProfilesConfig, apply_event, build_profiles, video_metadata
from vrec.profiles.user import (
    INTERESTS,
    LAST_PURCHASE_PREFIX,
    TASTE_AT,
    TASTE_WEIGHT,
    TasteConfig,
    UserProfileConfig,
    event_interest,
    last_purchases,
    taste_vector,
)
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

CONFIG = ProfilesConfig()
DIM = 4


@cache
def world():
    """A small shop's events and catalogue, the clicks and watches with likes among them."""
    simulation = simulate(SimulationConfig(users=12, videos=15, days=40, slots=4, click_rate=0.3, dim=DIM))
    return simulation.events, CatalogContent(simulation.videos, simulation.embeddings)


def one_by_one(events, content, config=CONFIG, profiles=None):
    """All profiles after applying EVENTS rows in their order."""
    facts = video_metadata(content)
    found = dict(profiles or {})
    at = events.column("at").cast(pa.int64()).to_pylist()
    for row, moment in zip(events.drop_columns(["at"]).to_pylist(), at, strict=True):
        event = EventRecord(
            *(row[n] for n in ("event_id", "user_id", "video_id", "kind", "value", "domain")), moment
        )
        for key in (("user", event.user_id), ("video", event.video_id)):
            before = found.get(key, Profile(*key))
            found[key] = apply_event(before, event, facts.get(event.video_id), config)
    return found


def sorted_events(events):
    return events.sort_by([("at", "ascending"), ("event_id", "ascending")])


def short_history(most, **more):
    """A config whose profiles keep the newest `most` events of interest."""
    return CONFIG.model_copy(update={"user": UserProfileConfig(history=most), **more})


def as_dict(table):
    return {(p.entity, p.entity_id): p for p in profiles_from_table(table)}


def near(a: Profile, b: Profile):
    same_vector = (a.vector is None and b.vector is None) or np.allclose(
        a.vector, b.vector, rtol=1e-5, atol=1e-6
    )
    same = a.seen == b.seen and a.history == b.history
    return same_vector and same and a.counts == pytest.approx(b.counts, rel=1e-9)


def test_many_at_once_are_as_one_by_one_to_the_last_bit():
    events, content = world()
    batch = as_dict(build_profiles(events, content, CONFIG))
    single = one_by_one(sorted_events(events), content)
    assert {key: batch[key] for key in single} == single
    assert set(batch) - set(single) <= {("video", i) for i in content.videos.column("video_id").to_pylist()}


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([1, 7, 100]))
def test_any_split_of_the_stream_gives_equal_profiles_stored_or_not_in_between(data, most):
    events, content = world()
    events, config = sorted_events(events), short_history(most)
    cuts = sorted(data.draw(st.lists(st.integers(0, events.num_rows), max_size=5)))
    edges = [0, *cuts, events.num_rows]
    table = None
    for start, end in pairwise(edges):
        order = np.random.default_rng(start).permutation(end - start)
        table = build_profiles(events.slice(start, end - start).take(pa.array(order)), content, config, table)
    assert table is not None
    assert table.equals(build_profiles(events, content, config))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_repeated_events_change_nothing_however_old(data):
    events, content = world()
    events = sorted_events(events).slice(0, 600)
    config = CONFIG.model_copy(update={"remember": data.draw(st.integers(1, 20))})
    again = data.draw(st.lists(st.integers(0, 599), max_size=80))
    whole = build_profiles(events, content, config)
    assert build_profiles(events.take(pa.array(again, pa.int64())), content, config, whole).equals(whole)
    twice = pa.concat_tables([events, events.take(pa.array(again, pa.int64()))])
    assert build_profiles(twice, content, config).equals(whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 7, 100]))
def test_events_that_come_late_count_as_if_in_time_within_what_is_remembered(seed, most):
    events, content = world()
    events = sorted_events(events).slice(0, 400)
    config = short_history(most, remember=400)
    shuffled = events.take(pa.array(np.random.default_rng(seed).permutation(400)))
    in_time, late = one_by_one(events, content, config), one_by_one(shuffled, content, config)
    assert in_time.keys() == late.keys()
    assert all(near(in_time[key], late[key]) for key in in_time)


def test_an_event_that_comes_after_more_than_are_remembered_is_left_out():
    config = CONFIG.model_copy(update={"remember": 3})
    profile = Profile("user", "u")
    stream = [EventRecord(f"e{i}", "u", "v", "click", None, "shop", i) for i in range(10, 15)]
    for event in stream:
        profile = apply_event(profile, event, None, config)
    assert profile.counts["event:click"] == 5
    assert (
        apply_event(profile, EventRecord("old", "u", "v", "click", None, "shop", 11), None, config) == profile
    )
    late = apply_event(profile, EventRecord("late", "u", "v", "click", None, "shop", 13), None, config)
    assert late.counts["event:click"] == 6
    assert late.seen == ((13, "e13"), (13, "late"), (14, "e14"))


def test_apply_leaves_the_profile_it_was_given_as_it_is():
    facts = VideoMetadata({"category:mugs": 1.0}, 10.0, np.ones(2, np.float32))
    first = apply_event(
        Profile("user", "u"), EventRecord("a", "u", "v", "click", None, "shop", 0), facts, CONFIG
    )
    counts, vector, seen, history = dict(first.counts), first.vector.copy(), first.seen, first.history
    apply_event(first, EventRecord("b", "u", "v", "purchase", 9.0, "shop", DAY_US), facts, CONFIG)
    assert (first.counts, first.seen, first.history) == (counts, seen, history)
    assert (first.vector == vector).all()


def test_a_taste_is_the_faded_weighted_sum_of_liked_embeddings():
    events, content = world()
    facts, half_life = video_metadata(content), CONFIG.user.interest.half_life_days
    weights = weigh_events(events, CONFIG.user.interest, content.videos)
    users = as_dict(build_profiles(events, content, CONFIG))
    for user in set(events.column("user_id").to_pylist()):
        rows = weights.filter(pc.equal(weights.column("user_id"), user))
        at = np.asarray(rows.column("at").cast(pa.int64()))
        fade = np.asarray(rows.column("weight")) * np.exp2(-(at.max() - at) / (half_life * DAY_US))
        vectors = np.stack([facts[v].vector for v in rows.column("video_id").to_pylist()]).astype(float)
        profile = users["user", user]
        np.testing.assert_allclose(profile.vector, fade @ vectors, rtol=1e-4, atol=1e-4)
        assert profile.counts[TASTE_WEIGHT] == pytest.approx(fade.sum(), rel=1e-6)
        assert profile.counts[TASTE_AT] == at.max()
        unit = fade @ vectors / np.linalg.norm(fade @ vectors)
        np.testing.assert_allclose(taste_vector(profile), unit, atol=1e-5)


@pytest.mark.parametrize("most", [1, 5, 100, 10_000])
def test_a_history_is_a_user_s_newest_events_of_interest(most):
    events, content = world()
    users = as_dict(build_profiles(events, content, short_history(most)))
    interest, weights, seconds = CONFIG.user.interest, {}, content.videos.select(["video_id", "duration_s"])
    durations = dict(zip(*seconds.to_pydict().values(), strict=True))
    for row, at in zip(
        events.drop_columns(["at"]).to_pylist(), events["at"].cast(pa.int64()).to_pylist(), strict=True
    ):
        weight = float(getattr(interest, row["kind"]))
        if row["kind"] == "watch":
            share = min(1.0, row["value"] / min(interest.watch_whole_s, durations[row["video_id"]]))
            weight *= share if share >= interest.watch_least else 0.0
        if weight > 0:
            stored = float(np.float32(weight))
            entry = InterestEvent(
                at, row["event_id"], row["video_id"], pytest.approx(stored, rel=1e-6), row["kind"]
            )
            weights.setdefault(row["user_id"], []).append(entry)
    for user, entries in weights.items():
        profile = users["user", user]
        assert profile.history == tuple(sorted(entries, key=lambda e: e[:2])[-most:])
        assert profile.counts[INTERESTS] == len(entries)
        assert all(entry.weight == float(np.float32(entry.weight)) for entry in profile.history)
    assert not any(p.history for p in users.values() if p.entity == "video")


def test_a_history_holds_videos_that_the_catalogue_does_not_know():
    event = EventRecord("e", "u", "unheard-of", "click", None, "shop", 5)
    profile = apply_event(Profile("user", "u"), event, None, CONFIG)
    assert profile.history == (InterestEvent(5, "e", "unheard-of", 1.0, "click"),)
    assert INTERESTS not in profile.counts
    assert profile != replace(profile, history=())
    shown = EventRecord("f", "u", "unheard-of", "impression", None, "shop", 6)
    assert apply_event(profile, shown, None, CONFIG).history == profile.history


def test_a_user_s_counts_are_those_of_a_table():
    events, content = world()
    user = events.column("user_id")[0].as_py()
    rows = events.filter(pc.equal(events.column("user_id"), user)).to_pandas()
    category = dict(
        zip(*(content.videos.column(n).to_pylist() for n in ("video_id", "category")), strict=True)
    )
    counts = as_dict(build_profiles(events, content, CONFIG))["user", user].counts
    for kind, n in rows.kind.value_counts().items():
        assert counts[f"event:{kind}"] == n
    for hour, n in rows["at"].dt.hour.value_counts().items():
        assert counts[f"hour:{hour:02}"] == n
    assert counts["domain:shop"] == len(rows)
    assert counts["watch_s"] == pytest.approx(rows[rows.kind == "watch"].value.astype(float).sum())
    liked = rows[rows.kind.isin(["click", "cart", "purchase"])].video_id.map(category).value_counts()
    watched = (
        sum(counts[f"category:{c}"] for c in set(category.values()) if f"category:{c}" in counts)
        - liked.sum()
    )
    assert 0 <= watched <= (rows.kind == "watch").sum()


def test_a_user_s_last_purchase_from_each_video_is_known_in_whatever_order_events_come():
    events, content = world()
    bought = events.filter(pc.equal(events.column("kind"), "purchase"))
    micros = bought.column("at").cast(pa.int64()).to_pylist()
    last: dict[str, dict[str, int]] = {}
    for row, at in zip(bought.drop_columns(["at"]).to_pylist(), micros, strict=True):
        own = last.setdefault(row["user_id"], {})
        own[row["video_id"]] = max(at, own.get(row["video_id"], 0))
    assert last
    backwards = one_by_one(
        sorted_events(events).take(list(range(events.num_rows))[::-1]),
        content,
        CONFIG.model_copy(update={"remember": 9999}),
    )
    for (entity, name), profile in (as_dict(build_profiles(events, content, CONFIG)) | backwards).items():
        assert last_purchases(profile) == (last.get(name, {}) if entity == "user" else {})
    unheard = apply_event(
        Profile("user", "u"), EventRecord("e", "u", "gone", "purchase", None, "shop", 5), None, CONFIG
    )
    assert unheard.counts[f"{LAST_PURCHASE_PREFIX}gone"] == 5


def test_a_video_s_counts_are_those_of_a_table():
    events, content = world()
    durations = dict(
        zip(*(content.videos.column(n).to_pylist() for n in ("video_id", "duration_s")), strict=True)
    )
    found = as_dict(build_profiles(events, content, CONFIG))
    for video, rows in events.to_pandas().groupby("video_id"):
        profile = found["video", video]
        watches = rows[rows.kind == "watch"].value.astype(float)
        share = (watches / durations[video]).clip(upper=1)
        expected = {
            "watch_s": watches.sum(),
            "watch_share": share.sum(),
            "completions": (share >= 0.95).sum(),
            "watches_timed": len(watches),
            "money": rows[rows.kind == "purchase"].value.sum(),
        }
        for key, value in expected.items():
            assert profile.counts.get(key, 0) == pytest.approx(value), key
        for kind, n in rows.kind.value_counts().items():
            assert profile.counts[f"event:{kind}"] == n
        np.testing.assert_array_equal(profile.vector, video_metadata(content)[video].vector)


def test_the_catalogue_s_word_on_a_video_replaces_what_it_said_before():
    events, content = world()
    before = build_profiles(events, content, CONFIG)
    place = content.videos.column_names.index("category")
    renamed = content.videos.set_column(place, "category", pa.repeat("all", content.videos.num_rows))
    after = as_dict(build_profiles(events.slice(0, 0), CatalogContent(renamed), CONFIG, before))
    for (entity, entity_id), profile in as_dict(before).items():
        now = after[entity, entity_id]
        if entity == "user":
            assert now == profile
        else:
            assert [key for key in now.counts if key.startswith("category:")] == ["category:all"]
            assert (now.vector == profile.vector).all()
            assert now.counts.get("event:click") == profile.counts.get("event:click")


@settings(deadline=None)
@given(
    st.sampled_from(EVENT_KINDS),
    st.one_of(st.none(), st.floats(0, 100, width=32)),
    st.one_of(st.none(), st.floats(1, 100, width=32)),
    st.booleans(),
)
def test_an_event_s_interest_is_what_the_interactions_weigh(kind, value, duration, whole):
    events, content = world()
    row = events.slice(0, 1).to_pylist()[0] | {"kind": kind, "value": value}
    table = pa.Table.from_pylist([row], schema=events.schema)
    place = content.videos.column_names.index("duration_s")
    count = content.videos.num_rows
    videos = content.videos.set_column(place, "duration_s", pa.array([duration] * count, pa.float32()))
    config = InterestConfig(watch_whole_s=30.0) if whole else InterestConfig()
    expected = weigh_events(table, config, videos).column("weight").to_pylist() or [0.0]
    event = EventRecord("e", row["user_id"], row["video_id"], kind, value, "shop", 0)
    found = event_interest(event, VideoMetadata({}, duration), config)
    assert max(0.0, found) == pytest.approx(expected[0], rel=1e-6)
    assert (found < 0) == (kind in NEGATIVE_KINDS)


def test_profiles_are_rows_and_rows_profiles():
    events, content = world()
    table = build_profiles(events, content, CONFIG)
    conform(table, PROFILES, stage="test")
    profiles = profiles_from_table(table)
    assert profiles_to_table(profiles, DIM).equals(table)
    assert profiles_from_table(profiles_to_table(profiles, DIM).slice(3, 5)) == profiles[3:8]
    assert any(p.history for p in profiles)
    older = table.drop_columns(["seen", "history"])
    blank = [Profile(p.entity, p.entity_id, p.vector, p.counts) for p in profiles]
    assert profiles_from_table(older) == blank
    assert profiles_to_table([], DIM).equals(table.slice(0, 0))
    bare = build_profiles(events, CatalogContent(), CONFIG)
    assert bare.column("vector").null_count == bare.num_rows
    newest = sorted_events(events).filter(pc.equal(sorted_events(events).column("user_id"), "shopper-00"))
    row = next(r for r in table.to_pylist() if r["entity_id"] == "shopper-00")
    assert row["last_event_id"] == newest.column("event_id")[-1].as_py()
    assert row["updated_at"] == newest.column("at")[-1].as_py()


def test_a_new_video_has_a_profile_before_its_first_event():
    events, content = world()
    found = as_dict(build_profiles(events.slice(0, 0), content, CONFIG))
    assert len(found) == content.videos.num_rows
    profile = found["video", "video-00"]
    assert profile.vector is not None
    assert "creator:" + content.videos.column("creator_id")[0].as_py() in profile.counts


def test_a_taste_outlives_a_long_absence_and_a_hostile_half_life():
    config = ProfilesConfig(user=UserProfileConfig(interest=TasteConfig(half_life_days=0.001)))
    profile, north = Profile("user", "u"), VideoMetadata({}, None, np.array([0, 1], np.float32))
    east = VideoMetadata({}, None, np.array([1, 0], np.float32))
    profile = apply_event(profile, EventRecord("a", "u", "v", "click", None, "s", 0), east, config)
    profile = apply_event(
        profile, EventRecord("b", "u", "v", "click", None, "s", 4000 * DAY_US), north, config
    )
    np.testing.assert_array_equal(taste_vector(profile), [0, 1])
    profile = apply_event(profile, EventRecord("c", "u", "v", "click", None, "s", 1), east, config)
    np.testing.assert_array_equal(taste_vector(profile), [0, 1])
    assert taste_vector(Profile("user", "u")) is None


def test_bad_events_are_refused():
    events, content = world()
    row = events.slice(5, 1).to_pylist()[0]

    def having(**changes):
        bad = pa.Table.from_pylist([row | changes], schema=events.schema)
        return pa.concat_tables([events, bad])

    with pytest.raises(EventsError, match=r"EVENTS\.kind is not usable in 1 of [\d,]+ rows, such as glance"):
        build_profiles(having(kind="glance"), content, CONFIG)
    for value in (float("nan"), -1.0, float("inf")):
        with pytest.raises(EventsError, match=r"EVENTS\.value is not usable in 1 of"):
            build_profiles(having(value=value), content, CONFIG)
        with pytest.raises(EventsError, match="want a finite number from 0"):
            EventRecord("e", "u", "v", "watch", value, "s", 0)
    with pytest.raises(EventsError, match="kind Glance! is not one of"):
        EventRecord("e", "u", "v", "Glance!", None, "s", 0)
    with pytest.raises(SchemaError):
        build_profiles(events.drop_columns(["user_id"]), content, CONFIG)
    with pytest.raises(EventsError, match="event e is of w, not of user u"):
        apply_event(Profile("user", "u"), EventRecord("e", "w", "v", "click", None, "s", 0), None, CONFIG)
    other = simulate(SimulationConfig(users=2, videos=15, days=2, dim=7)).embeddings
    with pytest.raises(EventsError, match="vectors are 4 long in PROFILES, 7 in EMBEDDINGS"):
        build_profiles(events, CatalogContent(None, other), CONFIG, build_profiles(events, content, CONFIG))
    place = build_profiles(events, content, CONFIG).set_column(0, "entity", pa.repeat("creator", 27))
    with pytest.raises(EventsError, match="entity is creator for"):
        profiles_from_table(place)
