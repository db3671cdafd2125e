"""Profiles in memory: an event that is read before it is noted counts once, and none is missed."""

from tests.contracts.store_places import CONFIG, facts, world
from vrec.profiles.profile import Event, Profile
from vrec.profiles.stores.cache import GROUPS_REMEMBERED, HotProfiles, Loaded
from vrec.profiles.stores.fold import Fold

FOLD = Fold(facts, CONFIG)
VIDEO = world()[0].column("video_id")[0].as_py()
KEY = ("user", "u")


def liked(number: int) -> Event:
    """The newer the event, the less its number, so that no profile remembers those of high numbers."""
    return Event(f"e{number}", "u", VIDEO, "like", None, "shop", 10_000 - number)


def read(upto: int, behind: int = 0) -> Loaded:
    """What a database gives that holds the events 1 to `upto`."""
    return Loaded(FOLD(Profile("user", "u"), [liked(i) for i in range(1, upto + 1)]), upto, behind)


def likes(hot: HotProfiles) -> float | None:
    found = hot.find(KEY)
    return None if found is None else found.counts["event:like"]


def test_an_event_that_was_read_before_it_is_noted_counts_once():
    hot = HotProfiles(10, 1000, FOLD)
    hot.keep(KEY, read(30), hot.noted)
    hot.note([(number, liked(number)) for number in (29, 30)])
    assert likes(hot) == 30
    hot.note([(31, liked(31))])
    assert likes(hot) == 31


def test_what_was_read_before_a_commit_that_is_noted_since_is_not_kept():
    hot = HotProfiles(10, 1000, FOLD)
    noted = hot.noted
    hot.note([(21, liked(21))])
    hot.keep(KEY, read(20), noted)
    assert likes(hot) is None
    hot.keep(KEY, read(21), hot.noted)
    assert likes(hot) == 21


def test_commits_of_others_are_no_hindrance_until_there_are_too_many_to_remember():
    other = Event("other", "somebody", "else", "like", None, "shop", 1)
    for commits, kept in ((GROUPS_REMEMBERED, 5), (GROUPS_REMEMBERED + 1, None)):
        hot = HotProfiles(10, 1000, FOLD)
        for number in range(commits):
            hot.note([(100 + number, other)])
        hot.keep(KEY, read(5), 0)
        assert likes(hot) == kept


def test_what_is_dropped_is_read_again_also_by_who_was_reading():
    hot = HotProfiles(10, 1000, FOLD)
    hot.keep(KEY, read(5), hot.noted)
    noted = hot.noted
    hot.drop([KEY])
    assert likes(hot) is None
    hot.keep(KEY, read(5), noted)
    assert likes(hot) is None


def test_profiles_are_due_after_so_many_events_and_not_again_once_stored():
    hot = HotProfiles(10, 3, FOLD)
    assert hot.note([(1, liked(1)), (2, liked(2))]) == set()
    assert hot.note([(3, liked(3))]) == {KEY, ("video", VIDEO)}
    assert hot.note([(4, liked(4))]) == {KEY, ("video", VIDEO)}
    hot.stored([KEY])
    assert hot.note([(5, liked(5))]) == {("video", VIDEO)}
    hot.keep(KEY, read(5, behind=2), hot.noted)
    assert KEY in hot.note([(6, liked(6))])


def test_no_more_are_held_than_may_be_and_the_last_used_stay():
    hot = HotProfiles(2, 1000, FOLD)
    names = ["a", "b", "c"]
    for name in names[:2]:
        hot.keep(("user", name), Loaded(Profile("user", name), 0, 0), hot.noted)
    hot.find(("user", "a"))
    hot.keep(("user", "c"), Loaded(Profile("user", "c"), 0, 0), hot.noted)
    assert [hot.find(("user", name)) is not None for name in names] == [True, False, True]
