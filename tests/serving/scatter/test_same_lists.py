"""Lists gathered from parts are those of one engine over the whole catalog, to the bit."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.recommend.engines import engine_of, now, profiles, query_of, shoppers
from tests.serving.recommend.test_engine import CHANGES, FILTERS
from tests.serving.scatter.parts import LocalCatalog
from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import profile_counts
from vrec.serving.recommend import eligibility
from vrec.serving.rules.book import NO_BOOK
from vrec.serving.streams.states import NO_STREAMS

SMALL = {"most": 24, "content": 6, "popular": 6, "new": 6, "ranked": 10}
"""Far fewer candidates than the shop's 100 videos."""
PARTS = (1, 4)
NAMES = [f"video-{n:02}" for n in range(100)] + ["new-1", "new-2", "unknown"]
EXPLORES = {"default": {"exploration": {"kind": "thompson", "slots": 3}}}


@pytest.fixture(scope="module", params=["all candidates", "few candidates"])
def catalogs(request, shop_bundle):
    """One engine over the whole bundle, and the bundle in 1 and in 4 parts.

    With few candidates little more is looked at than is taken: else parts of 25 videos hand over all of them.
    """
    bundle = ServingBundle.load(shop_bundle.uri)
    config = ServeConfig() if request.param == "all candidates" else ServeConfig(candidates=SMALL)
    whole, counts = engine_of(bundle, config), {}
    for name in whole.video_ids:
        counts[name] = profile_counts(profiles().get(("video", name)))
    parts = [LocalCatalog(bundle, count, config) for count in PARTS]
    for one in parts:
        one.set_video_counts(list(counts), np.array(list(counts.values())))
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "few candidates":
            patch.setattr(eligibility, "MIN_CHECKED", 1)
        yield whole, parts


def same(found, wanted):
    return replace(found, spent_ms={}) == replace(wanted, spent_ms={})


@settings(max_examples=15, deadline=None)
@given(
    filters=FILTERS,
    changes=CHANGES,
    k=st.sampled_from([1, 4, 30, 1000]),
    user=st.sampled_from([None, *range(0, 80, 9)]),
    age=st.sampled_from([None, 40]),
    order=st.sampled_from(["ranked", "popular"]),
    seed=st.integers(0, 3),
    named=st.sampled_from(["", "candidates", "seeds", "cart"]),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    explain=st.booleans(),
)
def test_lists_for_shoppers(catalogs, filters, changes, k, user, age, order, seed, named, names, explain):
    whole, parts = catalogs
    shopper = Profile("user", "nobody") if user is None else shoppers()[user]
    more = {named: tuple(names)} if named else {}
    query = query_of(
        k,
        shopper.entity_id,
        filters=filters,
        age=age,
        order=order,
        request_id=f"r{seed}",
        explain=explain,
        **more,
    )
    wanted = whole.with_changes(changes).recommend(query, shopper)
    for one in parts:
        found = asyncio.run(
            one.gather.recommend(one.parts(changes), query, shopper, NO_BOOK, streams=NO_STREAMS)
        )
        assert same(found, wanted)


@settings(max_examples=10, deadline=None)
@given(filters=FILTERS, changes=CHANGES, k=st.sampled_from([1, 7, 1000]), one=st.integers(0, 99))
def test_similar_and_found_videos(catalogs, filters, changes, k, one):
    whole, parts = catalogs
    changed = whole.with_changes(changes)
    name = changed.video_ids[one % len(changed.video_ids)]
    card = changed.card(name)
    words = f"{card['title'] or ''} {' '.join(card['tags'])} category"
    similar = changed.similar(name, k, filters, now())
    searched = changed.search(words, np.ones(8, np.float32), k, filters, now())
    options = {"at": now(), "book": NO_BOOK, "streams": NO_STREAMS}
    for each in parts:
        there = each.parts(changes)
        assert same(asyncio.run(each.gather.similar(there, name, k, filters, **options)), similar)
        found = each.gather.search(there, words, np.ones(8, np.float32), k, filters, **options)
        assert same(asyncio.run(found), searched)
