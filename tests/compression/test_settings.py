"""Settings of compression: each changes what it says, by arithmetic or by what is seen to happen."""

from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from tests.compression.small import PX, SmallNetwork, features, pictures
from vrec.compression.batch_norm import recalibrate_batch_norms
from vrec.compression.config import (
    DISTILLED_VARIANTS,
    METHOD_STEPS,
    CompressConfig,
    CompressionMethod,
    Int8Mode,
    NetworkVariant,
)
from vrec.compression.distill import (
    DistillationConfig,
    DistillationPictures,
    distill,
    held_out_videos,
    resize_pictures,
)
from vrec.compression.export import first_line, to_onnx
from vrec.compression.prune import PruneConfig, count_parameters, inverted_residual_blocks, prune_channels
from vrec.compression.quantize import QuantizeConfig, static_int8

LARGE = SmallNetwork()


def test_methods_are_named_after_their_steps():
    assert METHOD_STEPS.keys() == set(get_args(CompressionMethod))
    for method, (variant, mode) in METHOD_STEPS.items():
        assert variant in get_args(NetworkVariant)
        assert mode in get_args(Int8Mode)
        wanted = mode if variant == "whole" else variant if mode == "none" else f"{variant}_{mode}"
        assert method == wanted
    assert {"pruned", "student"} == DISTILLED_VARIANTS
    assert set(CompressConfig().methods) <= METHOD_STEPS.keys()


def test_keys_of_the_choice():
    config = CompressConfig.model_validate(
        {"distill": {"steps": 7}, "max_accuracy_loss": 0.1, "min_recall": 0.5}
    )
    assert (config.distill.steps, config.max_accuracy_loss, config.min_recall) == (7, 0.1, 0.5)


@pytest.mark.parametrize(
    ("share", "multiple", "left"),
    [
        (0.3, 8, [32, 48]),  # 33.6 and 44.8
        (0.5, 8, [24, 32]),
        (0.0, 8, [48, 64]),
        (0.0, 5, [48, 64]),  # 50 and 65 are more than there are
        (0.3, 1, [34, 45]),
        (0.95, 16, [16, 16]),
        (0.5, 100, [48, 64]),
    ],
)
def test_the_channels_that_are_left_by_hand(share, multiple, left):
    small = prune_channels(LARGE, PruneConfig(share=share, multiple=multiple))
    assert [block.narrow.in_channels for block in inverted_residual_blocks(small)] == left
    for block, count in zip(inverted_residual_blocks(small), left, strict=True):
        assert block.widen.out_channels == block.depthwise.groups == block.second.num_features == count
        assert block.first.running_mean.shape == block.second.bias.shape == (count,)
        assert block.depthwise.weight.shape == (count, 1, 3, 3)


def test_biases_of_convolutions_are_pruned_with_their_channels():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 8, 1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 2, 1),
    ]
    network = nn.Sequential(*layers).eval()
    with torch.no_grad():
        network[4].weight[:, ::2] = 0
        small = prune_channels(network, PruneConfig(share=0.5, multiple=1))
        given = torch.rand(2, 2, 6, 6)
        assert torch.allclose(small(given), network(given), atol=1e-6)
    assert torch.equal(small[0].bias, network[0].bias[1::2])
    assert torch.equal(small[2].bias, network[2].bias[1::2])
    # 3 + 2 + 10 + 2 numbers a channel, and the 2 biases of the last layer.
    assert count_parameters(small) == 4 * 3 + 2 * 4 + 4 * 10 + 2 * 4 + 4 * 2 + 2


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [
            nn.Conv2d(8, 8, 1),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.Conv2d(8, 4, 1),
        ],  # as wide as its input
        lambda: [nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)],  # not 1×1
        lambda: [nn.Conv2d(2, 8, 1), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 4, 1)],  # not depthwise
        lambda: [nn.Conv2d(2, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 3)],
        lambda: [nn.Conv2d(2, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1, groups=2)],
        lambda: [nn.Conv2d(2, 8, 1, groups=2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)],
        lambda: [nn.Conv2d(2, 8, 1), nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(16, 4, 1)],
    ],
)
def test_other_blocks_are_left_alone(layers):
    widen, depthwise, narrow = layers()
    norms = nn.BatchNorm2d(widen.out_channels), nn.BatchNorm2d(depthwise.out_channels)
    network = nn.Sequential(widen, norms[0], depthwise, norms[1], narrow)
    assert inverted_residual_blocks(network) == []


