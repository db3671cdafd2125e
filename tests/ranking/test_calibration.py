import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import ModelError, RankError
from vrec.evaluation.ranking.metrics import auc, bias, ece, xauc
from vrec.ranking.calibration import CalibrationConfig, Calibrator, fit_calibrators
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions

ISOTONIC, TEMPERATURE, NONE = (CalibrationConfig(method=m) for m in ("isotonic", "temperature", "none"))
EACH = pytest.mark.parametrize("config", [ISOTONIC, TEMPERATURE, NONE], ids=lambda config: config.method)
BOTH = pytest.mark.parametrize("config", [ISOTONIC, TEMPERATURE], ids=lambda config: config.method)


def clicks(rows=20_000, seed=0, slope=1.0, offset=0.0):
    """(true chance, prediction whose log-odds are a line of the truth's, outcome)."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 9, rows)
    predicted = expit(slope * logit(np.clip(chance, 1e-6, 1)) + offset)
    return chance, predicted.astype(np.float32), (rng.random(rows) < chance).astype(np.float32)


def watches(rows=20_000, seed=0):
    """(true mean, prediction of the right order, seconds), half of them 0."""
    rng = np.random.default_rng(seed)
    mean = rng.exponential(20, rows)
    watch = np.where(rng.random(rows) < 0.5, 0, rng.exponential(2 * mean))
    return mean, (0.2 * mean**1.3).astype(np.float32), watch.astype(np.float32)


@BOTH
def test_what_was_wrong_is_right_on_fresh_rows(config):
    calibrator = Calibrator.fit(config, *clicks(slope=0.5, offset=1)[1:], scale="chance")
    assert calibrator.method == config.method
    chance, predicted, clicked = clicks(seed=1, slope=0.5, offset=1)
    found = calibrator.apply(predicted)
    assert ece(clicked, predicted, 20) > 0.1
    assert ece(clicked, found, 20) < 0.012
    assert np.abs(found - chance).mean() < 0.008
    assert auc(clicked, found) == pytest.approx(auc(clicked, predicted), abs=1e-5)


@BOTH
def test_what_was_right_stays(config):
    calibrator = Calibrator.fit(config, *clicks()[1:], scale="chance")
    chance, predicted, clicked = clicks(seed=1)
    found = calibrator.apply(predicted)
    assert np.abs(found - chance).mean() < 0.01
    assert ece(clicked, found, 20) < 0.012


def test_temperature_is_logistic_regression_on_the_log_odds():
    _, predicted, clicked = clicks(rows=3000, slope=0.7, offset=-1)
    weight = np.random.default_rng(3).exponential(1, 3000)
    calibrator = Calibrator.fit(TEMPERATURE, predicted, clicked, weight.astype(np.float32), scale="chance")
    odds = logit(predicted.astype(np.float64))[:, None]
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=500).fit(odds, clicked, weight)
    np.testing.assert_allclose(calibrator.line, [oracle.coef_[0, 0], oracle.intercept_[0]], rtol=1e-4)


def test_isotonic_goes_through_the_centres_of_scikit_learns_steps():
    _, predicted, clicked = clicks(rows=5000, slope=0.5)
    # Of equal predictions each row counts.
    predicted = np.where(predicted > 0.3, predicted.round(2), predicted)
    calibrator = Calibrator.fit(ISOTONIC, predicted, clicked, scale="chance")
    steps = IsotonicRegression(y_min=0, y_max=1).fit_transform(predicted, clicked)
    values = np.unique(steps)
    centres = np.array([predicted[steps == value].mean(dtype=np.float64) for value in values])
    # The rows added at both ends change the outer steps only.
    inner = slice(4, -3)
    np.testing.assert_allclose(calibrator.apply(centres[inner].astype(np.float32)), values[inner], atol=1e-4)


def test_isotonic_sets_seconds_right():
    calibrator = Calibrator.fit(ISOTONIC, *watches()[1:], scale="seconds")
    mean, predicted, watch = watches(seed=1)
    found = calibrator.apply(predicted)
    assert abs(bias(watch, predicted)) > 3
    assert abs(bias(watch, found)) < 1.5
    assert abs(bias(watches()[2], calibrator.apply(watches()[1]))) < 0.1
    assert np.abs(found - mean).mean() < 0.15 * mean.mean()
    assert xauc(watch, found) == pytest.approx(xauc(watch, predicted), abs=1e-5)
    factor = Calibrator.fit(TEMPERATURE, *watches()[1:], scale="seconds")
    assert abs(bias(*(watches()[2], factor.apply(watches()[1])))) < 1e-3


@BOTH
def test_predictions_beyond_all_that_was_seen_keep_their_order(config):
    _, predicted, clicked = clicks()
    calibrator = Calibrator.fit(config, predicted, clicked, scale="chance")
    low, high = predicted.min(), predicted.max()
    grid = np.concatenate([np.linspace(0, low, 9), np.linspace(high, 1, 9)]).astype(np.float32)
    found = calibrator.apply(grid)
    assert (np.diff(found) > 0).all()
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[-1] == pytest.approx(1, abs=1e-6)
    _, seconds, watch = watches()
    factor = Calibrator.fit(config, seconds, watch, scale="seconds").apply(np.float32([1, 2]) * seconds.max())
    assert factor[1] == pytest.approx(2 * factor[0], rel=1e-5)


chances = hnp.arrays(np.float32, st.integers(1, 80), elements=st.sampled_from([0, 0.1, 0.5, 0.5001, 0.9, 1]))


@given(chances, st.data(), st.sampled_from([ISOTONIC, TEMPERATURE, NONE]), st.booleans())
def test_any_rows_give_a_rising_function_within_bounds(predicted, data, config, seconds):
    config = config.model_copy(update={"fewest": 2})
    outcomes = st.sampled_from([0, 0, 3.5, 100] if seconds else [0, 1])
    outcome = data.draw(hnp.arrays(np.float32, len(predicted), elements=outcomes))
    calibrator = Calibrator.fit(config, predicted, outcome, scale="seconds" if seconds else "chance")
    grid = np.linspace(0, 1, 257, dtype=np.float32)
    if seconds:
        grid = np.append(grid, np.float32([2, 50, 1e4]))
    found = calibrator.apply(grid)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert seconds or found.max() <= 1
    assert (np.diff(found) >= 0).all()
    assert (np.diff(calibrator.xs) > 0).all()
    assert (np.diff(calibrator.ys) > 0).all()


@EACH
def test_a_row_alone_gives_what_it_gives_among_others(config):
    _, predicted, clicked = clicks(rows=500)
    calibrator = Calibrator.fit(config, predicted, clicked, scale="chance")
    alone = [calibrator.apply(predicted[i : i + 1])[0] for i in range(100)]
    np.testing.assert_array_equal(calibrator.apply(predicted[:100]), np.array(alone))
    assert calibrator.apply(predicted[:0]).shape == (0,)


@EACH
@pytest.mark.parametrize("scale", ["chance", "seconds"])
def test_a_stored_calibrator_is_the_same(config, scale, tmp_path):
    _, predicted, outcome = clicks() if scale == "chance" else watches()
    calibrator = Calibrator.fit(config, predicted, outcome, scale=scale)
    write_artifact(str(tmp_path), ModelArtifact("test", {}, calibrator.arrays()))
    again = Calibrator.restore(read_artifact(str(tmp_path)).arrays)
    assert (again.method, again.scale) == (calibrator.method, calibrator.scale)
    np.testing.assert_array_equal(again.apply(predicted), calibrator.apply(predicted))


def test_what_is_no_calibrator_is_refused():
    arrays = Calibrator.fit(ISOTONIC, *clicks(rows=500)[1:], scale="chance").arrays()
    with pytest.raises(ModelError, match="no array xs, line"):
        Calibrator.restore({name: arrays[name] for name in ("method", "scale", "ys")})
    with pytest.raises(ModelError, match="the calibrator is of magic, want one of isotonic"):
        Calibrator.restore({**arrays, "method": np.array("magic")})


@EACH
@pytest.mark.parametrize("scale", ["chance", "seconds"])
def test_the_order_of_rows_is_of_no_consequence(config, scale):
    _, predicted, outcome = clicks(rows=2000) if scale == "chance" else watches(rows=2000)
    rng = np.random.default_rng(2)
    weight, shuffled = rng.exponential(1, 2000).astype(np.float32), rng.permutation(2000)
    one = Calibrator.fit(config, predicted, outcome, weight, scale=scale)
    other = Calibrator.fit(config, predicted[shuffled], outcome[shuffled], weight[shuffled], scale=scale)
    np.testing.assert_array_equal(one.apply(predicted), other.apply(predicted))


@BOTH
def test_a_weight_counts_like_as_many_rows(config):
    _, predicted, clicked = clicks(rows=2000)
    times = np.random.default_rng(2).integers(0, 4, 2000)
    weighted = Calibrator.fit(config, predicted, clicked, times.astype(np.float32), scale="chance")
    repeated = Calibrator.fit(config, predicted.repeat(times), clicked.repeat(times), scale="chance")
    # The rows added at the ends weigh as much as the mean row, which differs.
    inner = np.sort(predicted)[200:-200]
    np.testing.assert_allclose(weighted.apply(inner), repeated.apply(inner), atol=1e-3)


@BOTH
def test_with_few_clicks_only_the_mean_is_set_right(config):
    _, predicted, clicked = clicks(rows=100, slope=0.5, offset=1)
    assert 0 < clicked.sum() < 30
    calibrator = Calibrator.fit(config, predicted, clicked, scale="chance")
    assert calibrator.method == "shift"
    found = calibrator.apply(predicted)
    assert found.mean() == pytest.approx(clicked.mean(), rel=1e-5)
    np.testing.assert_allclose(np.diff(logit(found) - logit(predicted)), 0, atol=1e-4)
    _, seconds, watch = watches(rows=40)
    assert 0 < (watch > 0).sum() < 30
    few = Calibrator.fit(config, seconds, watch, scale="seconds")
    assert few.method == "shift"
    assert few.apply(seconds).mean() == pytest.approx(watch.mean(), rel=1e-5)


@EACH
def test_with_one_outcome_nothing_is_changed(config):
    predicted = np.linspace(0, 1, 200, dtype=np.float32)
    for outcome in (np.zeros(200, np.float32), np.ones(200, np.float32)):
        calibrator = Calibrator.fit(config, predicted, outcome, scale="chance")
        assert calibrator.method == "none"
        np.testing.assert_array_equal(calibrator.apply(predicted), predicted)
    none = np.zeros(0, np.float32)
    assert Calibrator.fit(config, none, none, scale="chance").method == "none"
    assert Calibrator.fit(config, predicted, np.zeros(200, np.float32), scale="seconds").method == "none"
    watch = np.ones(200, np.float32)
    assert Calibrator.fit(config, np.zeros(200, np.float32), watch, scale="seconds").method == "none"


@BOTH
def test_a_ranker_that_is_wrong_about_the_order_is_not_turned_round(config):
    chance, _, clicked = clicks()
    calibrator = Calibrator.fit(config, (1 - chance).astype(np.float32), clicked, scale="chance")
    low, high = calibrator.apply(np.float32([0.6, 0.95]))
    assert clicked.mean() * 0.8 < low < high < clicked.mean() * 1.2


@pytest.mark.parametrize(
    ("predicted", "outcome", "weight", "scale", "message"),
    [
        (
            [0.1, np.nan],
            [0, 1],
            None,
            "chance",
            "predicted: 1 of 2 are not a valid predicted for chance, such as nan",
        ),
        ([0.1, 1.5], [0, 1], None, "chance", "predicted: 1 of 2 .* such as 1.5 in row 1"),
        ([0.1, 0.5], [0, 0.5], None, "chance", "outcome: 1 of 2 .* such as 0.5 in row 1"),
        ([0.1, 0.5], [0, 1], [1, -1], "chance", "weight: 1 of 2"),
        ([0.1, np.inf], [0, 1], None, "seconds", "predicted: 1 of 2"),
        ([0.1, 3], [0, -1], None, "seconds", "outcome: 1 of 2"),
        ([0.1, 3], [0], None, "seconds", "do not have one number for each row"),
    ],
)
def test_what_cannot_be_is_refused(predicted, outcome, weight, scale, message):
    arrays = [None if v is None else np.array(v, dtype=np.float32) for v in (predicted, outcome, weight)]
    with pytest.raises(RankError, match=message):
        Calibrator.fit(ISOTONIC, *arrays, scale=scale)


def fit(predicted, outcome, weight=None, *, scale="chance", **config):
    arrays = [None if values is None else np.float32(values) for values in (predicted, outcome, weight)]
    return Calibrator.fit(CalibrationConfig(**({"fewest": 1} | config)), *arrays, scale=scale)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        # Two steps at their centers 0.2 and 0.8; a row of the mean 0.5 at each end makes them 1/6 and 5/6.
        ([0.2, 0.2, 0.8, 0.8], {0.1: 1 / 12, 0.2: 1 / 6, 0.5: 0.5, 0.9: 11 / 12, 1.0: 1.0}),
        # Pooled steps at 1/6 and 5/6 on the diagonal; beyond them the slope goes on to the outermost rows.
        ([0.1, 0.3, 0.7, 0.9], {0.05: 0.05, 0.1: 0.1, 0.25: 0.25, 0.9: 0.9}),
        # Steps at 0.35 and 0.65: the slope would fall by 1/9 at 0.3, but half of the way to 0 is the limit.
        ([0.3, 0.45, 0.55, 0.7], {0.15: 1 / 24, 0.3: 1 / 12, 0.35: 1 / 6, 0.65: 5 / 6, 0.7: 11 / 12}),
    ],
)
def test_isotonic_by_hand(predicted, expected):
    found = fit(predicted, [0, 0, 1, 1]).apply(np.float32(list(expected)))
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-6)


def test_isotonic_seconds_by_hand():
    # With a row of the mean 2 s at each end: 1 s becomes (1 + 2) / 2, 2 s becomes (3 + 2) / 2.
    found = fit([1, 2], [1, 3], scale="seconds").apply(np.float32([0, 0.5, 1, 2, 4]))
    np.testing.assert_allclose(found, [0, 0.75, 1.5, 2.5, 5.0], rtol=1e-6)


def test_weights_by_hand():
    # Values 0.2 and 0.8 with weights 1 and 3: mean outcome 3/4, end rows of the mean weight 2.
    found = fit([0.2, 0.8], [0, 1], [1, 3]).apply(np.float32([0.2, 0.8]))
    np.testing.assert_allclose(found, [2 * 0.75 / 3, (3 + 2 * 0.75) / 5], rtol=1e-6)
    factor = fit([1, 2], [3, 4], [1, 3], scale="seconds", method="temperature")
    np.testing.assert_allclose(factor.apply(np.float32([7])), [7 * 15 / 7], rtol=1e-6)
    ignored = fit([0.2, 0.8, 0.9], [0, 1, 0], [1, 3, 0]).apply(np.float32([0.2, 0.8]))
    np.testing.assert_array_equal(ignored, found)


@pytest.mark.parametrize(("fewest", "method"), [(3, "isotonic"), (4, "shift")])
def test_fewest_counts_the_rarer_outcome_and_is_enough_itself(fewest, method):
    predicted = np.linspace(0.1, 0.9, 10)
    for outcome in ([0] * 7 + [1] * 3, [0] * 3 + [1] * 7):
        assert fit(predicted, outcome, fewest=fewest).method == method
    seconds = [0] * 7 + [2, 3, 4]
    assert fit(predicted, seconds, scale="seconds", fewest=fewest).method == method
    assert fit(predicted, seconds, scale="seconds", fewest=fewest, method="none").method == "none"
    # Seconds that are all above 0 need no row of 0 s.
    assert fit([1, 2, 3], [1, 2, 3], scale="seconds", fewest=3).method == "isotonic"


def labels_of(click, watch_s, conversion, mature):
    rows = len(click)
    columns = [np.float32(values) for values in (click, watch_s, conversion)]
    at = np.arange(rows)
    return ImpressionLabels(*columns, np.array(mature, bool), np.full(rows, np.nan, np.float32), at, at)


def test_each_head_is_calibrated_on_its_own_column_and_conversions_on_mature_rows():
    click, watch = [0, 1, 1, 0, 1, 0], [0, 5, 7, 0, 3, 0]
    conversion, mature = [0, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0]
    p = np.float32([0.2, 0.4, 0.6, 0.3, 0.5, 0.1])
    raw = RankerPredictions(p, 10 * p, p / 2, np.zeros(6, np.float32))
    labels, config = labels_of(click, watch, conversion, mature), CalibrationConfig(fewest=100)
    found = fit_calibrators(config, ("click", "watch", "conversion"), raw, labels)
    assert found["click"].apply(p).mean() == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(found["watch"].apply(10 * p), 10 * p * 15 / 21, rtol=1e-5)
    assert found["conversion"].apply(p[:3] / 2).mean() == pytest.approx(1 / 3, abs=1e-6)
    assert set(fit_calibrators(config, ("click",), raw, labels)) == {"click"}
    assert set(fit_calibrators(config, ("watch", "click"), raw, labels)) == {"click", "watch"}
