"""Calls between deployments: their handles, their failures, and answers without a part of the service."""

import asyncio
import inspect
import time
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError

from tests.serving.deployments.test_profiles import config_in, event, event_values, events
from vrec.core.errors import EventsError, ServeError, StoreError, VideoError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.serving.catalog.live import FollowedState
from vrec.serving.deployments import api, circuit_breaker, handles
from vrec.serving.deployments import encoder as encoder_module
from vrec.serving.deployments import event_sender as event_sender_module
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.loaded_bundle import LoadedBundle
from vrec.serving.deployments.local_handle import LocalRankingHandle
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.ranking import deployment as ranking_module
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.service_state import ServiceReadiness
from vrec.serving.deployments.store_owner import is_owned_by, write_owner
from vrec.serving.experiments import ArmCounts
from vrec.serving.messages import EmbeddedVideo, ListResult, ReadPosition, RecommendQuery, RequestFilters
from vrec.serving.observability import metrics

NOTHING = RequestFilters()


class Handle:
    """A handle whose methods give what is set: a value, an error to raise, or a function of the call."""

    def __init__(self, **replies):
        self.replies, self.calls = (
            {"ready": "v1", "refused": None, "records_after": [], "states_after": []} | replies,
            [],
        )

    def __getattr__(self, name):
        return _Method(self, name)


class _Method:
    def __init__(self, handle, name):
        self._handle, self._name = handle, name

    async def remote(self, *args):
        self._handle.calls.append((self._name, *args))
        reply = self._handle.replies[self._name]
        reply = reply(*args) if callable(reply) else reply
        reply = await reply if inspect.isawaitable(reply) else reply
        if isinstance(reply, BaseException):
            raise reply
        return reply


def api_of(folder, *, ranking=None, profiles=None, encoder=None, **settings):
    """(api, recorder) over handles."""
    recorder = metrics.InMemoryMetricsRecorder()
    api = ApiDeployment(
        config_in(folder, **settings), ranking or Handle(), profiles or Handle(), encoder, recorder
    )
    return api, recorder


def query(user_id="u", **more):
    return RecommendQuery(request_id="r", user_id=user_id, surface="feed", k=3, at=1_000_000, **more)


def remote_error(cause):
    """An error as Ray hands it over."""
    return RayTaskError("method", "trace", cause)


@pytest.mark.parametrize(
    ("handle", "deployment"),
    [
        (handles.RankingHandle, RankingDeployment),
        (handles.ProfilesHandle, ProfilesDeployment),
        (handles.EncoderHandle, EncoderDeployment),
    ],
)
def test_every_method_of_a_handle_is_one_of_its_deployment(handle, deployment):
    methods = [name for name, value in inspect.getmembers(handle) if isinstance(value, property)]
    assert len(methods) >= 3
    for name in methods:
        assert inspect.iscoroutinefunction(getattr(deployment, name)), name


def test_a_local_handle_calls_the_deployment_s_own_methods():
    class Ranking:
        def __getattr__(self, name):
            async def method(*args):
                return name, *args

            return method

    local = LocalRankingHandle(Ranking())
    for name in ("recommend", "similar", "search", "ready", "refused"):
        assert asyncio.run(getattr(local, name).remote(1, "x")) == (name, 1, "x")


def test_errors_of_the_other_side_come_as_they_were_and_those_of_ray_as_unavailable(tmp_path):
    async def run(reply):
        api, _ = api_of(tmp_path, ranking=Handle(similar=reply), ranking_timeout_s=0.01)
        await api.similar("a", 3, NOTHING, 5)

    with pytest.raises(StoreError, match="no room"):
        asyncio.run(run(remote_error(StoreError("no room"))))
    with pytest.raises(BackendUnavailable, match=r"no answer in 0\.01 s"):
        asyncio.run(run(lambda *_: asyncio.sleep(5)))
    with pytest.raises(BackendUnavailable, match="ActorDiedError"):
        asyncio.run(run(ActorDiedError()))
    with pytest.raises(BackendUnavailable, match="BackPressureError"):
        asyncio.run(run(BackPressureError(num_queued_requests=1, max_queued_requests=1)))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run(ZeroDivisionError()))


