"""Profiles by hand: ties, units, videos of which little is known, a user with a video's id."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.events.rows import day, events
from tests.events.rows import videos as video_rows
from vrec.core.errors import EventsError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.events.config import InterestConfig
from vrec.events.interactions import DAY_US, to_micros
from vrec.profiles.profile import EventRecord, InterestEvent, Profile, VideoMetadata, profiles_from_table
from vrec.profiles.stores.fold import ProfileFold
from vrec.profiles.update import (
    ProfilesConfig,
    apply_event,
    build_profiles,
    embedding_matrix,
    event_rows,
    sort_events,
    start_profile,
    validate_events,
    video_metadata,
)
from vrec.profiles.user import (
    HOUR_US,
    TASTE_AT,
    TASTE_WEIGHT,
    TasteConfig,
    UserProfileConfig,
    event_interest,
    last_purchases,
    taste_vector,
)
from vrec.profiles.video import VideoProfileConfig

CONFIG = ProfilesConfig()
FADELESS = ProfilesConfig(user=UserProfileConfig(interest=TasteConfig(half_life_days=None)))
BIG = 2.0**24
"""From here on float32 cannot tell n and n + 1 apart: a sum depends on the order of its terms."""


def event(event_id: str = "e", at: int = 0, kind: str = "click", **changes) -> EventRecord:
    row = {"user_id": "u", "video_id": "v", "value": None, "domain": "shop"} | changes
    return EventRecord(event_id=event_id, kind=kind, at=at, **row)


def embeddings(**vectors: list[float]) -> pa.Table:
    dim = len(next(iter(vectors.values())))
    columns = {
        "entity_id": list(vectors),
        "modality": ["fused"] * len(vectors),
        "encoder": ["test"] * len(vectors),
        "content_hash": list(vectors),
        "vector": pa.array(list(vectors.values()), pa.list_(pa.float32(), dim)),
    }
    return conform(pa.table(columns), EMBEDDINGS, stage="test")


def catalog(*rows: dict, **vectors: list[float]) -> CatalogContent:
    blank = {"uri": "", "kind": "clip", "creator_id": "ann", "domain": "shop", "product_ids": []}
    blank |= {"tags": [], "available": True}
    table = pa.Table.from_pylist([blank | row for row in rows], schema=VIDEOS.arrow())
    return CatalogContent(table, embeddings(**vectors) if vectors else None)


def built(table, content=CatalogContent(), config=CONFIG, before=None) -> dict[tuple[str, str], Profile]:  # noqa: B008
    rows = profiles_from_table(build_profiles(table, content, config, before))
    return {(profile.entity, profile.entity_id): profile for profile in rows}


def folded(facts: Callable, rows: list[EventRecord], profile: Profile, config=CONFIG) -> Profile:
    return ProfileFold(facts, config)(profile, rows)


# Videos of which little is known


def test_metadata_holds_what_is_known_and_nothing_of_what_is_not():
    content = catalog(
        {"video_id": "full", "category": "mugs", "tags": ["red", "new"], "duration_s": 8.0},
        {"video_id": "bare", "kind": "live", "creator_id": "bob", "domain": "home"},
        full=[1.0, 0.0],
        ghost=[0.0, 1.0],
    )
    found = video_metadata(content)
    assert found.keys() == {"full", "bare", "ghost"}
    common = {"kind:clip", "creator:ann", "domain:shop"}
    assert found["full"].attributes == dict.fromkeys([*common, "category:mugs", "tag:red", "tag:new"], 1.0)
    assert found["bare"].attributes == dict.fromkeys(["kind:live", "creator:bob", "domain:home"], 1.0)
    assert found["ghost"].attributes == {}
    assert (found["full"].duration_s, found["bare"].duration_s, found["ghost"].duration_s) == (
        8.0,
        None,
        None,
    )
    assert found["bare"].vector is None
    np.testing.assert_array_equal(found["full"].vector, [1, 0])
    np.testing.assert_array_equal(found["ghost"].vector, [0, 1])
    assert found["ghost"].vector.dtype == np.float32
    assert video_metadata(CatalogContent()) == {}


def test_a_video_without_a_category_counts_under_its_creator_alone():
    content = catalog({"video_id": "v"})
    counts = built(events({"kind": "click", "video_id": "v"}), content)["user", "u"].counts
    assert counts == {
        "event:click": 1.0, "hour:00": 1.0, "domain:shop": 1.0, "interests": 1.0, "creator:ann": 1.0
    }  # fmt: skip


@pytest.mark.parametrize("known", [False, True])
def test_the_fold_of_events_is_the_batch_whether_their_videos_are_known_or_not(known):
    table = events(
        {"kind": "watch", "value": 4.0, "at": day(0)},
        {"kind": "purchase", "value": 9.0, "at": day(1), "video_id": "w"},
        {"kind": "like", "at": day(2)},
    )
    content = catalog({"video_id": "v", "duration_s": 8.0}, v=[3.0, 4.0]) if known else CatalogContent()
    metadata = video_metadata(content)
    want = built(table, content)
    rows = list(event_rows(table))

    def lookup(ids):
        assert set(ids) <= {"v", "w"}
        return {name: metadata[name] for name in ids if name in metadata}

    for key in (("user", "u"), ("video", "v"), ("video", "w")):
        own = [row for row in rows if key[1] in (row.user_id, row.video_id)]
        found = folded(lookup, own, Profile(*key))
        assert found.seen == (want[key].seen if key[0] == "user" else ())
        assert found.counts == want[key].counts
        assert found.history == want[key].history
        assert found == replace(want[key], seen=found.seen)
    assert want["video", "v"].counts.get("watch_share") == (0.5 if known else None)
    assert want["video", "v"].counts["watch_s"] == 4.0
    assert want["user", "u"].counts.get("interests") == (2.0 if known else None)
    assert (want["user", "u"].vector is not None) == known


def test_a_fold_of_nothing_asks_for_nothing():
    def fail(ids):
        raise AssertionError("no lookup is needed")

    profile = Profile("user", "u", None, {"event:click": 1.0})
    assert folded(fail, [], profile) is profile


def test_a_fold_counts_events_older_than_all_that_are_remembered():
    config = ProfilesConfig(remember=2)
    profile = folded(lambda ids: {}, [event(f"e{at}", at) for at in (5, 6, 7)], Profile("user", "u"), config)
    assert profile.seen == ((6, "e6"), (7, "e7"))
    later = folded(lambda ids: {}, [event("old", 1)], profile, config)
    assert later.counts["event:click"] == 4
    assert later.seen == ((6, "e6"), (7, "e7"))
    assert apply_event(profile, event("old", 1), None, config) == profile


# Ties


def test_events_of_one_time_are_applied_by_event_id():
    vectors = {"huge": [BIG, 0.0], "one": [1.0, 0.0], "two": [1.0, 0.0]}
    content = catalog(*({"video_id": v} for v in vectors), **vectors)
    first = {"a": "huge", "b": "one", "c": "two"}
    last = {"c": "huge", "a": "one", "b": "two"}
    for order, total in ((first, BIG), (last, BIG + 2)):
        rows = [{"kind": "click", "event_id": i, "video_id": v, "at": day(0)} for i, v in order.items()]
        for table in (events(*rows), events(*rows[::-1])):
            profile = built(table, content, FADELESS)["user", "u"]
            assert profile.vector.tolist() == [total, 0]
            metadata = video_metadata(content)
            same = folded(lambda ids, m=metadata: m, list(event_rows(table)), Profile("user", "u"), FADELESS)
            assert same == profile
            assert [entry.event_id for entry in profile.history] == ["a", "b", "c"]


def test_rows_are_sorted_by_owner_then_time_then_event_id():
    at = [day(1), day(0), day(0), day(0)]
    rows = zip(["a", "z", "c", "b"], ["u", "u", "u", "t"], ["v", "v", "w", "v"], at, strict=True)
    table = events(
        *({"kind": "click", "event_id": e, "user_id": u, "video_id": v, "at": t} for e, u, v, t in rows)
    )
    assert sort_events(table, "user_id")["event_id"].to_pylist() == ["b", "c", "z", "a"]
    assert sort_events(table, "video_id")["event_id"].to_pylist() == ["b", "z", "a", "c"]


def test_of_events_of_one_time_the_greater_ids_are_remembered():
    config = ProfilesConfig(remember=2, user=UserProfileConfig(history=2))
    profile = Profile("user", "u")
    for name in ("b", "c", "a"):
        profile = apply_event(profile, event(name, 5), None, config)
    assert profile.seen == ((5, "b"), (5, "c"))
    assert profile.counts["event:click"] == 2, "(5, a) is older than all that are remembered"
    wide = ProfilesConfig(user=UserProfileConfig(history=2))
    profile = Profile("user", "u")
    for name in ("b", "c", "a"):
        profile = apply_event(profile, event(name, 5), None, wide)
    assert [entry.event_id for entry in profile.history] == ["b", "c"]
    assert profile.counts["event:click"] == 3


def test_the_last_event_of_a_row_is_the_greatest_of_its_time():
    table = events(*({"kind": "click", "event_id": name, "at": day(2)} for name in "bca"))
    row = build_profiles(table, CatalogContent(), CONFIG).to_pylist()[0]
    assert (row["last_event_id"], row["updated_at"]) == ("c", day(2))
    idle = build_profiles(table.slice(0, 0), catalog({"video_id": "v"}), CONFIG).to_pylist()[0]
    assert (idle["last_event_id"], to_micros(idle["updated_at"])) == (None, 0)


# Users


@pytest.mark.parametrize(
    ("at", "hour"), [(0, "00"), (HOUR_US - 1, "00"), (HOUR_US, "01"), (DAY_US + 23 * HOUR_US, "23")]
)
def test_hours_are_of_the_day_in_utc(at, hour):
    assert f"hour:{hour}" in apply_event(Profile("user", "u"), event(at=at), None, CONFIG).counts
    assert HOUR_US * 24 == DAY_US


def test_only_watched_seconds_are_seconds_and_only_paid_money_is_money():
    facts, user, video = VideoMetadata({}, 10.0), Profile("user", "u"), Profile("video", "v")
    for name, kind, value in (
        ("a", "watch", 4.0),
        ("b", "purchase", 50.0),
        ("c", "click", 7.0),
        ("d", "watch", None),
    ):
        row = event(name, 5, kind, value=value)
        user, video = (apply_event(profile, row, facts, CONFIG) for profile in (user, video))
    assert user.counts["watch_s"] == video.counts["watch_s"] == 4
    assert video.counts["money"] == 50
    assert video.counts["watches_timed"] == 1
    assert "money" not in user.counts


def test_a_taste_halves_once_per_half_life_in_either_order():
    config = ProfilesConfig(user=UserProfileConfig(interest=TasteConfig(half_life_days=3.0)))
    east, north = (VideoMetadata({}, None, np.array(v, np.float32)) for v in ([1, 0], [0, 1]))
    old, new = event("old", 0), event("new", 6 * DAY_US, "like")
    for order in ([(old, east), (new, north)], [(new, north), (old, east)]):
        profile = Profile("user", "u")
        for row, facts in order:
            profile = apply_event(profile, row, facts, config)
        assert profile.vector.tolist() == [0.25, 2.0]
        assert profile.counts[TASTE_AT] == 6 * DAY_US
        assert profile.counts[TASTE_WEIGHT] == 2.25
        np.testing.assert_allclose(taste_vector(profile), np.array([1, 8]) / np.sqrt(65), rtol=1e-6)


def test_a_taste_without_a_half_life_never_fades():
    east = VideoMetadata({}, None, np.array([1, 0], np.float32))
    profile = apply_event(Profile("user", "u"), event("a", 0), east, FADELESS)
    profile = apply_event(profile, event("b", 9000 * DAY_US), east, FADELESS)
    assert profile.vector.tolist() == [2, 0]
    assert (profile.counts[TASTE_WEIGHT], profile.counts[TASTE_AT]) == (2, 9000 * DAY_US)


def test_no_direction_is_no_taste():
    still = {TASTE_AT: 1.0, TASTE_WEIGHT: 1.0}
    assert taste_vector(Profile("user", "u", np.zeros(2, np.float32), still)) is None
    assert taste_vector(Profile("video", "v", np.ones(2, np.float32))) is None
    assert taste_vector(Profile("user", "u", None, still)) is None
    found = taste_vector(Profile("user", "u", np.array([3, 4], np.float32), still))
    assert (found.dtype, found.tolist()) == (np.float32, [np.float32(0.6), np.float32(0.8)])


@pytest.mark.parametrize(
    ("value", "duration", "weight"),
    [
        (None, 1.0, 4.0),
        (2.0, None, 1.0),
        (1.75, None, 0.0),
        (2.0, 4.0, 2.0),
        (2.0, 0.0, 1.0),
        (2.0, 80.0, 1.0),
        (9.0, 4.0, 4.0),
    ],
)
def test_a_watch_counts_by_its_share_of_the_shorter_of_setting_and_duration(value, duration, weight):
    config = InterestConfig(watch=4, watch_whole_s=8, watch_least=0.25)
    assert event_interest(event(kind="watch", value=value), VideoMetadata({}, duration), config) == weight


def test_a_history_keeps_as_many_as_its_setting_says_and_weights_of_float32():
    config = ProfilesConfig(
        user=UserProfileConfig(interest=TasteConfig(click=0.1, half_life_days=None), history=2)
    )
    profile = Profile("user", "u")
    for at in (3, 1, 2):
        profile = apply_event(profile, event(f"e{at}", at), None, config)
    weight = float(np.float32(0.1))
    assert profile.history == (
        InterestEvent(2, "e2", "v", weight, "click"),
        InterestEvent(3, "e3", "v", weight, "click"),
    )


def test_the_last_purchase_of_a_video_is_in_microseconds():
    at, profile = to_micros(day(0)) + 1, Profile("user", "u")
    for name, when in (("a", at), ("b", at - 5)):
        profile = apply_event(profile, event(name, when, "purchase", value=1.0), None, CONFIG)
    assert last_purchases(profile) == {"v": at}


# Videos


@pytest.mark.parametrize(("complete", "completions"), [(0.5, 3), (0.75, 2), (0.8, 1), (1.0, 1)])
def test_watches_are_complete_from_the_share_of_the_setting(complete, completions):
    config, profile = ProfilesConfig(video=VideoProfileConfig(complete=complete)), Profile("video", "v")
    for number, seconds in enumerate((2.0, 4.0, 6.0, 100.0)):
        row = event(f"e{number}", number, "watch", value=seconds)
        profile = apply_event(profile, row, VideoMetadata({}, 8.0), config)
    assert profile.counts["completions"] == completions
    assert profile.counts["watches_timed"] == 4
    assert profile.counts["watch_share"] == 0.25 + 0.5 + 0.75 + 1
    assert profile.counts["watch_share_squared"] == 0.0625 + 0.25 + 0.5625 + 1
    assert profile.counts["watch_s"] == 112


@pytest.mark.parametrize("facts", [None, VideoMetadata({}), VideoMetadata({}, 0.0)])
def test_a_video_without_a_duration_has_seconds_and_no_shares(facts):
    profile = apply_event(Profile("video", "v"), event(kind="watch", value=4.0), facts, CONFIG)
    assert profile.counts == {"event:watch": 1, "watch_s": 4}


def test_attributes_are_the_catalog_s_and_statistics_stay():
    old = Profile(
        "video",
        "v",
        np.ones(2, np.float32),
        {"tag:old": 1.0, "category:a": 1.0, "event:click": 3.0, "money": 2.0},
    )
    facts = {"v": VideoMetadata({"tag:new": 1.0}, None, None)}
    found = start_profile(old, facts).build()
    assert found.counts == {"tag:new": 1, "event:click": 3, "money": 2}
    assert found.vector.tolist() == [1, 1]
    other = {"v": VideoMetadata({}, None, np.zeros(2, np.float32))}
    assert start_profile(old, other).build().vector.tolist() == [0, 0]
    assert start_profile(old, {"w": facts["v"]}).build() == old
    user = Profile("user", "v", None, {"category:a": 2.0})
    assert start_profile(user, facts).build() == user


# Both


def test_a_user_may_have_a_video_s_id():
    content = catalog({"video_id": "x", "category": "mugs"}, x=[1.0, 0.0])
    table = events(
        {"kind": "click", "user_id": "x", "video_id": "x"}, {"kind": "like", "user_id": "y", "video_id": "x"}
    )
    found = built(table, content, FADELESS)
    assert list(found) == [("user", "x"), ("user", "y"), ("video", "x")]
    assert found["user", "x"].counts[TASTE_WEIGHT] == 1
    assert found["video", "x"].counts["event:like"] == found["video", "x"].counts["event:click"] == 1
    assert [len(profile.seen) for profile in found.values()] == [1, 1, 2]
    again = built(events(), content, FADELESS, build_profiles(table, content, FADELESS))
    assert again == found


def test_a_catalog_of_one_video_and_no_event_is_one_profile():
    found = built(events(), catalog({"video_id": "v"}, v=[0.5, 0.5]))
    assert list(found) == [("video", "v")]
    assert found["video", "v"].counts == {"kind:clip": 1, "creator:ann": 1, "domain:shop": 1}
    assert built(events()) == {}


def test_profiles_without_vectors_join_embeddings_of_any_length():
    table = events({"kind": "click"})
    before = build_profiles(table, CatalogContent(), CONFIG)
    assert before.schema.field("vector").type.list_size == 1
    found = build_profiles(events(), catalog({"video_id": "v"}, v=[1.0, 2.0, 3.0]), CONFIG, before)
    assert found.schema.field("vector").type.list_size == 3
    later = build_profiles(events(), CatalogContent(), CONFIG, found)
    assert later.schema.field("vector").type.list_size == 3
    with pytest.raises(EventsError, match="vectors are 3 long in PROFILES, 2 in EMBEDDINGS"):
        build_profiles(events(), CatalogContent(None, embeddings(v=[1.0, 2.0])), CONFIG, later)


def test_rows_are_events_with_times_in_microseconds():
    table = events(
        {"kind": "watch", "value": 2.5, "event_id": "e", "user_id": "a", "video_id": "b", "at": day(1)}
    )
    assert list(event_rows(table)) == [EventRecord("e", "a", "b", "watch", 2.5, "shop", to_micros(day(1)))]
    assert validate_events(table).equals(table)


def test_the_shortest_videos_and_events_of_value_zero_are_valid():
    assert event(value=0.0).value == 0
    assert validate_events(events({"kind": "watch", "value": 0.0})).num_rows == 1
    assert video_rows(v=None).num_rows == 1


def test_no_embedding_is_no_vector():
    none = embeddings(v=[1.0, 2.0]).slice(0, 0)
    assert embedding_matrix(none).shape == (0, 2)
    found = video_metadata(CatalogContent(catalog({"video_id": "v"}).videos, none))
    assert found["v"].vector is None
