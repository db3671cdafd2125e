"""The recommender of live streams: nothing of the future, nothing that ended, better than what is popular."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from vrec.core.errors import FitError, ModelError
from vrec.retrieval.live.attention import LiveAttention, LiveAttentionNetwork
from vrec.retrieval.live.config import LiveAttentionConfig, LiveConfig
from vrec.retrieval.live.features import FEATURES
from vrec.retrieval.live.log import DAY_US, LiveLog
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.live.replay import LiveReplay
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import simulate_live
from vrec.training.device import seeded_rng

ALONE = LiveConfig(attention=None)
WORLD = LiveSimulationConfig(shoppers=300, streamers=120, days=14, dim=8)


@pytest.fixture(scope="module")
def log() -> LiveLog:
    drawn = simulate_live(WORLD)
    return LiveLog.from_tables(drawn.events, drawn.streams, drawn.vectors)


@pytest.fixture(scope="module")
def cut() -> int:
    return round(WORLD.start.timestamp() * 1e6) + 11 * DAY_US


@pytest.fixture(scope="module")
def model(log, cut) -> LiveRecommender:
    return LiveRecommender(ALONE).fit(log.until(cut))


def attentive(model: LiveRecommender) -> LiveRecommender:
    """Return the model with an attention that says anything."""
    settings = LiveAttentionConfig(dim=8)
    with seeded_rng(0):
        network = LiveAttentionNetwork(len(model.streamers), len(FEATURES), WORLD.dim, settings).eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    other = copy.copy(model)
    other.config = LiveConfig(attention=settings)
    other.attention = LiveAttention(
        network, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), torch.device("cpu")
    )
    return other


def features_at(model: LiveRecommender, log: LiveLog, user: int, at: int) -> np.ndarray:
    replay = LiveReplay(log, 60.0)
    replay.advance(at)
    return model.features(log, replay.views(user, 300), replay.now())


def attentive_scores(model: LiveRecommender, log: LiveLog, user: int, at: int) -> np.ndarray:
    replay = LiveReplay(log, 60.0)
    replay.advance(at)
    return attentive(model).score(log, replay.views(user, 300), replay.now())


def test_features_know_nothing_that_came_later(model, log):
    """Views that begin later are taken away, and those that go on end at another time."""
    rng = np.random.default_rng(0)
    for turn, row in enumerate(rng.choice(len(log.view_start), 60, replace=False)):
        at, user = int(log.view_start[row]), int(log.view_user[row])
        if turn % 2:  # in the middle of the view
            at += int(log.view_end[row] - log.view_start[row]) // 4
        begun = log.view_start < at
        later = np.where(log.view_end > at, at + rng.integers(1, DAY_US, len(begun)), log.view_end)
        changed = dataclasses.replace(
            log,
            view_user=log.view_user[begun],
            view_stream=log.view_stream[begun],
            view_start=log.view_start[begun],
            view_end=later[begun],
        )
        found = features_at(model, log, user, at)
        assert found.shape == (len(log.live_at(at)), len(FEATURES))
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, features_at(model, changed, user, at))
        scores = [attentive_scores(model, one, user, at) for one in (log, changed)]
        np.testing.assert_array_equal(*scores)


def test_a_replay_in_steps_is_one_in_a_single_step(log):
    stepwise = LiveReplay(log, 60.0)
    for at in range(int(log.view_start[0]), int(log.view_start[-1]), DAY_US // 7):
        stepwise.advance(at)
        whole = LiveReplay(log, 60.0)
        whole.advance(at)
        one, other = stepwise.now(), whole.now()
        for field in dataclasses.fields(one):
            np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-9)
        begun = (log.view_start < at) & (at < log.view_end)
        viewers = np.bincount(log.view_stream[begun], minlength=len(log.streams))
        np.testing.assert_array_equal(one.viewers, viewers[one.stream])


def test_what_is_recommended_is_live(model, log, cut):
    users = log.users.ids.to_pylist()[:20]
    for at in range(cut, cut + 2 * DAY_US, DAY_US // 8):
        live = set(log.streams.names(log.live_at(at)).to_pylist())
        found = model.recommend(log, [*users, "nobody"], 5, at)
        assert set(found.column("video_id").to_pylist()) <= live
        counts = found.group_by("user_id").aggregate([("rank", "count"), ("rank", "max")]).to_pylist()
        assert all(row["rank_count"] == row["rank_max"] == min(5, len(live)) for row in counts)
        assert len(counts) == (21 if live else 0)


def first_places(model: LiveRecommender, log: LiveLog, cut: int) -> dict[str, np.ndarray]:
    """Return whether the stream that was watched comes first: by the model, and by viewers."""
    replay, found = LiveReplay(log, 60.0), {"live": [], "popular": []}
    for row in np.flatnonzero(log.view_start >= cut):
        replay.advance(int(log.view_start[row]))
        now = replay.now()
        scores = model.score(log, replay.views(int(log.view_user[row]), 300), now)
        for name, values in (("live", scores), ("popular", now.viewers)):
            found[name].append(now.stream[values.argmax()] == log.view_stream[row])
    return {name: np.array(values) for name, values in found.items()}


def test_it_knows_whom_a_shopper_comes_for(model, log, cut):
    found = first_places(model, log, cut)
    assert len(found["live"]) > 200
    assert found["live"].mean() > 3 * found["popular"].mean()


@pytest.mark.parametrize("has_attention", [False, True])
def test_a_loaded_model_scores_alike(model, log, cut, tmp_path, has_attention):
    model = attentive(model) if has_attention else model
    model.save(str(tmp_path / "live"))
    loaded = LiveRecommender.load(str(tmp_path / "live"))
    users = log.users.ids.to_pylist()[:10]
    assert loaded.config == model.config
    assert loaded.recommend(log, users, 5, cut).equals(model.recommend(log, users, 5, cut))
    with pytest.raises(ModelError):
        LiveRecommender.load(str(tmp_path))


def test_attention_is_kept_where_it_helps_the_newest_views(log, cut):
    settings = LiveAttentionConfig(dim=8, epochs=2)
    model = LiveRecommender(LiveConfig(attention=settings)).fit(log.until(cut))
    gain = model.report["with_attention"] - model.report["without_attention"]
    assert (model.attention is not None) == (gain > 0)


def test_the_features_alone_are_the_model_without_attention(model, log):
    replay = LiveReplay(log, 60.0)
    replay.advance(int(log.view_start[-1]))
    views, now = replay.views(int(log.view_user[-1]), 300), replay.now()
    expected = model.features(log, views, now) @ model.weights
    np.testing.assert_allclose(model.score(log, views, now), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(attentive(model).score(log, views, now) - expected).max() > 0.1
    seconds = model.expected_seconds(log, views, now)
    assert seconds.shape == expected.shape
    assert (seconds > 0).all()


def test_streamers_that_came_after_the_fit_are_candidates(log, cut):
    """The same log in another fit, which lacks a third of the streamers: ids have other rows there."""
    kept = log.streamer % 3 > 0
    views = kept[log.view_stream]
    fitted = dataclasses.replace(
        log,
        ended=np.where(kept, log.ended, log.started),
        **{
            f"view_{name}": getattr(log, f"view_{name}")[views] for name in ("user", "stream", "start", "end")
        },
    )
    model = attentive(LiveRecommender(ALONE).fit(fitted.until(cut)))
    at = cut + DAY_US * 5 // 6
    found = model.recommend(log, log.users.ids.to_pylist(), 100, at)
    shown = set(found.column("video_id").to_pylist())
    assert shown == set(log.streams.names(log.live_at(at)).to_pylist())


def test_streams_without_content_can_be_fitted(log, cut):
    bare = dataclasses.replace(log, content=None, category=np.full(len(log.streams), -1))
    settings = LiveConfig(attention=LiveAttentionConfig(dim=8, epochs=1))
    model = LiveRecommender(settings).fit(bare.until(cut))
    names = [name for name in FEATURES if name.startswith(("content_", "category_"))]
    assert [model.report["weights"][name] for name in names] == [0.0] * len(names)
    found = first_places(model, bare, cut)
    assert found["live"].mean() > 2 * found["popular"].mean()


def test_too_little_to_learn_from_is_refused(log):
    with pytest.raises(FitError, match="too few"):
        LiveRecommender().fit(log.until(int(log.view_end[5])))
    with pytest.raises(FitError, match="k is 0"):
        LiveRecommender(LiveConfig()).recommend(log, [], 0, 0)