def test_norms_take_the_mean_over_batches():
    class Norm(nn.Module):
        """(N, S, S, 3) uint8 through one batch norm."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return self.norm(given.permute(0, 3, 1, 2).float())

    network, given = Norm(), pictures(5)
    recalibrate_batch_norms(network, given, batch=2)
    blocks = [given[:2], given[2:4], given[4:]]
    mean = np.mean([block.mean((0, 1, 2)) for block in blocks], axis=0)
    variance = np.mean([block.reshape(-1, 3).var(axis=0, ddof=1) for block in blocks], axis=0)
    assert np.allclose(network.norm.running_mean, mean, rtol=1e-4)
    assert np.allclose(network.norm.running_var, variance, rtol=1e-4)
    assert network.norm.momentum == 0.1
    assert not network.norm.training


PICTURES = pictures(16, seed=5)


class Spy:
    """Teacher that remembers the pictures it is shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []

    def __call__(self, given: np.ndarray) -> np.ndarray:
        self.shown.append(given)
        return features(LARGE, given)


def run(on_step=None, student=None, pictures=PICTURES, **changed):
    config = DistillationConfig(**{"steps": 10, "batch": 4, "check_every": 4, "validation": 0.25} | changed)
    data = DistillationPictures(pictures, np.repeat(np.arange(8), 2))
    spy, student = Spy(), student or prune_channels(LARGE, PruneConfig(share=0.5))
    return distill(student, PX, spy, data, config, on_step=on_step), spy, data, config


def test_validations_come_every_so_many_steps_and_at_the_end():
    heard = []
    result, spy, _, _ = run(on_step=heard.append)
    assert [step.step for step in result.steps] == [0, 0, 4, 8, 10]
    assert heard == result.steps
    assert [len(given) for given in spy.shown] == [12, 4] + [4] * 10  # the scale, 2 of 8 videos, and batches
    assert np.isnan(result.steps[0].loss)
    assert [np.isfinite(step.loss) for step in result.steps] == [False, False, True, True, True]
    assert [step.step for step in run(check_every=5)[0].steps] == [0, 0, 5, 10]


def test_losses_are_shares_of_the_teachers_variance():
    student = prune_channels(LARGE, PruneConfig(share=0.5))
    config = DistillationConfig(steps=1, batch=4, validation=0.25)
    data = DistillationPictures(PICTURES, np.repeat(np.arange(8), 2))
    held = np.isin(data.videos, held_out_videos(data.videos, config))
    scale = features(LARGE, data.pictures[~held]).var(axis=0).sum()
    wrong = features(student, data.pictures[held]) - features(LARGE, data.pictures[held])
    first = run(student=student, steps=1)[0].steps[0]
    assert first.held_out_loss == pytest.approx((wrong**2).sum(axis=1).mean() / scale, rel=1e-4)


def is_one_of(picture: np.ndarray, originals: np.ndarray) -> bool:
    return any(np.array_equal(picture, one) or np.array_equal(picture, one[:, ::-1]) for one in originals)


def test_whole_pictures_are_shown_as_often_as_they_should_be_and_half_of_them_mirrored():
    _, spy, data, _ = run(whole=1.0, steps=30)
    shown = np.concatenate(spy.shown[2:])
    assert all(is_one_of(picture, data.pictures) for picture in shown)
    as_they_are = np.mean([any(np.array_equal(p, one) for one in data.pictures) for p in shown])
    assert 0.35 < as_they_are < 0.65
    _, spy, data, _ = run(whole=0.0, min_area=0.3, steps=10)
    assert np.mean([is_one_of(picture, data.pictures) for picture in np.concatenate(spy.shown[2:])]) < 0.2


