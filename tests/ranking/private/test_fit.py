"""The private ranker: what one shopper can change, and what requests cannot bring back when serving."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.logs import CONFIG, requests_of, same_features, shop, some_log
from tests.ranking.small_networks import CONFIGS
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, RankError
from vrec.core.types import CatalogContent
from vrec.privacy.accounting import MechanismCost
from vrec.ranking.config import RankerConfig
from vrec.ranking.labels import build_labels
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.networks.config import RankerHeadsConfig
from vrec.ranking.networks.multitask import multitask_losses
from vrec.ranking.private.config import PrivateRankerConfig
from vrec.ranking.private.counts import CLICKED, SHOWN, NoisedCounts
from vrec.ranking.private.fit import ImpressionLog, fit_private_ranker
from vrec.ranking.private.gradients import ShopperGradients
from vrec.ranking.private.space import catalog_ids, private_space

SETTINGS = RankerConfig()
CLICK = RankerHeadsConfig(heads=("click",), tower=())
COSTS = MechanismCost(0.5), MechanismCost(0.5, 0.5, 4)


def zeros(count):
    return np.zeros(count)


def counts_of(log, content, normals=zeros, impressions=6.0):
    noise = {"impressions": impressions, "multiplier": 1.0, "normals": normals}
    return NoisedCounts.release(log.shopper, log.videos, log.labels, catalog_ids(content), **noise)


def features_of(events, content, totals=None):
    """Features of a log's impressions, with noised counts of its own or with those of another."""
    log = ImpressionLog.from_events(events, content, SETTINGS, CONFIG)
    counts = counts_of(log, content, np.random.default_rng(0).standard_normal)
    counts = counts if totals is None else replace(counts, totals=totals)
    space = private_space(content, SETTINGS.features, (), counts.released(), counts.prior)
    return log, counts, log.features(space, content, counts)


def fitted(private=None, events=None, costs=COSTS, **more):
    log, content = shop()
    log = log if events is None else events
    private = private or PrivateRankerConfig(steps=4)
    return fit_private_ranker(SETTINGS, private, costs, events=log, content=content, profiles=CONFIG, **more)


def test_a_shopper_more_changes_nothing_of_the_others_examples():
    events, content = shop()
    log, counts, features = features_of(events, content)
    shoppers = events["user_id"].unique().to_pylist()
    for left_out in shoppers[:3]:
        without = events.filter(pc.not_equal(events["user_id"], left_out))
        # What was released is given: all else must be the same to the last bit.
        other, _, fewer = features_of(without, content, totals=counts.totals)
        rows = np.flatnonzero(np.isin(log.labels.user, other.labels.user))
        assert same_features(features.take(rows), fewer)
        assert log.labels.take(rows).click.tolist() == other.labels.click.tolist()


@settings(max_examples=30)
@given(some_log(), st.floats(1, 30))
def test_what_a_shopper_gives_to_the_counts_is_bounded(events, impressions):
    if "impression" not in events["kind"].to_pylist():
        return
    _, content = shop()
    log = ImpressionLog.from_events(events, content, SETTINGS, CONFIG)
    counts = counts_of(log, content, impressions=impressions)
    norms = np.sqrt(np.asarray(counts.given.multiply(counts.given).sum(axis=1)))
    assert (norms <= np.sqrt(impressions)).all()
    np.testing.assert_allclose(
        counts.totals, np.asarray(counts.given.sum(axis=0)).reshape(2, -1).T, atol=1e-9
    )
    assert counts.shoppers == pytest.approx(len(np.unique(log.labels.user)))


def test_the_counts_in_training_are_those_of_the_others():
    events, content = shop()
    log = ImpressionLog.from_events(events, content, SETTINGS, CONFIG)
    counts = counts_of(log, content, impressions=1e4)
    found = counts.without_own(log.shopper, log.videos)
    names, more = log.videos.to_pylist(), 2 * counts.noise
    for row in range(0, len(names), 17):
        others = [
            i for i in range(len(names)) if names[i] == names[row] and log.shopper[i] != log.shopper[row]
        ]
        assert found[row, SHOWN] == pytest.approx(len(others) + more, abs=1e-4)
        clicks = log.labels.click[others].sum() + more * counts.prior.rate
        assert found[row, CLICKED] == pytest.approx(clicks, abs=1e-4)


