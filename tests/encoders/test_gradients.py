"""The gradient of similarity with a target, against differences, on a small network."""

import numpy as np
import torch
from torch import nn

from vrec.encoders.backbone import FrameBackbone
from vrec.encoders.gradients import similarity_gradient


class Small(nn.Module):
    """Network from (N, S, S, 3) pictures to (N, 5) features."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8 * 8 * 3, 5)

    def forward(self, pictures):
        return torch.tanh(self.layer(pictures.flatten(1) / 255))


def test_the_gradient_is_that_of_the_cosine_of_pooled_features():
    torch.manual_seed(0)
    network, rng = Small(), np.random.default_rng(0)
    target = rng.normal(size=5).astype(np.float32)
    gradient = similarity_gradient(FrameBackbone(network, 5, 8), target)
    pixels = rng.uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    value, slope = gradient(pixels)
    pooled = network(torch.from_numpy(pixels)).mean(0).detach().numpy()
    assert np.isclose(value, pooled @ target / np.linalg.norm(pooled) / np.linalg.norm(target), atol=1e-5)
    assert slope.shape == pixels.shape
    step = np.sign(slope) * 2
    expected = (np.abs(slope) * 4).sum()
    assert np.isclose(gradient(pixels + step)[0] - gradient(pixels - step)[0], expected, rtol=0.05)
    assert all(weight.grad is None for weight in network.parameters())
