"""The rates by hand, by simulated shops whose rates are known, and on KuaiRand."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, polygamma
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from vrec.core.errors import RankError
from vrec.core.schema import VIDEOS
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile
from vrec.profiles.video import RatePrior
from vrec.ranking.base import VideoScalars
from vrec.ranking.config import LabelsConfig
from vrec.ranking.features.arrays import ImpressionLabels, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker, SmoothedRates

RATES = SmoothedRates(
    labels=LabelsConfig(),
    intercept=-1.5,
    weights=np.array([0.8, 0.6, 1.1]),
    video=RatePrior(rate=0.1, strength=20.0),
    user=RatePrior(rate=0.12, strength=10.0),
    conversion=RatePrior(rate=0.05, strength=30.0),
    surfaces={"feed": 0.2, "shop": -0.3},
    edges=np.array([10.0, 30.0]),
    watch_s=np.array([2.0, 5.0, 9.0, 4.0]),
    watch_strength=8.0,
)


def state(**counts: float) -> np.ndarray:
    row = np.zeros(len(VIDEO_COUNT_KEYS))
    for name, value in counts.items():
        row[VIDEO_COUNT_KEYS.index(name if name == "watch_s" else f"event:{name}")] = value
    return row


def request(
    *states: np.ndarray, shown: float = 0, clicks: float = 0, surface: str = "feed"
) -> RankingRequest:
    user = Profile("user", "u", counts={"event:impression": shown, "event:click": clicks})
    videos = tuple(f"v{n}" for n in range(len(states)))
    return RankingRequest(user, RequestContext(0, surface), videos, np.array(states))


def test_the_answers_by_hand():
    asked = [
        request(state(impression=40, click=10, watch_s=90, purchase=3), state(), shown=30, clicks=9),
        request(state(impression=5), surface="elsewhere"),
    ]
    found = RATES.predict(asked, np.array([20.0, np.nan, 31.0]))
    video = logit((10 + 20 * 0.1) / (40 + 20)) - logit(0.1)
    user = logit((9 + 10 * 0.12) / (30 + 10)) - logit(0.12)
    cold = logit(20 * 0.1 / 25) - logit(0.1)
    p = expit(np.array([-1.5 + 0.8 * video + 0.6 * user + 0.22, -1.5 + 0.6 * user + 0.22, -1.5 + 0.8 * cold]))
    assert found.p_click == pytest.approx(p, rel=1e-6)
    assert found.watch_s == pytest.approx([(90 + 8 * 5) / 48, 4.0, 8 * 9 / 13], rel=1e-6)
    cvr = np.array([(3 + 30 * 0.05) / (10 + 30), 0.05, 0.05])
    assert found.p_conv == pytest.approx(p * cvr, rel=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 200), st.integers(0, 300))
def test_the_spread_is_that_of_the_beta_distribution(clicks, missed):
    alone = replace(RATES, weights=np.array([1.0, 0.0, 0.0]))
    found = alone.predict([request(state(impression=clicks + missed, click=clicks))], np.array([np.nan]))
    drawn = beta(clicks + 2, missed + 18).rvs(200_000, random_state=3)
    assert found.spread[0] == pytest.approx(np.std(logit(drawn)), rel=0.02)


@cache
def planted(seed: int) -> tuple[list[RankingRequest], ImpressionLabels, np.ndarray]:
    """Impressions whose log-odds are the sum of a video's, a shopper's and a surface's, and their chances."""
    rng = np.random.default_rng(seed)
    rows, videos, users = 20_000, 60, 200
    video, user, feed = rng.integers(0, videos, rows), rng.integers(0, users, rows), rng.random(rows) < 0.5
    chance = expit(-2 + rng.normal(0, 0.8, videos)[video] + rng.normal(0, 0.8, users)[user] + 0.7 * feed)
    click = (rng.random(rows) < chance).astype(np.float32)
    duration = np.array([8.0, 20.0, 60.0])[video % 3]
    watch = (click * rng.exponential(duration / 4)).astype(np.float32)
    bought = click * (rng.random(rows) < 0.3)
    requests = []
    of_videos, of_users = np.zeros((videos, 4)), np.zeros((users, 2))
    for row in range(rows):
        shown, clicks, seconds, sold = of_videos[video[row]]
        counts = state(impression=shown, click=clicks, watch_s=seconds, purchase=sold)
        profile = dict(zip(("event:impression", "event:click"), of_users[user[row]], strict=True))
        requests.append(
            RankingRequest(
                Profile("user", f"u{user[row]}", counts=profile),
                RequestContext(row, "feed" if feed[row] else "shop"),
                (f"v{video[row]}",),
                counts[None],
            )
        )
        of_videos[video[row]] += 1, click[row], watch[row], bought[row]
        of_users[user[row]] += 1, click[row]
    at = np.arange(rows)
    mature = np.ones(rows, bool)
    labels = ImpressionLabels(
        click, watch, bought, mature, duration.astype(np.float32), at, user.astype(np.int64)
    )
    return requests, labels, chance


