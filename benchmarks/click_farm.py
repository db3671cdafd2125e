"""Click farms and flash sales against the guard of trends and of the counts that rank videos.

Run as `OMP_NUM_THREADS=1 python benchmarks/click_farm.py [--kuairand DATA]`. A log of a shop comes first:
drawn (3,000 shoppers with tastes for 500 videos over seven days, of whose visits a fifth are first ones), or
that of KuaiRand, with its real shoppers and times. Then something happens to one video of the long tail
within a minute. Printed is how far that moves the video's shoppers of the hour in the trends, and its clicks
in the counts that rank videos, a minute after it began and ten minutes later, as a share of how far it does
so without the guard. Wanted: at most 10 % for farms of 500 accounts, and 100 % for sales.

With --speed it times events instead, stored and followed, the guard in turn with none, CPU seconds by round.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
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
SHOPPERS, VIDEOS, DAYS, VISITS = 3_000, 500, 7, 8_000
FARM = 500
BATCH = 500
Row = tuple[str, str, str, int]
"""Shopper, video, kind and time of an event."""
Happening = tuple[list[Row], list[Row]]
"""Events that go before, and those that push a video."""


def drawn_log(seed: int) -> list[Row]:
    """Return the events of a drawn shop over DAYS before NOW."""
    rng = np.random.default_rng(seed)
    appeal = 1 / np.arange(1, VIDEOS + 1) ** 0.8
    appeal /= appeal.sum()
    activity = rng.lognormal(0, 1, SHOPPERS)
    rows: list[Row] = []
    for number in range(VISITS):
        first = rng.random() < 0.2
        user = f"new{number}" if first else f"u{rng.choice(SHOPPERS, p=activity / activity.sum())}"
        at = NOW - int(rng.random() * DAYS * DAY_US)
        for video in rng.choice(VIDEOS, 1 + rng.poisson(2.0), p=appeal):
            at += int(rng.exponential(40) * SECOND_US)
            rows += _visit(user, f"v{video}", at, rng, buys=0.02)
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
    target: str, rng: np.random.Generator, *, cart: bool = False, others: int = 0, warm: bool = False
) -> Happening:
    """Return the events of FARM accounts that push a video within a minute, and those that go before."""
    before: list[Row] = []
    rows: list[Row] = []
    for account in range(FARM):
        user, at = f"account{account}", NOW + int(rng.random() * 60 * SECOND_US)
        for other in range(others):
            early = NOW - int(rng.random() * 2 * DAY_US) if warm else at - (other + 1) * 2 * SECOND_US
            (before if warm else rows).append((user, f"v{rng.integers(VIDEOS)}", "click", early))
        for click in range(3):
            rows.append((user, target, "click", at + click * SECOND_US))
        rows += [(user, target, "watch", at + 4 * SECOND_US), (user, target, "like", at + 5 * SECOND_US)]
        if cart:
            rows.append((user, target, "cart", at + 6 * SECOND_US))
    return before, rows


def sale(
    target: str,
    rng: np.random.Generator,
    known: Sequence[str],
    *,
    regulars: int,
    strangers: int,
    buys: float = 0.03,
) -> Happening:
    """Return the events of shoppers of the log and of first-time visitors who come within a minute."""
    users = [
        *rng.choice(known, regulars, replace=False),
        *(f"visitor{number}" for number in range(strangers)),
    ]
    rows: list[Row] = []
    for user in users:
        rows += _visit(str(user), target, NOW + int(rng.random() * 60 * SECOND_US), rng, buys=buys)
    return [], rows


def scenarios(target: str, known: Sequence[str]) -> dict[str, Callable[[np.random.Generator], Happening]]:
    """Return what may happen to a video, by name."""
    return {
        "farm: new accounts": lambda rng: farm(target, rng),
        "farm: and into the cart": lambda rng: farm(target, rng, cart=True),
        "farm: two other videos each": lambda rng: farm(target, rng, others=2),
        "farm: aged, two other videos each": lambda rng: farm(target, rng, others=2, warm=True),
        "farm: aged, six other videos each": lambda rng: farm(target, rng, others=6, warm=True),
        "sale: 300 regulars": lambda rng: sale(target, rng, known, regulars=300, strangers=0),
        "sale: 300 regulars, 700 strangers": lambda rng: sale(
            target, rng, known, regulars=300, strangers=700
        ),
        "sale: 50 regulars, 500 strangers": lambda rng: sale(target, rng, known, regulars=50, strangers=500),
        "sale: 500 strangers, 3 % buy": lambda rng: sale(target, rng, known, regulars=0, strangers=500),
        "crowd: 500 strangers, none buys": lambda rng: sale(
            target, rng, known, regulars=0, strangers=500, buys=0
        ),
    }


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Return EVENTS by time."""
    rows = sorted(rows, key=lambda row: row[3])
    users, videos, kinds, times = zip(*rows, strict=True)
    columns = {
        "event_id": [f"e{number}-{times[number]}" for number in range(len(rows))],
        "user_id": users,
        "video_id": videos,
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


def figures(counts: TrendingCounts, events: pa.Table, target: str, at: int) -> np.ndarray:
    """Return the shoppers of the hour in trends and the clicks in the ranking's counts, of one video at a
    time."""
    found = {one.video_id: one.shoppers for one in counts.videos("1h", at)}
    rows = zip(events["video_id"].to_pylist(), events["kind"].to_pylist(), strict=True)
    clicks = sum(video == target and kind == "click" for video, kind in rows)
    less = counts.guard.stream.discount(target).get("event:click", 0.0) if counts.guard else 0.0
    return np.array([found.get(target, 0), clicks - less], float)


def moved(counts: TrendingCounts, before: Sequence[Row], rows: Sequence[Row], target: str) -> np.ndarray:
    """Return by how much a video's figures move, within 60 s of the beginning and within ten minutes."""
    if before:
        counts.add(table_of(before), NOW)
    events = table_of(rows)
    at = np.asarray(events["at"].cast(pa.int64()))
    base = figures(counts, events.slice(0, 0), target, NOW)
    moves, start = [], 0
    for end_us in (60 * SECOND_US, 600 * SECOND_US):
        end = int(np.searchsorted(at, NOW + end_us))
        for part in range(start, end, BATCH):
            counts.add(events.slice(part, min(BATCH, end - part)), NOW + end_us)
        start = end
        moves.append(figures(counts, events.slice(0, end), target, NOW + end_us) - base)
    return np.concatenate(moves)


def in_child(work: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the result of a function that runs in a copy of this process, whose counts stay as they are."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: writer.send(work()))
    child.start()
    found = reader.recv()
    child.join()
    return found


def report(log: list[Row], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the movement with the guard over that without it: trends and clicks at 60 s, and at ten
    minutes."""
    names, sizes = np.unique([row[1] for row in log], return_counts=True)
    target = str(names[np.argsort(sizes, kind="stable")[len(names) // 3]])
    known = [str(name) for name in np.unique([row[0] for row in log]) if not str(name).startswith("new")]
    events = table_of(log)
    sides = [trends(guarded=True), trends(guarded=False)]
    for counts in sides:
        for part in range(0, events.num_rows, BATCH):
            counts.add(events.slice(part, BATCH), NOW)
    for name, make in scenarios(target, known).items():
        before, rows = make(np.random.default_rng([seed, 7]))
        guarded, without = (in_child(partial(moved, counts, before, rows, target)) for counts in sides)
        yield name, guarded / np.maximum(without, 1)


def time_events(rounds: int) -> None:
    """Print the CPU seconds of storing and following events, with the guard over without it."""
    rng = np.random.default_rng(0)
    log = table_of(drawn_log(0))
    farms = table_of(farm("v400", rng)[1])
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
    parser.add_argument("--kuairand", type=Path, help="folder of the public sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--speed", type=int, default=0, metavar="ROUNDS")
    given = parser.parse_args()
    if given.speed:
        time_events(given.speed)
        return
    results: dict[str, list[np.ndarray]] = {}
    for seed in range(given.seeds):
        log = real_log(given.kuairand) if given.kuairand else drawn_log(seed)
        for name, ratios in report(log, seed):
            results.setdefault(name, []).append(ratios)
        if given.kuairand:
            break
    print("| | trends, 60 s | clicks, 60 s | trends, 10 min | clicks, 10 min |")
    print("|---|---|---|---|---|")
    for name, rows in results.items():
        print(f"| {name} | {' | '.join(f'{value:.0%}' for value in np.mean(rows, axis=0))} |")


if __name__ == "__main__":
    main()
