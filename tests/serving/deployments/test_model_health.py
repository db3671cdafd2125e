"""Health of the model over both stores: sampled lists, and the hours that are compared with the log."""

import asyncio

import numpy as np
import pytest
from pydantic import TypeAdapter

from tests.serving.deployments.test_graph import ask, shown
from tests.serving.deployments.test_profiles import config_in, event, events
from tests.serving.direct import Direct
from vrec.config.serve import ServeConfig
from vrec.core.errors import StoreError
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.evaluation.ranking.metrics import grouped_auc
from vrec.profiles.stores.factory import StoreConfig, open_store
from vrec.profiles.update import ProfilesConfig
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.model_health import ModelHealthFollower, ServedLists
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.health.hours import HOUR_US, HOURS_LOG, impressions_of
from vrec.serving.health.lists import LISTS_LOG, ServedList, pack_lists, unpack_lists
from vrec.serving.observability import metrics

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
CONFIG = ModelHealthConfig(min_reference_hours=2, click_minutes=10)
SHOPPERS, LENGTH = 8, 5
FIRST = 400_000


class Log:
    """Store of a shop, with a clock of its own."""

    def __init__(self, opened):
        self.store, self.now = opened, FIRST * HOUR_US + 20 * MINUTE_US
        self.random = np.random.default_rng(0)

    def follower(self, config=CONFIG):
        return ModelHealthFollower(lambda: self.store, lambda: 50, config, now=lambda: self.now)

    async def look(self, follower, at):
        self.now = at
        follower.look(self.store.latest_cursor())
        await follower.close()

    def shop(self, hour):
        """Put an hour's lists and events, and return the clicks, predictions and shoppers of its rows."""
        start, lists, rows, expected = hour * HOUR_US + MINUTE_US, [], [], []
        for user in range(SHOPPERS):
            request = f"{hour}-{user}"
            predicted = {f"v{n}": float(self.random.uniform(0.05, 0.95)) for n in range(LENGTH)}
            lists.append(ServedList(request, start, "b1", predicted))
            for n, (video, p_click) in enumerate(predicted.items()):
                click = self.random.random() < p_click
                same = {"user_id": f"u{user}", "video_id": video, "request_id": request}
                rows.append(event(f"{request}-{n}", kind="impression", at=start + n, **same))
                if click:
                    rows.append(event(f"{request}-{n}-c", at=start + SECOND_US + n, **same))
                expected.append((float(click), p_click, user))
        # Of lists that were not drawn.
        rows += [event(f"{hour}-more", kind="impression", at=start, request_id="other")]
        self.store.apply(events(*rows))
        self.store.append_record(LISTS_LOG, pack_lists(lists))
        return [np.array(column) for column in zip(*expected, strict=True)]


@pytest.fixture
def log(store):
    config = TypeAdapter(StoreConfig).validate_python(store)
    opened = open_store(config, lambda _: {}, ProfilesConfig())
    yield Log(opened)
    opened.close()


async def live_through(log, follower, hours):
    """Let followers look as in service while hours pass, and return the last hour's rows."""
    expected = None
    for hour in hours:
        await log.look(follower, hour * HOUR_US - 30 * SECOND_US)
        await log.look(follower, hour * HOUR_US + 5 * SECOND_US)
        expected = log.shop(hour)
        await log.look(follower, (hour + 1) * HOUR_US - 30 * SECOND_US)
        await log.look(follower, (hour + 1) * HOUR_US + 9 * MINUTE_US)
        assert (await follower.health()).hour != hour  # its clicks may still come
        await log.look(follower, (hour + 1) * HOUR_US + 10 * MINUTE_US)
    return expected


def test_an_hour_is_compared_with_the_log_once_its_clicks_have_come(log, monkeypatch):
    told = metrics.InMemoryMetricsRecorder()
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: told)

    async def run():
        follower = log.follower()
        await log.look(follower, log.now)
        log.shop(FIRST)
        expected = await live_through(log, follower, range(FIRST + 1, FIRST + 4))
        return expected, await follower.health()

    (click, predicted, user), health = asyncio.run(run())
    assert health.hour == FIRST + 3
    assert health.bundle == "b1"
    assert health.counts == {
        "impressions": SHOPPERS * LENGTH, "lists": SHOPPERS, "shoppers": SHOPPERS, "clicks": click.sum()
    }  # fmt: skip
    found = grouped_auc(click, predicted, user).value
    assert health.metrics["click_gauc"] == pytest.approx(found)
    assert health.metrics["coverage"] == LENGTH / 50
    # The hour in which the process began is left out.
    assert health.reference_hours == 3
    assert len(log.store.records_before(HOURS_LOG, None, 10)) == 3
    assert told.sums["vrec_model_figure", "click_gauc"] == health.metrics["click_gauc"]
    assert told.sums["vrec_model_alarm", "order"] == 0


