"""Code shared by the recommenders on networks: repeatable fits, folders, early stopping."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.retrieval.matrices import random_matrix, to_interactions
from tests.retrieval.planted import blocks
from vrec.core.artifact import read_artifact
from vrec.core.errors import ConfigError, FitError, FitTimeout
from vrec.retrieval import training
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, build_interaction_matrix
from vrec.retrieval.models import mult_vae, sasrec
from vrec.retrieval.models.mult_vae import MultVae
from vrec.retrieval.models.neumf import NeuMf
from vrec.retrieval.models.sasrec import SASRec
from vrec.retrieval.network_config import EarlyStoppingConfig, MultVaeConfig, NeuMfConfig, SASRecConfig
from vrec.retrieval.training import (
    hold_out_validation_users,
    seeded_rng,
    torch_device,
    train_with_early_stopping,
    validation_ndcg,
)
from vrec.retrieval.validation import ndcg

MODELS = {
    "mult_vae": (MultVae, MultVaeConfig(epochs=3, hidden=48, latent=16)),
    "neumf": (NeuMf, NeuMfConfig(epochs=2, batch_interactions=64)),
    "sequence": (SASRec, SASRecConfig(epochs=3, dim=16, max_length=6, negatives=20)),
}


def users_of(table: pa.Table) -> list[str]:
    return sorted(set(table["user_id"].to_pylist()))


def histories_of(table: pa.Table) -> InteractionMatrix:
    return build_interaction_matrix(
        table, IdVocabulary.from_columns(table["user_id"]), IdVocabulary.from_columns(table["video_id"])
    )


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(kind: str, **changes: object):
    model, config = MODELS[kind]
    return model(config.model_validate(config.model_dump() | changes))


def test_a_fit_repeats_whatever_the_rows_order(kind: str):
    table, _ = blocks()
    mixed = table.take(np.random.default_rng(1).permutation(table.num_rows))
    torch.manual_seed(1)
    one = make(kind).fit(table)
    torch.manual_seed(2)
    other = make(kind).fit(mixed)
    assert other.recommend(users_of(table), 9).equals(one.recommend(users_of(table), 9))
    for name, array in one._arrays().items():
        np.testing.assert_array_equal(other._arrays()[name], array)


def test_the_seed_matters_and_the_callers_draws_do_not(kind: str):
    table, _ = blocks()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = make(kind).fit(table), make(kind, seed=1).fit(table)
    assert torch.equal(torch.get_rng_state(), before)
    assert any((other._arrays()[name] != array).any() for name, array in one._arrays().items())


def test_a_folder_keeps_every_bit_and_no_pickle(kind: str, tmp_path):
    table, _ = blocks()
    model = make(kind).fit(table)
    model.save(str(tmp_path))
    loaded = type(model).load(str(tmp_path))
    assert loaded.recommend(users_of(table), 9).equals(model.recommend(users_of(table), 9))
    state = loaded.network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(state[name], tensor)
        assert read_artifact(str(tmp_path)).arrays[f"weights.{name}"].dtype == np.float32


def test_alone_as_in_company(kind: str):
    """More users than a block, so that they meet each other at other places in it."""
    table = to_interactions(random_matrix(0, 80, 50))
    model = make(kind).fit(table)
    users = users_of(table)
    together = model.recommend(users, 50)
    alone = pa.concat_tables([model.recommend([user], 50) for user in users])
    assert alone.drop_columns(["score"]).equals(together.drop_columns(["score"]))
    np.testing.assert_allclose(
        np.asarray(alone["score"]), np.asarray(together["score"]), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("kind", ["mult_vae", "sequence"])
def test_a_history_alone_decides(kind: str):
    """A stranger with a fitted user's rows gets what that user gets, scores and all."""
    table, _ = blocks()
    model = make(kind).fit(table)
    known = table.filter(pa.compute.equal(table["user_id"], "u00003"))
    stranger = known.set_column(0, "user_id", pa.array(["stranger"] * known.num_rows))
    got = model.recommend_from(stranger, 9).drop_columns(["user_id"])
    assert got.equals(model.recommend(["u00003"], 9).drop_columns(["user_id"]))


def test_a_loss_that_is_no_number_is_an_error(kind: str):
    table, _ = blocks()
    model = make(kind)
    model.config = model.config.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(FitError, match=rf"{kind}: the loss is not a finite number in epoch \d") as caught:
        model.fit(table)
    assert "lower learning_rate, which is 1e+30" in caught.value.fix


def test_devices():
    assert torch_device("cpu").type == "cpu"
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="device is cuda:99, but this machine has"):
        torch_device("cuda:99")
    with pytest.raises(ValueError, match="device"):
        EarlyStoppingConfig(device="gpu")


def test_a_model_of_another_machines_gpu_loads(tmp_path):
    table, _ = blocks()
    model = make("neumf").fit(table)
    model.config = model.config.model_copy(update={"device": "cuda:99"})
    model.save(str(tmp_path))
    loaded = NeuMf.load(str(tmp_path))
    assert loaded.recommend(users_of(table), 5).num_rows == 5 * len(users_of(table))


