"""The fitted space by hand: vocabularies, shares, seconds and scales of a log of a few impressions."""

import numpy as np
import pytest

from tests.events.rows import day, events
from tests.ranking.features.messy import counts_row, request_of
from tests.ranking.reranking.shop import embeddings_of, videos_of
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import BLOCKS, RankerFeaturesConfig
from vrec.ranking.features.video_counts import RATES, fit_rates

CONTENT = CatalogContent(
    videos_of(
        [
            {
                "video_id": "a",
                "creator_id": "ann",
                "category": "mugs",
                "tags": ["red", "red"],
                "duration_s": 3.0,
            },
            {
                "video_id": "b",
                "creator_id": "bob",
                "category": "pans",
                "tags": ["blue"],
                "duration_s": 7.0,
            },
            {"video_id": "c", "creator_id": "bob", "category": None, "tags": [], "duration_s": None},
            {"video_id": "unshown", "creator_id": "zoe", "category": "hats", "duration_s": 99.0},
        ]
    ),
    embeddings_of({"a": [1.0, 0.0], "b": [0.0, 3.0], "unshown": [50.0, 50.0]}),
)
SHOWN = "aabbbccc"
LOG = events(
    *({"kind": "impression", "video_id": v, "domain": "feed" if n < 6 else "shop", "at": day(n)}
      for n, v in enumerate(SHOWN)),
    {"kind": "click", "video_id": "unshown", "at": day(9)},
)  # fmt: skip


def space_of(requests=None, log=LOG, content=CONTENT, **config):
    return fit_space(
        log, requests or [request_of("a")], content, RankerFeaturesConfig(**({"min_count": 1} | config))
    )


def test_vocabularies_go_by_impressions_and_ties_by_name():
    found = space_of().vocabularies
    assert found["video_id"] == ("b", "c", "a")
    assert found["creator_id"] == ("bob", "ann")
    assert found["category"] == ("pans", "mugs")
    # a names red twice, which counts once: 2 impressions against 3 of blue.
    assert found["tags"] == ("blue", "red")
    assert found["surface"] == ("feed", "shop")
    assert found["language"] == ()


@pytest.mark.parametrize(
    ("least", "ids", "surfaces"),
    [(2, ("b", "c", "a"), ("feed", "shop")), (3, ("b", "c"), ("feed",)), (4, (), ("feed",))],
)
def test_min_count_is_the_least_number_of_impressions(least, ids, surfaces):
    found = space_of(min_count=least).vocabularies
    assert (found["video_id"], found["surface"]) == (ids, surfaces)


def test_shares_add_one_impression_to_each_index():
    found = space_of().shares
    # Impressions with a category: 3 of pans, 2 of mugs; indices: unknown, pans, mugs.
    np.testing.assert_allclose(found["category"], np.array([1, 4, 3]) / 8)
    np.testing.assert_allclose(found["creator_id"], np.array([1, 7, 3]) / 11)
    np.testing.assert_allclose(space_of(min_count=3).shares["category"], np.array([1, 4]) / 7)


def test_the_mean_vector_and_the_scales_are_of_the_videos_shown():
    space = space_of()
    assert space.encoder == "test"
    np.testing.assert_allclose(space.mean, [0.5, 1.5])
    durations = np.log1p([3.0, 7.0])
    scale = dict(zip(BLOCKS["video"], space.scales["video"].T, strict=True))
    np.testing.assert_allclose(scale["log_duration"], [durations.mean(), durations.std()])
    # Indicators and numbers that nobody has are not scaled.
    for name in ("no_duration", "log_price", "no_price", "no_vector"):
        assert scale[name].tolist() == [0, 1]


def test_seconds_are_those_of_watches_over_videos_and_over_users():
    users = [
        Profile("user", name, counts={"event:watch": watches, "watch_s": seconds})
        for name, watches, seconds in (("u", 2.0, 30.0), ("u", 4.0, 50.0), ("v", 1.0, 0.0))
    ]
    counts = [counts_row(watch=1, watch_s=9), counts_row(watch=3, watch_s=21), counts_row(watch=1, watch_s=3)]
    requests = [request_of(v, user=user, counts=[c]) for v, user, c in zip("aab", users, counts, strict=True)]
    # The last counts of each video and user: (21 + 3) / (3 + 1) and (50 + 0) / (4 + 1).
    np.testing.assert_allclose(space_of(requests).seconds, [6.0, 10.0])
    assert space_of().seconds.tolist() == [0, 0]


def test_priors_are_of_the_last_counts_of_videos_and_of_users():
    def user(name, shown, clicks):
        return Profile("user", name, counts={"event:impression": shown, "event:click": clicks})

    users = [user("u", 5.0, 1.0), user("u", 50.0, 4.0), user("v", 40.0, 16.0)]
    counts = [
        counts_row(impression=2, click=2),
        counts_row(impression=60, click=30),
        counts_row(impression=80, click=8),
    ]
    requests = [request_of(v, user=u, counts=[c]) for v, u, c in zip("aab", users, counts, strict=True)]
    space = space_of(requests)
    last = np.array([counts_row(impression=60, click=30), counts_row(impression=80, click=8)])
    np.testing.assert_allclose(space.priors[0], fit_rates(last, [RATES[0]])[0])
    assert space.priors[0, 0] == pytest.approx(38 / 140)
    assert space.user_priors[0, 0] == pytest.approx(20 / 90)


def test_numbers_are_scaled_by_their_mean_and_deviation_over_candidates():
    counts = [counts_row(impression=n) for n in (0, 3, 8)]
    space = space_of([request_of("a", "b", counts=counts[:2]), request_of("c", counts=counts[2:])])
    scale = dict(zip(BLOCKS["candidate"], space.scales["candidate"].T, strict=True))
    logs = np.log1p([0.0, 3.0, 8.0])
    np.testing.assert_allclose(scale["log_impressions"], [logs.mean(), logs.std()])
    # A number that is the same everywhere is only shifted.
    assert scale["log_clicks"].tolist() == [0, 1]
    assert scale["liked"].tolist() == scale["no_age"].tolist() == [0, 1]
    raw = np.zeros((1, len(BLOCKS["candidate"])))
    raw[0, BLOCKS["candidate"].index("log_impressions")] = np.log(4)
    scaled = space.scaled("candidate", raw)[0, BLOCKS["candidate"].index("log_impressions")]
    assert scaled == pytest.approx((np.log(4) - logs.mean()) / logs.std(), rel=1e-6)


def test_rates_of_nothing_are_the_prior_of_video_profiles():
    found = fit_rates(np.zeros((3, 11)), [RATES[0]])
    assert found.shape == (1, 2)
    assert 0 < found[0, 0] < 1


def test_every_setting_of_the_space_is_part_of_its_digest():
    base = space_of()
    for name, value in (
        ("history", 7), ("tags", 3), ("positions", 9), ("affinity_strength", 1.0), ("watch_strength", 1.0),
        ("limit", 3.0),
    ):  # fmt: skip
        assert space_of(**{name: value}).digest != base.digest, name
    assert space_of().digest == base.digest
