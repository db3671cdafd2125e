"""Training: it goes on where it stopped, workers share it, and what cannot be trained on is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.learned.catalogues import feature_set, moving, of_topics
from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.encoder import init_head
from vrec.encoders.learned.heads.config import GatedHeadConfig, GruHeadConfig, MeanHeadConfig, VaeHeadConfig
from vrec.encoders.learned.train import EncoderTrainer
from vrec.encoders.learned.training_config import EncoderTrainingConfig
from vrec.encoders.learned.validation import mean_reciprocal_rank
from vrec.training.epochs import TrainingWorker

FEATURES, TOPIC = of_topics(90, seed=0, has={"audio": np.arange(90) % 4 > 0, "frames": np.arange(90) % 7 > 0})
HEADS = [
    MeanHeadConfig(dim=8),
    GruHeadConfig(dim=8, hidden=6),
    GatedHeadConfig(dim=8, frames="gru", hidden=6),
    VaeHeadConfig(dim=8, layer=12),
]


def watched(
    topic: np.ndarray = TOPIC, seed: int = 0, unwatched: float = 0.2, targets: bool = True
) -> BehaviorSignals:
    """Pairs of the same topic; some videos nobody has watched."""
    rng = np.random.default_rng(seed)
    known = rng.random(len(topic)) >= unwatched
    left, right = np.nonzero(
        (topic[:, None] == topic) & known[:, None] & known & ~np.eye(len(topic), dtype=bool)
    )
    popularity = np.bincount(left, minlength=len(topic)).astype(np.float64)
    vectors = np.random.default_rng(1).normal(size=(topic.max() + 1, 5))[topic].astype(np.float32)
    return BehaviorSignals(left, right, popularity, vectors if targets else None, known if targets else None)


WATCHED = watched()


def trainer(config=HEADS[2], features=FEATURES, behavior=WATCHED, worker=None, **changed) -> EncoderTrainer:
    given = {"epochs": 3, "batch_size": 32, "device": "cpu", "learning_rate": 1e-2} | changed
    training = EncoderTrainingConfig.model_validate(given)
    head = init_head(config, features, training.seed)
    return EncoderTrainer(
        head, features=features, behavior=behavior, config=training, worker=worker or TrainingWorker()
    )


def weights(of: EncoderTrainer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in of.trained_module.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


ALIGNED = {"objective": {"kind": "aligned", "distillation": "vector"}}
OBJECTIVES = [
    pytest.param({}, id="self_supervised"),
    pytest.param(ALIGNED, id="aligned", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_a_restored_trainer_goes_on_as_if_it_had_never_stopped(config, objective, tmp_path):
    whole = trainer(config, **objective)
    told = []
    whole.run(lambda result, judged: told.append((dict(result.losses), judged)))
    stopped = trainer(config, **objective)
    stopped.run_epoch()
    stopped.validate()
    np.savez(tmp_path / "state.npz", **stopped.state())
    again = trainer(config, **objective)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as kept:
        again.restore(kept)
    rest = []
    again.run(lambda result, judged: rest.append((dict(result.losses), judged)))
    assert rest == told[1:]
    assert same(weights(again), weights(whole))
    assert (again.epoch, again.best_epoch, again.best_loss) == (
        whole.epoch,
        whole.best_epoch,
        whole.best_loss,
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_training_lowers_the_losses_and_keeps_the_best(config, objective):
    some = trainer(config, epochs=8, patience=8, **objective)
    before = some.validate()
    heard = []
    some.run(lambda result, judged: heard.append(judged["total"]))
    assert min(heard) < before["total"]
    assert some.best_loss == min([before["total"], *heard])
    assert some.validate()["total"] == pytest.approx(some.best_loss, abs=1e-5)
    assert not some.network.training


def test_what_is_held_out_is_never_trained_on():
    some = trainer(objective={"kind": "aligned"}, validation=0.3)
    parts = some.batches.split
    assert len(parts.held_out) == 27
    assert not set(parts.held_out) & set(parts.train)
    assert set(parts.held_out) | set(parts.train) == set(range(90))
    used = set(WATCHED.left[parts.pairs]) | set(WATCHED.right[parts.pairs])
    assert not used & set(parts.held_out)
    assert set(WATCHED.left[parts.held_out_pairs]) <= set(parts.held_out)
    assert some.validate().keys() == {"co_watch", "distillation", "total", "mrr"}
    other = trainer(objective={"kind": "aligned"}, validation=0.3, seed=1)
    assert set(other.batches.split.held_out) != set(parts.held_out)


def spoil(of: EncoderTrainer, monkeypatch, at: int) -> None:
    """Makes the loss of one epoch infinite, by what it is computed from."""
    forward = type(of.objective).forward

    def broken(self, views, pairs):
        found = forward(self, views, pairs)
        return found | {"total": found["total"] * float("inf")} if of.epoch == at and self.training else found

    monkeypatch.setattr(type(of.objective), "forward", broken)


def test_a_loss_that_is_no_number_stops_training_with_the_last_good_weights(monkeypatch):
    some = trainer(MeanHeadConfig(dim=8), epochs=9)
    spoil(some, monkeypatch, at=3)
    results, good = [], {}
    while not some.done:
        if some.epoch == 2:
            good = weights(some)
        results.append(some.run_epoch())
        judged = some.validate()
        assert np.isfinite(list(judged.values())).all()
    assert some.epoch == 3
    assert [result.stopped for result in results[:2]] == [None, None]
    assert results[2].stopped == some.stopped
    assert "not a finite number in epoch 3" in some.stopped
    assert "learning_rate, which is 0.01" in some.stopped
    assert same(weights(some), good)
    assert some.best_epoch <= 2
    again = trainer(MeanHeadConfig(dim=8), epochs=9)
    again.restore(some.state())
    assert again.done
    assert again.stopped == some.stopped
    assert all(np.isfinite(w).all() for w in weights(again).values())


def test_a_loss_that_is_no_number_in_the_first_epoch_leaves_nothing_to_keep(monkeypatch):
    some = trainer(MeanHeadConfig(dim=8))
    spoil(some, monkeypatch, at=1)
    with pytest.raises(FitError, match="not a finite number in epoch 1") as caught:
        some.run_epoch()
    assert "lower learning_rate" in caught.value.fix


def test_numbers_that_overflow_are_found():
    with pytest.raises(FitError, match="not a finite number in epoch 1"):
        trainer(VaeHeadConfig(dim=8, layer=12, evidence=1e39), epochs=3).run()


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_a_catalogue_of_one_video_is_refused(config, count):
    one = FEATURES.select([8]) if count else moving(2, seed=0).select([])
    with pytest.raises(FitError, match=r"0 videos? with features|1 video with features|no video has frames"):
        trainer(config, one, None)


def test_two_videos_are_enough_and_nothing_is_held_out():
    some = trainer(MeanHeadConfig(dim=4), moving(2, seed=0), None)
    some.run()
    assert "too small" in some.no_validation_reason
    assert some.best_epoch > 0


def test_videos_that_are_all_the_same_are_survived():
    frames = np.ones((12, 2, 3, 5))
    for config in HEADS:
        some = trainer(config, feature_set(frames), None)
        some.run()
        assert all(np.isfinite(w).all() for w in weights(some).values())


@pytest.mark.parametrize("absent", ["frames", "audio", "text"])
@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_a_modality_that_the_whole_catalogue_lacks(config, absent):
    features, _ = of_topics(30, seed=0, has={absent: np.zeros(30, bool)})
    if absent == "frames" and config.kind in ("gru", "mean"):
        with pytest.raises(FitError, match=f"no video of the catalog has frames, and {config.kind} takes"):
            trainer(config, features, None)
        return
    some = trainer(config, features, None)
    some.run()
    assert absent not in some.network.dims
    assert all(np.isfinite(w).all() for w in weights(some).values())


def test_a_catalogue_with_nothing_at_all():
    with pytest.raises(FitError, match="no video has frames, sound or text"):
        trainer(features=feature_set(np.zeros((5, 1, 0, 0))), behavior=None)


def test_aligned_training_needs_pairs():
    aligned = {"kind": "aligned"}
    with pytest.raises(FitError, match="learns from watched videos"):
        trainer(behavior=None, objective=aligned)
    one = BehaviorSignals(np.array([0]), np.array([1]), np.ones(90))
    with pytest.raises(FitError, match="pairs of videos that one shopper watched are too few"):
        trainer(behavior=one, objective=aligned)
    with pytest.raises(FitError, match="behavior of 3 videos for features of 90"):
        trainer(behavior=BehaviorSignals(np.array([0]), np.array([1]), np.ones(3)), objective=aligned)


def test_a_catalogue_of_one_topic_is_survived():
    """Everyone watches everything: no pair is wrong, and nothing breaks."""
    few = FEATURES.select(np.arange(20))
    some = trainer(features=few, behavior=watched(np.zeros(20, np.int64)), objective={"kind": "aligned"})
    some.run()
    assert all(np.isfinite(w).all() for w in weights(some).values())


def test_workers_deal_the_examples_and_take_the_firsts_word():
    shares, said = [], {}

    def listening(rank: int):
        def reduce(numbers):
            said[rank] = numbers
            return numbers

        return reduce

    for rank in range(3):
        some = trainer(behavior=None, worker=TrainingWorker(rank, 3, reduce=listening(rank)))
        some.epoch = 1
        shares.append(np.concatenate(list(some.steps(some.batches.examples, 32))))
        some.validate()
    assert set(np.concatenate(shares)) == set(range(trainer(behavior=None).batches.examples))
    assert said[0].all()
    assert not said[1].any()
    assert not said[2].any()
    with pytest.raises(FitError, match="for 20 workers"):
        trainer(behavior=None, worker=TrainingWorker(0, 20))


def test_every_weight_has_a_gradient_whatever_a_step_lacks():
    """Workers that average gradients would wait for ever for those of weights that a batch had no use for."""
    for config in HEADS:
        some = trainer(config, **ALIGNED)
        rows = np.arange(8)
        views, pairs = some.batches.batch(rows, np.random.default_rng(0))
        for given in ((None, pairs), (views, None), (views, replace(pairs, targets=None))):
            some.optimizer.zero_grad()
            some.objective(*given)["total"].backward()
            assert all(weight.grad is not None for weight in some.objective.parameters())


def test_bfloat16_changes_little():
    some = trainer(GruHeadConfig(dim=8, hidden=6), behavior=None)
    views = some.batches.view_batch(np.arange(20))
    some.objective.eval()
    with torch.no_grad():
        exact = some.objective(views, None)
        some.objective.mixed_precision = True
        rough = some.objective(views, None)
    assert all(rough[name].dtype == torch.float32 for name in rough)
    assert float(rough["total"]) == pytest.approx(float(exact["total"]), rel=0.03)
    assert float(rough["total"]) != float(exact["total"])


def test_mean_reciprocal_rank_by_hand():
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    candidates[7] = candidates[2]
    wanted, barred = rng.permutation(9)[:6], np.array([8, 0, 1, 2, 3, 4])
    wanted = np.where(wanted == barred, (wanted + 1) % 9, wanted)
    total = 0.0
    for query, want, bar in zip(queries, wanted, barred, strict=True):
        scores = {c: query @ candidates[c] for c in range(9) if c != bar}
        above = sum(score > scores[want] + 1e-9 for score in scores.values())
        equal = sum(abs(score - scores[want]) < 1e-9 for score in scores.values())
        total += 1 / (above + (equal + 1) / 2)
    given = (torch.from_numpy(array) for array in (queries, candidates, wanted, barred))
    assert mean_reciprocal_rank(*given) == pytest.approx(total / 6)
