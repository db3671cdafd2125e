"""Losses against NumPy by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from tests.encoders.learned.catalogues import unit
from vrec.encoders.learned.losses import (
    co_watch_loss,
    cosine_distillation_loss,
    info_nce,
    similarity_distillation_loss,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(2, 12)
TEMPERATURE = 0.3


def rows(seed: int, count: int, dim: int = 5) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


@given(SEEDS, SIZES)
def test_info_nce_by_hand(seed, count):
    left, right = rows(seed, count), rows(seed + 1, count)
    wanted = 0.0
    for i in range(count):
        forth = np.exp([left[i] @ right[j] / TEMPERATURE for j in range(count)])
        back = np.exp([left[j] @ right[i] / TEMPERATURE for j in range(count)])
        wanted -= (np.log(forth[i] / forth.sum()) + np.log(back[i] / back.sum())) / (2 * count)
    assert float(info_nce(*tensors(left, right), TEMPERATURE)) == pytest.approx(wanted, abs=1e-4)


@given(SEEDS, SIZES)
def test_info_nce_against_one_more_by_hand(seed, count):
    left, right, third = rows(seed, count), rows(seed + 1, count), rows(seed + 2, count)
    against = (left * third).sum(axis=1)
    against[0] = -np.inf
    wanted = 0.0
    for i in range(count):
        more = 0.0 if i == 0 else np.exp(left[i] @ third[i] / TEMPERATURE)
        forth = np.exp([left[i] @ right[j] / TEMPERATURE for j in range(count)])
        back = np.exp([left[j] @ right[i] / TEMPERATURE for j in range(count)])
        wanted -= (np.log(forth[i] / (forth.sum() + more)) + np.log(back[i] / back.sum())) / (2 * count)
    found = info_nce(*tensors(left, right), TEMPERATURE, torch.from_numpy(against))
    assert float(found) == pytest.approx(wanted, abs=1e-4)


def by_hand(left, right, names, q, temperature) -> float:
    """The co-watch loss, term by term."""
    total, count = 0.0, len(left)
    for asking, found, own, other, chances in (
        (left, right, names[0], names[1], q[1]),
        (right, left, names[1], names[0], q[0]),
    ):
        for i in range(count):
            allowed = [j for j in range(count) if j == i or other[j] != own[i]]
            scores = np.array([asking[i] @ found[j] / temperature - np.log(chances[j]) for j in allowed])
            total -= log_softmax(scores)[allowed.index(i)]
    return total / (2 * count)


@given(SEEDS, SIZES, st.booleans())
def test_co_watch_by_hand(seed, count, corrected):
    rng = np.random.default_rng(seed)
    # Few videos, so that the same ones come up again in a batch.
    names = rng.integers(0, 5, (2, count))
    names[1] = np.where(names[0] == names[1], names[1] + 5, names[1])
    q = rng.uniform(0.01, 1, 10)
    chances = [q[side] if corrected else np.ones(count) for side in names]
    left, right = rows(seed, count), rows(seed + 1, count)
    log_q = tuple(tensors(*np.log(chances).astype(np.float32))) if corrected else None
    sides = tuple(tensors(*names))
    found = co_watch_loss(*tensors(left, right), sides, temperature=TEMPERATURE, log_q=log_q)
    assert float(found) == pytest.approx(by_hand(left, right, names, chances, TEMPERATURE), abs=1e-4)


@given(SEEDS, SIZES)
def test_distillation_by_hand(seed, count):
    vectors, targets = (
        rows(seed, count),
        np.random.default_rng(seed).normal(size=(count, 7)).astype(np.float32),
    )
    predicted = np.random.default_rng(seed + 1).normal(size=(count, 7)).astype(np.float32)
    cosines = [p @ t / np.linalg.norm(p) / np.linalg.norm(t) for p, t in zip(predicted, targets, strict=True)]
    assert float(cosine_distillation_loss(*tensors(predicted, targets))) == pytest.approx(
        1 - np.mean(cosines), abs=1e-5
    )
    wanted = unit(targets)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    squares = [(vectors[i] @ vectors[j] - wanted[i] @ wanted[j]) ** 2 for i, j in pairs]
    assert float(similarity_distillation_loss(*tensors(vectors, targets))) == pytest.approx(
        np.mean(squares), abs=1e-5
    )


def chances_learned(wanted: np.ndarray, corrected: bool) -> np.ndarray:
    """(L, R) chances of right videos by left ones, of free vectors that are fitted to draws of pairs."""
    rng = np.random.default_rng(0)
    lefts, rights = wanted.shape
    popularity = wanted.mean(axis=0)
    torch.manual_seed(0)
    vectors = torch.randn(lefts + rights, 8, requires_grad=True)
    optimizer = torch.optim.Adam([vectors], lr=0.03)
    for _ in range(400):
        left = rng.integers(0, lefts, 128)
        right = (wanted[left].cumsum(axis=1) < rng.random((128, 1))).sum(axis=1)
        log_q = tensors(
            np.full(128, -np.log(lefts), np.float32), np.log(popularity[right]).astype(np.float32)
        )
        unit_vectors = torch.nn.functional.normalize(vectors, dim=1)
        sides = tuple(tensors(left, right + lefts))
        one, other = unit_vectors[sides[0]], unit_vectors[sides[1]]
        loss = co_watch_loss(one, other, sides, temperature=0.2, log_q=tuple(log_q) if corrected else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = torch.nn.functional.normalize(vectors, dim=1).detach().numpy()
    return np.exp(log_softmax(found[:lefts] @ found[lefts:].T / 0.2, axis=1))


def test_log_q_finds_how_often_videos_are_watched_together_and_without_it_popular_ones_are_pushed_away():
    """Scores tend to log p(right | left) with it, and without it to that less log p(right)."""
    wanted = np.array([[0.70, 0.20, 0.05, 0.05], [0.55, 0.05, 0.30, 0.10], [0.75, 0.05, 0.05, 0.15]])
    beyond = wanted / wanted.mean(axis=0)
    beyond /= beyond.sum(axis=1, keepdims=True)
    assert np.abs(chances_learned(wanted, corrected=True) - wanted).max() < 0.1
    assert np.abs(chances_learned(wanted, corrected=False) - beyond).max() < 0.1
    assert np.abs(beyond - wanted)[:, 0].min() > 0.3
