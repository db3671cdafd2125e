"""Shops for `assistant.py`: four catalogs, and what is true of each of their videos.

What is true is kept beside the catalog by what draws it and is read from no title: the oracle of
`assistant_oracle.py` judges answers by it and by nothing of the assistant's.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from assistant_conversations import CATEGORIES, COLORS, MATERIALS, other_catalog

from vrec.bundle.bm25 import Bm25Index
from vrec.core.schema import VIDEOS, conform
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog, videos_table
from vrec.synthetic.videos.products import PRODUCT_CATEGORIES, PRODUCT_COLORS

FAMILIES: dict[str, tuple[str, ...]] = {
    "burgundy": ("red",), "navy": ("blue",), "emerald": ("green",), "lavender": ("purple",),
    "coral": ("red", "orange", "pink"), "mustard": ("yellow",), "sage": ("green",),
    "teal": ("green", "blue"), "indigo": ("blue", "purple"), "plum": ("purple",),
    "rose": ("pink", "red"), "graphite": ("gray", "black"), "olive": ("green",),
}  # fmt: skip
"""Broader colors that a shopper may mean each color by."""


@dataclass(frozen=True)
class Truth:
    """What is true of one video."""

    category: str
    color: str
    material: str = ""
    brand: str = ""
    sizes: tuple[str, ...] = ()


Names = dict[str, tuple[str, str]]
"""Names in English and Chinese by value."""


@dataclass
class Shop:
    """A catalog, what its words are in two languages, and what is true of each video."""

    table: pa.Table
    truth: dict[str, Truth]
    categories: Names
    colors: Names
    materials: Names = field(default_factory=dict)
    brands: Names = field(default_factory=dict)
    sizes: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.words = Bm25Index.from_videos(self.table)


def shops() -> dict[str, Shop]:
    """Return the shops by their names in the conversations."""
    return {"drawn": drawn_shop(), "other": other_shop(), "zh": chinese_shop(), "odd": odd_shop()}


def drawn_shop() -> Shop:
    """Return the demo's catalog: titles in both languages."""
    plan = plan_catalog(SyntheticVideosConfig(videos=240, near_duplicates=0, broken=0))
    table = videos_table(plan, Path("videos"))
    category = dict(
        zip(table.column("video_id").to_pylist(), table.column("category").to_pylist(), strict=True)
    )
    return Shop(
        table,
        {video.video_id: Truth(category[video.video_id], video.color) for video in plan},
        {one.category: (one.category, one.zh) for one in PRODUCT_CATEGORIES},
        {one.en: (one.en, one.zh) for one in PRODUCT_COLORS},
    )


def other_shop() -> Shop:
    """Return a catalog with paths as categories and materials as tags, each title in one language."""
    table = other_catalog()
    return Shop(
        table,
        {
            row["video_id"]: Truth(row["category"], row["tags"][1], row["tags"][0])
            for row in table.to_pylist()
        },
        {name: (words[0], words[1]) for name, words in CATEGORIES.items()},
        {name: (name, zh) for name, zh in COLORS.items()},
        {name: (name, zh) for name, zh in MATERIALS.items()},
    )


_CHINESE: dict[str, tuple[str, str, int, int, tuple[str, ...]]] = {
    "女装>旗袍": ("cheongsams", "旗袍", 120, 680, ("真丝", "棉麻")),
    "鞋靴>童鞋": ("kids' shoes", "童鞋", 49, 199, ("真皮", "网面")),
    "家居>茶具": ("tea sets", "茶具", 39, 499, ("陶瓷", "玻璃")),
    "家居>保温杯": ("thermos flasks", "保温杯", 29, 159, ("不锈钢", "钛")),
    "美妆>面霜": ("face creams", "面霜", 59, 399, ("美白", "保湿")),
    "食品>坚果": ("nuts", "坚果", 15, 99, ("无糖", "原味")),
    "饰品>耳钉": ("ear studs", "耳钉", 29, 299, ("纯银", "珍珠")),
    "床品>四件套": ("bedding sets", "四件套", 99, 699, ("纯棉", "真丝")),
}
_CHINESE_COLORS = {
    "red": "大红", "navy": "藏青", "emerald": "墨绿", "black": "黑色", "brown": "咖色",
    "lavender": "浅紫", "pink": "粉色", "burgundy": "酒红",
}  # fmt: skip
_CHINESE_BRANDS = ("云锦坊", "小鹿家", "拾光记", "青禾")
_CHINESE_TITLES = (
    "【新款】{brand} {material}{name} {color}",
    "{color}{name} {material} 包邮到家",
    "{brand}·{name}（{color}，{material}）",
    "好物分享｜这款{material}{name}绝了 {color}",
)  # fmt: skip