def test_each_operation_calls_its_deployment_with_its_arguments(tmp_path):
    answer, stats = ListResult((), "v1"), ArmCounts(config_in(tmp_path).arms).snapshot()
    ranking = Handle(similar=answer, search=answer, recommend=answer)
    table = events()
    profiles = Handle(get=Profile("user", "u"), erase=4, export_consented=(table, 9), arms=stats)

    async def run():
        api, _ = api_of(tmp_path, ranking=ranking, profiles=profiles)
        assert await api.similar("a", 3, NOTHING, 5) == answer
        assert await api.search("words", 4, NOTHING, 6) == answer
        assert (await api.profile("u")).entity_id == "u"
        assert await api.erase("u") == 4
        assert await api.export(2, 7) == (table, 9)
        assert await api.arms() == stats

    asyncio.run(run())
    anywhere = ReadPosition()
    assert ranking.calls == [
        ("similar", "a", 3, NOTHING, 5, anywhere),
        ("search", "words", 4, NOTHING, 6, anywhere),
    ]
    assert profiles.calls == [("get", "u"), ("erase", "u"), ("export_consented", 2, 7), ("arms",)]


def test_the_breaker_opens_after_failures_in_a_row_and_one_request_probes(tmp_path, monkeypatch):
    monkeypatch.setattr(circuit_breaker, "COOLDOWN_S", 0.05)
    answer, gone = ListResult((), "v1"), ActorDiedError()

    async def run():
        ranking = Handle(recommend=gone)
        api, _ = api_of(tmp_path, ranking=ranking)

        async def fails(match):
            with pytest.raises(BackendUnavailable, match=match):
                await api.recommend(query())

        await fails("ActorDied")
        ranking.replies["recommend"] = answer
        await api.recommend(query())
        # A success in between starts the count again.
        ranking.replies["recommend"] = gone
        await fails("ActorDied")
        await fails("ActorDied")
        await fails("lately")
        assert len(ranking.calls) == 4
        await asyncio.sleep(0.06)
        ranking.replies["recommend"] = lambda *_: asyncio.sleep(0.03, answer)
        first, second = await asyncio.gather(
            api.recommend(query()), api.recommend(query()), return_exceptions=True
        )
        assert first == answer
        assert isinstance(second, BackendUnavailable)
        assert await api.recommend(query()) == answer
        # An error of the ranking itself is no failure to answer.
        ranking.replies["recommend"] = remote_error(StoreError("x"))
        for _ in range(4):
            with pytest.raises(StoreError):
                await api.recommend(query())

    asyncio.run(run())


def test_a_probe_that_fails_waits_for_another_cooldown(tmp_path, monkeypatch):
    monkeypatch.setattr(circuit_breaker, "COOLDOWN_S", 0.03)

    async def run():
        ranking = Handle(recommend=ActorDiedError())
        api, _ = api_of(tmp_path, ranking=ranking)
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="ActorDied"):
                await api.recommend(query())
        await asyncio.sleep(0.04)
        with pytest.raises(BackendUnavailable, match="ActorDied"):
            await api.recommend(query())
        with pytest.raises(BackendUnavailable, match="lately"):
            await api.recommend(query())

    asyncio.run(run())


def test_before_the_first_bundle_there_is_no_fallback(tmp_path):
    api, _ = api_of(tmp_path)
    with pytest.raises(BackendUnavailable, match="no bundle is loaded yet"):
        api.fallback(query())


def test_uploads_are_counted_by_what_became_of_them(tmp_path):
    embedded = EmbeddedVideo({}, {}, 1.0, 0.1, 0.2)

    async def run():
        api, _ = api_of(tmp_path)
        with pytest.raises(BackendUnavailable, match="no encoder is running") as error:
            await api.embed("/x", None, ())
        assert "serve.replicas.encoder" in (error.value.fix or "")
        encoder = Handle(video=embedded)
        api, recorder = api_of(tmp_path, encoder=encoder)
        assert await api.embed("/x", "title", ("tag",)) == embedded
        assert encoder.calls == [("video", "/x", "title", ("tag",))]
        encoder.replies["video"] = remote_error(VideoError("bad"))
        with pytest.raises(VideoError):
            await api.embed("/x", None, ())
        return recorder

    recorder = asyncio.run(run())
    assert recorder.counts == {("vrec_uploads", "embedded"): 1, ("vrec_uploads", "VideoError"): 1}


def test_events_that_come_during_a_call_go_together_and_each_call_has_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(event_sender_module, "MAX_BATCHED_CALLS", 3)

    async def store(table, sizes):
        await asyncio.sleep(0.01)
        return [EventsError("odd") if size == 2 else ApplyResult(size, 0) for size in sizes]

    async def run():
        profiles = Handle(apply=store)
        api, recorder = api_of(tmp_path, profiles=profiles)
        sent = [event_values(*(event(f"{n}-{i}") for i in range(n))) for n in (1, 2, 3, 4, 5)]
        done = await asyncio.gather(*(api.apply(rows) for rows in sent), return_exceptions=True)
        assert [one.new for n, one in enumerate(done) if n != 1] == [1, 3, 4, 5]
        assert isinstance(done[1], EventsError)
        assert [call[2] for call in profiles.calls] == [[1, 2, 3], [4, 5]]
        assert [call[1].num_rows for call in profiles.calls] == [6, 9]
        return recorder

    recorder = asyncio.run(run())
    assert recorder.sums["vrec_events", "new"] == 13
    assert recorder.sums["vrec_events", "refused"] == 2
    assert ("vrec_events", "repeated") not in recorder.sums