def test_the_fit_finds_what_was_planted():
    requests, labels, chance = planted(1)
    first, last = slice(0, 14_000), np.arange(14_000, 20_000)
    rates = SmoothedRates.fit(RateBaselineConfig(), requests[first], labels.take(np.arange(14_000)))
    found = rates.predict(requests[14_000:], labels.duration_s[last])
    assert roc_auc_score(labels.click[last], found.p_click) > 0.9 * roc_auc_score(
        labels.click[last], chance[last]
    )
    assert rates.surfaces["feed"] > 0 > rates.surfaces["shop"]
    assert rates.weights == pytest.approx(1, abs=0.35)
    assert found.p_click.mean() == pytest.approx(chance[last].mean(), rel=0.05)
    assert found.p_conv.sum() == pytest.approx(labels.conversion[last].sum(), rel=0.1)
    assert found.watch_s.mean() == pytest.approx(labels.watch_s[last].mean(), rel=0.1)
    long, short = (labels.duration_s[last] == length for length in (60, 8))
    assert found.watch_s[long].mean() > 4 * found.watch_s[short].mean()


def test_what_differs_between_lengths_is_not_taken_for_the_videos_own():
    """Where watches go by the length alone, a video's own mean says next to nothing."""
    requests, labels, _ = planted(1)
    watch = np.random.default_rng(4).exponential(labels.duration_s).astype(np.float32)
    assert (
        SmoothedRates.fit(RateBaselineConfig(), requests, replace(labels, watch_s=watch)).watch_strength > 300
    )
    assert SmoothedRates.fit(RateBaselineConfig(), requests, labels).watch_strength < 100


def test_what_counts_as_a_conversion_is_what_the_labels_say():
    asked = [request(state(impression=50, click=20, purchase=1, cart=9))]
    carts = replace(RATES, labels=LabelsConfig(conversion_kinds=("cart",)))
    one, other = (r.predict(asked, np.array([np.nan])) for r in (RATES, carts))
    assert one.p_conv / one.p_click == pytest.approx((1 + 1.5) / 50, rel=1e-5)
    assert other.p_conv / other.p_click == pytest.approx((9 + 1.5) / 50, rel=1e-5)


def test_more_conversions_than_clicks_are_no_more_than_clicks():
    found = RATES.predict([request(state(impression=5, click=1, purchase=4000))], np.array([np.nan]))
    assert found.p_conv[0] <= found.p_click[0]


