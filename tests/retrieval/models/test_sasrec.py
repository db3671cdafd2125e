"""The sequence model: what it may look at, its loss against NumPy, and whether it learns order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from tests.retrieval.matrices import to_interactions
from tests.retrieval.planted import chains, found
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.sasrec import SASRec, SASRecNetwork, window_batches, windows
from vrec.retrieval.network_config import SASRecConfig

SMALL = SASRecConfig(
    dim=16, max_length=8, dropout=0.1, learning_rate=1e-2, batch_windows=32, epochs=40, validation_share=0
)


@pytest.fixture
def network() -> SASRecNetwork:
    torch.manual_seed(0)
    network = SASRecNetwork(20, SMALL).eval()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.4)
    return network.requires_grad_(False)


def test_nothing_looks_ahead(network: SASRecNetwork):
    places = torch.randint(20, (5, 8), generator=torch.manual_seed(1))
    before = network(places)
    for position in range(1, 8):
        changed = places.clone()
        changed[:, position] = (changed[:, position] + 1) % 20
        after = network(changed)
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=1e-5, atol=1e-5)
        assert ((after - before)[:, position:].abs().amax(dim=2) > 1e-3).all()


def test_filling_changes_nothing_before_it(network: SASRecNetwork):
    places = torch.randint(20, (5, 4), generator=torch.manual_seed(1))
    alone = network(places)
    for filling in (0, 7, 19):
        filled = torch.nn.functional.pad(places, (0, 4), value=filling)
        torch.testing.assert_close(network(filled)[:, :4], alone, rtol=1e-5, atol=1e-5)


def test_loss_is_the_cross_entropy_computed_by_hand(network: SASRecNetwork):
    generator = torch.manual_seed(1)
    places, targets = (torch.randint(20, (5, 6), generator=generator) for _ in range(2))
    targets[0, 3:] = targets[4, 1:] = -1
    logits = network(places).numpy().astype(float) @ network.videos.weight.numpy().astype(float).T
    log_likelihood = logits - logsumexp(logits, axis=2, keepdims=True)
    rows, columns = np.nonzero(targets.numpy() >= 0)
    want = -log_likelihood[rows, columns, targets[rows, columns]].mean()
    assert network.loss(places, targets, None).item() == pytest.approx(want, rel=1e-5)
    # All drawn, in any order, is the same sum.
    everything = torch.randperm(20, generator=generator)
    assert network.loss(places, targets, everything).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.slow
def test_drawn_negatives_stand_for_all(network: SASRecNetwork):
    """The softmax's denominator is right on average: exp(loss − the true logit's part) is its estimate."""
    places, target = torch.tensor([[3, 1, 4]]), torch.tensor([[-1, -1, 5]])
    true = network(places)[0, 2] @ network.videos.weight[5]
    rng = np.random.default_rng(0)
    sums = [
        torch.exp(network.loss(places, target, torch.from_numpy(rng.choice(20, 7, replace=False))) + true)
        for _ in range(1000)
    ]
    want = torch.exp(network.loss(places, target, None) + true)
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - want.item()) < 4 * error < 0.3 * want.item()


def test_a_draw_of_only_the_true_one_is_harmless(network: SASRecNetwork):
    assert network.loss(torch.tensor([[3]]), torch.tensor([[5]]), torch.tensor([5])).item() == 0


@given(st.lists(st.integers(0, 23), min_size=1, max_size=12), st.integers(1, 9))
def test_windows_predict_everything_but_each_first_video_once(lengths: list[int], max_length: int):
    starts = np.concatenate([[0], np.cumsum(lengths)])
    first, size = windows(starts, max_length)
    assert ((size >= 1) & (size <= max_length)).all()
    targets = np.sort(
        np.concatenate([np.arange(a, a + n) + 1 for a, n in zip(first, size, strict=True)] or [[]])
    )
    want = [place for start, n in zip(starts, lengths, strict=False) for place in range(start + 1, start + n)]
    assert targets.tolist() == want
    # The newest window of a history is as long as can be: it is what the model sees when it recommends.
    newest = dict(zip(first + size, size, strict=True))
    for start, n in zip(starts, lengths, strict=False):
        if n > 1:
            assert newest[start + n - 1] == min(n - 1, max_length)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=90), st.integers(1, 7), st.integers(0, 99))
def test_an_epoch_has_each_window_once(lengths: list[int], size: int, seed: int):
    parts = list(window_batches(np.array(lengths, np.int64), size, np.random.default_rng(seed)))
    assert all(1 <= len(part) <= size for part in parts)
    assert sorted(np.concatenate([*parts, np.empty(0, np.int64)]).tolist()) == list(range(len(lengths)))


@pytest.mark.slow
@pytest.mark.parametrize("negatives", [None, 8])
def test_it_learns_order_that_neighbours_cannot_see(negatives: int | None):
    table, following = chains()
    config = SMALL.model_copy(update={"negatives": negatives})
    hits = (found(SASRec(config).fit(table), len(following), 1)[:, 0] == following).mean()
    blind = (found(ItemKnn().fit(table), len(following), 1)[:, 0] == following).mean()
    assert hits > 0.95
    assert blind < 0.7


def test_only_the_newest_videos_count():
    """With room for two, what is older changes nothing; times decide which are newest, and in what order."""
    model = SASRec(SMALL.model_copy(update={"max_length": 2, "epochs": 2})).fit(chains()[0])
    x, at = np.zeros((3, 24)), np.zeros((3, 24), np.int64)
    x[:, [9, 4]], at[:2, [9, 4]], at[2, [9, 4]] = 1, [1, 2], [2, 1]
    x[1, [17, 20]] = 1
    rest = [f"v{video:05d}" for video in range(24) if video not in (4, 9, 17, 20)]
    table = model.recommend_from(to_interactions(x, at), 24, candidates=rest)
    short, long, turned = (
        table.slice(user * len(rest), len(rest)).drop_columns("user_id") for user in range(3)
    )
    assert short.equals(long)
    assert not short["score"].equals(turned["score"])


def test_without_any_order_nothing_is_recommended(tmp_path):
    model = SASRec(SMALL).fit(to_interactions(np.eye(3)))
    assert model.recommend(["u00000", "u00001"], 3).num_rows == 0
    model.save(str(tmp_path))
    assert SASRec.load(str(tmp_path)).recommend(["u00000"], 3).num_rows == 0


def test_heads_share_the_dimensions():
    with pytest.raises(ValueError, match="no multiple of heads"):
        SASRecConfig(dim=10, heads=4)


def test_the_network_is_built_by_its_settings():
    config = SASRecConfig(dim=12, max_length=5, layers=3, heads=4, dropout=0.35)
    network = SASRecNetwork(7, config)
    assert network.videos.weight.shape == (7, 12)
    assert network.positions.weight.shape == (5, 12)
    assert len(network.encoder.layers) == 3
    for layer in network.encoder.layers:
        assert (layer.self_attn.num_heads, layer.linear1.out_features, layer.norm_first) == (4, 12, True)
        assert layer.dropout.p == layer.self_attn.dropout == 0.35
    assert network.dropout.p == 0.35
    assert abs(SASRecNetwork(2000, config).videos.weight.std().item() - 0.02) < 0.001


def record_losses(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    calls = []
    loss = SASRecNetwork.loss

    def recorded(self, videos, targets, negatives):
        calls.append((videos.clone(), targets.clone(), None if negatives is None else negatives.clone()))
        return loss(self, videos, targets, negatives)

    monkeypatch.setattr(SASRecNetwork, "loss", recorded)
    return calls


def test_training_predicts_each_next_video_by_time(monkeypatch):
    """Of 3, 1, 0 and 2 in this order, with a window of 2: (1 → 0 → 2) and (3 → 1)."""
    calls = record_losses(monkeypatch)
    x, at = np.array([[1, 1, 1, 1], [0, 0, 0, 1]]), np.array([[3, 2, 4, 1], [0, 0, 0, 1]])
    SASRec(SASRecConfig(dim=4, max_length=2, epochs=1, validation_share=0)).fit(to_interactions(x, at))
    ((videos, targets, negatives),) = calls
    steps = np.stack([videos.numpy(), targets.numpy()], axis=2).tolist()
    pairs = {tuple(map(tuple, window)) for window in steps}
    assert pairs == {((1, 0), (0, 2)), ((3, 1), (3, -1))}
    assert negatives is None


@pytest.mark.parametrize(("number", "drawn"), [(None, None), (24, None), (25, None), (23, 23), (5, 5)])
def test_negatives_are_distinct_and_fewer_than_the_catalog(number, drawn, monkeypatch):
    calls = record_losses(monkeypatch)
    config = SMALL.model_copy(update={"negatives": number, "epochs": 1, "batch_windows": 50})
    SASRec(config).fit(chains()[0])
    assert len(calls) == 3
    assert all(len(videos) == 50 for videos, _, _ in calls)
    sizes = {None if negatives is None else len(set(negatives.tolist())) for _, _, negatives in calls}
    assert sizes == {drawn}


def test_windows_of_one_batch_have_similar_lengths():
    lengths = np.repeat(np.arange(1, 11), 10)
    parts = list(window_batches(lengths, 10, np.random.default_rng(0)))
    assert [len(set(lengths[part])) for part in parts] == [1] * 10
    assert [lengths[part][0] for part in parts] != sorted(lengths[part][0] for part in parts)


def test_scores_are_logits_at_the_last_video():
    model = SASRec(SMALL.model_copy(update={"epochs": 1})).fit(chains()[0])
    x, at = np.zeros((2, 24)), np.zeros((2, 24), np.int64)
    x[0, [4, 9, 2]], at[0, [4, 9, 2]] = 1, [1, 2, 3]
    x[1, 5] = 1
    table = to_interactions(x, at)
    histories = build_interaction_matrix(table, IdVocabulary.from_columns(table["user_id"]), model.videos)
    found = model.score_block(histories.rows(np.array([0, 1])), np.array([-1, -1]))
    with torch.no_grad():
        for row, videos in enumerate([[4, 9, 2], [5]]):
            last = model.network(torch.tensor([videos]))[0, -1]
            np.testing.assert_allclose(found[row], last @ model.network.videos.weight.T, rtol=1e-4, atol=1e-5)
    nobody = model.score_block(histories.select_entries(np.zeros(4, bool)), np.array([-1, -1]))
    assert np.isneginf(nobody).all()
