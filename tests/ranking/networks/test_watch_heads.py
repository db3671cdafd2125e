import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter
from scipy.optimize import minimize
from scipy.special import logit
from scipy.stats import rankdata

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import ModelError, RankError
from vrec.ranking.duration_groups import group_by_duration
from vrec.ranking.networks.config import CreadConfig, D2qConfig, RawWatchConfig, WatchConfig
from vrec.ranking.networks.watch_heads import CreadWatchHead, D2qWatchHead, fit_watch_head, restore_watch_head

CONFIGS = [
    CreadConfig(),
    CreadConfig(thresholds=4, tail=0),
    D2qConfig(),
    D2qConfig(knots=8),
    RawWatchConfig(),
]
EACH = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: repr(config)[:40])


def impressions(rows=3000, seed=0, zeros=0.6, unknown=0.1):
    """Watches that grow with the duration, many of 0 s, some durations unknown."""
    rng = np.random.default_rng(seed)
    duration = rng.lognormal(3, 0.8, rows)
    watch = np.where(rng.random(rows) < zeros, 0, rng.exponential(0.4 * duration))
    duration[rng.random(rows) < unknown] = np.nan
    return watch.astype(np.float32), duration.astype(np.float32)


def true_outputs(head, watch, duration):
    """What a network that knows the truth would put out."""
    targets = head.targets(watch, duration)
    match head:
        case CreadWatchHead():
            return np.where(targets > head.thresholds, 50, -50).astype(np.float32)
        case D2qWatchHead():
            return logit(targets)
        case _:
            return targets


def width_of_bucket(head, watch):
    """How far apart the watches of each one's bucket lie."""
    bucket = np.searchsorted(head.thresholds, watch, side="left")
    apart = bucket[:, None] != bucket
    return np.where(apart, 0, np.abs(watch[:, None] - watch)).max(axis=1)


few_seconds = st.one_of(st.just(0.0), st.integers(1, 8).map(float), st.floats(2**-7, 5000, width=32))
logs = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, n, elements=few_seconds),
        hnp.arrays(np.float32, n, elements=st.one_of(st.just(np.nan), st.floats(1, 600, width=32))),
    )
)


@EACH
def test_the_truth_comes_back(config):
    watch, duration = impressions()
    head = fit_watch_head(config, watch, duration)
    found = head.seconds(true_outputs(head, watch, duration), duration)
    assert found.dtype == np.float32
    within = width_of_bucket(head, watch) if config.kind == "cread" else 0
    np.testing.assert_array_less(np.abs(found - watch), within + 1e-3 + 1e-3 * watch)
    assert found[watch == 0].max() < 1e-6
    # The restored mean has no bias: of ordinal buckets that holds for their means, not for their ends.
    assert found.mean() == pytest.approx(watch.mean(), rel=1e-4)


@given(logs, st.sampled_from([CreadConfig(thresholds=5), D2qConfig(min_rows=3), RawWatchConfig()]))
def test_any_log_is_learned_or_refused(log, config):
    watch, duration = log
    if watch.min() == watch.max():
        with pytest.raises(RankError, match="nothing to learn"):
            fit_watch_head(config, watch, duration)
        return
    head = fit_watch_head(config, watch, duration)
    targets = head.targets(watch, duration)
    assert targets.dtype == np.float32
    assert len(targets) == len(watch)
    found = head.seconds(true_outputs(head, watch, duration), duration)
    within = width_of_bucket(head, watch) if config.kind == "cread" else 0
    np.testing.assert_array_less(np.abs(found - watch), within + 0.01 + 0.01 * watch)


@EACH
def test_seconds_rise_with_every_output_and_are_not_below_0(config):
    watch, duration = impressions()
    head = fit_watch_head(config, watch, duration)
    rng = np.random.default_rng(1)
    out = rng.normal(0, 4, (200, head.width)).astype(np.float32)
    more = out + rng.exponential(1, out.shape).astype(np.float32)
    low, high = head.seconds(out, duration[:200]), head.seconds(more, duration[:200])
    assert (low >= 0).all()
    assert (high >= low).all()
    assert (high > low).mean() > 0.3


