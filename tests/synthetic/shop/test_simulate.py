"""The simulator: what is drawn agrees with the planted truth, and nothing happens that cannot."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chisquare

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.core.schema import EMBEDDINGS, EVENTS, VIDEOS, conform
from vrec.synthetic.shop.simulate import SimulationConfig, draw_slates, simulate
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog, videos_table

SMALL = SimulationConfig(users=200, videos=60, days=10, requests_per_user=20)


def of_kind(events, kind):
    return events.filter(pc.equal(events.column("kind"), kind))


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL)


def impressions_of(simulation):
    """Places of the impressions' shoppers, videos, slots and days, whether clicked, and propensities."""
    shown, clicks = of_kind(simulation.events, "impression"), of_kind(simulation.events, "click")
    keys = [
        pc.binary_join_element_wise(t.column("request_id"), t.column("video_id"), " ")
        for t in (shown, clicks)
    ]
    shop = simulation.shop
    return (
        shop.user_indices(shown.column("user_id")),
        shop.video_indices(shown.column("video_id")),
        np.asarray(shown.column("position")).astype(np.int64),
        shop.days_of(shown.column("at")),
        np.asarray(pc.is_in(keys[0], value_set=keys[1].combine_chunks())),
        np.asarray(shown.column("propensity")).astype(float),
    )


@pytest.fixture(scope="module")
def impressions(small):
    return impressions_of(small)


def test_tables_conform_and_events_come_by_time_with_ids_of_their_own(small):
    events = conform(small.events, EVENTS, stage="test")
    conform(small.videos, VIDEOS, stage="test")
    conform(small.embeddings, EMBEDDINGS, stage="test")
    assert len(pc.unique(events.column("event_id"))) == events.num_rows
    assert (np.diff(np.asarray(events.column("at").cast(pa.int64()))) >= 0).all()
    assert small.videos.column("published_at").null_count == 0


def test_equal_settings_give_equal_events_and_another_seed_others(small):
    assert simulate(SMALL).events.equals(small.events)
    other = simulate(SMALL.model_copy(update={"seed": 1}))
    assert not pc.any(
        pc.is_in(other.events.column("event_id"), value_set=small.events.column("event_id"))
    ).as_py()


def test_the_mean_click_rate_is_what_was_asked_for():
    shop = simulate(SMALL.model_copy(update={"cold_share": 0.0, "click_rate": 0.2})).shop
    grid = np.meshgrid(np.arange(200), np.arange(60), indexing="ij")
    clicks = shop.click_probability(grid[0].ravel(), grid[1].ravel(), 0)
    assert clicks.mean() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_clicks_agree_with_the_planted_chances_in_every_slot_and_by_taste(drift):
    simulation = simulate(SMALL.model_copy(update={"drift": drift, "seed": 5}))
    users, videos, slots, days, clicked, _ = impressions_of(simulation)
    chances = simulation.shop.click_probability(users, videos, slots, days)
    # A click after midnight of the last day is not in the log: few, and far below the noise.
    missed, noise = clicked - chances, np.sqrt(chances * (1 - chances))
    taste = simulation.shop.affinity(users, videos, days)
    for weight in [slots == slot for slot in range(SMALL.slots)] + [taste]:
        assert abs((missed * weight).sum()) < 4 * np.linalg.norm(noise * weight)


def test_slates_are_drawn_one_by_one_without_replacement():
    scores, draws = np.array([0.0, 1.0, -0.5, 0.3]), 40_000
    slates, chances = draw_slates(np.tile(scores, (draws, 1)), 3, np.random.default_rng(0))
    expected, seen, mass = [], [], np.exp(scores)
    for slate in permutations(range(4), 3):
        left = mass.sum() - np.concatenate([[0], np.cumsum(mass[list(slate)])[:-1]])
        rows = (slates == slate).all(axis=1)
        np.testing.assert_allclose(chances[rows], np.tile(mass[list(slate)] / left, (rows.sum(), 1)))
        expected.append(draws * np.prod(mass[list(slate)] / left))
        seen.append(rows.sum())
    assert chisquare(seen, expected).pvalue > 0.001