@pytest.mark.parametrize("name", ["lr", "lr without content", "dcn", "din", "din prelu"])
def test_gradients_are_those_of_each_shopper_alone(name):
    events, content = shop()
    log, _, features = features_of(events, content)
    config = SETTINGS.model_copy(update={"network": CONFIGS[name], "heads": CLICK})
    network, _ = build_untrained(config, features.shape, log.labels)
    most = int(np.bincount(log.shopper).max())
    device = torch.device("cpu")
    gradients = ShopperGradients(network, features, log.labels, log.shopper, examples=most, device=device)
    found = gradients(np.arange(len(gradients)))
    assert found.shape == (len(gradients), gradients.width)
    for shopper in (0, 3, len(gradients) - 1):
        rows = np.flatnonzero(log.shopper == shopper)
        batch, labels = gradients.data.take(rows)
        network.zero_grad()
        loss = multitask_losses(network(batch, gradients.catalog), labels, CLICK)["total"]
        (loss * len(rows) / most).backward()
        expected = np.concatenate(
            [
                (torch.zeros_like(w) if w.grad is None else w.grad).flatten().numpy()
                for w in network.parameters()
            ]
        )
        np.testing.assert_allclose(found[shopper], expected, atol=1e-6, rtol=1e-4)
    few = ShopperGradients(network, features, log.labels, log.shopper, examples=2, device=device)
    rows, used = few._draw(np.arange(len(few)))
    assert (log.shopper[rows] == np.arange(len(few))[:, None])[used].all()
    assert used.sum(axis=1).max() == 2


def test_requests_cannot_bring_exact_counts_back(tmp_path):
    ranker = fitted()
    ranker.promise = {"epsilon": 4}
    ranker.save(str(tmp_path / "ranker"))
    loaded = NetworkRanker.load(str(tmp_path / "ranker"))
    assert loaded.promise == {"epsilon": 4}
    assert (loaded.factor, loaded.first_pass, loaded.calibrators, loaded.metrics) == (None, None, {}, {})
    events, content = shop()
    requests = requests_of(events, content)[:20]
    others = [replace(r, video_counts=r.video_counts * 7 + 3) for r in requests]
    expected = ranker.predict_requests(requests).p_click
    assert np.array_equal(expected, ranker.predict_requests(others).p_click)
    assert np.array_equal(expected, loaded.predict_requests(others).p_click)
    for file in (tmp_path / "ranker").iterdir():
        data = file.read_bytes()
        assert not any(user.encode() in data for user in events["user_id"].unique().to_pylist())


def test_vocabularies_are_those_of_the_catalog():
    events, _ = shop()
    named = pa.array(["rare-surface"] * events.num_rows)
    ranker = fitted(events=events.set_column(events.column_names.index("domain"), "domain", named))
    assert ranker.space.vocabularies["surface"] == ()
    assert ranker.space.vocabularies["video_id"] == ()
    assert fitted(PrivateRankerConfig(steps=1, surfaces=("feed",))).space.vocabularies["surface"] == ("feed",)


def test_noise_is_drawn_anew_for_each_fit():
    first, second = (fitted().network.state_dict() for _ in range(2))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_what_has_no_private_form_is_refused():
    log, content = shop()
    heads = SETTINGS.heads.model_copy(update={"heads": ("click", "watch")})
    given_log = {"events": log, "profiles": CONFIG}
    with pytest.raises(ConfigError, match="the head watch of a ranker has no private form"):
        fit_private_ranker(
            SETTINGS.model_copy(update={"heads": heads}),
            PrivateRankerConfig(),
            COSTS,
            content=content,
            **given_log,
        )
    with pytest.raises(RankError, match="a private ranker needs VIDEOS"):
        fit_private_ranker(SETTINGS, PrivateRankerConfig(), COSTS, content=CatalogContent(), **given_log)
    with pytest.raises(RankError, match="is an impression"):
        fitted(events=log.filter(pc.equal(log["kind"], "click")))


def test_labels_need_nothing_but_the_log_of_a_shopper():
    events, content = shop()
    everyone = build_labels(events, content.videos, SETTINGS.labels)
    one = events.filter(pc.equal(events["user_id"], events["user_id"][0]))
    own = build_labels(one, content.videos, SETTINGS.labels)
    assert own.click.tolist() == everyone.click[everyone.user == own.user[0]].tolist()
