"""Private fits: what they hold, what they ignore, and whether they still recommend."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import ConfigError
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.privacy.accounting import composed_epsilon
from vrec.privacy.config import PrivacyConfig
from vrec.retrieval.batch import popular_fallback
from vrec.retrieval.config import RECOMMENDER_KINDS, RetrievalConfig
from vrec.retrieval.private_fit import PRIVATE_KINDS, check_private_fit, fit_private, private_costs
from vrec.retrieval.registry import load_recommender

CATALOG = [f"v{number:02}" for number in range(24)]
CONFIG = RetrievalConfig()
PERSONAL = ("item_knn", "ease", "als")


def table(rows):
    users, videos, weights, at = zip(*rows, strict=True)
    columns = [list(users), list(videos), pa.array(weights, pa.float32()), pa.array(at).cast(TIMESTAMP)]
    return pa.Table.from_arrays([pa.array(c) for c in columns], schema=INTERACTIONS.arrow())


def two_tastes(shoppers=1500, seed=0):
    """Shoppers who watch videos of even numbers, or of odd ones."""
    rng = np.random.default_rng(seed)
    return [
        (f"shopper-{user}", f"v{2 * number + user % 2:02}", 1.0, 5)
        for user in range(shoppers)
        for number in rng.choice(12, 4, replace=False)
    ]


def private(kind, rows, epsilon=4.0, videos=CATALOG, seed=1):
    privacy = PrivacyConfig(epsilon=epsilon)
    normals = np.random.default_rng(seed).standard_normal
    return fit_private(kind, CONFIG, privacy, table(rows), videos, normals=normals)


@pytest.mark.parametrize("kind", PERSONAL)
def test_tastes_survive_the_noise(kind):
    asked = table([("new", "v02", 1.0, 1), ("other", "v03", 1.0, 1)])
    right = []
    for seed in range(5):
        lists = private(kind, two_tastes(), seed=seed).recommend_from(asked, 8)
        even = [int(video[1:]) % 2 == 0 for video in lists.column("video_id").to_pylist()]
        ours = [user == "new" for user in lists.column("user_id").to_pylist()]
        right.append(np.mean(np.array(even) == ours))
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("kind", PRIVATE_KINDS)
def test_a_saved_model_holds_no_shopper_and_answers_the_same(kind, tmp_path):
    model = private(kind, two_tastes(200))
    model.save(str(tmp_path))
    for file in tmp_path.iterdir():
        assert b"shopper-" not in file.read_bytes()
    loaded = load_recommender(str(tmp_path))
    assert (loaded.sizes["users"], loaded.sizes["interactions"]) == (0, 0)
    asked = table([("new", "v02", 1.0, 1), ("new", "v04", 1.0, 2)])
    assert loaded.recommend_from(asked, 5).equals(model.recommend_from(asked, 5))
    fallback = popular_fallback(loaded, CONFIG.popular)
    assert fallback is not None
    np.testing.assert_array_equal(fallback.popularity, np.maximum(model.released_counts, 0))


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.sampled_from(PRIVATE_KINDS))
def test_only_who_watched_what_counts(random, kind):
    rows = two_tastes(40)
    other = [
        (f"renamed-{user}", video, random.choice([0.1, 3.0]), random.choice([1, 10**15]))
        for user, video, _, _ in rows + random.sample(rows, 30)
    ] + [("stranger", "not in the catalog", 1.0, 1)]
    random.shuffle(other)
    asked = table([("new", "v02", 1.0, 1)])
    one, two = (private(kind, found).recommend_from(asked, 9) for found in (rows, other))
    assert one.equals(two)


@pytest.mark.parametrize("kind", ["item_knn", "ease"])
def test_where_nothing_stands_out_of_the_noise_lists_go_by_popularity(kind):
    rng = np.random.default_rng(0)
    rows = [(f"u{n}", f"v{min(rng.geometric(0.15) - 1, 23):02}", 1.0, 5) for n in range(300)]
    model = private(kind, rows, epsilon=0.3)
    # Also for a shopper with a weight, and a video, that the fit hardly knows.
    for weight, video in ((1.0, "v01"), (500.0, "v23")):
        asked = table([("new", video, weight, 1)])
        found = model.recommend_from(asked, 5).column("video_id").to_pylist()
        order = np.argsort(-model.released_counts, kind="stable")
        assert found == [CATALOG[place] for place in order if CATALOG[place] != video][:5]


def test_popular_without_a_catalog_releases_frequent_videos_only():
    rows = [*two_tastes(600), ("shopper-1", "of one shopper", 1.0, 1), ("shopper-2", "of two", 1.0, 1)]
    model = private("popular", rows, videos=None)
    assert "of one shopper" not in model.videos.ids.to_pylist()
    assert {"v02", "v03"} <= set(model.videos.ids.to_pylist())


@pytest.mark.parametrize("kind", PRIVATE_KINDS)
@pytest.mark.parametrize("epsilon", [0.5, 4.0])
def test_a_fit_costs_the_epsilon_that_it_was_given(kind, epsilon):
    privacy = PrivacyConfig(epsilon=epsilon)
    costs = private_costs(kind, privacy, public_catalog=True)
    assert composed_epsilon(costs, privacy.delta) == pytest.approx(epsilon, rel=1e-4)
    assert composed_epsilon(costs, privacy.delta) <= epsilon * (1 + 1e-9)


@pytest.mark.parametrize("kind", sorted(set(RECOMMENDER_KINDS) - set(PRIVATE_KINDS)))
def test_models_without_a_private_form_are_refused(kind):
    with pytest.raises(ConfigError, match=f"{kind} has no private form"):
        check_private_fit(kind, CONFIG, PrivacyConfig(epsilon=4), CATALOG)


@pytest.mark.parametrize("kind", PERSONAL)
def test_pairs_need_a_public_catalog(kind):
    with pytest.raises(ConfigError, match="needs the catalog"):
        private(kind, two_tastes(20), videos=None)


def test_decay_by_time_is_refused():
    config = RetrievalConfig.model_validate({"popular": {"half_life_days": 3}})
    with pytest.raises(ConfigError, match="counts each shopper once"):
        check_private_fit("popular", config, PrivacyConfig(epsilon=4), CATALOG)