def test_the_last_of_a_slate_that_shows_all_is_certain_however_cold_the_policy():
    _, chances = draw_slates(np.array([[0.0, 30.0, 700.0]]), 9, np.random.default_rng(0))
    assert chances.shape == (1, 3)
    assert chances[0, -1] == 1.0
    assert (chances > 0).all()


def test_the_first_slot_s_propensity_is_the_logging_policy_s_and_the_draws_follow_it(small, impressions):
    users, videos, slots, days, _, propensity = impressions
    first = slots == 0
    shop = small.shop
    chances = shop.policy_probability(shop.logging_policy, users[first], videos[first], days[first])
    np.testing.assert_allclose(propensity[first], chances, rtol=1e-6)
    expected = np.zeros(SMALL.videos)
    for day in range(SMALL.days):
        offer = shop.available_videos(day)
        expected[offer] += shop.logging_policy(users[first & (days == day)], offer).sum(axis=0)
    assert chisquare(np.bincount(videos[first], minlength=SMALL.videos), expected).pvalue > 0.001


def test_a_policy_s_true_value_is_the_sum_over_everything_that_can_happen():
    shop = simulate(
        SMALL.model_copy(update={"users": 7, "videos": 9, "days": 4, "cold_share": 0.6, "drift": 0.5})
    ).shop
    by_hand = 0.0
    for day in range(4):
        offer = shop.available_videos(day)
        for user in range(7):
            shown = shop.logging_policy(np.array([user]), offer)[0]
            for chance, video in zip(shown, offer, strict=True):
                click = shop.click_probability(np.array([user]), np.array([video]), 0, day)[0]
                by_hand += shop.activity[user] / 4 * chance * click
    assert shop.true_policy_value(shop.logging_policy) == pytest.approx(by_hand)


def test_the_log_s_own_click_rate_is_the_logging_policy_s_true_value(small, impressions):
    _, _, slots, _, clicked, _ = impressions
    rate, n = clicked[slots == 0].mean(), (slots == 0).sum()
    truth = small.shop.true_policy_value(small.shop.logging_policy)
    assert abs(rate - truth) < 4 * np.sqrt(truth * (1 - truth) / n)
    assert small.shop.true_policy_value(small.shop.oracle_policy) > truth


def test_the_ideal_ranking_falls_in_click_probability(small):
    everyone = np.arange(SMALL.users)
    ideal = small.shop.ideal_ranking(everyone, 60)
    chances = small.shop.click_probability(np.repeat(everyone, ideal.shape[1]), ideal.ravel(), 0).reshape(
        ideal.shape
    )
    assert (np.diff(chances, axis=1) <= 0).all()
    assert ideal.shape == (SMALL.users, len(small.shop.available_videos(SMALL.days - 1)))


def test_nothing_is_shown_before_it_came_out_and_new_videos_come_out(small):
    shown = of_kind(small.events, "impression")
    table = shown.join(small.videos.select(["video_id", "published_at"]), "video_id")
    assert pc.all(pc.less_equal(table.column("published_at"), table.column("at"))).as_py()
    start = pa.scalar(SMALL.start, pa.timestamp("us", tz="UTC"))
    late = pc.sum(pc.greater_equal(small.videos.column("published_at"), start)).as_py()
    assert 3 <= late <= 24


def test_a_watch_is_no_longer_than_the_video_and_its_share_falls_with_length(small):
    watches = of_kind(small.events, "watch").join(small.videos.select(["video_id", "duration_s"]), "video_id")
    seconds = np.asarray(watches.column("value")).astype(float)
    duration = np.asarray(watches.column("duration_s")).astype(float)
    assert (seconds > 0).all()
    assert (seconds <= duration * (1 + 1e-6)).all()
    assert np.corrcoef(np.log(duration), seconds / duration)[0, 1] < -0.15
    assert np.corrcoef(np.log(duration), np.log(seconds))[0, 1] > 0.15


