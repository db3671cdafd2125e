"""A video that expires: in every kind of list until the moment, and in none from it on."""

from dataclasses import replace

import pytest

from tests.serving.recommend.engines import DAY_US, change, engine_of, ids, now, query_of
from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.profiles.profile import Profile
from vrec.serving.catalog.listing import CatalogQuery
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.fallback import PopularFallback

END = now() + DAY_US
NONE = RequestFilters()


@pytest.fixture(scope="module")
def expiring(bundle):
    """Return an engine, a fallback, and the video in all their lists that expires at END."""
    engine, shopper = engine_of(bundle), Profile("user", "u")
    fallback = PopularFallback(bundle, ServeConfig())
    listed = set(ids(engine.recommend(query_of(k=100), shopper))) - {"video-01"}
    listed &= set(ids(engine.similar("video-01", 100, NONE, now())))
    expires = change(min(listed), expires_at=END, title="Zanzibar lantern")
    return engine.with_changes([expires]), fallback.with_changes([expires]), min(listed)


def lists(engine, fallback, at):
    shopper = Profile("user", "u")
    yield engine.recommend(query_of(k=100, at=at), shopper)
    yield engine.recommend(query_of(k=100, at=at, order="popular"), shopper)
    yield engine.recommend(
        query_of(k=100, at=at, filters=RequestFilters(languages=frozenset({"en"}))), shopper
    )
    yield engine.similar("video-01", 100, NONE, at)
    yield engine.search("Zanzibar", None, 100, NONE, at)
    yield fallback.answer(query_of(k=100, at=at), ("ranking",))


@pytest.mark.parametrize(
    ("at", "shown"), [(END - 1, True), (END, False), (END + 1, False), (END + 400 * DAY_US, False)]
)
def test_a_video_is_in_every_list_until_it_expires_and_then_in_none(expiring, at, shown):
    engine, fallback, video_id = expiring
    assert [video_id in ids(answer) for answer in lists(engine, fallback, at)] == [shown] * 6


@pytest.mark.parametrize(("at", "reasons"), [(END - 1, ()), (END, ("expired",))])
def test_the_catalog_still_has_it_and_says_why_no_list_does(expiring, at, reasons):
    _, fallback, video_id = expiring
    assert fallback.entry(video_id, at).barred_by == reasons
    page = fallback.page(CatalogQuery(limit=1, text="zanzibar"), at)
    assert [(entry.card["video_id"], entry.barred_by) for entry in page.entries] == [(video_id, reasons)]


def test_an_expiry_date_that_is_removed_brings_it_back(expiring):
    engine, fallback, video_id = expiring
    back = [change(video_id, title="Zanzibar lantern")]
    answers = lists(engine.with_changes(back), fallback.with_changes(back), END)
    assert all(video_id in ids(answer) for answer in answers)


def test_a_bundle_made_before_there_were_expiry_dates_is_read(shop_bundle):
    bundle = BundleCatalog.load(shop_bundle.uri)
    assert VIDEOS.columns[13].name == "expires_at"
    old = bundle.content.videos.drop_columns(["expires_at"])
    assert PopularFallback(_with_videos(bundle, old), ServeConfig()).entry("video-01", END).barred_by == ()


def _with_videos(bundle, videos):
    return replace(bundle, content=replace(bundle.content, videos=videos))
