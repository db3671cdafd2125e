"""Training: it learns, it stops, it goes on where it stopped, and workers share it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from vrec.core.errors import RankError
from vrec.ranking.config import RankerTrainingConfig
from vrec.ranking.example_parts import HeldParts, Outcomes
from vrec.ranking.example_tables import ExampleTable, read_examples
from vrec.ranking.features.arrays import (
    CatalogFeatureArrays,
    FeatureShape,
    ImpressionLabels,
    RankerPredictions,
    RankingFeatures,
)
from vrec.ranking.networks.config import CreadConfig, DinConfig, LogisticRegressionConfig, RankerHeadsConfig
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.networks.watch_heads import fit_watch_head
from vrec.ranking.training import (
    MIN_OUTCOMES,
    RankerTrainer,
    TrainingWorker,
    check_trainable,
    heads_without_validation,
    select_heads,
)

VIDEOS, USERS, ROWS = 40, 60, 1200
HEADS = RankerHeadsConfig(experts=2, tower=(4,))
CLICK_AND_WATCH = RankerHeadsConfig(heads=("click", "watch"))
DIN = DinConfig(width=4, hidden=(12,), attention=(6,), dropout=0.2)
CONFIG = RankerTrainingConfig(epochs=4, batch_size=100, learning_rate=0.01, patience=4, device="cpu")


def drawn(seed: int = 1) -> tuple[RankingFeatures, ImpressionLabels]:
    """Impressions whose clicks go by the video and by whether it is near the history."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, VIDEOS + 1, ROWS).astype(np.int32)
    request = np.sort(rng.integers(0, USERS, ROWS)).astype(np.int32)
    world = np.random.default_rng(0)
    vectors = world.normal(size=(VIDEOS + 1, 5)).astype(np.float32)
    vectors[0] = 0
    history = world.integers(0, VIDEOS + 1, (USERS, 6)).astype(np.int32)
    likes = vectors[history].mean(axis=1)
    logit = 2 * (likes[request] * vectors[video]).sum(axis=1) + vectors[video, 0] - 0.5
    click = (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    duration = np.where(video % 5 == 0, np.nan, 10.0 + video).astype(np.float32)
    watch = (click * rng.exponential(8, ROWS)).astype(np.float32)
    conversion = click * (rng.random(ROWS) < 0.4).astype(np.float32)
    shape = FeatureShape((VIDEOS + 1, 7), 5, 2, 5, (3, 24), 3, 2, 2, 11)
    fields = np.stack([np.arange(VIDEOS + 1), np.arange(VIDEOS + 1) % 7], axis=1).astype(np.int32)
    dense = world.normal(size=(VIDEOS + 1, 2)).astype(np.float32)
    tags = world.integers(0, 5, (VIDEOS + 1, 2)).astype(np.int32)
    context = np.stack([np.arange(USERS) % 3, np.arange(USERS) % 24], axis=1).astype(np.int32)
    features = RankingFeatures(
        CatalogFeatureArrays(fields, tags, dense, vectors),
        shape,
        request,
        video,
        rng.normal(size=(ROWS, 2)).astype(np.float32),
        rng.integers(0, 11, ROWS).astype(np.int32),
        context,
        world.normal(size=(USERS, 3)).astype(np.float32),
        history,
        world.random((USERS, 6, 2)).astype(np.float32) * (history != 0)[:, :, None],
    )
    at, mature = np.arange(ROWS, dtype=np.int64), rng.random(ROWS) < 0.8
    return features, ImpressionLabels(
        click, watch, conversion, mature, duration, at, request.astype(np.int64)
    )


TRAIN, VALID = drawn(1), drawn(2)


def trainer(
    network=DIN, train=TRAIN, valid=VALID, worker: TrainingWorker | None = None, **changed
) -> RankerTrainer:
    labels = TRAIN[1] if isinstance(train, HeldParts) else train[1]
    head = fit_watch_head(CreadConfig(thresholds=6), labels.watch_s, labels.duration_s)
    torch.manual_seed(7)
    made = RankerNetwork(TRAIN[0].shape, network, HEADS, head.width)
    config = CONFIG.model_copy(update=changed)
    return RankerTrainer(
        made, HEADS, head, train=train, valid=valid, config=config, worker=worker or TrainingWorker()
    )


def weights(of: RankerTrainer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in of.network.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_training_lowers_the_losses():
    some = trainer()
    before = some.validate()
    heard = []
    some.run(lambda result, judged: heard.append((result, judged)))
    after = min((judged for _, judged in heard), key=lambda judged: judged["total"])
    assert set(before) == {"click", "watch", "conversion", "total"}
    # Conversions are drawn evenly: there is nothing to learn of them.
    assert all(after[head] < before[head] - 0.02 for head in ("click", "watch", "total"))
    assert [result.epoch for result, _ in heard] == [1, 2, 3, 4]
    assert all(result.examples == ROWS and result.examples_per_s > 0 for result, _ in heard)
    assert heard[-1][0].losses["total"] < heard[0][0].losses["total"]


@pytest.mark.slow
def test_the_slots_are_known_before_the_rest_is_learned_by_heart():
    rng = np.random.default_rng(3)
    features, labels = drawn()
    rows = rng.integers(0, ROWS, 20_000)
    # As in a log: slots that differ by video, so that the slot's share of the clicks must be told from it.
    slot = (rng.integers(0, 10, len(rows)) * (1 + features.video[rows] % 3)) // 3
    features = replace(features.take(rows), position=(slot + 1).astype(np.int32))
    logit = features.catalog.vectors[features.video, 0] - 0.3 * slot
    click = (rng.random(len(rows)) < expit(logit)).astype(np.float32)
    bought = click * (rng.random(len(rows)) < 0.4).astype(np.float32)
    part = (features, replace(labels.take(rows), click=click, conversion=bought))
    lr = LogisticRegressionConfig(content=False, id_dropout=0, position_dropout=0)
    some = trainer(lr, train=part, valid=part, learning_rate=1e-3, epochs=2)
    some.run()
    found = some.network.positions.weight[:, 0].detach().numpy()[1:11]
    # A weight for each slot and each video, the likeliest of all.
    dummies = np.concatenate([np.eye(10)[slot], np.eye(VIDEOS + 1)[features.video]], axis=1)
    exact = LogisticRegression(C=100).fit(dummies, click).coef_[0, :10]
    np.testing.assert_allclose(found - found.mean(), exact - exact.mean(), atol=0.3)
    assert 2.0 < np.ptp(found) < 3.4


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_restored_trainer_goes_on_as_if_it_had_never_stopped(stop_after, tmp_path):
    whole = trainer()
    whole.run()
    first = trainer()
    for _ in range(stop_after):
        first.run_epoch()
        first.validate()
    # As a checkpoint is: arrays in a file, without pickle, and views that cannot be written to.
    np.savez(tmp_path / "state.npz", **first.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as found:
        state = {name: found[name] for name in found.files}
    for array in state.values():
        array.flags.writeable = False
    torch.manual_seed(99)
    second = trainer(seed=CONFIG.seed)
    with torch.no_grad():
        second.network.trunk.mlp.linears[0].weight.zero_()
    second.restore(state)
    assert (second.epoch, second.best_loss) == (first.epoch, first.best_loss)
    second.run()
    assert same(weights(second), weights(whole))
    assert second.best_epoch == whole.best_epoch


def test_a_trainer_repeats_itself_and_another_seed_does_not():
    one, other, third = trainer(epochs=1), trainer(epochs=1), trainer(epochs=1, seed=5)
    torch.manual_seed(3)
    for each in (one, other, third):
        each.run()
    assert same(weights(one), weights(other))
    assert not same(weights(one), weights(third))


def test_training_leaves_the_callers_randomness_alone():
    some = trainer(epochs=1)
    torch.manual_seed(11)
    want = torch.rand(3)
    torch.manual_seed(11)
    some.run()
    assert torch.equal(torch.rand(3), want)


def test_it_stops_after_patience_and_keeps_the_best():
    some = trainer(epochs=60, patience=2, learning_rate=0.05)
    heard: list[tuple[float, dict[str, np.ndarray]]] = []
    some.run(lambda _, judged: heard.append((judged["total"], weights(some))))
    totals = [total for total, _ in heard]
    best = int(np.argmin(totals))
    assert len(totals) == best + 1 + 2 < 60
    assert same(weights(some), heard[best][1])
    assert some.done


def test_a_loss_that_is_no_number_names_epoch_and_rate_and_keeps_the_last_good_weights():
    some = trainer(epochs=9)
    some.run_epoch()
    good = weights(some)
    broken = TRAIN[0].candidate.copy()
    broken[17] = np.inf
    some.train.features = some.train.features._replace(candidate=torch.from_numpy(broken))
    with pytest.raises(RankError, match="epoch 2") as told:
        some.run_epoch()
    assert "0.01" in told.value.fix
    assert same(weights(some), good)


@pytest.mark.parametrize(
    ("part", "labels", "words"),
    [
        ("train", {"click": 0}, "training: 0 of 1,200 impressions are clicked"),
        ("train", {"click": 1}, "training: 1,200 of 1,200 impressions are clicked"),
        ("valid", {"click": 0}, "validation: 0 of 1,200 impressions are clicked"),
        ("train", {"conversion": 0}, "training: 0 of [0-9]+ mature impressions are converted"),
    ],
)
def test_impressions_that_teach_nothing_are_refused(part, labels, words):
    features, sound = TRAIN
    changed = {name: np.full_like(getattr(sound, name), value) for name, value in labels.items()}
    with pytest.raises(RankError, match=words):
        trainer(**{part: (features, replace(sound, **changed))})


@pytest.mark.parametrize("labels", [{"mature": False}, {"conversion": 0}])
def test_without_mature_conversions_to_validate_by_the_other_heads_say_when_to_stop(labels):
    features, sound = VALID
    changed = {name: np.full_like(getattr(sound, name), value) for name, value in labels.items()}
    some, whole = trainer(valid=(features, replace(sound, **changed))), trainer()
    assert "mature impressions are converted" in some.unjudged["conversion"]
    assert not whole.unjudged
    some.run_epoch()
    whole.run_epoch()
    # It learns all the same.
    assert same(weights(some), weights(whole))
    judged, all_judged = some.validate(), whole.validate()
    assert judged == pytest.approx(
        {"total": all_judged["total"] - all_judged["conversion"]}
        | {head: all_judged[head] for head in ("click", "watch")}
    )


def test_no_impressions_teach_nothing():
    with pytest.raises(RankError, match="training: 0 of 0 impressions are clicked"):
        check_trainable(HEADS, Outcomes.of(TRAIN[1].take(np.zeros(0, np.int64))), "training")
    check_trainable(HEADS, Outcomes.of(TRAIN[1]), "training")


def test_a_head_that_is_left_out_needs_no_labels():
    features, sound = TRAIN
    blank = replace(sound, conversion=np.zeros_like(sound.conversion))
    heads = RankerHeadsConfig(heads=("click",), tower=(4,))
    network = RankerNetwork(features.shape, LogisticRegressionConfig(), heads, 0)
    some = RankerTrainer(
        network, heads, None, train=(features, blank), valid=(features, blank), config=CONFIG
    )
    assert set(some.validate()) == {"click", "total"}


def test_other_lengths_are_refused():
    features, labels = TRAIN
    with pytest.raises(RankError, match="1,199 labels for 1,200"):
        trainer(train=(features, labels.take(np.arange(ROWS - 1))))


@pytest.mark.parametrize("rows", [1200, 1199, 7])
def test_workers_take_as_many_steps_and_all_rows_between_them(rows):
    some = tuple(part.take(np.arange(rows)) for part in TRAIN)
    if rows == 7:
        some[1].click[:] = [0, 1, 0, 1, 0, 1, 0]
        some[1].conversion[:] = [0, 1, 0, 0, 0, 0, 0]
        some[1].mature[:] = True
    shares = []
    for rank in range(3):
        worker = trainer(train=some, worker=TrainingWorker(rank, 3), batch_size=20)
        worker.epoch = 1
        shares.append(list(worker.steps(len(worker.train), worker.config.batch_size)))
    sizes = [[len(step) for step in share] for share in shares]
    assert sizes[0] == sizes[1] == sizes[2]
    assert max(sizes[0]) <= 20 // 3
    dealt = np.concatenate([row for share in shares for row in share])
    assert set(dealt) == set(range(rows))
    assert len(dealt) - rows < 3


def test_workers_judge_as_one_would():
    """The sums of three workers, each over its share, give the losses of one over all."""
    asked = []
    for rank in range(3):
        trainer(worker=TrainingWorker(rank, 3, reduce=lambda sums: asked.append(sums) or sums)).validate()
    total, count = np.split(np.sum(asked, axis=0), 2)
    alone = trainer().validate()
    together = dict(zip(sorted(alone), total / count, strict=True))
    for head in ("click", "watch", "conversion"):
        assert together[head] == pytest.approx(alone[head], rel=1e-5)


def test_validation_does_not_depend_on_its_batches():
    small, large = trainer(batch_size=7).validate(), trainer(batch_size=ROWS).validate()
    assert small == pytest.approx(large, rel=1e-4)


def test_a_batch_is_the_rows_asked_for():
    some = trainer()
    rows = np.array([5, 1100, 5, 0])
    batch, labels = some.train.take(rows)
    features = TRAIN[0].take(rows)
    assert np.array_equal(batch.video.numpy(), features.video)
    assert np.array_equal(batch.history.numpy(), features.history[features.request])
    assert np.array_equal(batch.user.numpy(), features.user[features.request])
    assert np.array_equal(labels.click.numpy(), TRAIN[1].click[rows])
    alike = some.network.eval()(batch, some.catalog).click
    assert alike[0] == alike[2]


def test_configs_and_results_travel_to_workers():
    assert pickle.loads(pickle.dumps(CONFIG)) == CONFIG
    result = trainer(epochs=1).run_epoch()
    assert pickle.loads(pickle.dumps(result)) == result


def test_an_epoch_s_losses_are_means_over_impressions_and_not_over_batches():
    plain = LogisticRegressionConfig(id_dropout=0, position_dropout=0)
    # So slow that weights stay: the last batch has 200 of 1,200 rows.
    some = trainer(plain, batch_size=500, learning_rate=1e-12, position_learning_rate=1e-12, weight_decay=0)
    batch, labels = some.train.take(np.arange(ROWS))
    with torch.no_grad():
        outputs = some.network(batch, some.catalog)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs.click, labels.click).item()
    result = some.run_epoch()
    assert result.losses["click"] == pytest.approx(expected, rel=1e-4)
    assert result.examples == ROWS
    watch = some.head.loss(outputs.watch, labels.watch).item()
    assert result.losses["watch"] == pytest.approx(watch, rel=1e-4)


def test_the_total_of_validation_weighs_the_heads_as_training_does():
    heads = RankerHeadsConfig(experts=2, tower=(4,), watch_weight=0.25, conversion_weight=3.0)
    head = fit_watch_head(CreadConfig(thresholds=6), TRAIN[1].watch_s, TRAIN[1].duration_s)
    network = RankerNetwork(TRAIN[0].shape, DIN, heads, head.width)
    some = RankerTrainer(network, heads, head, train=TRAIN, valid=VALID, config=CONFIG)
    found = some.validate()
    assert found["total"] == pytest.approx(found["click"] + 0.25 * found["watch"] + 3 * found["conversion"])


def test_the_optimizer_decays_all_weights_but_the_biases_of_positions():
    some = trainer(learning_rate=0.02, weight_decay=0.03, position_learning_rate=0.04)
    rest, biases = some.optimizer.param_groups
    assert (rest["lr"], rest["weight_decay"]) == (0.02, 0.03)
    assert (biases["lr"], biases["weight_decay"]) == (0.04, 0)
    assert [id(w) for w in biases["params"]] == [id(some.network.positions.weight)]
    assert len(rest["params"]) == len(list(some.network.parameters())) - 1
    (only,) = trainer(DIN.model_copy(update={"position": "none"})).optimizer.param_groups
    assert only["lr"] == CONFIG.learning_rate


def test_heads_without_validation_name_conversions_only():
    sound = VALID[1]
    unconverted = replace(sound, conversion=np.zeros_like(sound.conversion))
    assert list(heads_without_validation(HEADS, Outcomes.of(unconverted))) == ["conversion"]
    assert heads_without_validation(CLICK_AND_WATCH, Outcomes.of(unconverted)) == {}
    assert heads_without_validation(HEADS, Outcomes.of(sound)) == {}
    all_converted = replace(sound, conversion=np.ones_like(sound.conversion))
    assert list(heads_without_validation(HEADS, Outcomes.of(all_converted))) == ["conversion"]


def test_fewer_impressions_than_workers_are_refused():
    some = tuple(part.take(np.arange(50)) for part in TRAIN)
    few = tuple(part.take(np.flatnonzero(VALID[1].click)[:1]) for part in VALID)
    both = tuple(
        part.take(np.array([np.argmax(VALID[1].click), np.argmin(VALID[1].click)])) for part in VALID
    )
    with pytest.raises(RankError, match="training: 2 impressions for 3 workers"):
        trainer(train=some, valid=both, worker=TrainingWorker(0, 3))
    with pytest.raises(RankError, match="validation: 1 of 1 impressions are clicked"):
        trainer(train=some, valid=few)


def through_table(features: RankingFeatures, labels: ImpressionLabels):
    """Examples written as a table with a row per request, and read again."""
    rates = RankerPredictions(*(np.arange(len(labels), dtype=np.float32) + n for n in range(4)))
    whole = ExampleTable(features, labels, rates, labels.click > 0)
    found = read_examples(whole.to_arrow(), features.catalog, features.shape)
    for one, other in ((found.labels, labels), (found.rates, rates), (found.features, features)):
        for name in set(one.__dataclass_fields__) - {"catalog", "shape"}:
            mine, its = getattr(one, name), getattr(other, name)
            assert (mine.dtype, mine.shape, mine.tobytes()) == (its.dtype, its.shape, its.tobytes()), name
    assert np.array_equal(found.cold, whole.cold)
    return found.features, found.labels


@given(st.lists(st.integers(1, ROWS - 1), max_size=4))
@settings(max_examples=5)
def test_parts_that_come_one_by_one_give_the_weights_of_parts_in_memory(cuts):
    rows = np.split(np.arange(ROWS), sorted(set(cuts)))
    parts = [tuple(part.take(own) for part in TRAIN) for own in rows]
    held = HeldParts(parts)
    read = HeldParts([through_table(*part) for part in parts])
    assert Outcomes.of(TRAIN[1]) == held.outcomes
    one, other = (trainer(train=some, valid=HeldParts([VALID]), epochs=2) for some in (held, read))
    one.run()
    other.run()
    assert same(weights(one), weights(other))
    if len(rows) == 1:
        whole = trainer(epochs=2)
        whole.run()
        assert same(weights(one), weights(whole))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_auto_has_the_heads_that_the_labels_can_teach_and_gives_the_reason_of_others(watched, early, mature):
    rows = 60
    labels = TRAIN[1].take(np.zeros(rows, np.int64))
    watch_s = np.where(np.arange(rows) < watched, np.arange(rows) + 1.0, 0.0).astype(np.float32)
    conversion = np.zeros(rows, np.float32)
    conversion[:mature] = conversion[rows - early :] = 1
    labels = replace(
        labels, watch_s=watch_s, conversion=conversion, mature=np.arange(rows) < 30, click=conversion
    )
    config, left_out = select_heads(RankerHeadsConfig(), Outcomes.of(labels))
    expected = ["click"]
    expected += ["watch"] if watched >= MIN_OUTCOMES else []
    expected += ["conversion"] if MIN_OUTCOMES <= mature < 30 else []
    assert list(config.heads) == expected
    assert {*expected, *left_out} == {"click", "watch", "conversion"}
    if "conversion" in left_out:
        assert f"{mature} of 30 mature training impressions" in left_out["conversion"]
        assert "train.ranker.labels.conversion_kinds" in left_out["conversion"]
    named = RankerHeadsConfig(heads=("click", "conversion"))
    assert select_heads(named, Outcomes.of(labels)) == (named, {})
