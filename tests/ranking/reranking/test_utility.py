import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from tests.ranking.reranking.shop import predictions_of
from vrec.core.errors import RankError
from vrec.ranking.reranking.utility import UtilityConfig, UtilityWeights, utility, utility_slope

CHANCE = st.floats(0, 1, width=32)
HEADS = st.tuples(CHANCE, st.floats(0, 3600, width=32), CHANCE)
BLEND = st.builds(
    UtilityWeights,
    **{name: st.floats(0, 10) for name in ("click", "minute", "price_share", "unpriced")},
)
PRICE = st.one_of(st.just(float("nan")), st.floats(0, 1000, width=32))


def worth(heads, price, blend, surface="feed"):
    config = UtilityConfig(default=blend)
    return float(utility(predictions_of(*heads), np.array([price], np.float32), surface, config)[0])


def test_worth_by_hand():
    blend = UtilityWeights(click=0.5, minute=2.0, price_share=0.1, unpriced=7.0)
    assert worth((0.2, 90.0, 0.1), 30.0, blend) == pytest.approx(0.5 * 0.2 + 2 * 1.5 + 0.1 * 30 * 0.1)
    assert worth((0.2, 90.0, 0.1), float("nan"), blend) == pytest.approx(0.5 * 0.2 + 2 * 1.5 + 7 * 0.1)


def test_each_surface_has_its_own_aim():
    config = UtilityConfig(
        default=UtilityWeights(click=1.0, minute=0.0),
        surfaces={"live": UtilityWeights(click=0.0, minute=1.0)},
    )
    heads, price = predictions_of(0.5, 60.0), np.array([np.nan], np.float32)
    assert utility(heads, price, "feed", config)[0] == pytest.approx(0.5)
    assert utility(heads, price, "live", config)[0] == pytest.approx(1.0)


@given(HEADS, BLEND, PRICE)
def test_worth_is_the_sum_of_what_each_head_is_worth_alone(heads, blend, price):
    alone = [worth(tuple(h if i == j else 0.0 for j, h in enumerate(heads)), price, blend) for i in range(3)]
    assert worth(heads, price, blend) == pytest.approx(sum(alone), rel=1e-5, abs=1e-30)
    assert min(alone) >= 0


@given(HEADS, HEADS, BLEND, PRICE)
def test_worth_never_falls_when_a_head_rises(one, other, blend, price):
    low, high = np.minimum(one, other), np.maximum(one, other)
    assert worth(tuple(low), price, blend) <= worth(tuple(high), price, blend)


@given(st.floats(-6, 6), st.floats(0, 600), st.floats(0, 1), BLEND, PRICE)
def test_the_slope_is_that_of_worth_when_what_follows_a_click_stays(logit, seconds, rate, blend, price):
    def at(logit):
        p = expit(logit)
        sale = blend.unpriced if np.isnan(price) else blend.price_share * price
        return blend.click * p + blend.minute * p * seconds / 60 + sale * p * rate

    step, p = 1e-5, expit(logit)
    config, price32 = UtilityConfig(default=blend), np.array([price], np.float32)
    slope = utility_slope(predictions_of(p, p * seconds, p * rate), price32, "feed", config)[0]
    assert slope == pytest.approx((at(logit + step) - at(logit - step)) / (2 * step), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("heads", "price", "name"),
    [
        ((np.nan, 1, 0), 1, "p_click"),
        ((1.5, 1, 0), 1, "p_click"),
        ((0.5, -1, 0), 1, "watch_s"),
        ((0.5, np.inf, 0), 1, "watch_s"),
        ((0.5, 1, np.nan), 1, "p_conv"),
        ((0.5, 1, 0, -1.0), 1, "spread"),
        ((0.5, 1, 0), -2, "price"),
        ((0.5, 1, 0), np.inf, "price"),
    ],
)
def test_what_cannot_be_is_refused_by_name(heads, price, name):
    with pytest.raises(RankError, match=f"utility: {name} of 1 of 1 candidates"):
        utility(predictions_of(*heads), np.array([price], np.float32), "feed", UtilityConfig())


def test_no_candidates_are_worth_nothing():
    none = predictions_of(np.empty(0, np.float32))
    assert utility(none, np.empty(0, np.float32), "feed", UtilityConfig()).shape == (0,)