def test_the_best_epochs_weights_are_kept():
    """Judged by a list: the third epoch is best, and two worse ones end it."""
    network = torch.nn.Linear(1, 1)
    verdicts, states = iter([0.1, 0.2, 0.9, 0.3, 0.4, 1.0]), []

    def judge() -> float:
        states.append(network.weight.item())
        assert not network.training
        return next(verdicts)

    def losses(epoch: int):
        assert network.training
        yield network(torch.ones(1, 1)).sum()

    train_with_early_stopping(
        network, losses, epochs=9, learning_rate=0.1, model_name="x", validate=judge, patience=2
    )
    assert len(states) == 5
    assert network.weight.item() == states[2] != states[4]
    assert not network.training


def test_the_newest_fifth_is_held_out():
    table, _ = blocks()
    histories = histories_of(table)
    with seeded_rng(0) as rng:
        holdout = hold_out_validation_users(
            histories, EarlyStoppingConfig(validation_share=0.25, max_validation_users=20), rng
        )
    assert len(holdout.users) == 20
    before = holdout.before(np.arange(20))
    whole = histories.rows(holdout.users)
    # Six videos each: two are hidden, and all of them are newer than those shown.
    assert (np.diff(holdout.held_out.indptr) == 2).all()
    assert (holdout.held_out + before.weights != whole.weights).nnz == 0
    hidden_at = whole.select_entries(np.asarray(holdout.held_out[whole.weights.nonzero()]).ravel() > 0).at
    assert (hidden_at.reshape(-1, 2).min(axis=1) >= before.at.reshape(-1, 4).max(axis=1)).all()
    others = np.setdiff1d(np.arange(histories.users), holdout.users)
    assert (holdout.kept.rows(others).weights != histories.rows(others).weights).nnz == 0


def test_short_histories_do_not_judge():
    histories = histories_of(to_interactions(np.eye(4, 6) + np.eye(4, 6, 1)))
    holdout = hold_out_validation_users(
        histories, EarlyStoppingConfig(validation_share=0.9), np.random.default_rng(0)
    )
    assert len(holdout.users) == 0
    assert (holdout.kept.weights != histories.weights).nnz == 0


