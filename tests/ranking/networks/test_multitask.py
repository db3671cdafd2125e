"""Mixtures of experts and the losses against the papers' formulas in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit
from sklearn.metrics import log_loss

from tests.ranking.drawn import linear_by_hand, stirred
from vrec.ranking.networks.config import RankerHeadsConfig
from vrec.ranking.networks.multitask import (
    ExpertMixtures,
    HeadOutputs,
    LabelTensors,
    TaskHeads,
    joint_conversion_loss,
    multitask_losses,
)

LOGITS = st.floats(-12, 12)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def mixed_by_hand(mixtures, x, tasks, experts):
    """The mixtures task by task and expert by expert; (tasks, N, width)."""
    weights, bias = (p.detach().numpy() for p in mixtures.experts.parameters())
    gates = mixtures.gates.weight.detach().numpy()
    width = mixtures.width
    outputs = []
    for expert in range(experts):
        some = slice(expert * width, (expert + 1) * width)
        outputs.append(np.maximum(x @ weights[some].T + bias[some], 0))
    found = []
    for task in range(tasks):
        gate = softmax(x @ gates[task * experts : (task + 1) * experts].T)
        found.append(sum(gate[:, [e]] * outputs[e] for e in range(experts)))
    return np.stack(found)


def test_mixtures_are_the_papers():
    mixtures = stirred(ExpertMixtures(6, tasks=2, experts=3, width=4)).double()
    x = np.random.default_rng(0).normal(size=(7, 6))
    found = mixtures(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, mixed_by_hand(mixtures, x, 2, 3).swapaxes(0, 1), rtol=1e-10)


@pytest.mark.parametrize("tower", [(), (5,), (5, 3)])
def test_each_head_is_a_tower_over_its_own_mixture(tower):
    config = RankerHeadsConfig(experts=3, expert_width=4, tower=tower)
    heads = stirred(TaskHeads(6, config, watch_width=2)).double()
    x = np.random.default_rng(0).normal(size=(7, 6))
    found = heads(torch.from_numpy(x))
    mixed = mixed_by_hand(heads.mixtures, x, 3, 3)
    answers = {}
    for head, below in zip(("click", "conversion", "watch"), mixed, strict=True):
        hidden = below
        for linear in heads.towers[head].linears:
            hidden = np.maximum(linear_by_hand(linear, hidden), 0)
        answers[head] = hidden, linear_by_hand(heads.last[head], hidden)
    np.testing.assert_allclose(found.click.detach().numpy(), answers["click"][1][:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.conversion.detach().numpy(), answers["conversion"][1][:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.watch.detach().numpy(), answers["watch"][1], rtol=1e-9)
    np.testing.assert_allclose(found.last.detach().numpy(), answers["click"][0], rtol=1e-9)


def test_one_head_is_a_plain_tower():
    heads = TaskHeads(6, RankerHeadsConfig(heads=("click",), tower=(5,)), watch_width=2).double()
    x = torch.randn(7, 6, dtype=torch.double)
    found = heads(x)
    hidden = np.maximum(linear_by_hand(heads.towers["click"].linears[0], x.numpy()), 0)
    np.testing.assert_allclose(
        found.click.detach().numpy(), linear_by_hand(heads.last["click"], hidden)[:, 0]
    )
    assert heads.mixtures is None
    assert found.conversion is None
    assert found.watch is None


@settings(deadline=None)
@given(st.lists(st.tuples(LOGITS, LOGITS, st.booleans()), min_size=1, max_size=20))
def test_the_loss_of_both_is_that_of_the_product_of_chances(rows):
    click, conversion, happened = np.array(rows, np.float64).T
    both = expit(click) * expit(conversion)
    found = joint_conversion_loss(*(torch.from_numpy(part) for part in (click, conversion, happened))).numpy()
    np.testing.assert_allclose(found, -np.log(np.where(happened > 0, both, 1 - both)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("click", "conversion"), [(90.0, 90.0), (-90.0, 90.0), (90.0, -90.0), (-90.0, -90.0)]
)
@pytest.mark.parametrize("happened", [0.0, 1.0])
def test_the_loss_of_both_stays_right_and_finite_where_chances_are_0_or_1(click, conversion, happened):
    logits = torch.tensor([[click], [conversion]], requires_grad=True)
    loss = joint_conversion_loss(logits[0], logits[1], torch.tensor([happened]))
    loss.sum().backward()
    # 1 − p q ≈ e^−click + e^−conversion where both are large.
    likely = click > 0 and conversion > 0
    expected = {
        (True, 1.0): 0.0,
        (True, 0.0): 90 - np.log(2),
        (False, 1.0): -min(click, 0) - min(conversion, 0),
        (False, 0.0): 0.0,
    }[likely, happened]
    assert loss.item() == pytest.approx(expected, abs=1e-4)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    # A chance that should be larger is pushed up, however small it is by now.
    assert (logits.grad <= 1e-12).all() if happened else (logits.grad >= -1e-12).all()


def drawn(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    click = (rng.random(rows) < 0.4).astype(np.float32)
    conversion = click * (rng.random(rows) < 0.5)
    logits = rng.normal(size=(2, rows)).astype(np.float32)
    watch = rng.normal(size=(2, rows, 3)).astype(np.float32)
    mature = rng.random(rows) < 0.6
    outputs = HeadOutputs(*map(torch.from_numpy, logits), torch.from_numpy(watch[0]), torch.zeros(rows, 2))
    labels = LabelTensors(*map(torch.from_numpy, (click, conversion, mature, watch[1])))
    return outputs, labels


def squared(out, targets):
    return (out - targets).square().mean()


def test_losses_are_esmms_over_all_mature_impressions():
    outputs, labels = drawn()
    config = RankerHeadsConfig(watch_weight=0.5, conversion_weight=2)
    found = multitask_losses(outputs, labels, config, squared)
    p_click, cvr = expit(outputs.click.double().numpy()), expit(outputs.conversion.double().numpy())
    mature = labels.mature.numpy()
    both = log_loss(labels.conversion.numpy()[mature], (p_click * cvr)[mature], labels=[0, 1])
    click = log_loss(labels.click.numpy(), p_click)
    watch = np.square(outputs.watch.numpy() - labels.watch.numpy()).mean()
    assert list(found) == ["click", "conversion", "watch", "total"]
    assert found["click"].item() == pytest.approx(click, rel=1e-5)
    assert found["conversion"].item() == pytest.approx(both, rel=1e-5)
    assert found["watch"].item() == pytest.approx(watch, rel=1e-5)
    assert found["total"].item() == pytest.approx(click + 2 * both + 0.5 * watch, rel=1e-5)


def test_conversions_teach_the_chance_of_a_click_too():
    logits = torch.zeros(2, 1, requires_grad=True)
    joint_conversion_loss(logits[0], logits[1], torch.ones(1)).backward()
    np.testing.assert_allclose(logits.grad, [[-0.5], [-0.5]])  # d −log σ(x) / dx at 0, for each
    outputs, labels = drawn()
    click = outputs.click.clone().requires_grad_()
    multitask_losses(outputs._replace(click=click), labels, RankerHeadsConfig(), squared)[
        "conversion"
    ].backward()
    assert click.grad[labels.mature].all()


def test_what_is_not_mature_teaches_nothing_of_conversions():
    outputs, labels = drawn()
    changed = labels._replace(conversion=torch.where(labels.mature, labels.conversion, 1 - labels.conversion))
    before, after = (
        multitask_losses(outputs, some, RankerHeadsConfig(), squared) for some in (labels, changed)
    )
    assert before["conversion"] == after["conversion"]
    none = labels._replace(mature=torch.zeros_like(labels.mature))
    logits = outputs.conversion.clone().requires_grad_()
    found = multitask_losses(outputs._replace(conversion=logits), none, RankerHeadsConfig(), squared)
    found["total"].backward()  # a worker whose share has none mature must still have gradients
    assert found["conversion"] == 0
    assert not logits.grad.any()


def test_a_batch_of_one_class_has_finite_losses():
    outputs, labels = drawn()
    for value in (0.0, 1.0):
        same = torch.full_like(labels.click, value)
        found = multitask_losses(
            outputs, labels._replace(click=same, conversion=same), RankerHeadsConfig(), squared
        )
        assert all(torch.isfinite(loss) for loss in found.values())


def test_the_clicks_loss_alone_where_it_is_the_only_head():
    outputs, labels = drawn()
    alone = outputs._replace(conversion=None, watch=None)
    found = multitask_losses(alone, labels._replace(watch=None), RankerHeadsConfig(heads=("click",)))
    assert list(found) == ["click", "total"]
    assert found["click"] == found["total"]


@pytest.mark.parametrize("heads", [(), ("watch",), ("click", "click"), ("click", "watching")])
def test_heads_that_make_no_sense_are_refused(heads):
    with pytest.raises(ValidationError, match="heads"):
        RankerHeadsConfig(heads=heads)