def test_one_video_one_surface_and_no_durations_can_be_fitted():
    requests, labels, _ = planted(1)
    some = [replace(r, video_ids=("v",), context=RequestContext(0, "feed")) for r in requests[:300]]
    labels = replace(labels.take(np.arange(300)), duration_s=np.full(300, np.nan, np.float32))
    rates = SmoothedRates.fit(RateBaselineConfig(), some, labels)
    found = rates.predict(some, labels.duration_s)
    assert np.isfinite(found.p_click).all()
    assert np.isfinite(found.spread).all()
    assert rates.surfaces["feed"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("click", [0, 1])
def test_clicks_of_one_class_are_refused(click):
    requests, labels, _ = planted(1)
    with pytest.raises(RankError, match="of 20,000 impressions are clicked"):
        SmoothedRates.fit(
            RateBaselineConfig(), requests, replace(labels, click=np.full(20_000, click, np.float32))
        )


def test_another_number_of_labels_is_refused():
    requests, labels, _ = planted(1)
    with pytest.raises(RankError, match="20,000 labels for 19,999 candidates"):
        SmoothedRates.fit(RateBaselineConfig(), requests[1:], labels)


def videos(**columns: list) -> CatalogContent:
    names = columns["video_id"]
    blank = {"uri": "x", "kind": "clip", "product_ids": [], "creator_id": "c", "domain": "d", "tags": []}
    rows = [
        blank | {"available": True} | {name: column[row] for name, column in columns.items()}
        for row in range(len(names))
    ]
    return CatalogContent(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()))


def test_new_videos_have_their_durations_and_old_ones_the_latest():
    before = VideoScalars.from_content(videos(video_id=["a", "b"], duration_s=[5.0, 0.0], price=[None, 2.0]))
    after = before.with_videos(videos(video_id=["c", "a"], duration_s=[7.0, 6.0], price=[1.0, None]))
    rows = after.find(["a", "b", "c", "nobody-knows"])
    assert after.duration_s[rows] == pytest.approx([6.0, np.nan, 7.0, np.nan], nan_ok=True)
    assert after.price[rows] == pytest.approx([np.nan, 2.0, 1.0, np.nan], nan_ok=True)
    ranker = RateBaselineRanker(RateBaselineConfig(), RATES, before)
    asked = [replace(request(state()), video_ids=("c",))]
    answers = [
        r.predict_requests(asked).watch_s[0]
        for r in (ranker, ranker.with_videos(videos(video_id=["c"], duration_s=[7.0])))
    ]
    assert answers == pytest.approx([4.0, 2.0])


def test_a_video_that_is_there_twice_is_refused():
    with pytest.raises(RankError, match="1 duplicates of 2, such as a"):
        VideoScalars.from_content(videos(video_id=["a", "a"]))


def test_the_spread_adds_the_variances_of_video_and_user_by_their_weights():
    found = RATES.predict([request(state(impression=40, click=10), shown=30, clicks=9)], np.array([np.nan]))
    video = polygamma(1, 10 + 2) + polygamma(1, 30 + 18)
    user = polygamma(1, 9 + 1.2) + polygamma(1, 21 + 8.8)
    assert found.spread[0] == pytest.approx(np.sqrt(0.8**2 * video + 0.6**2 * user), rel=1e-6)


def test_a_duration_at_an_edge_is_in_the_shorter_group():
    found = RATES.predict([request(*[state()] * 5)], np.array([10.0, 10.1, 30.0, 30.1, np.nan]))
    np.testing.assert_allclose(found.watch_s, [2, 5, 5, 9, 4])


def small(clicks="1010", **columns):
    """Requests of one candidate each, and labels: videos a, a, b, b of users 0, 1, 0, 1 on two surfaces."""
    requests = [
        replace(request(state(), surface=surface), video_ids=(video,))
        for video, surface in zip("aabb", ("feed", "feed", "feed", "shop"), strict=True)
    ]
    columns = {
        "click": [float(c) for c in clicks],
        "watch_s": [4.0, 0.0, 9.0, 1.0],
        "conversion": [1.0, 0.0, 0.0, 0.0],
        "mature": [True] * 4,
        "duration_s": [10.0, 10.0, 30.0, np.nan],
    } | columns
    arrays = {
        name: np.array(values, bool if name == "mature" else np.float32) for name, values in columns.items()
    }
    return requests, ImpressionLabels(**arrays, at=np.arange(4), user=np.array([0, 1, 0, 1]))