def test_alarms_outlive_a_restart_and_two_processes_write_an_hour_once(log):
    async def run():
        follower = log.follower()
        await log.look(follower, log.now)
        await live_through(log, follower, range(FIRST + 1, FIRST + 5))
        before = await follower.health()
        again, other = log.follower(), log.follower()
        restarted = await again.health()
        for one in (again, other):
            await log.look(one, log.now + SECOND_US)
        await live_through(log, again, [FIRST + 6])
        log.now = (FIRST + 7) * HOUR_US
        other.compare(FIRST + 6, 0, (FIRST + 7) * HOUR_US)
        return before, restarted, await again.health(), await other.health()

    before, restarted, after, other = asyncio.run(run())
    assert restarted == before
    assert before.hour == FIRST + 4
    assert after.hour == FIRST + 6
    assert other == after
    assert len(log.store.records_before(HOURS_LOG, None, 10)) == 5


def test_without_lists_nothing_is_compared(log):
    async def run():
        follower = log.follower(CONFIG.model_copy(update={"lists_per_minute": 0}))
        for hour in range(3):
            await log.look(follower, log.now + hour * HOUR_US)
        return await follower.health()

    assert asyncio.run(run()).hour is None


def test_a_place_seen_twice_counts_once_and_the_time_of_clicks_is_bounded():
    lists = {"r": ServedList("r", 0, "b", {"v": 0.5, "w": 0.25})}
    same = {"user_id": "u", "request_id": "r"}
    rows, bundle = impressions_of(
        lists,
        events(
            event("1", kind="impression", video_id="v", at=10, **same),
            event("2", kind="impression", video_id="v", at=30, **same),
            event("3", kind="impression", video_id="w", at=20, **same),
            event("4", kind="impression", video_id="unranked", at=20, **same),
            event("5", video_id="v", at=40, **same),
            event("6", video_id="w", at=61, **same),
        ),
        60,
    )
    assert bundle == "b"
    assert rows.p_click.tolist() == [0.5, 0.25]
    assert rows.click.tolist() == [1, 0]
    assert rows.video.tolist() == [0, 1]


def test_lists_of_the_service_are_sampled_with_their_predictions(tmp_path, shop_bundle):
    async def run():
        config = config_in(tmp_path)
        profiles = Direct(ProfilesDeployment(config))
        ranking = Direct(RankingDeployment(config, profiles, None))
        api = ApiDeployment(config, ranking, profiles, None, metrics.InMemoryMetricsRecorder())
        for node in (profiles.node, ranking.node, api):
            await node.reconfigure({"bundle": shop_bundle.uri})
        answer = await api.recommend(ask())
        api.fallback(ask())
        await api._lists.write()
        records = await profiles.node.records_after(LISTS_LOG, 0, 10)
        health = await api.model_health()
        for node in (api, ranking.node, profiles.node):
            await node.close()
        return answer, records, health

    answer, records, health = asyncio.run(run())
    (one,) = [one for _, record in records for one in unpack_lists(record)]
    assert one.p_click == pytest.approx({item.video_id: item.p_click for item in answer.items}, rel=1e-6)
    assert list(one.p_click) == shown(answer)
    assert (one.request_id, one.bundle, health.hour) == ("r", answer.bundle, None)


def test_a_store_that_is_away_costs_a_minute_of_the_sample(monkeypatch):
    class Away:
        async def append_record(self, *_):
            raise StoreError("away")

    async def run():
        monkeypatch.setattr("vrec.serving.deployments.model_health.WRITE_EVERY_S", 0)
        lists = ServedLists(Direct(Away()), ServeConfig())
        answer_lists = [ServedList(str(n), 0, "b", {"v": 0.5}) for n in range(3)]
        for one in answer_lists:
            lists._sample.add(one)
        await lists._write_later()
        assert lists._sample.take() == []

    asyncio.run(run())
