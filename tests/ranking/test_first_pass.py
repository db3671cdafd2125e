"""The linear first pass: what it learns, and where a network ranker keeps it."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import spearmanr

from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.first_pass import LinearFirstPass
from vrec.ranking.network_ranker import NetworkRanker
from vrec.testing.rankers import SHOP
from vrec.testing.ranking_shop import network

RANKER = cache(lambda: network(SHOP()))


def features_of(part="train"):
    return RANKER().builder.build(getattr(SHOP(), part)[0])


@given(seed=st.integers(0, 2**32 - 1))
def test_it_learns_what_is_linear_in_its_inputs(seed):
    rng, features = np.random.default_rng(seed), features_of()
    items = rng.normal(size=(len(features), 5)).astype(np.float32)
    planted = rng.normal(size=5) * 0.5
    odds = items @ planted - 1
    truth = RankerPredictions(
        expit(odds).astype(np.float32),
        np.exp(0.3 * odds + 2).astype(np.float32),
        expit(0.5 * odds - 3).astype(np.float32),
        np.zeros(len(features), np.float32),
    )
    found = LinearFirstPass.fit(features, items, truth).predict(features, items)
    assert found.p_click == pytest.approx(truth.p_click, abs=0.02)
    assert found.p_conv == pytest.approx(truth.p_conv, abs=0.02)
    assert spearmanr(found.watch_s, truth.watch_s).statistic > 0.99
    assert not found.spread.any()


def test_a_trained_ranker_has_one_that_orders_much_as_it_does():
    features = features_of("valid")
    rough, exact = RANKER().predict_roughly(features), RANKER().predict(features)
    for name in ("p_click", "watch_s", "p_conv"):
        values = getattr(rough, name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    assert spearmanr(rough.p_click, exact.p_click).statistic > 0.8


def test_it_is_kept_on_disk_and_for_some_of_the_videos(tmp_path):
    RANKER().save(str(tmp_path / "ranker"))
    requests, features = SHOP().valid[0], features_of("valid")
    want = RANKER().predict_roughly(features).p_click
    loaded = NetworkRanker.load(str(tmp_path / "ranker"))
    assert loaded.predict_roughly(features).p_click.tolist() == want.tolist()
    needed = [
        *(v for r in requests for v in r.video_ids),
        *(e.video_id for r in requests for e in r.user.history),
    ]
    some = RANKER().restricted_to(needed)
    assert some.predict_roughly(some.builder.build(requests)).p_click == pytest.approx(want, rel=1e-5)


def test_without_impressions_there_is_none():
    assert RANKER().fit_first_pass(features_of().take(np.zeros(0, np.int64))) is None
