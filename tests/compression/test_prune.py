"""Fewer channels: those that are missed least go, and what is left is a sound network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.compression.small import SmallNetwork, features, pictures
from vrec.compression.prune import (
    PruneConfig,
    channel_importance,
    count_parameters,
    inverted_residual_blocks,
    prune_channels,
)
from vrec.core.errors import CompressError


def inner(network: nn.Module) -> list[int]:
    """The inner channels of each block."""
    return [part.groups for part in network.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]


def test_channels_that_add_nothing_can_go_without_a_trace():
    network, shown = SmallNetwork(), pictures(6)
    with torch.no_grad():
        for block in inverted_residual_blocks(network):
            idle = torch.randperm(block.narrow.in_channels, generator=torch.Generator().manual_seed(0))[:16]
            block.narrow.weight[:, idle] = 0
    small = prune_channels(network, PruneConfig(share=0.25))
    assert inner(small) == [32, 48]
    np.testing.assert_allclose(features(small, shown), features(network, shown), atol=1e-5)
    assert count_parameters(small) < count_parameters(network)


def test_what_is_left_equals_the_network_with_the_least_important_channels_silenced():
    network, shown = SmallNetwork(), pictures(6)
    small = prune_channels(network, PruneConfig(share=0.5))
    kept = inner(small)
    with torch.no_grad():
        for block, count in zip(inverted_residual_blocks(network), kept, strict=True):
            weights = block.narrow.weight.flatten(1)
            score = (weights**2).sum(0).sqrt() * block.second.weight.abs()
            torch.testing.assert_close(channel_importance(block), score)
            block.narrow.weight[:, score.argsort()[: len(score) - count]] = 0
    np.testing.assert_allclose(features(small, shown), features(network, shown), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.9), st.sampled_from([2, 4, 8, 16]))
def test_any_share_leaves_a_network_that_runs_and_the_original_as_it_was(share, multiple):
    network = SmallNetwork()
    before = features(network, pictures(2))
    small = prune_channels(network, PruneConfig(share=share, multiple=multiple))
    assert features(small, pictures(2)).shape == (2, 16)
    np.testing.assert_array_equal(features(network, pictures(2)), before)
    for total, count in zip(inner(network), inner(small), strict=True):
        assert count == total or count % multiple == 0
        assert abs(count - total * (1 - share)) <= multiple


def test_a_network_without_such_blocks_is_refused():
    with pytest.raises(CompressError, match="no inverted residual blocks") as caught:
        prune_channels(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), PruneConfig())
    assert "compress.methods" in caught.value.fix