def test_senders_of_one_moment_share_the_calls_after_the_first_too(tmp_path, monkeypatch):
    monkeypatch.setattr(event_sender_module, "MAX_GATHER_S", 5.0)

    async def store(table, sizes):
        await asyncio.sleep(0.01)
        return [ApplyResult(size, 0) for size in sizes]

    async def run():
        profiles = Handle(apply=store)
        api, _ = api_of(tmp_path, profiles=profiles)

        async def send(*names):
            for name in names:
                await api.apply(event_values(event(name)))

        first = asyncio.gather(send("a1", "a2", "a3"), send("b1", "b2", "b3"))
        await asyncio.sleep(0)
        await asyncio.gather(first, send("c1", "c2"))
        return [call[2] for call in profiles.calls]

    # What is sent upon the reply of a call goes with what came during that call.
    assert asyncio.run(run()) == [[1, 1], [1, 1, 1], [1, 1, 1]]


def test_events_of_a_single_sender_wait_for_nobody(tmp_path, monkeypatch):
    waits, sleep = [], asyncio.sleep

    async def note(seconds):
        waits.append(seconds)
        await sleep(seconds)

    async def run():
        api, _ = api_of(tmp_path, profiles=Handle(apply=[ApplyResult(1, 0)]))
        for name in "abc":
            await api.apply(event_values(event(name)))

    monkeypatch.setattr(event_sender_module.asyncio, "sleep", note)
    asyncio.run(run())
    assert waits == []


def test_a_store_that_does_not_answer_fails_every_waiting_call(tmp_path):
    async def run():
        api, recorder = api_of(
            tmp_path, profiles=Handle(apply=lambda *_: asyncio.sleep(5)), apply_timeout_s=0.01
        )
        calls = [api.apply(event_values(event(name))) for name in "ab"]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, BackendUnavailable) for one in done)
        return recorder

    assert asyncio.run(run()).sums["vrec_events", "failed"] == 2


def test_readiness_names_each_part_that_is_not_ready(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "READY_TIMEOUT_S", 0.01)

    async def ready(**handles):
        api, _ = api_of(tmp_path, **handles)
        return await api.ready()

    state = asyncio.run(ready(ranking=Handle(refused="/b: bad"), encoder=Handle()))
    assert (state.ready, state.refused) == (True, "/b: bad")
    assert state.parts == {"profiles": None, "ranking": None, "encoder": None}
    state = asyncio.run(
        ready(
            profiles=Handle(ready=remote_error(StoreError("no room"))),
            ranking=Handle(ready=lambda: asyncio.sleep(5), refused="/b: bad"),
        )
    )
    assert not state.ready
    assert (state.parts["encoder"], state.refused) == (None, None)
    assert state.parts["profiles"].startswith("no room")
    assert state.parts["ranking"].startswith("no answer in 0.01 s")
    # A service without parts, or that refused a bundle, is ready.
    assert ServiceReadiness("v", {}, "bad").ready


class Engine:
    """An engine that gives what it was asked."""

    video_ids = ("a", "b", "c", "d", "e")
    live_model = None

    def __init__(self):
        self.counts, self.asked = [], []

    def recommend(self, query, user, book, **_):
        self.asked.append(user)
        return ListResult((), "v1", spent_ms={"ranker": 1.0})

    def search(self, text, vector, k, filters, at, book, **_):
        self.asked.append(vector)
        return ListResult((), "v1", ("some",))

    def set_video_counts(self, video_ids, counts):
        self.counts.append((list(video_ids), counts[:, 0].tolist()))


def ranking_of(folder, profiles, encoder=None, **settings):
    """(deployment, engine) with an engine that stands for a bundle."""
    deployment, engine = RankingDeployment(config_in(folder, **settings), profiles, encoder), Engine()
    loaded = LoadedBundle(engine, None, None)
    deployment._live.served.loaded = FollowedState(loaded, None, 0)
    deployment._rules.is_read = deployment._streams.is_read = True
    return deployment, engine


