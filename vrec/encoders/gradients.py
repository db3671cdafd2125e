"""Gradients of the frame encoder, for attacks on it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from vrec.core.types import Vectors
from vrec.encoders.backbone import FrameBackbone

Pixels = npt.NDArray[np.float32]


def similarity_gradient(backbone: FrameBackbone, target: Vectors) -> Callable[[Pixels], tuple[float, Pixels]]:
    """Return the function from frames to their similarity with a target, and its gradient.

    The similarity is the cosine of the target and of the mean of the frames' features, as the frame encoder
    pools them. The function takes and gives (T, S, S, 3) float32 in [0, 255].

    Args:
        backbone: Network of the frame encoder; its weights stay.
        target: (dim,) vector.
    """
    network = backbone.network.requires_grad_(False)
    direction = torch.from_numpy(np.asarray(target, np.float32) / np.linalg.norm(target))

    def gradient(pixels: Pixels) -> tuple[float, Pixels]:
        # Frame by frame: on a CPU, a batch of frames takes half as long again.
        frames = [torch.from_numpy(np.ascontiguousarray(frame[None])) for frame in pixels]
        features = torch.cat([network(frame.requires_grad_(True)) for frame in frames])
        similarity = torch.nn.functional.cosine_similarity(features.mean(0), direction, dim=0)
        slopes = torch.autograd.grad(similarity, frames)
        return float(similarity.detach()), torch.cat(slopes).numpy()

    return gradient
