"""The model of live streams in the service: requests are scored as by an offline replay, bit for bit."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from tests.serving.direct import Direct
from vrec.core.errors import ModelError
from vrec.profiles.profile import VideoMetadata
from vrec.retrieval.live.attention import LiveAttention, LiveAttentionNetwork
from vrec.retrieval.live.config import LiveAttentionConfig, LiveConfig
from vrec.retrieval.live.features import FEATURES
from vrec.retrieval.live.log import DAY_US, LiveLog
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.live.online import OnlineLiveModel
from vrec.retrieval.live.replay import LiveReplay
from vrec.serving.deployments.live_scores import LiveScores
from vrec.serving.streams.states import StreamBook, StreamState
from vrec.serving.streams.views import LiveRates
from vrec.serving.trends.follower import CountFollower
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import simulate_live
from vrec.training.device import seeded_rng

WORLD = LiveSimulationConfig(shoppers=80, streamers=40, days=8, start=datetime(2026, 1, 5, tzinfo=UTC))
LAST, MOMENTS = 3 * DAY_US, 15


def any_attention(streamers):
    """An attention that says anything, and not nothing."""
    with seeded_rng(0):
        network = LiveAttentionNetwork(streamers, len(FEATURES), 0, LiveAttentionConfig(dim=8)).eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return LiveAttention(network, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), torch.device("cpu"))


class World:
    """A drawn log, a model that was fitted on its first part, and the catalog's facts of its streams."""

    def __init__(self, *, with_attention):
        drawn = simulate_live(WORLD)
        self.events, self.streams = drawn.events.sort_by("at"), drawn.streams
        self.log = LiveLog.from_tables(self.events, self.streams)
        self.end = int(self.log.view_end.max())
        self.model = LiveRecommender(LiveConfig(attention=None)).fit(self.log.until(self.end - LAST))
        if with_attention:
            self.model.config = LiveConfig(attention=LiveAttentionConfig(dim=8))
            self.model.attention = any_attention(len(self.model.streamers))
        self.facts = {}
        for row in self.streams.to_pylist():
            names = ["kind:live", f"creator:{row['streamer_id']}", "tag:x"]
            names += [] if row["category"] is None else [f"category:{row['category']}"]
            self.facts[row["stream_id"]] = VideoMetadata(dict.fromkeys(names, 1.0))

    def find(self, video_ids):
        return {name: self.facts[name] for name in video_ids if name in self.facts}


@pytest.fixture(scope="module", params=["features", "attention"])
def world(request):
    return World(with_attention=request.param == "attention")


@pytest.fixture(params=["sqlite", "redis"])
def place(request, tmp_path):
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path)
        return
    server = RedisServer(tmp_path)
    yield RedisPlace(server)
    server.stop()


class Node:
    """The deployment of the store, as the scores need it."""

    def __init__(self, store, counts):
        self.store, self.counts = store, counts

    async def events_of(self, user_id, before, limit):
        return self.store.events_of(user_id, before, limit)

    async def live_rates(self, streamers):
        return self.counts.counts.of(streamers)


class Served:
    """A store that takes the log's events in time, and what follows it."""

    def __init__(self, place, world):
        self.world, self.store, self.added = world, place.open(), 0
        self.at = np.asarray(world.events.column("at").cast(pa.int64()))
        early = world.model.config.early_leave_s
        self.counts = CountFollower(self.store, lambda: LiveRates(world.find, early))
        self.scores = LiveScores(Direct(Node(self.store, self.counts)), world.find, 30)
        self.model = OnlineLiveModel(world.model)

    async def advance(self, at, parts):
        """Apply the events up to a time, in some calls."""
        last = int(np.searchsorted(self.at, at, side="right"))
        for rows in np.array_split(np.arange(self.added, last), parts):
            if len(rows):
                self.store.apply(self.world.events.slice(rows[0], len(rows)))
        self.added = last
        while await self.counts.follow(self.store.latest_cursor()):
            pass

    async def score(self, user, replay):
        """Return the streams that are live and their scores for a shopper, by the served model."""
        log, now = self.world.log, replay.now()
        names, streamers = (
            log.streams.names(now.stream).to_pylist(),
            log.streamers.names(now.streamer).to_pylist(),
        )
        columns = (names, streamers, now.started.tolist(), now.viewers.tolist())
        states = [
            StreamState(name, streamer, started, replay.at, replay.at + 1, viewers=round(viewers))
            for name, streamer, started, viewers in zip(*columns, strict=True)
        ]
        await self.scores.follow(self.model, StreamBook(1, {one.stream_id: one for one in states}))
        score = await self.scores.scorer(self.model, user, replay.at)
        turned = score(states[::-1])[::-1]
        assert np.array_equal(score(states), turned)
        return turned


def test_requests_are_scored_as_an_offline_replay_scores_them(world, place):
    log, rng = world.log, np.random.default_rng(5)
    moments = np.sort(rng.integers(world.end - LAST, world.end, MOMENTS)).tolist()

    async def run():
        served, known = Served(place, world), 0
        with closing(served.store):
            replay = LiveReplay(log, world.model.config.early_leave_s)
            for at in moments:
                replay.advance(at)
                await served.advance(at, int(rng.integers(1, 5)))
                for user in rng.choice(len(log.users), 5, replace=False).tolist():
                    views = replay.views(user, world.model.config.max_history)
                    offline = world.model.score(log, views, replay.now())
                    online = await served.score(log.users.ids[user].as_py(), replay)
                    assert np.array_equal(online, offline), (user, at)
                    known += bool(np.isin(log.streamer[log.live_at(at)], views.streamer).any())
            nobody = await served.score("nobody", replay)
            assert np.isfinite(nobody).all()
            assert known > MOMENTS  # shoppers with a streamer of theirs among those who were live

    asyncio.run(run())


def test_a_model_with_content_is_refused(world):
    drawn = simulate_live(WORLD)
    log = LiveLog.from_tables(drawn.events, drawn.streams, drawn.vectors)
    model = LiveRecommender(LiveConfig(attention=None)).fit(log)
    with pytest.raises(ModelError, match="content vectors"):
        OnlineLiveModel(model)
