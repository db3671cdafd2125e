"""Conversations with the assistant: constraints met, and ranking quality beside BM25.

Run as `python benchmarks/assistant.py`. 120 conversations of 3 to 6 turns, half of them in Chinese, over four
catalogs: 80 that the grammar was mended on (`assistant_talks.py` and drawn ones), and 40 that it never was
(`assistant_sealed.py` and ones drawn from its phrases). Before each turn a tenth of the catalog changes its
price or goes out of stock. A turn is met if its cards all fit what was asked for so far, by
`assistant_oracle.py`, where any video does, and if the answer says so where none does. BM25 orders all videos
that are available by the last message, or by all messages so far; NDCG@10 counts a video that fits as
relevant. Intervals are 95 % ones by a paired bootstrap over conversations.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from assistant_nonsense import NONSENSE
from assistant_oracle import Asked, Delta
from assistant_sealed import SEALED_CHINESE, SEALED_ENGLISH, SEALED_PHRASES
from assistant_shops import Shop, shops
from assistant_talks import PHRASES, WRITTEN, Talk

from vrec.assistant.answers import Answer
from vrec.assistant.assistant import Assistant
from vrec.assistant.config import AssistantConfig
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.ranking import RankRequest

K = 10
Phrases = dict[str, dict[str, list[str]]]


class LiveShop:
    """A shop whose catalog changes between turns."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self._rng = shop, np.random.default_rng(seed)
        self._rows = [dict(row) for row in shop.table.to_pylist()]
        self.read()

    def read(self) -> None:
        self.by_id = {row["video_id"]: row for row in self._rows}
        self.prices = {row["video_id"]: row["price"] for row in self._rows if row["available"]}
        table = pa.Table.from_pylist(self._rows, schema=self.shop.table.schema)
        # The conversations name other currencies where they mean the shop's; the oracle has numbers alone.
        self.assistant = Assistant(table, None, None, AssistantConfig(cards=K))

    def change(self) -> None:
        """Change a tenth of the catalog: new prices, sold out, or back again."""
        for row in self._rng.choice(np.array(self._rows, object), len(self._rows) // 10, replace=False):
            if row["price"] is not None:
                row["price"] = round(float(row["price"]) * float(self._rng.uniform(0.8, 1.25)), 2)
            row["available"] = bool(self._rng.random() < 0.8)
        self.read()

    def rank(self, request: RankRequest) -> Sequence[str]:
        """Order by BM25 over the words that are left, then as the catalog stands."""
        allowed = set(request.video_ids)
        found = [n for n, _ in self.shop.words.search(request.text, len(self.by_id)) if n in allowed]
        return [*found, *(name for name in request.video_ids if name not in set(found))][: request.k]

    def by_words(self, text: str) -> list[str]:
        """Return the list of BM25 over all that is available."""
        return [n for n, _ in self.shop.words.search(text, len(self.by_id)) if n in self.prices][:K]


@dataclass
class Scores:
    """Scores of the turns of one conversation."""

    met: list[bool] = field(default_factory=list)
    language: list[bool] = field(default_factory=list)
    foreign: int = 0
    stale: int = 0
    ndcg: dict[str, list[float]] = field(default_factory=lambda: {"assistant": [], "last": [], "all": []})


def draw_talks(shops_by_name: dict[str, Shop], phrases: Phrases, count: int, seed: int) -> Iterator[Talk]:
    """Iterate over conversations of 3 to 6 turns by templates, in turns of shops and languages."""
    rng, every = np.random.default_rng(seed), list(shops_by_name)
    for number in range(count):
        language, name = ("en", "zh")[number % 2], every[number // 2 % len(every)]
        yield name, language, _draw_talk(shops_by_name[name], phrases[language], language, rng)


def _draw_talk(
    shop: Shop, texts: dict[str, list[str]], language: str, rng: np.random.Generator
) -> list[tuple[str, dict[str, Any]]]:
    side = ("en", "zh").index(language)

    def say(kind: str, value: object = "") -> str:
        return str(rng.choice(texts[kind])).format(value)

    def pick(names: dict[str, tuple[str, str]]) -> str:
        return str(rng.choice(list(names)))

    category = pick(shop.categories)
    rows = [name for name, truth in shop.truth.items() if truth.category == category]
    by_id = {row["video_id"]: row for row in shop.table.to_pylist()}
    prices = np.sort([by_id[name]["price"] for name in rows if by_id[name]["price"] is not None])
    turns: list[tuple[str, dict[str, Any]]] = [
        (say("category", shop.categories[category][side]), {"category": category})
    ]
    held = {shop.truth[name].material for name in rows} - {""}
    kinds = ["color", "refused", "below", "most", "least", "cheaper", "refused"]
    kinds += ["brand"] * bool(shop.brands and "brand" in texts) + ["material"] * bool(
        held and "material" in texts
    )
    for kind in rng.permutation(kinds)[: int(rng.integers(2, 6))]:
        if kind in ("color", "refused"):
            color = pick(shop.colors)
            turns.append((say(kind, shop.colors[color][side]), {kind: color}))
        elif kind == "brand":
            brand = pick(shop.brands)
            turns.append((say(kind, shop.brands[brand][side]), {kind: brand}))
        elif kind == "material":
            material = str(rng.choice(sorted(held)))
            turns.append((say(kind, shop.materials[material][side]), {kind: material}))
        elif kind == "cheaper":
            turns.append((say(kind), {"cheaper": True}))
        else:
            price = float(np.round(np.quantile(prices, 0.25 if kind == "least" else 0.75)))
            turns.append((say(kind, f"{price:.0f}"), {kind: price}))
    return turns


def play(shop: LiveShop, language: str, turns: Sequence[tuple[str, Delta]], *, show: bool) -> Scores:
    """Play a conversation while the catalog changes."""
    scores, asked, state, before = Scores(), Asked(), DialogueState(), ""
    for message, delta in turns:
        shop.change()
        old = state
        state, answer = shop.assistant.answer(state, message, shop.rank)
        asked.change(delta)
        before = f"{before} {message}"
        scores.language.append(answer.language == delta.get("lang", language))
        scores.foreign += sum(name not in shop.by_id for name in answer.video_ids)
        scores.stale += _stale(shop, answer)
        if delta.get("keeps"):
            continue
        if delta.get("cheaper"):
            prices = [shop.by_id[name]["price"] for name in old.shown]
            asked.step_down([one for one in prices if one is not None], shop.shop.truth, shop.prices)
        fits = asked.fitting(shop.shop.truth, shop.prices)
        met = _is_met(answer, delta, fits, old, shop)
        scores.met.append(met)
        if show and not (met and scores.language[-1]):
            print(f"    {met} {scores.language[-1]}: {message!r} -> {answer.kind} {answer.text!r}")
            print(f"        {len(fits)} fit {asked} {[one.key for one in answer.constraints]}")
        if fits and not {"about", "nolist"} & set(delta) and "more" not in delta:
            lists = (
                ("assistant", answer.video_ids),
                ("last", shop.by_words(message)),
                ("all", shop.by_words(before)),
            )
            for name, ids in lists:
                scores.ndcg[name].append(_ndcg(ids, fits))
    return scores


def _is_met(answer: Answer, delta: Delta, fits: set[str], before: DialogueState, shop: LiveShop) -> bool:
    last, seen = before.shown, set(before.seen)
    if "nolist" in delta:
        return answer.kind != "cards"
    if "about" in delta:
        return len(last) < delta["about"] or answer.video_ids[:1] == (last[delta["about"] - 1],)
    if "like" in delta and len(last) < delta["like"]:
        return answer.kind != "cards"
    if not fits:
        return bool(answer.relaxed) or answer.kind == "nothing"
    if "more" in delta and fits <= seen:
        return answer.kind == "nothing" or bool(answer.relaxed) or fits.issuperset(answer.video_ids)
    met = answer.kind == "cards" and bool(answer.video_ids) and fits.issuperset(answer.video_ids)
    if "more" in delta:
        met = met and seen.isdisjoint(answer.video_ids)
    if "sorted" in delta or "dearest" in delta:
        sign = 1 if "sorted" in delta else -1
        prices = [sign * price for name in answer.video_ids if (price := shop.prices[name]) is not None]
        met = met and prices == sorted(prices)
        met = met and prices[0] == min(sign * price for n in fits if (price := shop.prices[n]) is not None)
    return met and not answer.relaxed


def _stale(shop: LiveShop, answer: Answer) -> int:
    """Return how many cards of an answer are gone, or have another price than in the catalog."""
    cards = [shop.assistant.catalog.card(name) for name in answer.video_ids]
    listed = answer.kind in ("cards", "nothing")
    return sum(
        card is not None
        and (
            card.price != shop.by_id[card.video_id]["price"] or (listed and card.video_id not in shop.prices)
        )
        for card in cards
    )


def _ndcg(ids: Sequence[str], relevant: set[str]) -> float:
    discounts = 1 / np.log2(np.arange(2, K + 2))
    gain = sum(discounts[place] for place, name in enumerate(ids[:K]) if name in relevant)
    return float(gain / discounts[: min(K, len(relevant))].sum())


def report(name: str, played: Sequence[Scores]) -> None:
    """Print the scores of conversations."""
    met = [one for scores in played for one in scores.met]
    language = [one for scores in played for one in scores.language]
    print(f"{name}: {len(played)} conversations, {len(language)} turns, {len(met)} judged")
    foreign, stale = sum(scores.foreign for scores in played), sum(scores.stale for scores in played)
    print(f"  met {np.mean(met):.3f}, language {np.mean(language):.3f}, foreign {foreign}, stale {stale}")


def report_ranking(name: str, played: Sequence[Scores]) -> None:
    """Print NDCG@10 beside BM25, with intervals by a paired bootstrap over conversations."""
    kept = [scores for scores in played if scores.ndcg["assistant"]]
    ndcg = {kind: np.array([np.mean(s.ndcg[kind]) for s in kept]) for kind in ("assistant", "last", "all")}
    print(f"{name}: NDCG@10 " + ", ".join(f"{kind} {values.mean():.3f}" for kind, values in ndcg.items()))
    drawn = np.random.default_rng(1).integers(0, len(kept), (10_000, len(kept)))
    for kind in ("last", "all"):
        lead = ndcg["assistant"] - ndcg[kind]
        low, high = np.quantile(lead[drawn].mean(1), (0.025, 0.975))
        print(f"  lead over BM25 of {kind}: {lead.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


def report_nonsense(live: dict[str, LiveShop], messages: Sequence[str], *, show: bool) -> None:
    """Print how often nonsense gets no cards that are called fitting, and an offer."""
    right = []
    for name, shop in live.items():
        for message in messages:
            _, answer = shop.assistant.answer(DialogueState(), message, shop.rank)
            right.append(answer.kind != "cards" and bool(answer.suggestions or answer.hand_over))
            if show and not right[-1]:
                print(f"    {name}: {message[:60]!r} -> {answer.kind} {answer.text[:100]!r}")
    print(f"nonsense: {np.mean(right):.3f} of {len(right)} answered by no cards and an offer")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=("mended", "sealed", "both"), default="both")
    parser.add_argument("--show", action="store_true", help="print the turns of `mended` that were not met")
    options = parser.parse_args()
    every = shops()
    mended = [*WRITTEN, *draw_talks(every, PHRASES, 48, 3)]
    sealed = [*SEALED_ENGLISH, *SEALED_CHINESE, *draw_talks(every, SEALED_PHRASES, 4, 4)]
    sealed += [talk for talk in draw_talks(every, SEALED_PHRASES, 8, 5) if talk[1] == "en"][2:]
    sets = {"mended": mended, "sealed": sealed}
    for name, talks in sets.items():
        if options.set in (name, "both"):
            show = options.show and name == "mended"
            played = [
                (shop, play(LiveShop(every[shop], number), language, turns, show=show))
                for number, (shop, language, turns) in enumerate(talks)
            ]
            report(name, [scores for _, scores in played])
            for shop in every:
                report_ranking(f"  {name}, {shop}", [scores for one, scores in played if one == shop])
    report_nonsense({name: LiveShop(shop, 0) for name, shop in every.items()}, NONSENSE, show=options.show)


if __name__ == "__main__":
    main()
