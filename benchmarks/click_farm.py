"""Click farms and flash sales against the guard of trends and of the counts that rank videos.

Run as `OMP_NUM_THREADS=1 python benchmarks/click_farm.py [--shop large] [--seeds 3] [--only PATTERN]`. A log
of a shop comes first: drawn, with tastes for videos over seven days and visits of which some are first ones,
or that of KuaiRand (`--kuairand DATA`), with its real shoppers and times. Then something happens to one video
of the long tail. Printed is how far that moves the video's shoppers of the hour in the trends and its clicks
in the counts that rank videos, as a share of how far it does so without the guard: a minute after it began,
ten minutes after, and for slow farms at their end. Beside it is what the attacker spends. Wanted: at most
10 % for farms of 500 accounts, and 100 % for sales. The first line is what the guard holds of the ordinary
traffic.

The settings were chosen on the seeds 0 and 1 of the small shop; those from 100 on and the other shops judge.

With --speed it times events instead, stored and followed, the guard in turn with none, CPU seconds by round.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.config.trends import TrendingConfig
from vrec.core.schema import EVENTS, conform
from vrec.events.config import InterestConfig
from vrec.events.datasets import kuairand_pure
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig
from vrec.profiles.video import VideoProfileConfig
from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.serving.trends.choice_guard import ChoiceGuard
from vrec.serving.trends.trending import TrendingCounts

SECOND_US, DAY_US = 1_000_000, 86_400_000_000
NOW = 1_790_000_000_000_000
BATCH = 500
Row = tuple[str, str, str, int]
"""Shopper, video, kind and time of an event."""


@dataclass(frozen=True)
class Shop:
    """Size and habits of a drawn shop."""

    shoppers: int
    videos: int
    visits: int
    first: float
    """Share of visits that are first ones."""
    buys: float
    """Purchases per choice."""


SHOPS = {
    "small": Shop(shoppers=3_000, videos=500, visits=8_000, first=0.2, buys=0.02),
    "large": Shop(shoppers=8_000, videos=1_500, visits=30_000, first=0.5, buys=0.005),
}
DAYS = 7


@dataclass(frozen=True)
class Happening:
    """Events that push a video."""

    before: list[Row]
    """Those that go before."""
    rows: list[Row]
    end_s: float = 600.0
    """Seconds after which the last figures are taken."""
    is_backdated: bool = False
    """Whether those before are sent last of all, with earlier times."""

    def cost(self) -> str:
        """Return what an attacker spends."""
        rows = self.before + self.rows
        buys = sum(row[2] == "purchase" for row in rows)
        days = (NOW - min((row[3] for row in self.before), default=NOW)) / DAY_US
        late = max(row[3] for row in self.rows) - NOW
        named = [f"{len({row[0] for row in rows}):,} accounts", f"{len(rows):,} events"]
        named += [f"{buys} purchases"] if buys else []
        named += [f"{days:.0f} days ahead"] if days >= 0.5 else []
        return ", ".join(named + ([f"over {late / 3.6e9:.0f} h"] if late > 3.6e9 else []))


def drawn_log(shop: Shop, seed: int) -> list[Row]:
    """Return the events of a drawn shop over DAYS before NOW."""
    rng = np.random.default_rng(seed)
    appeal = 1 / np.arange(1, shop.videos + 1) ** 0.8
    appeal /= appeal.sum()
    activity = rng.lognormal(0, 1, shop.shoppers)
    activity /= activity.sum()
    rows: list[Row] = []
    for number in range(shop.visits):
        first = rng.random() < shop.first
        user = f"new{number}" if first else f"u{rng.choice(shop.shoppers, p=activity)}"
        at = NOW - int(rng.random() * DAYS * DAY_US)
        for video in rng.choice(shop.videos, 1 + rng.poisson(2.0), p=appeal):
            at += int(rng.exponential(40) * SECOND_US)
            rows += _visit(user, f"v{video}", at, rng, buys=shop.buys)
    return [row for row in rows if row[3] < NOW]


def real_log(folder: Path) -> list[Row]:
    """Return the events of KuaiRand, moved so that they end at NOW."""
    events = kuairand_pure(folder).events
    at = np.asarray(events["at"].cast(pa.int64()))
    columns = (events[name].to_pylist() for name in ("user_id", "video_id", "kind"))
    rows = list(zip(*columns, (at - at.max() + NOW - SECOND_US).tolist(), strict=True))
    return [row for row in rows if row[2] != "impression"]


def _visit(user: str, video: str, at: int, rng: np.random.Generator, *, buys: float) -> list[Row]:
    rows = [(user, video, "click", at)]
    if rng.random() < 0.6:
        rows.append((user, video, "watch", at + SECOND_US * int(rng.integers(3, 40))))
    if rng.random() < 4 * buys:
        rows.append((user, video, "cart", at + 60 * SECOND_US))
    if rng.random() < buys:
        rows.append((user, video, "purchase", at + SECOND_US * int(rng.integers(60, 400))))
    return rows


def farm(
    target: str,
    videos: Sequence[str],
    rng: np.random.Generator,
    *,
    accounts: int = 500,
    others: int = 0,
    aged_days: float = 0.0,
    aged: float = 1.0,
    span_s: float = 60.0,
    buyers: int = 0,
    backdated: bool = False,
) -> Happening:
    """Return the events of accounts that push a video within a time.

    Args:
        target: The video.
        videos: All videos.
        rng: Random numbers.
        accounts: Number of accounts.
        others: Other videos that an account clicks, on days before or right before.
        aged_days: Days before on which they do.
        aged: Share of the accounts that do.
        span_s: Seconds in which all push.
        buyers: Accounts that buy it too.
        backdated: Whether the days before are only said to be.
    """
    before: list[Row] = []
    rows: list[Row] = []
    for account in range(accounts):
        user, at = f"account{account}", NOW + int(rng.random() * span_s * SECOND_US)
        for other in range(others if account < aged * accounts else 0):
            early = NOW - int(rng.random() * aged_days * DAY_US)
            row = (
                user,
                str(rng.choice(videos)),
                "click",
                early if aged_days else at - (other + 1) * SECOND_US,
            )
            (before if aged_days else rows).append(row)
        for click in range(3):
            rows.append((user, target, "click", at + click * SECOND_US))
        rows += [(user, target, "watch", at + 4 * SECOND_US), (user, target, "like", at + 5 * SECOND_US)]
        rows.append((user, target, "cart", at + 6 * SECOND_US))
        if account < buyers:
            rows.append((user, target, "purchase", at + 7 * SECOND_US))
    return Happening(before, rows, max(600.0, span_s), backdated)


def sale(
    target: str, known: Sequence[str], rng: np.random.Generator, *, size: int, strangers: float, buys: float
) -> Happening:
    """Return the events of shoppers of the log, and of first-time visitors, who come within a minute."""
    new = round(strangers * size)
    users = [
        *rng.choice(known, min(size - new, len(known)), replace=False),
        *(f"visitor{number}" for number in range(new)),
    ]
    rows: list[Row] = []
    for user in users:
        rows += _visit(str(user), target, NOW + int(rng.random() * 60 * SECOND_US), rng, buys=buys)
    return Happening([], rows)


def scenarios(
    target: str, videos: Sequence[str], known: Sequence[str]
) -> dict[str, Callable[[np.random.Generator], Happening]]:
    """Return what may happen to a video, by name."""
    farms: dict[str, dict[str, float]] = {
        f"farm of {accounts:,}": {"accounts": accounts} for accounts in (50, 500, 5_000)
    }
    farms |= {f"{others} others each, at once": {"others": others} for others in (2, 20)}
    farms |= {
        f"{others} others each, over 2 days": {"others": others, "aged_days": 2.0} for others in (2, 6, 20)
    }
    farms["5,000, 6 others each, over 2 days"] = {"accounts": 5_000, "others": 6, "aged_days": 2.0}
    farms["20 others each, said to be over 6 days"] = {"others": 20, "aged_days": 6.0, "backdated": True}
    farms["20 others each, over 6 days"] = {"others": 20, "aged_days": 6.0}
    farms["a tenth aged by 6 others"] = {"others": 6, "aged_days": 2.0, "aged": 0.1}
    farms |= {f"slow, over {hours} h": {"span_s": hours * 3_600.0} for hours in (1, 24, 72)}
    farms |= {f"{buyers} of them buy it": {"buyers": buyers} for buyers in (1, 5, 25)}
    farms["aged by 6 others, 5 buy it"] = {"others": 6, "aged_days": 2.0, "buyers": 5}
    found: dict[str, Callable[[np.random.Generator], Happening]] = {
        name: partial(farm, target, videos, **given) for name, given in farms.items()
    }
    for strangers, buys, size in product((0.0, 0.5, 1.0), (0.0, 0.005, 0.02), (100, 300, 3_000)):
        name = f"sale: {size:,}, {strangers:.0%} strangers, {buys:.1%} buy"
        found[name] = partial(sale, target, known, size=size, strangers=strangers, buys=buys)
    return found


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Return EVENTS by time."""
    rows = sorted(rows, key=lambda row: row[3])
    users, names, kinds, times = zip(*rows, strict=True)
    columns = {
        "event_id": [f"e{number}-{times[number]}" for number in range(len(rows))],
        "user_id": users,
        "video_id": names,
        "kind": kinds,
        "value": pa.array([20.0 if kind in ("watch", "purchase") else None for kind in kinds], pa.float32()),
        "domain": ["feed"] * len(rows),
        "at": pa.array(times, pa.timestamp("us", tz="UTC")),
    }
    return conform(pa.table(columns), EVENTS, stage="click_farm")