def test_purchases_follow_carts_follow_clicks_and_cost_the_price(small):
    events = small.events.to_pandas()
    key = ["request_id", "video_id"]
    at = {kind: part.set_index(key)["at"] for kind, part in events.groupby("kind")}
    for later, before in (
        ("watch", "click"),
        ("cart", "click"),
        ("purchase", "cart"),
        ("click", "impression"),
    ):
        assert (at[later] > at[before].loc[at[later].index]).all()
    delay = (at["purchase"] - at["cart"].loc[at["purchase"].index]).dt.total_seconds() / 3600
    assert 5 < delay.median() < 30
    bought = events[events.kind == "purchase"].merge(
        small.videos.to_pandas()[["video_id", "price"]], on="video_id"
    )
    assert (bought.value == bought.price.astype("float32")).all()


def test_tastes_lie_over_a_given_catalogue(tmp_path: Path):
    drawn = plan_catalog(SyntheticVideosConfig())
    videos = videos_table(drawn, tmp_path)
    vectors = np.random.default_rng(0).normal(size=(videos.num_rows, 16)).astype(np.float32)
    config = SimulationConfig(users=300, days=5, interests=0.05, vector_weight=0.5)
    simulation = simulate(config, videos, vectors)
    assert simulation.videos.drop_columns("published_at").equals(
        conform(videos, VIDEOS, stage="test").drop_columns("published_at")
    )
    category = np.asarray(videos.column("category").to_pylist())
    best = category[simulation.shop.ideal_ranking(np.arange(300), 3)]
    assert (best[:, 0] == best[:, 1]).mean() > 0.6, "a shopper's favourites share a category"
    assert simulate(config, videos).embeddings is None


def test_a_catalogue_with_gaps_is_used_as_it_is(small):
    videos = small.videos.slice(0, 20)
    for name in ("price", "duration_s", "category", "published_at"):
        place = videos.column_names.index(name)
        videos = videos.set_column(place, name, pa.nulls(20, videos.column(name).type))
    off = videos.column_names.index("available")
    videos = videos.set_column(off, "available", pa.array([False] * 5 + [True] * 15))
    events = simulate(SMALL, videos).events
    kinds = set(events.column("kind").to_pylist())
    assert kinds == {"impression", "click", "watch"}, "what has no price is never bought"
    shown = set(events.column("video_id").to_pylist())
    assert shown <= set(videos.column("video_id").to_pylist()[5:])
    assert simulate(SMALL, videos.slice(5, 3)).events.column("position").to_pylist().count(2) > 0


def test_what_cannot_be_simulated_is_refused(small):
    videos = small.videos.slice(0, 4)
    with pytest.raises(EventsError, match=r"video_id has 4 duplicates of 8, such as video-0"):
        simulate(SMALL, pa.concat_tables([videos, videos]))
    with pytest.raises(EventsError, match=r"\(3, 2\) for 4 videos"):
        simulate(SMALL, videos, np.zeros((3, 2)))
    with pytest.raises(EventsError, match="has no rows"):
        simulate(SMALL, videos.slice(0, 0))
    with pytest.raises(EventsError, match="without videos"):
        simulate(SMALL, vectors=np.zeros((3, 2)))
    place = videos.column_names.index("available")
    with pytest.raises(EventsError, match="none of 4 videos is available"):
        simulate(SMALL, videos.set_column(place, "available", pa.array([False] * 4)))


def test_what_is_no_policy_is_refused(small):
    with pytest.raises(EventsError, match="rows sum to 1"):
        small.shop.true_policy_value(lambda users, videos: np.ones((len(users), len(videos))))
    with pytest.raises(EventsError, match=r"1 user ids of 1 are not of this shop, such as nobody"):
        small.shop.user_indices(pa.array(["nobody"]))
    late = np.flatnonzero(small.shop.release > 0)[:1]
    with pytest.raises(EventsError, match="a video of day 0 was released later or is not available"):
        small.shop.policy_probability(small.shop.logging_policy, np.array([0]), late, np.array([0]))


def joined(simulation):
    """One row per clicked impression: times in µs by kind, and the slot."""
    frame = simulation.events.to_pandas()
    key = ["request_id", "video_id"]
    parts = {kind: part.set_index(key) for kind, part in frame.groupby("kind")}
    table = parts["click"][["position"]].copy()
    for kind, part in parts.items():
        table[kind] = part["at"].astype("datetime64[us, UTC]").astype("int64")
        table[f"{kind}_value"] = part["value"]
    return table


