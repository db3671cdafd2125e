"""Reversals in profiles: `unlike`, `unhide` and `refund` leave what there would be without the reversed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import events
from tests.profiles.histories import CONFIG, CONTENT, FACTS, some_history
from vrec.core.errors import EventsError
from vrec.core.types import CatalogContent
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, profiles_from_table
from vrec.profiles.reversals import without_reversed
from vrec.profiles.update import apply_event, build_profiles, event_rows, record_event, start_profile
from vrec.profiles.user import TASTE_WEIGHT, hidden_videos, taste_vector
from vrec.profiles.video import record_video_event, take_back_video_event


def record(kind, at=1, video="v0", event_id="e", value=None):
    return EventRecord(event_id, "u", video, kind, value, "shop", at)


def apply_events(profile, recorded):
    """The profile after events, none of which reverses any."""
    builder = start_profile(profile, FACTS)
    for event in recorded:
        record_event(builder, event, FACTS.get(event.video_id), CONFIG)
    return builder.build()


@settings(max_examples=60, deadline=None)
@given(some_history())
def test_profiles_are_those_without_the_reversed_events(history):
    left = without_reversed(list(event_rows(history)))
    assert [event.event_id for event in left] == drop_reversed(to_polars(history))["event_id"].to_list()
    expected = {("video", name): apply_events(Profile("video", name), []) for name in FACTS}
    for event in sorted(left, key=lambda event: (event.at, event.event_id)):
        for key in (("user", event.user_id), ("video", event.video_id)):
            expected[key] = apply_events(expected.get(key, Profile(*key)), [event])
    found = profiles_from_table(build_profiles(history, CONTENT, CONFIG))
    assert {(one.entity, one.entity_id): one for one in found} == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_video_s_profile_without_an_event_is_as_if_it_had_never_been(data):
    kinds, values = ["watch", "purchase", "like", "click", "save"], [None, 0.0, 0.1, 2.5, 30.0]
    rows = data.draw(st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(values)), max_size=12))
    recorded = [record(kind, n, event_id=f"e{n}", value=value) for n, (kind, value) in enumerate(rows)]
    gone = {event.event_id for event in recorded if data.draw(st.booleans())}

    def counts(added, taken=()):
        builder = ProfileBuilder(Profile("video", "v0"))
        for event in added:
            record_video_event(builder, event, FACTS["v0"], CONFIG.video)
        for event in taken:
            take_back_video_event(builder, event, FACTS["v0"], CONFIG.video)
        return {key: round(value, 9) for key, value in builder.counts.items() if round(value, 9)}

    left = [event for event in recorded if event.event_id not in gone]
    assert counts(recorded, [event for event in recorded if event.event_id in gone]) == counts(left)


def test_a_dislike_moves_the_taste_and_the_interests_away():
    liked = apply_event(Profile("user", "u"), record("like"), FACTS["v0"], CONFIG)
    other = apply_event(liked, record("dislike", 2, "v1", "d"), FACTS["v1"], CONFIG)
    assert other.vector @ FACTS["v1"].vector < liked.vector @ FACTS["v1"].vector == 0
    assert other.counts[TASTE_WEIGHT] < liked.counts[TASTE_WEIGHT]
    skipped = apply_event(liked, record("skip", 2, "v1", "s"), FACTS["v1"], CONFIG)
    assert taste_vector(skipped) @ FACTS["v1"].vector < 0
    assert hidden_videos(other) == {"v1"}
    assert [entry.video_id for entry in other.history] == ["v0"]
    category = next(key for key in FACTS["v1"].attributes if key.startswith("category:"))
    assert other.counts.get(category, 0.0) == liked.counts.get(category, 0.0) - 1
    skipped = apply_event(liked, record("skip", 2, "v1", "d"), FACTS["v1"], CONFIG)
    assert skipped.counts.get(category, 0.0) == liked.counts.get(category, 0.0) - 0.25
    assert hidden_videos(skipped) == frozenset()


def test_only_dislikes_are_no_taste():
    disliked = apply_event(Profile("user", "u"), record("dislike"), FACTS["v0"], CONFIG)
    assert disliked.vector is not None
    assert taste_vector(disliked) is None


def test_own_kinds_count_as_declared():
    def after(kind):
        return apply_event(Profile("user", "u"), record(kind), FACTS["v0"], CONFIG)

    saved, reported, zoomed = after("save"), after("report"), after("zoom")
    assert [(one.kind, one.weight) for one in saved.history] == [("save", 3.0)]
    assert reported.counts[TASTE_WEIGHT] == -1.5
    assert (zoomed.vector, zoomed.history, zoomed.counts["event:zoom"]) == (None, (), 1)
    assert build_profiles(events({"kind": "zoom"}), CatalogContent(), CONFIG).num_rows == 2
    with pytest.raises(EventsError, match="gaze"):
        build_profiles(events({"kind": "gaze"}), CatalogContent(), CONFIG)