@EACH
def test_a_row_alone_gives_what_it_gives_among_others(config):
    watch, duration = impressions()
    head = fit_watch_head(config, watch, duration)
    out = np.random.default_rng(1).normal(0, 3, (64, head.width)).astype(np.float32)
    together = head.seconds(out, duration[:64])
    alone = [head.seconds(out[i : i + 1], duration[i : i + 1])[0] for i in range(64)]
    np.testing.assert_array_equal(together, np.array(alone))
    assert head.seconds(out[:0], duration[:0]).shape == (0,)


@EACH
def test_a_stored_head_is_the_same(config, tmp_path):
    watch, duration = impressions()
    head = fit_watch_head(config, watch, duration)
    write_artifact(str(tmp_path), ModelArtifact("test", config.model_dump(), head.arrays()))
    stored = read_artifact(str(tmp_path))
    again = restore_watch_head(TypeAdapter(WatchConfig).validate_python(dict(stored.config)), stored.arrays)
    out = np.random.default_rng(1).normal(0, 3, (100, head.width)).astype(np.float32)
    np.testing.assert_array_equal(head.seconds(out, duration[:100]), again.seconds(out, duration[:100]))
    targets = head.targets(watch, duration)
    np.testing.assert_array_equal(targets, again.targets(watch, duration))
    losses = [h.loss(torch.from_numpy(out), torch.from_numpy(targets[:100])) for h in (head, again)]
    assert losses[0] == losses[1]
    with pytest.raises(ModelError, match=f"the {config.kind} watch head has no array"):
        restore_watch_head(config, {})


@EACH
def test_the_order_of_rows_is_of_no_consequence(config):
    watch, duration = impressions()
    shuffled = np.random.default_rng(2).permutation(len(watch))
    one = fit_watch_head(config, watch, duration).arrays()
    other = fit_watch_head(config, watch[shuffled], duration[shuffled]).arrays()
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@EACH
def test_the_loss_is_least_at_what_is_true_on_average(config):
    """A constant trained on rows of one kind ends where their expectation is."""
    watch, duration = impressions(rows=2000, unknown=0)
    duration[:] = 30
    config = config.model_copy(update={"restore_weight": 0.0}) if config.kind == "cread" else config
    head = fit_watch_head(config, watch, duration)
    targets = torch.from_numpy(head.targets(watch, duration))

    def loss(out):
        row = torch.tensor(out[None], dtype=torch.float32, requires_grad=True)
        found = head.loss(row.expand(len(targets), -1), targets)
        assert found.shape == ()
        (gradient,) = torch.autograd.grad(found, row)
        return found.item(), gradient[0].double().numpy()

    least = minimize(loss, np.zeros(head.width), jac=True).x
    found = head.seconds(least[None].astype(np.float32), duration[:1])[0]
    # The quantile's expectation is 1/2 of a distribution, whatever that: the median comes back.
    want = np.median(watch) if config.kind == "d2q" else watch.mean()
    assert found == pytest.approx(want, rel=0.02, abs=0.05)


def test_cread_restores_what_the_buckets_chances_promise():
    watch, duration = impressions()
    head = fit_watch_head(CreadConfig(thresholds=6, tail=0), watch, duration)
    arrays = head.arrays()
    bucket = np.searchsorted(arrays["thresholds"], watch, side="left")
    assert np.bincount(bucket)[0] == (watch == 0).sum()
    assert np.ptp(np.bincount(bucket)[1:]) <= 1, "without a tail, buckets have as many watches"
    share_beyond = (watch[:, None] > arrays["thresholds"]).mean(axis=0)
    found = head.seconds(logit(share_beyond)[None].astype(np.float32), duration[:1])
    assert found[0] == pytest.approx(watch.mean(), rel=1e-5)


def test_a_tail_puts_thresholds_at_longer_watches():
    watch, duration = impressions()
    heads = [fit_watch_head(CreadConfig(tail=tail), watch, duration).arrays() for tail in (0, 2, 6)]
    middle = [np.median(arrays["thresholds"]) for arrays in heads]
    assert middle[0] < middle[1] < middle[2]