def test_parts_are_no_smaller_than_asked_for_and_nearly_square():
    # Red rises by 7 a column and green by 7 a row: a part tells its own size.
    ramp = np.zeros((16, PX, PX, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = 7 * np.arange(PX), 7 * np.arange(PX)[:, None]
    _, spy, _, _ = run(pictures=ramp, whole=0.0, min_area=0.3, steps=30)
    shown = np.concatenate(spy.shown[2:]).astype(int)
    width, height = ((shown[..., axis].max((1, 2)) - shown[..., axis].min((1, 2))) / 7 + 1 for axis in (0, 1))
    area = width * height / PX**2
    assert 0.27 < area.min() < 0.45
    assert area.max() > 0.85
    assert area.mean() == pytest.approx(0.65, abs=0.06)
    assert 1 / 1.35 < (height / width).min() < 1 < (height / width).max() < 1.35


def test_the_learning_rate_rises_then_falls_as_a_cosine(monkeypatch):
    rates, given = [], []
    step, init = torch.optim.AdamW.step, torch.optim.AdamW.__init__

    def spied(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    def made(self, weights, **kwargs):
        given.append(kwargs)
        init(self, weights, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    monkeypatch.setattr(torch.optim.AdamW, "__init__", made)
    run(steps=40, learning_rate=0.01, weight_decay=0.2)
    rise = [0.005, 0.01]  # a twentieth of 40 steps
    fall = [0.005 * (1 + np.cos(np.pi * i / 38)) for i in range(38)]
    assert rates == pytest.approx(rise + fall)
    assert given == [{"lr": 0.01, "weight_decay": 0.2}]


def test_threads_are_those_asked_for_and_given_back(monkeypatch):
    before, seen = torch.get_num_threads(), []
    set_threads = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda count: (seen.append(count), set_threads(count))[1])
    run(steps=1, threads=2)
    assert seen == [2, before]
    assert torch.get_num_threads() == before


def test_two_videos_are_one_to_learn_from_and_one_to_judge_by():
    for share in (0.01, 0.99):
        assert len(held_out_videos(np.array([3, 3, 9]), DistillationConfig(validation=share))) == 1


def test_pictures_keep_their_axes_when_resized():
    wide = np.zeros((1, 8, 8, 3), np.uint8)
    wide[:, :4, :, 0] = 200
    small = resize_pictures(wide, 2)
    assert small.shape == (1, 2, 2, 3)
    assert small[0, 0, :, 0].min() > 150
    assert small[0, 1, :, 0].max() < 50
    assert not small[..., 1:].any()


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_onnx(LARGE, PX)


def weights_of(rounded: bytes) -> np.ndarray:
    stored = onnx.load_model_from_string(rounded).graph.initializer
    return np.concatenate([numpy_helper.to_array(part).ravel() for part in stored if len(part.dims) == 4])


def test_weights_have_seven_bits_only_where_sums_would_overflow(graph, monkeypatch):
    shown = pictures(4)
    for reduce, overflow, largest in (
        (True, False, 64),
        (False, True, 127),
        (None, True, 64),
        (None, False, 127),
    ):
        monkeypatch.setattr("vrec.compression.quantize.sums_overflow", lambda answer=overflow: answer)
        rounded = static_int8(graph, shown, QuantizeConfig(reduce_range=reduce, correct_bias=False))
        assert np.abs(weights_of(rounded).astype(int)).max() in (largest, largest - 1)


def test_all_pictures_are_taken_where_there_are_no_more_than_asked_for(graph):
    shown = pictures(6)
    given = [static_int8(graph, shown, QuantizeConfig(pictures=count, seed=count)) for count in (6, 100)]
    assert given[0] == given[1]
    assert static_int8(graph, shown, QuantizeConfig(pictures=2)) != given[0]


def test_the_first_line_of_an_error():
    assert first_line(ValueError("\n  \n  first \nsecond")) == "first"
    assert first_line(ValueError("")) == "no message"
    assert len(first_line(ValueError("x" * 999))) == 200