def trends(*, guarded: bool) -> TrendingCounts:
    """Return counts without events."""
    guard = ChoiceGuard(StreamGuardConfig(on=guarded), VideoProfileConfig()) if guarded else None
    return TrendingCounts(TrendingConfig(), InterestConfig(), _facts, guard=guard)


def _facts(video_ids: object) -> dict[str, VideoMetadata]:
    return {}


def figures(counts: TrendingCounts, clicks: int, target: str, at: int) -> np.ndarray:
    """Return the shoppers of the hour in trends and the clicks in the ranking's counts."""
    found = {one.video_id: one.shoppers for one in counts.videos("1h", at)}
    less = counts.guard.stream.discount(target).get("event:click", 0.0) if counts.guard else 0.0
    return np.array([found.get(target, 0), clicks - less], float)


def moved(
    counts: TrendingCounts, happening: Happening, target: str, aged: list[Row] | None, *, guarded: bool
) -> np.ndarray:
    """Return by how much a video's figures move, within 60 s of the beginning and to the end.

    Args:
        counts: Counts of the log.
        happening: What happens.
        target: The video.
        aged: Log with what goes before; None if that is the log.
        guarded: Whether the counts are guarded.
    """
    if aged is not None:
        counts = fed(aged, guarded=guarded)
    if happening.is_backdated:
        counts.add(table_of(happening.before), NOW)
    events = table_of(happening.rows)
    at = np.asarray(events["at"].cast(pa.int64()))
    is_click = np.array(events["kind"].to_pylist()) == "click"
    is_click &= np.array(events["video_id"].to_pylist()) == target
    base = figures(counts, 0, target, NOW)
    moves, start = [], 0
    for end_us in (60 * SECOND_US, int(happening.end_s * SECOND_US)):
        end = int(np.searchsorted(at, NOW + end_us))
        for part in range(start, end, BATCH):
            part_of = events.slice(part, min(BATCH, end - part))
            counts.add(part_of, int(at[min(part + BATCH, end) - 1]))
        start = end
        moves.append(figures(counts, int(is_click[:end].sum()), target, NOW + end_us) - base)
    return np.concatenate(moves)