def test_cread_punishes_a_longer_watch_that_is_likelier():
    watch, duration = impressions()
    plain = fit_watch_head(CreadConfig(thresholds=3, order_weight=0), watch, duration)
    strict = fit_watch_head(CreadConfig(thresholds=3, order_weight=1), watch, duration)
    targets = torch.from_numpy(plain.targets(watch[:8], duration[:8]))
    falling, rising = (torch.tensor([row] * 8) for row in ([2.0, 0.0, -2.0], [0.0, 2.0, -2.0]))
    assert plain.loss(falling, targets) == strict.loss(falling, targets)
    extra = torch.sigmoid(torch.tensor(2.0)) - 0.5
    assert strict.loss(rising, targets) - plain.loss(rising, targets) == pytest.approx(float(extra), abs=1e-6)


def test_d2q_learns_mid_ranks_within_durations():
    watch, duration = impressions(unknown=0)
    config = D2qConfig(groups=5, knots=10_000)
    head = fit_watch_head(config, watch, duration)
    group = np.searchsorted(head.arrays()["edges"], duration, side="left")
    assert np.ptp(np.bincount(group)) <= 2, "groups have as many impressions"
    targets = head.targets(watch, duration)[:, 0]
    for place in range(5):
        rows = group == place
        want = (rankdata(watch[rows], method="average") - 0.5) / rows.sum()
        np.testing.assert_allclose(targets[rows], want, atol=1e-6)
    assert abs(np.corrcoef(targets, duration)[0, 1]) < 0.02 < np.corrcoef(watch, duration)[0, 1]


def test_d2q_gives_unknown_durations_a_group_of_their_own():
    watch, duration = impressions(unknown=0.3)
    unknown = np.isnan(duration)
    watch[unknown] *= 100
    head = fit_watch_head(D2qConfig(), watch, duration)
    out = np.full((2, 1), logit(0.9), dtype=np.float32)
    found = head.seconds(out, np.array([np.nan, 30], dtype=np.float32))
    assert found[0] == pytest.approx(np.quantile(watch[unknown], 0.9), rel=0.05)
    assert found[0] > 20 * found[1]
    all_known = fit_watch_head(D2qConfig(), watch[~unknown], duration[~unknown])
    shared = all_known.seconds(out, np.array([np.nan, np.nan], dtype=np.float32))
    assert shared[0] == pytest.approx(np.quantile(watch[~unknown], 0.9), rel=0.05), "everybody's"


def test_d2q_keeps_small_groups_out_where_many_videos_are_equally_long():
    watch, duration = impressions(rows=1000, unknown=0)
    duration[:700] = 15
    head = fit_watch_head(D2qConfig(groups=8, min_rows=100), watch, duration)
    group = np.searchsorted(head.arrays()["edges"], duration, side="left")
    assert np.bincount(group).min() >= 100
    assert len(np.unique(group)) > 1


@EACH
@pytest.mark.parametrize(
    ("watch", "duration", "message"),
    [
        ([1, np.nan, 3], [1, 2, 3], r"watch_s: 1 of 3 values are not valid times, such as nan in row 1"),
        ([1, -2, 3], [1, 2, 3], r"watch_s: 1 of 3 values are not valid times, such as -2 in row 1"),
        ([1, np.inf, 3], [1, 2, 3], "watch_s: 1 of 3"),
        ([1, 2, 3], [1, -2, np.nan], r"duration_s: 1 of 3 values are not valid times, such as -2 in row 1"),
        ([1, 2, 3], [1, np.inf, 3], "duration_s: 1 of 3"),
        ([1, 2, 3], [1, 2], "want one of each"),
        ([0, 0, 0], [1, 2, 3], "all 3 impressions have 0 s, so that there is nothing to learn"),
        ([], [], "no impressions, so that there is nothing to learn"),
    ],
)
def test_what_is_no_time_is_refused(config, watch, duration, message):
    with pytest.raises(RankError, match=message):
        fit_watch_head(config, np.array(watch, dtype=np.float32), np.array(duration, dtype=np.float32))


@EACH
def test_targets_are_checked_as_well(config):
    head = fit_watch_head(config, *impressions())
    with pytest.raises(RankError, match="watch_s: 1 of 1"):
        head.targets(np.array([np.nan], dtype=np.float32), np.array([3], dtype=np.float32))


