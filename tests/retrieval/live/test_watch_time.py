"""Watch time: the truth that views were drawn by is found, also where streams end before the views would."""

import numpy as np
import pytest
from scipy.special import expit

from vrec.retrieval.live.watch_time import WatchTimeModel

STAY, LENGTH, DEVIATION = np.array([1.0, 0.0, 0.5]), np.array([0.4, 0.2, 6.5]), 0.7


def draw(number: int, left_s: float, seed: int):
    """Return features, seconds, whether cut off, and the lengths without an end of the stream."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(number, 2)) * [1, 3]).astype(np.float32)
    stays = rng.random(number) < expit(features @ STAY[:-1] + STAY[-1])
    long = np.exp(features @ LENGTH[:-1] + LENGTH[-1] + DEVIATION * rng.normal(size=number))
    wanted = np.where(stays, 60 + long, rng.uniform(1, 59, number))
    left = rng.exponential(left_s, number) if np.isfinite(left_s) else np.full(number, np.inf)
    return features, np.minimum(wanted, left), left < wanted, wanted


def test_the_truth_is_found_without_ends():
    features, seconds, cut_off, _ = draw(20_000, np.inf, 0)
    model = WatchTimeModel.fit(features, seconds, cut_off, 60.0)
    assert model.stay == pytest.approx(STAY, abs=0.08)
    assert model.length[:2] == pytest.approx(LENGTH[:2], abs=0.05)
    assert model.early_s == pytest.approx(30, abs=2)
    assert model.stay_probability(features).mean() == pytest.approx((seconds >= 60).mean(), abs=0.01)


def test_ends_of_streams_do_not_shorten_the_prediction():
    features, seconds, cut_off, wanted = draw(20_000, 1500.0, 1)
    assert 0.2 < cut_off.mean() < 0.6
    honest = WatchTimeModel.fit(features, seconds, cut_off, 60.0)
    naive = WatchTimeModel.fit(features, seconds, np.zeros_like(cut_off), 60.0)
    stays = wanted >= 60
    truth = np.log(wanted[stays]).mean()

    def predicted(model: WatchTimeModel) -> float:
        return float((features[stays] @ model.length[:-1] + model.length[-1]).mean())

    assert predicted(honest) == pytest.approx(truth, abs=0.1)
    assert predicted(naive) < truth - 0.25
    # Views that a stream's end cut off soon were not left early.
    assert honest.stay == pytest.approx(STAY, abs=0.25)


@pytest.mark.parametrize("seconds", [30.0, 300.0])
def test_views_of_one_kind_can_be_fitted(seconds):
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    model = WatchTimeModel.fit(features, np.full(50, seconds), np.zeros(50, bool), 60.0)
    assert model.expected_seconds(features) == pytest.approx(np.full(50, seconds), rel=0.2)
    assert WatchTimeModel.restore(model.arrays()).expected_seconds(features) == pytest.approx(
        model.expected_seconds(features)
    )


def test_a_view_that_its_stream_cut_off_was_not_left_early():
    features = np.zeros((200, 1), np.float32)
    cut_off = np.arange(200) < 100
    model = WatchTimeModel.fit(features, np.full(200, 30.0), cut_off, 60.0)
    assert model.stay_probability(features) == pytest.approx(np.full(200, 0.5), abs=0.01)
