"""Searches in profiles: what was asked for counts as interest, and is taken back as other events are."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import day, events
from tests.profiles.histories import CONTENT, FACTS
from vrec.core.schema import SEARCH_PREFIX
from vrec.events.config import InterestConfig
from vrec.events.interactions import weigh_events
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.searches import FACETS, MAX_SUBJECT_CHARS, search_subject, searched_facets
from vrec.profiles.stores.fold import ProfileFold
from vrec.profiles.update import ProfilesConfig, build_profiles, event_rows, sort_events
from vrec.profiles.user import TasteConfig, UserProfileConfig, taste_vector

FACET = next(key for facts in FACTS.values() for key in facts.attributes if key.startswith("category:"))
SUBJECT = search_subject([("category", FACET.removeprefix("category:"))])
PAIRS = st.lists(st.tuples(st.sampled_from([*FACETS, "word", "size"]), st.text(max_size=40)), max_size=30)


def searches(*subjects):
    return events(
        *(
            {"event_id": f"s{n}", "video_id": one, "kind": "search", "at": day(n)}
            for n, one in enumerate(subjects)
        )
    )


def built(table, config=None):
    profiles = profiles_from_table(build_profiles(table, CONTENT, config or ProfilesConfig()))
    return next(one for one in profiles if one.entity == "user")


@given(PAIRS)
def test_a_subject_holds_the_facets_and_no_words_of_the_shopper(pairs):
    subject = search_subject(pairs)
    kept = {f"{facet}:{value}" for facet, value in pairs if facet in FACETS and value}
    if subject is None:
        assert not kept or min(map(len, kept)) > 0
        return
    assert subject.startswith(SEARCH_PREFIX)
    assert len(subject) <= MAX_SUBJECT_CHARS
    assert set(searched_facets(subject)) <= kept
    assert search_subject(reversed(pairs)) == subject


def test_the_taste_moves_to_the_videos_that_have_what_was_asked_for():
    vectors = [one.vector for one in FACTS.values() if FACET in one.attributes and one.vector is not None]
    mean = np.mean(vectors, axis=0)
    taste = taste_vector(built(searches(SUBJECT)))
    assert taste == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_category_counts_by_the_weight_and_nothing_joins_the_history():
    user = built(searches(SUBJECT, SUBJECT))
    assert user.counts[FACET] == 2 * TasteConfig().search
    assert user.counts["event:search"] == 2
    assert user.history == ()


def test_at_weight_0_a_search_is_only_counted():
    config = ProfilesConfig(user=UserProfileConfig(interest=TasteConfig(search=0)))
    user = built(searches(SUBJECT), config)
    assert (dict(user.counts), user.vector) == ({"event:search": 1.0}, None)


@pytest.mark.parametrize("subject", ["search:category=nowhere", "search:", "search:%%%", "search:word=red"])
def test_a_search_for_what_no_video_has_moves_nothing(subject):
    assert built(searches(subject)).vector is None


def test_searches_are_no_interactions_of_a_fit():
    assert weigh_events(searches(SUBJECT), InterestConfig()).num_rows == 0


def test_a_store_folds_searches_as_a_table_of_them():
    click = events({"event_id": "c", "video_id": next(iter(FACTS)), "kind": "click", "at": day(3)})
    table = pa.concat_tables([searches(SUBJECT, SUBJECT), click])
    config = ProfilesConfig()
    fold = ProfileFold(
        lambda ids: {name: facts for name in ids if (facts := FACTS.get(name)) is not None}, config
    )
    rows = list(event_rows(sort_events(table, "user_id")))
    one_by_one = Profile("user", "u")
    for row in rows:
        one_by_one = fold(one_by_one, [row])
    whole = built(table, config)
    assert replace(one_by_one, seen=whole.seen) == whole