def test_delays_are_in_seconds_and_the_end_of_a_watch_is_its_start_plus_its_length(small):
    table = joined(small)
    second = 1_000_000
    delay = (table["click"] - table["impression"]) / second
    assert (delay >= 1 + table["position"]).all()
    assert (delay - table["position"]).mean() == pytest.approx(9, rel=0.15), "1 s and 8 s on average"
    watched = table.dropna(subset=["watch"])
    np.testing.assert_allclose(
        (watched["watch"] - watched["click"]) / second, watched["watch_value"], rtol=1e-5, atol=1e-5
    )
    carts = table.dropna(subset=["cart", "watch"])
    assert ((carts["cart"] - carts["watch"]) / second).mean() == pytest.approx(60, rel=0.5)


def test_a_purchase_without_delay_comes_thirty_seconds_after_its_cart():
    config = SMALL.model_copy(update={"purchase_delay_hours": 0.0, "purchase_rate": 1.0, "cart_rate": 0.5})
    events = simulate(config).events.to_pandas()
    key = ["request_id", "video_id"]
    cart, purchase = (events[events.kind == kind].set_index(key)["at"] for kind in ("cart", "purchase"))
    seconds = (purchase - cart.loc[purchase.index]).dt.total_seconds()
    assert (seconds == 30).all()
    assert len(cart) - len(purchase) <= 2, "every cart is bought, except in the last half minute"


def test_rates_at_their_ends_give_all_or_nothing(small):
    def count(kind, **settings):
        return of_kind(simulate(SMALL.model_copy(update=settings)).events, kind).num_rows

    assert count("purchase", purchase_rate=0.0) == 0
    assert count("cart", cart_rate=1 - 1e-12) >= 0.95 * count("click", cart_rate=1 - 1e-12)
    assert count("cart", cart_rate=1e-12) == 0
    clicks = of_kind(small.events, "click").num_rows
    assert count("click", click_rate=0.3) > 2 * clicks
    assert count("click", examination_decay=0.0) > clicks > count("click", examination_decay=3.0)


def test_cart_and_watch_settings_move_what_they_say():
    def carts(**settings):
        base = {"cart_taste": 0.0, "price_sensitivity": 0.0, "click_rate": 0.4, "cart_rate": 0.3}
        simulation = simulate(SMALL.model_copy(update=base | settings))
        taste = simulation.shop
        cart, click = (of_kind(simulation.events, kind) for kind in ("cart", "click"))
        likes = [
            taste.affinity(taste.user_indices(t["user_id"]), taste.video_indices(t["video_id"]))
            for t in (cart, click)
        ]
        prices = np.log(np.asarray(taste.videos["price"]).astype(float))
        logs = [prices[taste.video_indices(t["video_id"])].mean() for t in (cart, click)]
        return cart.num_rows / click.num_rows, likes[0].mean() - likes[1].mean(), logs[0] - logs[1]

    rate, by_taste, by_price = carts()
    assert rate == pytest.approx(0.3, abs=0.03)
    assert abs(by_taste) < 0.1
    assert abs(by_price) < 0.05
    assert carts(cart_taste=2.0)[1] > 0.4
    assert carts(price_sensitivity=2.0)[2] < -0.2
    assert carts(price_sensitivity=-2.0)[2] > 0.2