def chinese_shop() -> Shop:
    """Return a catalog in Chinese only: other categories, brands and materials than the demo's."""
    rows, truth, rng = [], {}, np.random.default_rng(5)
    for number, (category, color) in enumerate(itertools.product(_CHINESE, _CHINESE_COLORS)):
        _, name, low, high, materials = _CHINESE[category]
        for copy in range(4):
            brand, material = str(rng.choice(_CHINESE_BRANDS)), materials[copy % 2]
            sizes = [f"{size}" for size in range(26, 33)][copy : copy + 4] if name == "童鞋" else []
            title = _CHINESE_TITLES[(number + copy) % 4].format(
                brand=brand, material=material, name=name, color=_CHINESE_COLORS[color]
            )
            price = float(rng.integers(low, high))
            tags = [material, _CHINESE_COLORS[color], *sizes]
            video_id = f"c{number:03d}-{copy}"
            rows.append(video_row(video_id, category, brand, tags, title, price, "zh"))
            truth[video_id] = Truth(category, color, material, brand, tuple(sizes))
    return Shop(
        conform(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()), VIDEOS, stage="Chinese catalog"),
        truth,
        {category: (words[0], words[1]) for category, words in _CHINESE.items()},
        {name: (name, zh) for name, zh in _CHINESE_COLORS.items()},
        {one: (_MATERIAL_EN[one], one) for words in _CHINESE.values() for one in words[4]},
        {brand: (brand, brand) for brand in _CHINESE_BRANDS},
    )


_MATERIAL_EN = {
    "真丝": "silk", "棉麻": "linen", "真皮": "leather", "网面": "网面", "陶瓷": "ceramic", "玻璃": "glass",
    "不锈钢": "stainless steel", "钛": "titanium", "美白": "美白", "保湿": "保湿", "无糖": "sugar free",
    "原味": "原味", "纯银": "sterling silver", "珍珠": "珍珠", "纯棉": "cotton",
}  # fmt: skip
_ODD: dict[str, tuple[str, str, str, int, int, tuple[str, ...]]] = {
    "tees": ("tees", "T恤", "tee", 12, 45, ("cotton", "linen")),
    "rain-jackets": ("rain jackets", "rain jackets", "rain jacket", 45, 190, ("nylon", "recycled")),
    "phone_cases": ("phone cases", "手机壳", "case", 8, 40, ("leather", "silicone")),
    "Garden & Outdoor > Tents": ("tents", "帐篷", "tent", 70, 420, ("canvas", "nylon")),
    "board games": ("board games", "board games", "board game", 15, 80, ("wooden", "cooperative")),
    "dog beds": ("dog beds", "dog beds", "dog bed", 25, 120, ("fleece", "washable")),
    "desk lamps": ("desk lamps", "台灯", "lamp", 18, 110, ("metal", "bamboo")),
    "frying pans": ("frying pans", "平底锅", "pan", 15, 120, ("cast iron", "ceramic")),
}
_ODD_COLORS = {
    "red": "红色", "navy": "藏青色", "olive": "橄榄绿", "black": "黑色", "white": "白色", "teal": "湖蓝",
    "mustard": "姜黄", "lavender": "浅紫",
}  # fmt: skip
_ODD_BRANDS = ("Nordlicht", "Kerb & Co", "Ola's", "MTN-9")
_ODD_TITLES = (
    "!!SALE!! {material} {name} – {color} *ships fast*", "{NAME} // {COLOR} by {brand} (pack of 2)",
    "{brand}® {name}, {color}, {material}", "~{color}~ {name} 🌿 {material} [2024] w/ free sticker",
    None,
)  # fmt: skip


def odd_shop() -> Shop:
    """Return a catalog in English only with odd titles, some without a title or a price."""
    rows, truth, rng = [], {}, np.random.default_rng(7)
    for number, (category, color) in enumerate(itertools.product(_ODD, _ODD_COLORS)):
        _, _, name, low, high, materials = _ODD[category]
        for copy in range(5):
            brand, material = str(rng.choice(_ODD_BRANDS)), materials[copy % 2]
            worn = name in ("tee", "rain jacket")
            sizes = ["S", "M", "L", "XL"][copy % 3 : copy % 3 + 2] if worn else []
            said = "lilac" if color == "lavender" else color
            title = _ODD_TITLES[(number + copy) % 5]
            title = title and title.format(
                brand=brand, material=material, name=name, NAME=name.upper(), color=said, COLOR=said.upper()
            )
            price = None if (number + copy) % 17 == 0 else float(rng.integers(low, high)) + 0.99
            video_id = f"o{number:03d}-{copy}"
            rows.append(video_row(video_id, category, brand, [material, said, *sizes], title, price, "en"))
            truth[video_id] = Truth(category, color, material, brand, tuple(sizes))
    return Shop(
        conform(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()), VIDEOS, stage="odd catalog"),
        truth,
        {category: (words[0], words[1]) for category, words in _ODD.items()},
        {name: ("lilac" if name == "lavender" else name, zh) for name, zh in _ODD_COLORS.items()},
        {one: (one, one) for words in _ODD.values() for one in words[5]},
        {brand: (brand, brand) for brand in _ODD_BRANDS},
    )


def video_row(  # noqa: PLR0917
    video_id: str,
    category: str,
    brand: str,
    tags: list[str],
    title: str | None,
    price: float | None,
    language: str,
) -> dict[str, Any]:
    """Return a row of VIDEOS."""
    return {
        "video_id": video_id, "uri": "", "kind": "product", "product_ids": [], "creator_id": brand,
        "domain": "shop", "category": category, "tags": tags, "title": title, "language": language,
        "price": price, "duration_s": 10.0, "published_at": None, "expires_at": None, "available": True,
    }  # fmt: skip
