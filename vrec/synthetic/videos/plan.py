"""Plan of a synthetic catalog: its videos, before any is rendered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.schema import VIDEOS, conform
from vrec.synthetic.videos.products import PRODUCT_CATEGORIES, PRODUCT_COLORS, ProductCategory

Damage = Literal["none", "text", "truncated", "black"]
_DAMAGES: tuple[Damage, ...] = ("text", "truncated", "black")


class SyntheticVideosConfig(BaseConfig):
    """Settings of a synthetic video catalog."""

    videos: int = Field(default=64, ge=1)
    """Number of distinct valid videos; the eight classes alternate, so that 64 gives eight of each."""
    near_duplicates: int = Field(default=3, ge=0)
    """Number of further videos that repeat an earlier one at another size and bit rate."""
    broken: int = Field(default=3, ge=0)
    """Number of further files that must fail: text named as a video, a truncated file, a black picture."""
    seconds: float = Field(default=4.0, gt=0.2, le=600)
    """Length of each clip in seconds."""
    fps: int = Field(default=12, ge=1, le=60)
    """Frames per second."""
    width: int = Field(default=320, ge=64, le=1920, multiple_of=2)
    """Width of the picture in pixels."""
    height: int = Field(default=320, ge=64, le=1920, multiple_of=2)
    """Height of the picture in pixels."""
    seed: int = Field(default=5, ge=0)
    """Random seed; the same seed gives the same catalog."""


@dataclass(frozen=True, slots=True)
class SyntheticVideo:
    """Plan of one file, the input of `draw_video`; small enough to send to another process."""

    video_id: str
    file: str
    """Path relative to the catalog's folder."""
    category: str
    color: str
    kind: str
    title: str
    language: str
    tags: tuple[str, ...]
    creator_id: str
    product_id: str
    price: float
    seconds: float
    fps: int
    drawn_size: tuple[int, int]
    """(width, height) in pixels at which it is rendered."""
    size: tuple[int, int]
    """(width, height) in pixels at which it is encoded."""
    crf: int
    """x264's constant rate factor: higher is coarser and smaller."""
    seed: int
    """Random seed of its picture and its audio."""
    damage: Damage


def plan_catalog(config: SyntheticVideosConfig) -> list[SyntheticVideo]:
    """Return the videos to draw: the valid ones, then near-duplicates, then broken ones."""
    rng = np.random.default_rng(config.seed)
    valid = [_plan_video(config, rng, number) for number in range(config.videos)]
    copies = [
        _near_duplicate(valid[number * 11 % len(valid)], number) for number in range(config.near_duplicates)
    ]
    broken = [_damaged(valid[(number * 7 + 5) % len(valid)], number) for number in range(config.broken)]
    return _make_ids_unique([*valid, *copies, *broken])


def videos_table(plan: Sequence[SyntheticVideo], folder: Path) -> pa.Table:
    """Return the plan as a VIDEOS table with files in `folder`; `category` is the true class."""
    rows = [
        {
            "video_id": video.video_id,
            "uri": str(folder / video.file),
            "kind": video.kind,
            "product_ids": [video.product_id],
            "creator_id": video.creator_id,
            "domain": "demo",
            "category": video.category,
            "tags": list(video.tags),
            "title": video.title,
            "language": video.language,
            "price": video.price,
            "duration_s": video.seconds,
            "published_at": None,
            "available": True,
        }
        for video in plan
    ]
    return conform(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()), VIDEOS, stage="videos_table")


def _plan_video(config: SyntheticVideosConfig, rng: np.random.Generator, number: int) -> SyntheticVideo:
    product: ProductCategory = PRODUCT_CATEGORIES[number % len(PRODUCT_CATEGORIES)]
    cycle = number // len(PRODUCT_CATEGORIES)
    # Each class starts at another color, so that the color does not reveal the class.
    color = PRODUCT_COLORS[(cycle + 3 * (number % len(PRODUCT_CATEGORIES))) % len(PRODUCT_COLORS)]
    language = "zh" if number % 2 == cycle % 2 else "en"
    names = product.names_zh if language == "zh" else product.names_en
    name = names[cycle // 2 % len(names)]
    title = f"{name} · {color.zh}" if language == "zh" else f"{name}, {color.en}"
    tags = (product.zh, color.zh) if language == "zh" else (product.category, color.en)
    video_id = f"{product.category}-{cycle + 1:02d}"
    return SyntheticVideo(
        video_id=video_id,
        file=f"{product.category}/{video_id}.mp4",
        category=product.category,
        color=color.en,
        kind="live" if number % 9 == 4 else ("product", "clip")[int(rng.random() < 0.25)],
        title=title,
        language=language,
        tags=tags,
        creator_id=f"creator-{int(rng.integers(12)):02d}",
        product_id=f"sku-{product.category}-{cycle + 1:02d}",
        price=float(round(product.price * float(rng.uniform(0.7, 1.4))) - 0.1),
        seconds=config.seconds,
        fps=config.fps,
        drawn_size=(config.width, config.height),
        size=(config.width, config.height),
        crf=23,
        seed=int(rng.integers(2**31)),
        damage="none",
    )


def _near_duplicate(original: SyntheticVideo, number: int) -> SyntheticVideo:
    share = (0.75, 0.5, 0.625)[number % 3]
    width, height = (max(64, int(side * share) // 2 * 2) for side in original.drawn_size)
    video_id = f"{original.video_id}-repost"
    return replace(
        original,
        video_id=video_id,
        file=f"reposts/{video_id}.mp4",
        creator_id="creator-repost",
        size=(width, height),
        crf=30,
    )


def _damaged(original: SyntheticVideo, number: int) -> SyntheticVideo:
    damage = _DAMAGES[number % len(_DAMAGES)]
    video_id = f"{original.video_id}-{damage}"
    return replace(original, video_id=video_id, file=f"broken/{video_id}.mp4", damage=damage)


def _make_ids_unique(plan: list[SyntheticVideo]) -> list[SyntheticVideo]:
    counts: dict[str, int] = {}
    unique: list[SyntheticVideo] = []
    for video in plan:
        counts[video.video_id] = count = counts.get(video.video_id, 0) + 1
        video_id = video.video_id if count == 1 else f"{video.video_id}-{count}"
        file = video.file if count == 1 else video.file.removesuffix(".mp4") + f"-{count}.mp4"
        unique.append(replace(video, video_id=video_id, file=file))
    return unique
