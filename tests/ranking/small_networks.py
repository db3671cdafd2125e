"""Small networks of every kind, and their answers for drawn features."""

import numpy as np
import pytest
import torch

from tests.ranking.drawn import CPU, SHAPE, stirred
from vrec.ranking.networks.config import DcnConfig, DinConfig, LogisticRegressionConfig, RankerHeadsConfig
from vrec.ranking.networks.layers import to_batch, to_catalog_tensors
from vrec.ranking.networks.multitask import LabelTensors, multitask_losses
from vrec.ranking.networks.network import RankerNetwork

WATCH_WIDTH = 3
ALL, ONE = (
    RankerHeadsConfig(experts=2, expert_width=6, tower=(5,)),
    RankerHeadsConfig(heads=("click",), tower=()),
)
SMALL = {"width": 4, "hidden": (8, 6)}
CONFIGS = {
    "lr": LogisticRegressionConfig(),
    "lr without content": LogisticRegressionConfig(content=False, position="none"),
    "dcn": DcnConfig(**SMALL),
    "dcn parallel": DcnConfig(**SMALL, structure="parallel", cross_layers=1),
    "din": DinConfig(**SMALL, attention=(5,)),
    "din prelu": DinConfig(**SMALL, attention=(5, 3), activation="prelu", content=False),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
every_heads = pytest.mark.parametrize("heads", [ALL, ONE], ids=["all heads", "one head"])


def network_of(config, heads=ALL, shape=SHAPE, seed=0):
    torch.manual_seed(seed)
    return stirred(RankerNetwork(shape, config, heads, WATCH_WIDTH)).eval()


@torch.no_grad()
def score(network, features):
    catalog = to_catalog_tensors(features.catalog, CPU)
    return network.score(to_batch(features, CPU), network.items(catalog))


@torch.no_grad()
def run(network, features):
    return network(to_batch(features, CPU), to_catalog_tensors(features.catalog, CPU))


def assert_same(found, expected, tolerance=2e-4):
    for name, part, other in zip(expected._fields, found, expected, strict=True):
        assert (part is None) == (other is None)
        if part is not None:
            np.testing.assert_allclose(
                part.detach(), other.detach(), atol=tolerance, rtol=tolerance, err_msg=name
            )


def labels_of(features, seed=3):
    rng = np.random.default_rng(seed)
    click = (rng.random(len(features)) < 0.5).astype(np.float32)
    return LabelTensors(
        torch.from_numpy(click),
        torch.from_numpy(click * (rng.random(len(click)) < 0.5)).float(),
        torch.ones(len(click), dtype=torch.bool),
        torch.randn(len(click), WATCH_WIDTH),
    )


def loss_of(network, features, heads):
    outputs = network(to_batch(features, CPU), to_catalog_tensors(features.catalog, CPU))
    return multitask_losses(
        outputs, labels_of(features), heads, lambda out, targets: (out - targets).square().mean()
    )
