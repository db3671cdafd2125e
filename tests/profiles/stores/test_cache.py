"""Profiles in memory: an event that is read before it is noted counts once, and none is missed."""

import pytest

from vrec.profiles.profile import EventRecord, Profile
from vrec.profiles.stores import cache as module
from vrec.profiles.stores.cache import MAX_RECENT_COMMITS, ProfileCache, StoredProfile
from vrec.profiles.stores.fold import ProfileFold
from vrec.testing.store_profiles import CONFIG, facts, world

FOLD = ProfileFold(facts, CONFIG)
VIDEO = world()[0].column("video_id")[0].as_py()
KEY = ("user", "u")


def liked(number: int) -> EventRecord:
    """The newer the event, the less its number, so that no profile remembers those of high numbers."""
    return EventRecord(f"e{number}", "u", VIDEO, "like", None, "shop", 10_000 - number)


def read(upto: int, behind: int = 0) -> StoredProfile:
    """What a database gives that holds the events 1 to `upto`."""
    return StoredProfile(FOLD(Profile("user", "u"), [liked(i) for i in range(1, upto + 1)]), upto, behind)


def likes(hot: ProfileCache) -> float | None:
    found = hot.get(KEY)
    return None if found is None else found.counts["event:like"]


def test_an_event_that_was_read_before_it_is_noted_counts_once():
    hot = ProfileCache(10, 1000, FOLD)
    hot.put(KEY, read(30), hot.commit_count)
    hot.record_commit([(number, liked(number)) for number in (29, 30)])
    assert likes(hot) == 30
    hot.record_commit([(31, liked(31))])
    assert likes(hot) == 31


def test_what_was_read_before_a_commit_that_is_noted_since_is_not_kept():
    hot = ProfileCache(10, 1000, FOLD)
    noted = hot.commit_count
    hot.record_commit([(21, liked(21))])
    hot.put(KEY, read(20), noted)
    assert likes(hot) is None
    hot.put(KEY, read(21), hot.commit_count)
    assert likes(hot) == 21


def test_commits_of_others_are_no_hindrance_until_there_are_too_many_to_remember():
    other = EventRecord("other", "somebody", "else", "like", None, "shop", 1)
    for commits, kept in ((MAX_RECENT_COMMITS, 5), (MAX_RECENT_COMMITS + 1, None)):
        hot = ProfileCache(10, 1000, FOLD)
        for number in range(commits):
            hot.record_commit([(100 + number, other)])
        hot.put(KEY, read(5), 0)
        assert likes(hot) == kept


def test_what_is_dropped_is_read_again_also_by_who_was_reading():
    hot = ProfileCache(10, 1000, FOLD)
    hot.put(KEY, read(5), hot.commit_count)
    noted = hot.commit_count
    hot.invalidate([KEY])
    assert likes(hot) is None
    hot.put(KEY, read(5), noted)
    assert likes(hot) is None


def test_profiles_are_due_after_so_many_events_and_not_again_once_stored():
    hot = ProfileCache(10, 3, FOLD)
    assert hot.record_commit([(1, liked(1)), (2, liked(2))]) == set()
    assert hot.record_commit([(3, liked(3))]) == {KEY, ("video", VIDEO)}
    assert hot.record_commit([(4, liked(4))]) == {KEY, ("video", VIDEO)}
    hot.mark_stored([KEY])
    assert hot.record_commit([(5, liked(5))]) == {("video", VIDEO)}
    hot.put(KEY, read(5, behind=2), hot.commit_count)
    assert KEY in hot.record_commit([(6, liked(6))])


def test_no_more_are_held_than_may_be_and_the_last_used_stay():
    hot = ProfileCache(2, 1000, FOLD)
    names = ["a", "b", "c"]
    for name in names[:2]:
        hot.put(("user", name), StoredProfile(Profile("user", name), 0, 0), hot.commit_count)
    hot.get(("user", "a"))
    hot.put(("user", "c"), StoredProfile(Profile("user", "c"), 0, 0), hot.commit_count)
    assert [hot.get(("user", name)) is not None for name in names] == [True, False, True]


def test_profiles_are_due_when_too_many_are_counted(monkeypatch):
    monkeypatch.setattr(module, "MAX_COUNTED", 2)
    cache = ProfileCache(10, 1000, FOLD)
    first = EventRecord("a", "u1", "v1", "like", None, "shop", 1)
    assert cache.record_commit([(1, first)]) == set()
    assert cache.record_commit([(2, EventRecord("b", "u2", "v1", "like", None, "shop", 2))]) == {
        ("user", "u1")
    }


def test_a_user_and_a_video_of_one_id_are_two_profiles():
    cache = ProfileCache(10, 2, FOLD)
    both = EventRecord("a", "x", "x", "like", None, "shop", 1)
    assert cache.record_commit([(1, both)]) == set()
    assert cache.record_commit([(2, both)]) == {("user", "x"), ("video", "x")}
    cache.put(("user", "x"), StoredProfile(Profile("user", "x"), 2, 0), cache.commit_count)
    assert cache.get(("video", "x")) is None


def test_pending_events_stay_while_the_catalog_fails():
    def failing(profile, events):
        if broken:
            raise RuntimeError("no catalog")
        return FOLD(profile, events)

    broken, cache = True, ProfileCache(10, 1000, failing)
    cache.put(KEY, read(2), cache.commit_count)
    cache.record_commit([(3, liked(3))])
    with pytest.raises(RuntimeError):
        cache.get(KEY)
    broken = False
    assert likes(cache) == 3
