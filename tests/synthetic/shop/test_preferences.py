"""The planted truth follows its settings."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from vrec.core.schema import VIDEOS
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.preferences import LATENT_DIM, generate_shop
from vrec.synthetic.shop.shop import CENTURY_DAYS

CONFIG = SimulationConfig(users=400, videos=300, days=10)
START = datetime(2025, 1, 1, tzinfo=UTC)


def shop_of(**settings):
    return generate_shop(CONFIG.model_copy(update=settings))


def catalog(**columns):
    count = len(next(iter(columns.values())))
    rows = {
        "video_id": [f"v{i}" for i in range(count)],
        "uri": ["x"] * count,
        "kind": ["product"] * count,
        "product_ids": [[]] * count,
        "creator_id": ["c"] * count,
        "domain": ["shop"] * count,
        "tags": [[]] * count,
        "available": [True] * count,
    } | columns
    names = VIDEOS.arrow().names
    return pa.table(
        {name: pa.array(rows.get(name, [None] * count), VIDEOS.arrow().field(name).type) for name in names}
    )


def test_categories_are_one_hot_by_name_and_weighted():
    videos = catalog(category=["b", None, "a", "b"])
    shop = generate_shop(CONFIG.model_copy(update={"category_weight": 3.0}), videos)
    assert shop.features[:, :3].tolist() == [[0, 0, 3], [3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert shop.features.shape == (4, 3 + 2 * LATENT_DIM)
    assert shop.vectors is None


def test_tags_are_summed_over_the_root_of_their_number_and_weighted():
    videos = catalog(tags=[["x"], ["y"], ["x", "y"], []])
    shop = generate_shop(CONFIG.model_copy(update={"tag_weight": 2.0}), videos)
    x, y, both, none = shop.features[:, 1 : 1 + LATENT_DIM]
    np.testing.assert_allclose(both, (x + y) / np.sqrt(2))
    assert not none.any()
    weaker = generate_shop(CONFIG.model_copy(update={"tag_weight": 0.5}), videos)
    np.testing.assert_allclose(weaker.features[0, 1 : 1 + LATENT_DIM] * 4, x)


def test_videos_of_one_creator_share_its_features():
    videos = catalog(creator_id=["p", "q", "p"])
    shop = generate_shop(CONFIG.model_copy(update={"creator_weight": 2.0}), videos)
    first, second, third = shop.features[:, -LATENT_DIM:]
    np.testing.assert_array_equal(first, third)
    assert np.abs(first - second).max() > 0.01
    weaker = generate_shop(CONFIG.model_copy(update={"creator_weight": 1.0}), videos)
    np.testing.assert_allclose(weaker.features[:, -LATENT_DIM:] * 2, shop.features[:, -LATENT_DIM:])


def test_content_vectors_are_centered_unit_rows_times_their_weight():
    vectors = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 2.0], [2.0, -2.0], [2.0, 0.0]])
    shop = generate_shop(
        CONFIG.model_copy(update={"vector_weight": 5.0}), catalog(category=list("aaabb")), vectors
    )
    want = [[5, 0], [-5, 0], [0, 5], [0, -5], [0, 0]]
    np.testing.assert_allclose(shop.features[:, -2:], want, atol=1e-12)
    np.testing.assert_array_equal(shop.vectors, vectors.astype(np.float32))
    ideals = shop.tastes[0][:, -2:]
    np.testing.assert_allclose(np.linalg.norm(ideals, axis=1), 1)


def test_equal_names_have_equal_tastes_whatever_the_order_of_the_catalog():
    videos = catalog(category=["a", "b", "c"], tags=[["x"], ["y"], []], creator_id=["p", "q", "p"])
    one = generate_shop(CONFIG, videos)
    other = generate_shop(CONFIG, videos.take([2, 0, 1]))
    np.testing.assert_allclose(other.features, one.features[[2, 0, 1]])
    np.testing.assert_array_equal(other.tastes[0], one.tastes[0])


def test_a_taste_s_favorite_category_has_strength_one_and_few_interests_are_concentrated():
    few, many = shop_of(interests=0.01), shop_of(interests=50.0)
    for shop in (few, many):
        strengths = shop.tastes[0][:, :20]
        np.testing.assert_allclose(strengths.max(axis=1), 1)
        assert (strengths >= 0).all()
    assert few.tastes[0][:, :20].sum(axis=1).mean() < 1.5
    assert many.tastes[0][:, :20].sum(axis=1).mean() > 10
    assert np.isfinite(shop_of(interests=1e-300).tastes[0]).all()
    assert not np.allclose(few.tastes[0], few.tastes[1]), "a drift goes to other tastes"


def test_latent_effects_have_the_documented_spread():
    shop = shop_of(tag_weight=0.4, creator_weight=0.8, creators=300, tags=300)
    hidden = shop.tastes[0][:, 20 : 20 + 2 * LATENT_DIM]
    effects = hidden @ shop.features[:, 20 : 20 + 2 * LATENT_DIM].T
    tags = hidden[:, :LATENT_DIM] @ shop.features[:, 20 : 20 + LATENT_DIM].T
    assert tags.std() == pytest.approx(0.4, rel=0.15)
    assert effects.std() == pytest.approx(np.hypot(0.4, 0.8), rel=0.15)


def test_quality_has_its_spread_and_popularity_its_zipf_law():
    shop = shop_of(quality_spread=0.25)
    assert shop.quality.std() == pytest.approx(0.25, rel=0.15)
    assert not shop_of(quality_spread=0.0).quality.any()
    want = -1.5 * np.log1p(np.arange(300))
    np.testing.assert_allclose(np.sort(shop_of(popularity_skew=1.5).popularity)[::-1], want)
    assert not shop_of(popularity_skew=0.0).popularity.any()


@pytest.mark.parametrize(("correlation", "sign"), [(1.0, 1), (-1.0, -1)])
def test_popularity_follows_quality_as_configured(correlation, sign):
    shop = shop_of(popularity_quality=correlation)
    by_quality = np.argsort(-sign * shop.quality)
    assert (np.diff(shop.popularity[by_quality]) < 0).all()


def test_unrelated_popularity_says_nothing_of_quality():
    shop = shop_of(popularity_quality=0.0)
    assert abs(np.corrcoef(np.argsort(np.argsort(shop.quality)), shop.popularity)[0, 1]) < 0.2


def test_activity_sums_to_one_and_is_equal_without_spread():
    np.testing.assert_allclose(shop_of(activity_spread=0.0).activity, 1 / 400)
    activity = shop_of(activity_spread=1.5).activity
    assert activity.sum() == pytest.approx(1)
    assert np.log(activity).std() == pytest.approx(1.5, rel=0.15)


def test_the_click_rate_is_that_of_the_first_slot_over_all_pairs():
    for rate in (0.02, 0.3):
        shop = shop_of(click_rate=rate)
        affinity = shop.affinity(np.arange(400), np.arange(300), 0, paired=False)
        assert expit(shop.base_log_odds + affinity).mean() == pytest.approx(rate, rel=0.1)


def test_the_sizes_of_a_generated_catalog_are_those_of_the_settings():
    shop = shop_of(videos=90, categories=3, creators=4, tags=5, dim=6, users=11)
    videos = shop.videos.to_pydict()
    assert (len(shop.users), shop.videos.num_rows, shop.vectors.shape) == (11, 90, (90, 6))
    assert set(videos["category"]) == {f"category-{i}" for i in range(3)}
    assert set(videos["creator_id"]) == {f"creator-{i}" for i in range(4)}
    assert {tag for tags in videos["tags"] for tag in tags} == {f"tag-{i}" for i in range(5)}
    assert all(1 <= len(tags) <= 3 for tags in videos["tags"])
    assert shop.users.to_pylist()[:2] == ["shopper-00", "shopper-01"]
    assert all(5 <= seconds <= 600 for seconds in videos["duration_s"])


def test_release_days_come_from_dates_and_availability():
    day = timedelta(days=1)
    dates = [
        START - 40 * day,
        START,
        START + timedelta(microseconds=1),
        START + 2 * day,
        START + 3 * day,
        START,
    ]
    videos = catalog(published_at=dates, available=[True] * 5 + [False])
    shop = generate_shop(CONFIG, videos)
    assert shop.release.tolist() == [0, 0, 1, 2, 3, CENTURY_DAYS]
    assert shop.videos["published_at"].to_pylist() == dates


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_cold_share_is_released_during_the_log_at_midnight(share):
    shop = shop_of(cold_share=share)
    published = shop.videos["published_at"].to_pylist()
    late = np.array([at >= START for at in published])
    assert late.mean() == pytest.approx(share, abs=0.1 if 0 < share < 1 else 0.01)
    for at, day in zip(published, shop.release, strict=True):
        assert (at - START) % timedelta(days=1) == timedelta(0)
        assert day == max(0, (at - START).days)
        assert START - timedelta(days=365) <= at < START + timedelta(days=10)
    assert (shop.release == 0).any(), "something can be shown on the first day"


def test_a_catalog_of_one_video_can_be_simulated():
    shop = generate_shop(CONFIG, catalog(category=[None]), np.ones((1, 3)))
    assert shop.release.tolist() == [0]
    assert np.isfinite(shop.features).all()
    assert np.isfinite(shop.tastes[0]).all()


def test_popularity_correlates_with_quality_by_the_setting():
    shop = shop_of(videos=6_000, popularity_quality=0.8, dim=2)
    ranks = [np.argsort(np.argsort(values)) for values in (shop.quality, shop.popularity)]
    spearman = np.corrcoef(*ranks)[0, 1]
    # Of a bivariate normal: Spearman's rho is 6 / pi * asin(r / 2).
    assert 2 * np.sin(np.pi * spearman / 6) == pytest.approx(0.8, abs=0.02)