def test_ndcg_by_hand():
    relevant = histories_of(to_interactions(np.array([[1, 0, 0, 1], [0, 1, 1, 0]]))).weights
    scores = np.array([[4, 3, 2, 1], [4, 3, 2, -np.inf]], np.float32)
    first = (1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    second = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert ndcg(scores, relevant, 100) == pytest.approx([first, second])


@pytest.mark.parametrize("kind", ["mult_vae", "sequence"])
def test_judging_stops_a_fit_early(kind: str, monkeypatch: pytest.MonkeyPatch):
    epochs = []
    monkeypatch.setattr(training, "_check_finite", lambda network, epoch, *_: epochs.append(epoch))
    make(kind, epochs=200, patience=1).fit(blocks()[0])
    assert 1 < epochs[-1] < 200


@pytest.mark.parametrize(("length", "held_out"), [(4, 0), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_a_fifth_of_a_history_is_held_out_rounded_up(length: int, held_out: int):
    histories = histories_of(to_interactions(np.ones((10, length))))
    config = EarlyStoppingConfig(validation_share=0.99)
    holdout = hold_out_validation_users(histories, config, np.random.default_rng(0))
    assert (len(holdout.users) == 0) == (held_out == 0)
    assert holdout.kept.weights.nnz == 10 * length - 9 * held_out
    if held_out:
        # All have the same time, so that the last ids are the newest.
        assert np.unique(holdout.held_out.indices).tolist() == list(range(length - held_out, length))


@pytest.mark.parametrize(
    ("share", "most", "number"), [(0.0, 9, 0), (0.29, 9, 2), (0.3, 9, 3), (0.9, 4, 4), (0.09, 9, 0)]
)
def test_validation_users_are_a_share_up_to_a_maximum(share: float, most: int, number: int):
    histories = histories_of(to_interactions(np.ones((10, 6))))
    config = EarlyStoppingConfig(validation_share=share, max_validation_users=most)
    holdout = hold_out_validation_users(histories, config, np.random.default_rng(0))
    assert len(holdout.users) == number
    assert (np.diff(holdout.users) > 0).all()


def test_the_generator_draws_the_validation_users():
    histories = histories_of(to_interactions(np.ones((50, 6))))
    config = EarlyStoppingConfig(validation_share=0.2)
    drawn = [
        hold_out_validation_users(histories, config, np.random.default_rng(seed)).users.tolist()
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_ndcg_is_cut_at_100():
    relevant = histories_of(to_interactions(np.array([[0] * 100 + [1], [1] * 101]))).weights
    scores = -np.tile(np.arange(101, dtype=np.float32), (2, 1))
    assert ndcg(scores[:1], relevant[:1], 100) == 0
    assert ndcg(-scores[:1], relevant[:1], 100) == 1
    # More are relevant than there are ranks: the ideal has as many as there are ranks.
    assert ndcg(scores[1:], relevant[1:], 100) == pytest.approx(1)


def test_validation_is_the_mean_over_users_without_shown_videos():
    """More users than a block; a constant score ranks by id, so that what is shown must not take ranks."""
    histories = histories_of(to_interactions(np.ones((80, 10))))
    config = EarlyStoppingConfig(validation_share=0.5)
    holdout = hold_out_validation_users(histories, config, np.random.default_rng(0))
    calls = []

    def scores(shown: InteractionMatrix, users: np.ndarray) -> np.ndarray:
        calls.append(users)
        rows = np.flatnonzero(np.isin(holdout.users, users))
        assert (shown.weights != holdout.before(rows).weights).nnz == 0
        return np.ones((shown.users, shown.videos), np.float32)

    assert validation_ndcg(holdout, scores) == pytest.approx(1)
    assert [len(users) for users in calls] == [training.BLOCK_ROWS, 40 - training.BLOCK_ROWS]
    assert np.concatenate(calls).tolist() == holdout.users.tolist()


def test_blocks_are_padded_with_their_first_row():
    assert training.pad_block(np.array([7, 3])).tolist() == [7, 3] + [7] * (training.BLOCK_ROWS - 2)
    whole = np.arange(training.BLOCK_ROWS)
    assert training.pad_block(whole).tolist() == whole.tolist()
    assert [part.tolist() for part in training.batches(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(training.batches(np.arange(0), 2)) == []


def test_without_validation_every_epoch_is_trained_at_the_given_rate():
    """Adam's step on a constant gradient is the learning rate, for each of two batches in three epochs."""
    network, epochs = torch.nn.Linear(1, 1, bias=False), []
    before = network.weight.item()

    def losses(epoch: int):
        epochs.append(epoch)
        for _ in range(2):
            yield network(torch.full((1, 1), 5.0)).sum()

    train_with_early_stopping(network, losses, epochs=3, learning_rate=0.01, model_name="x")
    assert epochs == [1, 2, 3]
    assert network.weight.item() == pytest.approx(before - 6 * 0.01, abs=1e-5)
    assert not network.training


@pytest.mark.parametrize("validated", [True, False])
def test_a_deadline_stops_after_the_batch_and_the_best_weights_stay(monkeypatch, validated):
    network, steps, weights = torch.nn.Linear(1, 1), [], []
    # A batch takes a second, and an epoch has two.
    monkeypatch.setattr(training.time, "monotonic", lambda: float(len(steps)))

    def losses(epoch: int):
        for _ in range(2):
            steps.append(epoch)
            yield network(torch.ones(1, 1)).sum()

    def validate() -> float:
        weights.append(network.weight.item())
        return float(-len(weights))

    def train(deadline: float) -> None:
        train_with_early_stopping(
            network,
            losses,
            epochs=9,
            learning_rate=0.01,
            model_name="x",
            validate=validate if validated else None,
            patience=9,
            deadline=deadline,
        )

    before = network.weight.item()
    train(5)
    assert steps == [1, 1, 2, 2, 3]
    assert not network.training
    after = network.weight.item()
    assert after == (weights[0] if validated else pytest.approx(before - 5 * 0.01, abs=1e-5))
    with pytest.raises(FitTimeout, match="first epoch"):
        train(6)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 5)])
def test_an_equal_metric_is_no_improvement(patience: int, epochs: int):
    network, metrics = torch.nn.Linear(1, 1), iter([0.1, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9])
    seen, weights = [], []

    def losses(epoch: int):
        seen.append(epoch)
        yield network(torch.ones(1, 1)).sum()

    def validate() -> float:
        weights.append(network.weight.item())
        return next(metrics)

    train_with_early_stopping(
        network, losses, epochs=5, learning_rate=0.1, model_name="x", validate=validate, patience=patience
    )
    assert seen == list(range(1, epochs + 1))
    assert network.weight.item() == weights[1]


@pytest.mark.parametrize("kind", ["mult_vae", "sequence"])
def test_held_out_videos_are_not_trained_on_and_not_shown_in_validation(kind, monkeypatch):
    """Both models pass the histories without the held-out entries to training, and their own scores on."""
    table, _ = blocks()
    held = []

    def hold_out(histories, config, rng):
        holdout = hold_out_validation_users(histories, config, rng)
        held.append(holdout)
        return holdout

    module = {"mult_vae": mult_vae, "sequence": sasrec}[kind]
    monkeypatch.setattr(module, "hold_out_validation_users", hold_out)
    model = make(kind, epochs=1, validation_share=0.5)
    trained = []
    losses = type(model)._losses
    monkeypatch.setattr(
        type(model), "_losses", lambda self, shown, *rest: trained.append(shown) or losses(self, shown, *rest)
    )
    model.fit(table)
    (holdout,) = held
    assert trained[0] is (holdout.kept.weights if kind == "mult_vae" else holdout.kept)
    assert holdout.kept.weights.nnz == table.num_rows - holdout.held_out.nnz
    assert model.histories.weights.nnz == table.num_rows
