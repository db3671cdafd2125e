"""Pooling of the vectors of a video's frames into one vector, without trained weights."""

import numpy as np

from vrec.core.types import Vectors


def mean_pool(features: Vectors) -> Vectors:
    """Return (dim,) float32: the mean of (T, dim) frame features."""
    return features.mean(axis=0, dtype=np.float64).astype(np.float32)


def attention_pool(features: Vectors, temperature: float) -> Vectors:
    """Return (dim,) float32: the mean of (T, dim) features, weighted by their similarity to the mean.

    The query is the mean of the video: weights are the softmax over frames of
    cos(frame, mean) / temperature, so a stray frame (a cut, a title card) counts less. This is
    the query-scored average of Bain et al., "A CLIP-Hitchhiker's Guide to Long Video Retrieval"
    (2022), with the mean in place of a text query. As temperature grows it becomes `mean_pool`.
    """
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(mean)
    scores = (wide @ mean) / np.maximum(lengths, np.finfo(np.float64).tiny) / temperature  # (T,)
    weights = np.exp(scores - scores.max())
    return (weights @ wide / weights.sum()).astype(np.float32)