def in_child(work: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the result of a function that runs in a copy of this process, whose counts stay as they are."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: writer.send(work()))
    child.start()
    found = reader.recv()
    child.join()
    return found


def fed(log: list[Row], *, guarded: bool) -> TrendingCounts:
    """Return counts of a log."""
    counts, events = trends(guarded=guarded), table_of(log)
    for part in range(0, events.num_rows, BATCH):
        counts.add(events.slice(part, BATCH), NOW)
    return counts


def report(log: list[Row], seed: int, only: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the movement with the guard over that without it: trends and clicks at 60 s, and at the end."""
    names, sizes = np.unique([row[1] for row in log], return_counts=True)
    target = str(names[np.argsort(sizes, kind="stable")[len(names) // 3]])
    known = [str(name) for name in np.unique([row[0] for row in log]) if not str(name).startswith("new")]
    sides = {guarded: fed(log, guarded=guarded) for guarded in (True, False)}
    guard = sides[True].guard
    assert guard is not None
    stream = guard.stream
    pairs = len({row[:2] for row in log})
    held = np.array([stream.figures.held, stream.held, 0, 0]) / pairs
    yield "ordinary traffic: held at first, and at the end", "", held
    chosen = scenarios(target, [str(one) for one in names], known).items()
    for name, make in ((name, make) for name, make in chosen if re.search(only, name)):
        happening = make(np.random.default_rng([seed, 7]))
        aged = log + happening.before if happening.before and not happening.is_backdated else None
        moves = [
            in_child(partial(moved, counts, happening, target, aged, guarded=guarded))
            for guarded, counts in sides.items()
        ]
        yield name, "" if name.startswith("sale") else happening.cost(), moves[0] / np.maximum(moves[1], 1)


def time_events(rounds: int) -> None:
    """Print the CPU seconds of storing and following events, with the guard over without it."""
    rng = np.random.default_rng(0)
    log = table_of(drawn_log(SHOPS["small"], 0))
    farms = table_of(farm("v400", [f"v{n}" for n in range(500)], rng).rows)
    stream = pa.concat_tables([log.slice(0, 20_000), farms])
    ratios: list[float] = []
    follow: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        taken = {}
        for guarded in (number % 2 == 0, number % 2 == 1):
            with tempfile.TemporaryDirectory() as folder:
                config = SqliteConfig(path=str(Path(folder) / "store.db"))
                with closing(SqliteStore(config, _facts, ProfilesConfig())) as store:
                    counts, begun, spent = trends(guarded=guarded), time.process_time(), 0.0
                    for part in range(0, stream.num_rows, BATCH):
                        events = stream.slice(part, BATCH)
                        store.apply(events)
                        since = time.process_time()
                        counts.add(events, NOW)
                        spent += time.process_time() - since
                    taken[guarded] = time.process_time() - begun
                    follow[guarded].append(spent)
        ratios.append(taken[True] / taken[False])
    each = {on: 1e6 * np.median(times) / stream.num_rows for on, times in follow.items()}
    print(f"trends alone: {each[False]:.1f} µs per event, {each[True]:.1f} with the guard")
    print(
        f"stored and followed, {stream.num_rows:,} events: {np.median(ratios):.3f} of the CPU time without "
        f"the guard, {min(ratios):.3f} to {max(ratios):.3f} by round"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shop", choices=SHOPS, default="small")
    parser.add_argument("--kuairand", type=Path, help="folder of the public sets")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="pattern of the names of what happens")
    parser.add_argument("--speed", type=int, default=0, metavar="ROUNDS")
    given = parser.parse_args()
    if given.speed:
        time_events(given.speed)
        return
    print("| seed | | trends, 60 s | clicks, 60 s | trends, end | clicks, end | cost |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(given.seed, given.seed + (1 if given.kuairand else given.seeds)):
        log = real_log(given.kuairand) if given.kuairand else drawn_log(SHOPS[given.shop], seed)
        for name, cost, ratios in report(log, seed, given.only):
            shown = " | ".join(f"{value:.1%}" if value < 0.1 else f"{value:.0%}" for value in ratios)
            print(f"| {seed} | {name} | {shown} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
