"""Statistics of norms, taken anew."""

import torch

from tests.compression.small import PX, SmallNetwork, features, missed, pictures
from vrec.compression.batch_norm import recalibrate_batch_norms


def test_norms_that_were_lost_are_found_again():
    network, shown = SmallNetwork(), pictures(64, seed=9)
    whole = features(network, shown)
    norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    momentum = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.running_mean.normal_()
            norm.running_var.fill_(3.0)
    assert missed(features(network, shown), whole) > 0.3
    recalibrate_batch_norms(network, shown, batch=16)
    assert missed(features(network, shown), whole) < 0.01
    assert not any(part.training for part in network.modules())
    assert [norm.momentum for norm in norms] == momentum


def test_only_statistics_change():
    network = SmallNetwork()
    weights = [part.detach().clone() for part in network.parameters()]
    recalibrate_batch_norms(network, pictures(8, PX // 2), batch=4)
    for before, after in zip(weights, network.parameters(), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)