def test_a_profile_that_cannot_be_read_makes_a_shopper_unknown(tmp_path):
    async def run(reply, **settings):
        deployment, engine = ranking_of(tmp_path, Handle(shopper=reply), **settings)
        answer = await deployment.recommend(query("ann"))
        return answer, engine.asked[0]

    known = Profile("user", "ann", None, {"event:click": 3.0})
    answer, user = asyncio.run(run(known))
    assert (answer.degraded, user) == ((), known)
    assert list(answer.spent_ms) == ["profile", "ranker"]
    answer, user = asyncio.run(run(None))
    assert (answer.degraded, user.entity_id, user.counts) == ((), "ann", {})
    for reply in (RuntimeError("dead"), lambda _: asyncio.sleep(0.2, known)):
        answer, user = asyncio.run(run(reply, profile_timeout_s=0.05))
        assert (answer.degraded, user.counts) == (("profiles",), {})
        assert answer.spent_ms["profile"] < 150
    slow = asyncio.run(run(lambda _: asyncio.sleep(0.05, known), profile_timeout_s=1))[0]
    assert 50 <= slow.spent_ms["profile"] < 1000


def test_a_search_goes_on_by_words_where_the_text_cannot_be_embedded(tmp_path):
    vector = np.ones(3, np.float32)

    async def run(encoder, **settings):
        deployment, engine = ranking_of(tmp_path, Handle(), encoder, **settings)
        answer = await deployment.search("words", 3, NOTHING, 5)
        return answer.degraded, engine.asked[0]

    assert asyncio.run(run(None)) == (("some",), None)
    degraded, found = asyncio.run(run(Handle(text=vector)))
    assert (degraded, found.tolist()) == (("some",), [1, 1, 1])
    assert asyncio.run(run(Handle(text=RuntimeError()))) == (("encoder", "some"), None)
    # Half of the time for ranking is the encoder's.
    slow = Handle(text=lambda _: asyncio.sleep(0.2, vector))
    assert asyncio.run(run(slow, ranking_timeout_s=0.3)) == (("encoder", "some"), None)
    assert asyncio.run(run(slow, ranking_timeout_s=1))[0] == ("some",)


def test_counts_are_fetched_in_parts_and_followed_from_the_first_cursor(tmp_path, monkeypatch):
    monkeypatch.setattr(ranking_module, "COUNTS_PER_CALL", 2)
    cursors = iter([5, 6, 7])

    def counts(video_ids):
        return next(cursors), np.full((len(video_ids), len(VIDEO_COUNT_KEYS)), float(len(video_ids)))

    async def run():
        since = (9, ["b"], np.full((1, len(VIDEO_COUNT_KEYS)), 8.0))
        profiles = Handle(video_counts=counts, video_counts_since=since, owner="nobody")
        deployment, engine = ranking_of(tmp_path, profiles)
        await deployment._fetch_video_counts()
        assert engine.counts == [(["a", "b"], [2, 2]), (["c", "d"], [2, 2]), (["e"], [1])]
        await deployment._follow()
        assert profiles.calls[-1] == ("video_counts_since", 5)
        assert engine.counts[-1] == (["b"], [8])
        await deployment._follow()
        assert profiles.calls[-1] == ("video_counts_since", 9)
        profiles.replies["video_counts"] = RuntimeError("dead")
        await deployment._fetch_video_counts()
        profiles.replies["video_counts"] = lambda ids: (11, np.zeros((len(ids), len(VIDEO_COUNT_KEYS))))
        await deployment._follow()
        assert engine.counts[-1] == (["e"], [0])
        await deployment._follow()
        assert profiles.calls[-1] == ("video_counts_since", 11)

    asyncio.run(run())


def test_the_store_belongs_to_who_wrote_its_name_beside_it(tmp_path):
    config = SqliteConfig(path=str(tmp_path / "store.db"))
    assert not is_owned_by(config, "one")
    write_owner(config, "one")
    assert (tmp_path / "store.db.owner").read_text() == "one"
    assert is_owned_by(config, "one")
    assert not is_owned_by(config, "two")