def test_watch_times_of_groups_and_surfaces_by_hand():
    rates = SmoothedRates.fit(RateBaselineConfig(durations=2), *small())
    assert rates.edges.tolist() == [10.0]
    np.testing.assert_allclose(rates.watch_s, [2.0, 9.0, 1.0])
    # Three impressions on feed with two clicks and one on shop without, each smoothed towards 1/2.
    strength = 50.0
    feed, shop = ((n + strength / 2) / (shown + strength) for n, shown in ((2, 3), (0, 1)))
    assert rates.surfaces == pytest.approx({"feed": logit(feed), "shop": logit(shop)})
    one = SmoothedRates.fit(RateBaselineConfig(durations=1), *small())
    assert one.edges.tolist() == []
    # The known durations are one group: 4, 0 and 9 s.
    np.testing.assert_allclose(one.watch_s, [13 / 3, 1.0])


def test_priors_where_there_is_too_little_are_those_of_the_config():
    config = RateBaselineConfig(
        click=RatePrior(rate=0.3, strength=7.0),
        conversion=RatePrior(rate=0.4, strength=3.0),
        watch_strength=2.5,
    )
    requests, labels = small()
    lone = [replace(r, video_ids=(f"v{n}",)) for n, r in enumerate(requests)]
    found = SmoothedRates.fit(config, lone, replace(labels, user=np.arange(4)))
    assert found.video == found.user == config.click
    assert found.conversion == config.conversion
    assert found.watch_strength == 2.5
    # Two impressions each of two videos and users are enough.
    fitted = SmoothedRates.fit(config, requests, labels)
    assert fitted.video.rate == fitted.user.rate == 0.5
    assert fitted.conversion == config.conversion


def test_the_conversion_prior_is_of_mature_clicks():
    requests, labels = small("1111", conversion=[1.0, 0.0, 0.0, 0.0])
    unclicked = replace(requests[0], video_ids=("c",))
    more = ImpressionLabels(*(np.append(getattr(labels, n), getattr(labels, n)[:1] * 0) for n in (
        "click", "watch_s", "conversion", "mature", "duration_s", "at", "user")))  # fmt: skip
    more = replace(more, mature=np.ones(5, bool))
    assert SmoothedRates.fit(RateBaselineConfig(), [*requests, unclicked], more).conversion.rate == 0.25
    young = replace(more, mature=np.arange(5) != 0)
    prior = SmoothedRates.fit(RateBaselineConfig(), [*requests, unclicked], young).conversion
    # With three mature clicks, only one video has two.
    assert prior == RateBaselineConfig().conversion


def test_the_weights_are_logistic_regression_on_the_ratios():
    requests, labels, _ = planted(1)
    some, few = requests[:2000], labels.take(np.arange(2000))
    rates = SmoothedRates.fit(RateBaselineConfig(), some, few)
    p = rates.predict(some, few.duration_s).p_click
    # The intercept is not penalized: predicted and observed clicks agree.
    assert p.sum() == pytest.approx(few.click.sum(), rel=1e-3)


@pytest.mark.parametrize("clicks", [float("nan"), -1.0, float("inf")])
def test_counts_of_a_user_that_cannot_be_are_refused(clicks):
    with pytest.raises(RankError, match="impressions and clicks of user u are"):
        RATES.predict([request(state()), request(state(), clicks=clicks)], np.full(2, np.nan))


def test_no_requests_have_no_predictions():
    assert RATES.predict([], np.zeros(0)).p_click.shape == (0,)


def test_stored_rates_are_the_same():
    again = SmoothedRates.restore(RATES.labels, *RATES.store())
    for name in SmoothedRates.__dataclass_fields__:
        one, other = getattr(again, name), getattr(RATES, name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, name
