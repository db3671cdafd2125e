"""Profiles stay small whatever callers send: the newest marks and some surfaces are kept, in any order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.profiles.profile import EventRecord, Profile
from vrec.profiles.update import ProfilesConfig, apply_event
from vrec.profiles.user import UserProfileConfig, hidden_videos, last_purchases

CONFIG = ProfilesConfig(remember=1_000, user=UserProfileConfig(marks=3, surfaces=2))
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["hide", "purchase", "unhide", "click"]),
        st.integers(0, 7),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    max_size=25,
)


def profile_after(events, config=CONFIG):
    profile = Profile("user", "u")
    for number, (kind, video, at, surface) in events:
        event = EventRecord(f"e{number}", "u", f"v{video}", kind, None, f"s{surface}", at)
        profile = apply_event(profile, event, None, config)
    return profile


@given(events=EVENTS, random=st.randoms())
@settings(max_examples=80, deadline=None)
def test_the_newest_marks_are_kept_in_any_order(events, random):
    numbered = list(enumerate(events))
    profile = profile_after(numbered)
    for prefix, kind in (("hide:", "hide"), ("bought:", "purchase"), ("unhide:", "unhide")):
        last = {}
        for _, (one, video, at, _) in numbered:
            if one == kind:
                last[f"{prefix}v{video}"] = max(at, last.get(f"{prefix}v{video}", -1))
        newest = sorted(last.items(), key=lambda pair: (pair[1], pair[0]))[-3:]
        assert {key: at for key, at in profile.counts.items() if key.startswith(prefix)} == dict(newest)
    assert sum(key.startswith("domain:") for key in profile.counts) <= 2
    random.shuffle(numbered)
    assert profile_after(numbered).counts == profile.counts


def test_ordinary_shoppers_lose_nothing():
    events = [(n, ("purchase" if n % 2 else "hide", n, n, n % 60)) for n in range(200)]
    profile = profile_after(events, ProfilesConfig())
    assert len(last_purchases(profile)) == len(hidden_videos(profile)) == 100
    assert sum(key.startswith("domain:") for key in profile.counts) == 60


def test_invented_ids_do_not_let_a_profile_grow():
    config = ProfilesConfig(user=UserProfileConfig(marks=50))
    sizes = []
    profile = Profile("user", "u")
    for number in range(400):
        event = EventRecord(f"e{number}", "u", f"invented {number}", "hide", None, f"s{number}", number)
        profile = apply_event(profile, event, None, config)
        sizes.append(len(profile.counts))
    assert max(sizes) <= 50 + config.user.surfaces + 24 + 1
    assert hidden_videos(profile) == {f"invented {number}" for number in range(350, 400)}