def test_watched_shares_follow_their_settings():
    def shares(**settings):
        base = {"watch_level": 0.4, "watch_taste": 0.0, "watch_duration": 0.0, "watch_spread": 0.0}
        simulation = simulate(SMALL.model_copy(update=base | settings))
        watches = of_kind(simulation.events, "watch")
        duration = np.asarray(simulation.videos["duration_s"]).astype(float)
        rows = simulation.shop.video_indices(watches["video_id"])
        return np.asarray(watches["value"]).astype(float) / duration[rows], np.log(duration[rows])

    share, _ = shares()
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-0.4)), rtol=1e-5)
    np.testing.assert_allclose(shares(watch_level=3.5)[0], 1.0, rtol=1e-6, err_msg="above 0.95 is all of it")
    np.testing.assert_allclose(shares(watch_level=2.9)[0], 1 / (1 + np.exp(-2.9)), rtol=1e-5)
    share, log_duration = shares(watch_duration=0.6, watch_level=0.0)
    unfinished = share < 0.95
    log_odds = np.log(share[unfinished] / (1 - share[unfinished]))
    slope = np.polyfit(log_duration[unfinished], log_odds, 1)[0]
    assert slope == pytest.approx(-0.6, abs=0.01)
    assert shares(watch_spread=1.0)[0].std() > 0.1
    assert shares(watch_taste=1.0)[0].mean() > shares(watch_taste=-1.0)[0].mean() + 0.1


def test_impressions_have_positions_requests_and_propensities_and_nothing_else_has(small):
    events = small.events.to_pandas()
    shown = events.kind == "impression"
    assert events[shown].propensity.between(0, 1, inclusive="right").all()
    assert events[~shown].propensity.isna().all()
    assert events[shown].value.isna().all()
    assert events[events.kind.isin(["click", "cart"])].value.isna().all()
    assert events[events.kind.isin(["watch", "purchase"])].value.notna().all()
    slates = events[shown].groupby("request_id")
    assert slates.ngroups == SMALL.requests == 4_000
    assert (slates.position.apply(sorted).map(len) == SMALL.slots).all()
    assert (slates.position.apply(lambda p: sorted(p) == list(range(8)))).all()
    assert (slates.video_id.nunique() == SMALL.slots).all(), "no video twice in a slate"
    assert (slates.user_id.nunique() == 1).all()


def test_the_log_lies_within_its_days_and_the_evening_is_busy(small):
    at = np.asarray(small.events.column("at").cast(pa.int64()))
    start = round(SMALL.start.timestamp()) * 1_000_000
    assert at.min() >= start
    assert at.max() < start + SMALL.days * 86_400_000_000
    assert at.max() > start + (SMALL.days - 1) * 86_400_000_000
    shown = np.asarray(of_kind(small.events, "impression").column("at").cast(pa.int64()))
    hours = (shown - start) / 3_600_000_000 % 24
    assert 0.55 < ((hours > 15) & (hours < 23)).mean() < 0.9


def test_slots_and_start_and_requests_are_those_of_the_settings():
    start = SMALL.start.replace(year=2026, month=6)
    simulation = simulate(SMALL.model_copy(update={"slots": 1, "start": start, "requests_per_user": 3.0}))
    shown = of_kind(simulation.events, "impression")
    assert shown.num_rows == 600
    assert set(shown.column("position").to_pylist()) == {0}
    assert simulation.events.column("at").to_pylist()[0].date() == start.date()


def test_embeddings_are_the_vectors_in_the_order_of_videos(small):
    table = small.embeddings
    assert table["entity_id"].to_pylist() == small.videos["video_id"].to_pylist()
    got = np.asarray(table["vector"].combine_chunks().flatten()).reshape(-1, SMALL.dim)
    np.testing.assert_array_equal(got, small.shop.vectors)
    assert set(table["modality"].to_pylist()) == {"fused"}
    assert len(set(table["content_hash"].to_pylist())) == SMALL.videos


def test_a_missing_duration_is_the_median_or_half_a_minute():
    videos = simulate(SMALL).videos.slice(0, 3)
    place = videos.column_names.index("duration_s")
    for given, want in (([10.0, None, 30.0], 20.0), ([None, None, None], 30.0)):
        table = videos.set_column(place, "duration_s", pa.array(given, pa.float32()))
        config = SMALL.model_copy(update={"watch_level": 9.0, "watch_duration": 0.0, "cold_share": 0.0})
        watches = of_kind(simulate(config, table).events, "watch")
        lengths = dict(zip(watches["video_id"].to_pylist(), watches["value"].to_pylist(), strict=True))
        assert lengths[videos["video_id"][1].as_py()] == pytest.approx(want)
