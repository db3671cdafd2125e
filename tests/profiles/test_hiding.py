"""Hidden videos: the last of `hide`, `dislike` and `unhide` counts, in any order and batches."""

from hypothesis import example, given
from hypothesis import strategies as st

from vrec.profiles.profile import EventRecord, Profile
from vrec.profiles.update import ProfilesConfig, apply_event
from vrec.profiles.user import hidden_videos

CONFIG = ProfilesConfig()
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["hide", "dislike", "unhide", "like"]), st.sampled_from("ab"), st.integers(0, 6)
    ),
    max_size=12,
)


def profile_after(events):
    profile = Profile("user", "u")
    for number, (kind, video, at) in events:
        event = EventRecord(f"e{number}", "u", video, kind, None, "shop", at)
        profile = apply_event(profile, event, None, CONFIG)
    return profile


@given(events=EVENTS, random=st.randoms())
@example(events=[("hide", "a", 1), ("unhide", "a", 1)], random=None)
@example(events=[("hide", "a", 2), ("unhide", "a", 1)], random=None)
def test_the_last_of_hide_and_unhide_counts_in_any_order(events, random):
    def last(kind, video):
        return max((at for k, v, at in events if (k, v) == (kind, video)), default=-1)

    def last_hidden(video):
        return max(last("hide", video), last("dislike", video))

    expected = {video for video in "ab" if last_hidden(video) > last("unhide", video)}
    numbered = list(enumerate(events))
    if random is not None:
        random.shuffle(numbered)
    assert hidden_videos(profile_after(numbered)) == expected


def test_hiding_shows_no_interest():
    profile = profile_after([(1, ("hide", "a", 5))])
    assert (profile.history, profile.vector) == ((), None)
    assert profile.counts["event:hide"] == 1
