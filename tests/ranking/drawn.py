"""Features and layers' inputs drawn at random, for whatever takes them."""

from dataclasses import replace

import numpy as np
import torch

from vrec.ranking.features.arrays import CatalogFeatureArrays, FeatureShape, RankingFeatures
from vrec.ranking.networks.layers import EmbeddedBatch

CPU = torch.device("cpu")
SHAPE = FeatureShape(
    fields=(31, 6, 4), tags=8, video=2, dim=5, context=(3, 4), user=3, candidate=4, history=2, positions=6
)
ITEM, CONTEXT, CANDIDATE, NUMBERS = 5, 3, 4, 2
"""The sizes of what `embedded` draws."""


def numbers(rng, *size):
    return rng.normal(size=size).astype(np.float32)


def places(rng, sizes, rows):
    drawn = [rng.integers(0, size, rows) for size in sizes]
    return np.stack(drawn, axis=1).astype(np.int32) if drawn else np.zeros((rows, 0), np.int32)


def drawn_catalog(rng, shape=SHAPE, videos=31):
    """Row 0 is zeros; some videos have no tag, some no vector, and some an id out of vocabulary."""
    fields = places(rng, shape.fields, videos)
    fields[:, 0] = np.where(rng.random(videos) < 0.1, 0, np.arange(videos) % shape.fields[0])
    tags = rng.integers(0, shape.tags, (videos, 3)).astype(np.int32)
    tags[rng.random(videos) < 0.2] = 0
    dense, vectors = numbers(rng, videos, shape.video), numbers(rng, videos, shape.dim)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    vectors[rng.random(videos) < 0.2] = 0
    for part in (fields, tags, dense, vectors):
        part[0] = 0
    return CatalogFeatureArrays(fields, tags, dense, vectors)


def drawn_features(seed=0, candidates=24, requests=5, length=7, shape=SHAPE, videos=31):
    """Candidates of requests with histories of 0 to `length` videos; the second request's is empty."""
    rng = np.random.default_rng(seed)
    catalog = drawn_catalog(rng, shape, videos)
    history = rng.integers(1, videos, (requests, length)).astype(np.int32)
    history[np.arange(length) >= rng.integers(0, length + 1, (requests, 1))] = 0
    history[1:2] = 0
    dense = numbers(rng, requests, length, shape.history) * (history != 0)[:, :, None]
    return RankingFeatures(
        catalog=catalog,
        shape=shape,
        request=np.sort(rng.integers(0, requests, candidates)).astype(np.int32),
        video=rng.integers(0, videos, candidates).astype(np.int32),
        candidate=numbers(rng, candidates, shape.candidate),
        position=rng.integers(0, shape.positions, candidates).astype(np.int32),
        context=places(rng, shape.context, requests),
        user=numbers(rng, requests, shape.user),
        history=history,
        history_dense=dense,
    )


def padded(features, columns, content):
    """The same features with more padding, whose numbers are `content`: they must not matter."""
    requests, _, dim = features.history_dense.shape
    numbers = np.full((requests, columns, dim), content, np.float32)
    filling = np.where((features.history == 0)[:, :, None], np.float32(content), features.history_dense)
    return replace(
        features,
        history=np.pad(features.history, ((0, 0), (0, columns))),
        history_dense=np.concatenate([filling, numbers], axis=1),
    )


def stirred(module):
    """The module with every weight drawn: zeros and ones hide mistakes."""
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(std=0.7)
        for name, buffer in module.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.uniform_(0.3, 1.5)
    return module


def embedded(requests, seed=0, candidates=9, length=6):
    """Candidates of requests with histories of 0 to `length` entries; the first request's is full."""
    rng = np.random.default_rng(seed)
    mask = np.arange(length) < rng.integers(0, length + 1, (requests, 1))
    mask[0] = True

    def drawn(*size):
        return torch.from_numpy(rng.normal(size=size).astype(np.float32))

    return EmbeddedBatch(
        item=drawn(candidates, ITEM),
        candidate=drawn(candidates, CANDIDATE),
        request=torch.from_numpy(rng.integers(0, requests, candidates).astype(np.int32)),
        context=drawn(requests, CONTEXT),
        history=drawn(requests, length, ITEM),
        history_dense=drawn(requests, length, NUMBERS),
        mask=torch.from_numpy(mask),
    )


def linear_by_hand(linear, x):
    """A linear layer in float64."""
    return x @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()


def dice_by_hand(x, alpha, mean, var):
    """Dice as in section 5.3 of the paper."""
    p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(var + 1e-8)))
    return p * x + (1 - p) * alpha * x
