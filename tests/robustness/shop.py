"""A small drawn shop with tastes: shoppers of two groups, who mostly watch the videos of their own."""

import numpy as np
import pyarrow as pa

from tests.events.rows import interactions

SHOPPERS, VIDEOS = 240, 60


def shop(seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    appeal = rng.dirichlet(np.ones(VIDEOS)) + 0.002
    rows = []
    for shopper in range(SHOPPERS):
        taste = np.where(np.arange(VIDEOS) % 2 == shopper % 2, 5.0, 0.4) * appeal
        for video in rng.choice(VIDEOS, rng.integers(4, 14), replace=False, p=taste / taste.sum()):
            rows.append((f"u{shopper:03}", f"v{video:02}", 1.0, float(rng.random() * 20)))
    return interactions(*rows)
