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
from vrec.bundle.part import CatalogCut
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import profile_counts
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend import eligibility, rank_fusion
from vrec.serving.rules.book import NO_BOOK
from vrec.serving.scatter.looking import LookingFilter, LookingSources
from vrec.serving.streams.states import NO_STREAMS

SMALL = {"most": 24, "content": 6, "popular": 6, "new": 6, "ranked": 10}
"""Far fewer candidates than the shop's 100 videos."""
TINY = {"most": 8, "content": 2, "popular": 2, "new": 2, "ranked": 4}
PARTS = (1, 4)
ONLY = st.sampled_from([None, None, 0, 1, 2, 3])
"""Part in which alone videos are eligible, so that it has to hand over all that the list is made of."""
NAMES = [f"video-{n:02}" for n in range(100)] + ["new-1", "new-2", "unknown"]
EXPLORES = {"default": {"exploration": {"kind": "thompson", "slots": 3}}}


@pytest.fixture(scope="module", params=["all candidates", "few candidates"])
def catalogs(request, shop_bundle):
    """One engine over the whole bundle, and the bundle in 1 and in 4 parts.

    With few candidates little more is looked at than is taken: else parts of 25 videos hand over all of them.
    """
    yield from catalogs_of(shop_bundle.uri, SMALL if request.param == "few candidates" else None)


@pytest.fixture(scope="module")
def few(shop_bundle):
    """The catalogs of `catalogs` with fewer candidates yet, so that no part hands over all that it has."""
    yield from catalogs_of(shop_bundle.uri, TINY)


def catalogs_of(uri, candidates=None):
    bundle = ServingBundle.load(uri)
    config = ServeConfig() if candidates is None else ServeConfig(candidates=candidates)
    whole, counts = engine_of(bundle, config), {}
    for name in whole.video_ids:
        counts[name] = profile_counts(profiles().get(("video", name)))
    parts = [LocalCatalog(bundle, count, config) for count in PARTS]
    for one in parts:
        one.set_video_counts(list(counts), np.array(list(counts.values())))
    with pytest.MonkeyPatch.context() as patch:
        if candidates is not None:
            patch.setattr(eligibility, "MIN_CHECKED", 1)
            patch.setattr(rank_fusion, "MIN_FUSION_DEPTH", 2)
        yield whole, parts


def without_other_parts(filters, whole, only):
    """The filters, which exclude all videos but those of one of the 4 parts too; None excludes no others."""
    if only is None:
        return filters
    cut = CatalogCut.equal(whole.video_ids, PARTS[-1])
    others = frozenset(name for name in whole.video_ids if cut.part_of(name) != only)
    return replace(filters, exclude=filters.exclude | others)


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
    only=ONLY,
    seed=st.integers(0, 3),
    named=st.sampled_from(["", "candidates", "seeds", "cart"]),
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    explain=st.booleans(),
)
def test_lists_for_shoppers(
    catalogs, filters, changes, k, user, age, order, only, seed, named, names, explain
):
    whole, parts = catalogs
    filters = without_other_parts(filters, whole, only)
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
@given(filters=FILTERS, changes=CHANGES, k=st.sampled_from([1, 7, 1000]), only=ONLY, one=st.integers(0, 99))
def test_similar_and_found_videos(catalogs, filters, changes, k, only, one):
    whole, parts = catalogs
    filters = without_other_parts(filters, whole, only)
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


ASKS = ["ranked", "popular", "similar", "search"]


def lists_of(whole, catalog, kind, only):
    """The list of the whole catalog, and the one gathered from parts, with the videos of one part alone."""
    user, words, vector = shoppers()[9], "category", np.ones(8, np.float32)
    filters, parts = without_other_parts(RequestFilters(), whole, only), catalog.parts()
    moment = {"book": NO_BOOK, "streams": NO_STREAMS}
    if kind in ("ranked", "popular"):
        query = query_of(4, user.entity_id, filters=filters, order=kind)
        gathered = catalog.gather.recommend(parts, query, user, **moment)
        return whole.recommend(query, user), asyncio.run(gathered)
    if kind == "similar":
        name = whole.video_ids[50]
        gathered = catalog.gather.similar(parts, name, 4, filters, at=now(), **moment)
        return whole.similar(name, 4, filters, now()), asyncio.run(gathered)
    gathered = catalog.gather.search(parts, words, vector, 4, filters, at=now(), **moment)
    return whole.search(words, vector, 4, filters, now()), asyncio.run(gathered)


def picked(method):
    """Take a quarter of every order."""
    return lambda self, order, need: method(self, order, need // 4)


def near(method):
    """Take a quarter of the videos that are near to a vector."""
    return lambda self, snapshot, query, need, mask: method(self, snapshot, query, max(1, need // 4), mask)


def touched(rows):
    """Hand over every second video that was looked at."""
    return property(lambda self: set(sorted(rows.fget(self))[::2]))


@pytest.mark.parametrize(
    ("place", "name", "fault", "changed"),
    [
        (LookingFilter, "pick", picked, ["ranked", "popular"]),
        (LookingSources, "by_content", near, ["ranked", "similar"]),
        (LookingFilter, "touched", touched, ASKS),
    ],
)
def test_parts_that_hand_over_too_few_change_lists(few, monkeypatch, place, name, fault, changed):
    """A part that hands over far too few videos is noticed, by the lists that need them."""
    whole, (_, parts) = few

    def differing():
        """Kinds of lists that are not those of the whole catalog."""
        everywhere = (None, *range(PARTS[-1]))
        return [
            kind for kind in ASKS if not all(same(*lists_of(whole, parts, kind, only)) for only in everywhere)
        ]

    assert differing() == []
    monkeypatch.setattr(place, name, fault(getattr(place, name)))
    assert differing() == changed
