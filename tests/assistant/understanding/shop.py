"""A shop for messages, and what must hold after each: read from what draws the shop, not from its texts."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.assistant.answers import Answer
from vrec.assistant.assistant import Assistant
from vrec.assistant.config import AssistantConfig
from vrec.assistant.dialogue import DialogueState
from vrec.core.schema import VIDEOS

PARAPHRASES = Path(__file__).with_name("paraphrases.txt")
CATEGORIES = {
    "dresses": ("dress", "连衣裙", 40, 160, ("silk", "cotton", "linen"), ("S", "M", "L")),
    "boots": ("boots", "靴子", 60, 220, ("leather", "canvas"), ("37", "38", "39", "40")),
    "mugs": ("mug", "马克杯", 8, 40, ("ceramic", "glass"), ()),
    "backpacks": ("backpack", "双肩包", 30, 150, ("nylon", "canvas", "leather"), ()),
    "lamps": ("lamp", "台灯", 20, 120, ("metal", "wood"), ()),
    "headphones": ("headphones", "耳机", 30, 300, ("wireless", "noise cancelling"), ()),
}
COLORS = {
    "red": "红色", "burgundy": "酒红色", "navy": "藏青色", "teal": "湖蓝色", "green": "绿色",
    "black": "黑色", "white": "白色", "yellow": "黄色", "pink": "粉色", "gray": "灰色",
}  # fmt: skip
CHINESE = {
    "silk": "真丝", "cotton": "纯棉", "linen": "亚麻", "leather": "真皮", "canvas": "帆布", "ceramic": "陶瓷",
    "glass": "玻璃", "nylon": "尼龙", "metal": "金属", "wood": "木质", "wireless": "无线",
    "noise cancelling": "降噪",
}  # fmt: skip
BRANDS = ("Nordlicht", "Kerb & Co", "青禾")
CARDS = 5
KINDS = {"reset": "talk", "person": "person", "order": "order", "nothing": "nothing"}


@dataclass(frozen=True)
class Expectation:
    """Message and what must hold after it."""

    kind: str
    before: tuple[str, ...]
    message: str
    wanted: str

    @property
    def values(self) -> dict[str, str]:
        """Return what is expected by name; a word without a sign goes on with the value before it."""
        found: dict[str, str] = {}
        name = ""
        for word in self.wanted.split():
            key, sign, value = word.partition("=")
            if sign or not name or word in FLAGS:
                name = key
                found[name] = value
            else:
                found[name] += f" {word}"
        return found


FLAGS = ("cheaper", "dearer", "sorted", "dearest", "new", "nolist", *KINDS)


def expectations(path: Path = PARAPHRASES) -> Iterator[Expectation]:
    """Iterate over the messages of a file."""
    kind = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            kind = line[3:]
        elif line and not line.startswith("#"):
            before, _, rest = line.partition("| ")
            message, _, wanted = rest.rpartition(" => ")
            turns = tuple(turn.strip() for turn in before.split(" / ") if turn.strip())
            yield Expectation(kind, turns, message, wanted)


def _rows() -> list[dict]:
    rng, rows = np.random.default_rng(17), []
    for number, (category, color) in enumerate(itertools.product(CATEGORIES, COLORS)):
        english, chinese, low, high, materials, sizes = CATEGORIES[category]
        for copy in range(12):
            material, brand = materials[copy % len(materials)], BRANDS[(number + copy // 2) % 3]
            is_chinese = copy % 2 == 0 if len(materials) % 2 else (copy // 2) % 2 == 0
            title = (
                f"{COLORS[color]}{CHINESE[material]}{chinese}"
                if is_chinese
                else f"{material} {english}, {color}"
            )
            size = [sizes[(number + copy // len(materials)) % len(sizes)]] if sizes else []
            rows.append(
                {
                    "video_id": f"{category}-{color}-{copy}", "uri": "", "kind": "product", "product_ids": [],
                    "creator_id": brand, "domain": "shop", "category": category,
                    "tags": [material, color, *size], "title": title,
                    "language": "zh" if is_chinese else "en",
                    "price": float(rng.integers(low, high)) + 0.5, "duration_s": 9.0,
                    "published_at": None, "expires_at": None, "available": True,
                }
            )  # fmt: skip
    return rows


@dataclass
class PlainShop:
    """The shop, and a judge of answers."""

    rows: list[dict] = field(default_factory=_rows)

    def __post_init__(self) -> None:
        # By chance, so that neither the first cards nor the last ones are of one kind.
        order = np.random.default_rng(3).permutation(len(self.rows)).tolist()
        self.rows = [self.rows[place] for place in order]
        table = pa.Table.from_pylist(self.rows, schema=VIDEOS.arrow())
        self.assistant = Assistant(table, config=AssistantConfig(cards=CARDS))
        self.by_id = {row["video_id"]: row for row in self.rows}

    def say(self, state: DialogueState, message: str) -> tuple[DialogueState, Answer]:
        """Return the conversation after a message, and the answer."""
        return self.assistant.answer(state, message, lambda request: request.video_ids[: request.k])

    def fault(self, one: Expectation) -> str:
        """Return what is wrong with the answer to a message, "" for nothing."""
        state = DialogueState()
        for turn in one.before:
            state, _ = self.say(state, turn)
        after, answer = self.say(state, one.message)
        fault = self._fault(one.values, state, after, answer)
        return fault and f"{fault}: {answer.kind} {answer.text!r}"

    def _fault(
        self, expected: dict[str, str], before: DialogueState, after: DialogueState, answer: Answer
    ) -> str:
        for name, kind in KINDS.items():
            if name in expected:
                is_right = answer.kind == kind and (name != "reset" or after.query.is_empty)
                return "" if is_right else f"not {name}"
        if "nolist" in expected:
            return "a list" if answer.kind in ("cards", "nothing") else ""
        for name, kind in (("card", "detail"), ("cart", "cart")):
            if name in expected:
                spoken_of = before.shown[int(expected[name]) - 1]
                about = answer.kind == kind and answer.video_ids == (spoken_of,)
                return "" if about else f"not about card {expected[name]}"
        if answer.kind != "cards" or answer.relaxed:
            return "no fitting list"
        fits = {row["video_id"] for row in self.rows if _fits(row, expected)}
        fits = self._priced(fits, expected, before)
        shown = set(np.array(self.assistant.catalog.video_ids)[self.assistant.catalog.fitting(after.query)])
        if shown != fits:
            return f"{len(fits - shown)} missing, {len(shown - fits)} wrong"
        return self._misorder(fits, expected, before, answer)

    def _priced(self, fits: set[str], expected: dict[str, str], before: DialogueState) -> set[str]:
        prices = [self.by_id[name]["price"] for name in before.shown]
        if "cheaper" in expected:
            return {name for name in fits if self.by_id[name]["price"] < min(prices)}
        if "dearer" in expected:
            return {name for name in fits if self.by_id[name]["price"] > max(prices)}
        return fits

    def _misorder(
        self, fits: set[str], expected: dict[str, str], before: DialogueState, answer: Answer
    ) -> str:
        if not fits.issuperset(answer.video_ids) or not answer.video_ids:
            return "cards that do not fit"
        if "new" in expected and not set(before.seen).isdisjoint(answer.video_ids):
            return "the same again"
        if "sorted" in expected or "dearest" in expected:
            order = sorted(self.by_id[name]["price"] for name in fits)
            order = order[:CARDS] if "sorted" in expected else order[::-1][:CARDS]
            if [self.by_id[name]["price"] for name in answer.video_ids] != order:
                return "another order"
        return ""


def _fits(row: dict, expected: dict[str, str]) -> bool:
    category, color, _ = row["video_id"].split("-")
    held = {"category": category, "color": color, "brand": row["creator_id"]}
    for name, value in expected.items():
        values, key = value.split("|"), name.removeprefix("-")
        if key in ("tag", "size"):
            found = not set(values).isdisjoint(row["tags"])
        elif key in held:
            found = held[key] in values
        else:
            continue
        if found == name.startswith("-"):
            return False
    low, _, high = expected.get("price", "..").partition("..")
    if low.startswith("~"):
        low, high = str(0.8 * float(low[1:])), str(1.2 * float(low[1:]))
    return (not low or row["price"] >= float(low)) and (not high or row["price"] <= float(high))