def test_metrics_of_events_are_in_seconds_and_count_each_outcome():
    recorder, now = metrics.InMemoryMetricsRecorder(), time.time_ns() // 1000
    table = events(event("a", at=now - 90_000_000), event("b", at=now - 30_000_000))
    results = [ApplyResult(1, 2), StoreError("x"), ApplyResult(0, 1)]
    metrics.record_events(recorder, table, results, [3, 4, 1], 0.25)
    assert recorder.sums["vrec_events", "new"] == 1
    assert recorder.sums["vrec_events", "repeated"] == 3
    assert recorder.sums["vrec_events", "refused"] == 4
    assert recorder.sums["vrec_apply_seconds",] == 0.25
    assert 90 <= recorder.sums["vrec_event_lag_seconds",] < 100
    ahead = metrics.InMemoryMetricsRecorder()
    metrics.record_events(ahead, events(event("a", at=now + 10**9)), [ApplyResult(1, 0)], [1], 0.1)
    assert ahead.sums["vrec_event_lag_seconds",] == 0
    nothing = metrics.InMemoryMetricsRecorder()
    metrics.record_events(nothing, events(), [ApplyResult(0, 0)], [0], 0.1)
    assert set(nothing.sums) == {("vrec_apply_seconds",)}


def test_metrics_of_a_recommendation_leave_out_stages_where_ranking_was_not_called():
    answer = ListResult((), "v1", ("profiles", "encoder"), 7, spent_ms={"ranker": 250.0})
    called, alone = metrics.InMemoryMetricsRecorder(), metrics.InMemoryMetricsRecorder()
    metrics.record_recommendation(called, answer, "b", "feed", 0.5)
    metrics.record_recommendation(alone, answer, "b", "feed", None)
    common = {
        ("vrec_answers", "b", "feed"): 1,
        ("vrec_degraded", "profiles"): 1,
        ("vrec_degraded", "encoder"): 1,
    }
    assert alone.sums == common
    assert called.sums == common | {
        ("vrec_stage_seconds", "ranker"): 0.25, ("vrec_stage_seconds", "call"): 0.5, ("vrec_candidates",): 7,
    }  # fmt: skip


def test_a_gauge_keeps_its_last_value_and_a_counter_its_sum():
    recorder = metrics.InMemoryMetricsRecorder()
    for value in (1.0, 0.0):
        recorder.record(metrics.REFUSED, value)
        recorder.record(metrics.CHANGES, 2.0, change="put")
    assert recorder.sums == {("vrec_bundle_refused",): 0.0, ("vrec_catalogue_changes", "put"): 4.0}
    assert recorder.counts == {("vrec_bundle_refused",): 2, ("vrec_catalogue_changes", "put"): 2}


def test_names_that_prometheus_sees():
    assert metrics.HTTP.exported == (
        "ray_vrec_http_seconds_bucket", "ray_vrec_http_seconds_sum", "ray_vrec_http_seconds_count",
    )  # fmt: skip
    assert metrics.EVENTS.exported == ("ray_vrec_events_total",)
    assert metrics.REFUSED.exported == ("ray_vrec_bundle_refused",)


class Embedder:
    """Encoders that give the length of a text."""

    def texts(self, texts):
        return [np.float32([len(text)]) for text in texts]


def test_search_texts_are_embedded_together_and_without_encoders_not_at_all(tmp_path):
    async def run(loaded):
        deployment = EncoderDeployment(config_in(tmp_path))
        deployment._served.loaded = loaded
        # What Serve calls with the texts of several calls.
        return await EncoderDeployment.text.__wrapped__(deployment, ["a", "bb", "ccc"])

    assert asyncio.run(run(None)) == [None, None, None]
    assert [one.tolist() for one in asyncio.run(run(Embedder()))] == [[1], [2], [3]]


def test_a_video_cannot_be_embedded_by_a_bundle_without_encoders(tmp_path):
    with pytest.raises(ServeError, match="the bundle has no encoders") as error:
        asyncio.run(EncoderDeployment(config_in(tmp_path)).video("/x", None, ()))
    assert "vrec bundle --embeddings" in (error.value.fix or "")


def test_bundles_with_the_same_encoder_settings_share_the_encoders(tmp_path, monkeypatch):
    settings = {"a": "one", "b": "one", "c": "two", "d": None}
    monkeypatch.setattr(
        encoder_module.BundleCatalog,
        "load",
        lambda uri: SimpleNamespace(
            uri=uri, version=uri, encoder="e", embed=settings[uri], fingerprints=None
        ),
    )
    monkeypatch.setattr(encoder_module, "VideoEmbedder", lambda embed, device, copies: [embed, device])

    async def run():
        deployment, loaded = EncoderDeployment(config_in(tmp_path), "cuda"), []
        for uri in "abcda":
            await deployment.reconfigure({"bundle": uri})
            loaded.append(deployment._served.loaded)
            assert await deployment.ready() == uri
        return loaded

    a, b, c, d, again = asyncio.run(run())
    assert a is b
    assert (a, c, d, again) == (["one", "cuda"], ["two", "cuda"], None, ["one", "cuda"])
