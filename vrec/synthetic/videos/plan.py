"""What the drawn catalogue holds, decided before a pixel is drawn."""

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
    """The size and the make-up of the drawn catalogue."""

    videos: int = Field(default=64, ge=1)
    """Good videos of their own; the eight classes take turns, so that 64 gives eight of each."""
    near_duplicates: int = Field(default=3, ge=0)
    """Further videos that repeat an earlier one's content at another size and bit rate."""
    broken: int = Field(default=3, ge=0)
    """Further files that must fail: text under a video's name, a file cut short, a black picture."""
    seconds: float = Field(default=4.0, gt=0.2, le=600)
    """Length of each clip in seconds."""
    fps: int = Field(default=12, ge=1, le=60)
    """Frames a second."""
    width: int = Field(default=320, ge=64, le=1920, multiple_of=2)
    """Width of the picture in pixels."""
    height: int = Field(default=320, ge=64, le=1920, multiple_of=2)
    """Height of the picture in pixels."""
    seed: int = Field(default=5, ge=0)
    """The same seed draws the same catalogue."""


@dataclass(frozen=True, slots=True)
class SyntheticVideo:
    """One file to draw. All that `draw_video` needs; small, so that it can travel to another process."""

    video_id: str
    file: str
    """Path below the catalogue's folder."""
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
    """(width, height) in pixels at which it is drawn."""
    size: tuple[int, int]
    """(width, height) in pixels at which it is encoded."""
    crf: int
    """x264's constant rate factor: higher is coarser and smaller."""
    seed: int
    """Of its look and its sound."""
    damage: Damage


def plan_catalog(config: SyntheticVideosConfig) -> list[SyntheticVideo]:
    """The videos to draw: the good ones, then near-duplicates, then broken ones. Touches no file."""
    rng = np.random.default_rng(config.seed)
    good = [_plan_one(config, rng, number) for number in range(config.videos)]
    copies = [_copy(good[number * 11 % len(good)], number) for number in range(config.near_duplicates)]
    broken = [_break(good[(number * 7 + 5) % len(good)], number) for number in range(config.broken)]
    return _only_one_of_each([*good, *copies, *broken])


def videos_table(plan: Sequence[SyntheticVideo], folder: Path) -> pa.Table:
    """The plan as a VIDEOS table whose `uri` lies in `folder`; `category` is the planted class."""
    rows = [
        {
            "video_id": drawn.video_id,
            "uri": str(folder / drawn.file),
            "kind": drawn.kind,
            "product_ids": [drawn.product_id],
            "creator_id": drawn.creator_id,
            "domain": "demo",
            "category": drawn.category,
            "tags": list(drawn.tags),
            "title": drawn.title,
            "language": drawn.language,
            "price": drawn.price,
            "duration_s": drawn.seconds,
            "published_at": None,
            "available": True,
        }
        for drawn in plan
    ]
    return conform(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()), VIDEOS, stage="draw.videos_table")


def _plan_one(config: SyntheticVideosConfig, rng: np.random.Generator, number: int) -> SyntheticVideo:
    ware: ProductCategory = PRODUCT_CATEGORIES[number % len(PRODUCT_CATEGORIES)]
    turn = number // len(PRODUCT_CATEGORIES)
    # The colour goes round at another pace in each class, so that no colour gives a class away.
    colour = PRODUCT_COLORS[(turn + 3 * (number % len(PRODUCT_CATEGORIES))) % len(PRODUCT_COLORS)]
    language = "zh" if number % 2 == turn % 2 else "en"
    names = ware.names_zh if language == "zh" else ware.names_en
    name = names[turn // 2 % len(names)]
    title = f"{name} · {colour.zh}" if language == "zh" else f"{name}, {colour.en}"
    tags = (ware.zh, colour.zh) if language == "zh" else (ware.category, colour.en)
    video_id = f"{ware.category}-{turn + 1:02d}"
    return SyntheticVideo(
        video_id=video_id,
        file=f"{ware.category}/{video_id}.mp4",
        category=ware.category,
        color=colour.en,
        kind="live" if number % 9 == 4 else ("product", "clip")[int(rng.random() < 0.25)],
        title=title,
        language=language,
        tags=tags,
        creator_id=f"creator-{int(rng.integers(12)):02d}",
        product_id=f"sku-{ware.category}-{turn + 1:02d}",
        price=float(round(ware.price * float(rng.uniform(0.7, 1.4))) - 0.1),
        seconds=config.seconds,
        fps=config.fps,
        drawn_size=(config.width, config.height),
        size=(config.width, config.height),
        crf=23,
        seed=int(rng.integers(2**31)),
        damage="none",
    )


def _copy(original: SyntheticVideo, number: int) -> SyntheticVideo:
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


def _break(original: SyntheticVideo, number: int) -> SyntheticVideo:
    damage = _DAMAGES[number % len(_DAMAGES)]
    video_id = f"{original.video_id}-{damage}"
    return replace(original, video_id=video_id, file=f"broken/{video_id}.mp4", damage=damage)


def _only_one_of_each(plan: list[SyntheticVideo]) -> list[SyntheticVideo]:
    seen: dict[str, int] = {}
    out: list[SyntheticVideo] = []
    for drawn in plan:
        seen[drawn.video_id] = times = seen.get(drawn.video_id, 0) + 1
        name = drawn.video_id if times == 1 else f"{drawn.video_id}-{times}"
        file = drawn.file if times == 1 else drawn.file.removesuffix(".mp4") + f"-{times}.mp4"
        out.append(replace(drawn, video_id=name, file=file))
    return out