def test_cread_s_thresholds_and_values_by_hand():
    watch = np.float32([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    unknown = np.full(10, np.nan, np.float32)
    arrays = fit_watch_head(CreadConfig(thresholds=4, tail=0), watch, unknown).arrays()
    assert arrays["thresholds"].tolist() == [0, 2, 4, 6]
    assert arrays["values"].tolist() == [0, 1.5, 3.5, 5.5, 7.5]
    assert arrays["scale"] == 4.5
    tail = fit_watch_head(CreadConfig(thresholds=2, tail=2.0), watch, unknown).arrays()
    # The level is (1 − e^−1) / (1 − e^−2) = 0.73 of eight watches: the sixth.
    assert tail["thresholds"].tolist() == [0, 6]


def test_cread_s_loss_by_hand():
    watch = np.float32([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    unknown = np.full(10, np.nan, np.float32)
    config = CreadConfig(thresholds=2, tail=0, restore_weight=0.5, huber=0.25, order_weight=0.3)
    head = fit_watch_head(config, watch, unknown)
    assert head.thresholds.tolist() == [0, 4]
    assert head.values.tolist() == [0, 2.5, 6.5]
    out = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    targets = torch.tensor([[0.0], [5.0]])
    p = 1 / (1 + np.exp(-out.numpy().astype(float)))
    beyond = np.array([[0, 0], [1, 1]])
    cross_entropy = -np.log(np.where(beyond, p, 1 - p)).mean()
    # In units of the mean watch above 0 s, 4.5 s.
    errors = np.abs((p @ [2.5, 4.0] - [0, 5]) / 4.5)
    huber = np.where(errors <= 0.25, errors**2 / 2, 0.25 * (errors - 0.125)).mean()
    disorder = np.maximum(p[:, 1] - p[:, 0], 0).mean()
    assert head.loss(out, targets).item() == pytest.approx(
        cross_entropy + 0.5 * huber + 0.3 * disorder, rel=1e-5
    )


def test_d2q_s_groups_by_hand():
    watch = np.float32([0, 0, 4, 8, 0, 10, 20, 30, 5, 7])
    duration = np.float32([5, 5, 5, 5, 5, 60, 60, 60, np.nan, np.nan])
    head = fit_watch_head(D2qConfig(groups=2, min_rows=2), watch, duration)
    assert head.edges.tolist() == [5.0]
    targets = head.targets(np.float32([0, 4, 10, 30, 5, 6]), np.float32([5, 5, 60, 60, np.nan, np.nan]))
    np.testing.assert_allclose(targets[:, 0], [0.3, 0.7, 1 / 6, 5 / 6, 1 / 4, 1 / 2], rtol=1e-6)
    back = head.seconds(logit(targets), np.float32([5, 5, 60, 60, np.nan, np.nan]))
    np.testing.assert_allclose(back, [0, 4, 10, 30, 5, 6], atol=1e-4)
    fewer = fit_watch_head(D2qConfig(groups=2, min_rows=3), watch, duration)
    assert fewer.edges.tolist() == [5.0]
    # Two rows of unknown duration are fewer than three: the quantile is that of all ten.
    assert fewer.targets(np.float32([30]), np.float32([np.nan]))[0, 0] == pytest.approx(0.95)
    assert fit_watch_head(D2qConfig(groups=1, min_rows=2), watch, duration).edges.tolist() == []
    assert fit_watch_head(D2qConfig(groups=2, min_rows=4), watch, duration).edges.tolist() == []


def test_raw_seconds_are_in_standard_deviations():
    watch = np.float32([0, 0, 6, 6])
    head = fit_watch_head(RawWatchConfig(), watch, np.full(4, np.nan, np.float32))
    assert head.targets(watch, np.full(4, np.nan, np.float32))[:, 0].tolist() == [0, 0, 2, 2]
    assert head.seconds(np.float32([[1.5], [-3.0]]), np.float32([1, 1])).tolist() == [4.5, 0]


def test_groups_of_durations_end_with_unknown_ones():
    found = group_by_duration(np.array([0.0, 5.0, 5.1, 9.0, 9.1, np.nan]), np.array([5.0, 9.0]))
    assert found.tolist() == [0, 0, 1, 1, 2, 3]
    assert group_by_duration(np.array([3.0, np.nan]), np.zeros(0)).tolist() == [0, 1]
