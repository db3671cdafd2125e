"""Conversations for `assistant.py` on which its grammar was mended, and a catalog beside the demo's."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform

Turn = tuple[str, dict[str, Any]]
"""A message and what it changes, as `Delta` of `assistant_oracle.py` says."""

CATEGORIES = {
    "Women > Dresses": ("dress", "连衣裙", 40, 160),
    "Women > Shoes > Boots": ("boots", "靴子", 60, 220),
    "Men > Shirts": ("shirt", "衬衫", 25, 90),
    "Accessories > Bags": ("bag", "包包", 30, 240),
    "Accessories > Scarves": ("scarf", "围巾", 12, 60),
    "Home > Lamps": ("lamp", "台灯", 20, 120),
    "Home > Blankets": ("blanket", "毯子", 25, 110),
    "Kitchen > Bowls": ("bowl", "碗", 6, 45),
}
COLORS = {
    "red": "红色",
    "burgundy": "酒红色",
    "navy": "藏青色",
    "green": "绿色",
    "black": "黑色",
    "white": "白色",
    "beige": "米色",
    "pink": "粉色",
}
MATERIALS = {"linen": "亚麻", "wool": "羊毛", "silk": "真丝", "leather": "皮", "cotton": "棉"}


def other_catalog() -> pa.Table:
    """Return VIDEOS of another shop: paths as categories, materials as tags, each title in one language."""
    rng = np.random.default_rng(11)
    rows = []
    for number, (category, color) in enumerate(itertools.product(CATEGORIES, COLORS)):
        en, zh, low, high = CATEGORIES[category]
        for copy in range(4):
            material = list(MATERIALS)[int(rng.integers(len(MATERIALS)))]
            chinese = (number + copy) % 2 == 1
            title = f"{COLORS[color]}{MATERIALS[material]}{zh}" if chinese else f"{material} {en}, {color}"
            rows.append(
                {
                    "video_id": f"v{number:03d}-{copy}", "uri": "", "kind": "product", "product_ids": [],
                    "creator_id": "", "domain": "shop", "category": category, "tags": [material, color],
                    "title": title, "language": "zh" if chinese else "en",
                    "price": float(rng.integers(low, high)) + 0.9, "duration_s": 10.0,
                    "published_at": None, "expires_at": None, "available": True,
                }
            )  # fmt: skip
    return conform(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()), VIDEOS, stage="other catalog")
