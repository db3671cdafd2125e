"""Nights of `vrec loop` in a simulated shop: what is promoted, and what is not.

`weeks` runs the loop each night for five weeks. Each night has two challengers: item_knn on the log so far,
and the popular videos, which are known to be worse once item_knn serves. `resampled` draws nights of two
bundles that are equal by construction (each fitted on one half of the shoppers, and swapped at random for
each shopper of a night), and nights of popular videos against item_knn, unswapped. `leaks` plants logs that
hold the held-out days again, under other ids and dated earlier, and runs the two nights that catch them,
beside the same nights with the honest log.

    python benchmarks/loop.py [--nights 100] [--seeds 5] [--part weeks]
"""

import argparse
import shutil
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.bundle.bundle import ServingBundle
from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.evaluation.promotion.decision import decide, paired_gain
from vrec.loop.evaluation.compare import compare_bundles
from vrec.loop.evaluation.log import split_log
from vrec.loop.run import run_loop
from vrec.loop.sources import LoopSources
from vrec.pipelines.bundle import make_bundle
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

DAY_US = 86_400_000_000
SHOP = SimulationConfig(
    users=100,
    videos=60,
    categories=8,
    creators=8,
    days=35,
    requests_per_user=42,
    slots=4,
    click_rate=0.25,
    category_weight=5.0,
    popularity_skew=0.3,
    activity_spread=0.3,
    seed=1,
)
SPARSE = SHOP.model_copy(
    update={"users": 120, "videos": 300, "requests_per_user": 16, "days": 20, "popularity_skew": 0.0}
)
SETTINGS = [
    "loop.ranker=false",
    "loop.embed=false",
    "loop.hold_out_hours=48",
    "loop.keep=2",
    "loop.promotion.min_outcomes=20",
    "retrieval.item_knn.weighting=tfidf",
]
LEAK_SETTINGS = [*SETTINGS, "loop.models=[item_knn]", "loop.gates=skip", "retrieval.item_knn.weighting=none"]
Floats = npt.NDArray[np.float64]


class SimulatedNights:
    """Loop on a shop whose log grows."""

    def __init__(self, folder: Path, simulation: ShopSimulation) -> None:
        self.folder, self.simulation = folder, simulation
        self.start = pc.min(simulation.events.column("at").cast(pa.int64())).as_py()
        pq.write_table(simulation.videos, folder / "VIDEOS.parquet")
        self.sources = LoopSources(str(folder / "VIDEOS.parquet"), events=str(folder / "EVENTS.parquet"))

    def until(self, day: int) -> pa.Table:
        """Return the events of the first days."""
        events = self.simulation.events
        return events.filter(pc.less(events.column("at").cast(pa.int64()), self.start + day * DAY_US))

    def run(self, day: int, settings: list[str], *more: pa.Table, out: str = "loop") -> dict:
        """Run the night after a day."""
        pq.write_table(pa.concat_tables([self.until(day), *more]), self.folder / "EVENTS.parquet")
        now = 1_760_000_000 + day * 86_400
        loaded = load_settings(overrides=settings)
        return run_loop(self.sources, str(self.folder / out), loaded, now=lambda: now, sleep=lambda _: None)


def weeks(folder: Path, *, confirm: bool) -> None:
    """Run the nights of five weeks, and print what became of each challenger."""
    nights, begun = SimulatedNights(folder, simulate(SHOP)), time.process_time()
    models = [*SETTINGS, f"loop.promotion.confirm={str(confirm).lower()}"]
    print(nights.run(7, [*models, "loop.models=[popular]"])["outcome"], "with popular videos, day 7")
    outcomes: Counter[str] = Counter()
    verdicts: Counter[tuple[str, str]] = Counter()
    for day in range(8, SHOP.days + 1):
        done = nights.run(day, [*models, "loop.models=[item_knn, popular]"])
        outcomes[done["outcome"]] += 1
        verdicts.update((name, test["verdict"]) for name, test in done["tests"].items())
        if done["outcome"] != "kept":
            why = "; ".join(r for t in done["tests"].values() for r in t["reasons"])
            print(f"day {day}: {done['outcome']}: {why}", flush=True)
    print(f"confirm {confirm}: {dict(outcomes)}, {time.process_time() - begun:.0f} CPU s")
    for (name, verdict), count in sorted(verdicts.items()):
        print(f"  {name}: {verdict} {count}")


def values_of(
    nights: SimulatedNights, logs: tuple[pa.Table, pa.Table], models: tuple[str, str]
) -> tuple[Floats, Floats]:
    """Return the NDCG@10 of shoppers after day 28 for bundles of two models, each fitted on a log."""
    settings = load_settings(overrides=SETTINGS)
    found: list[ServingBundle] = []
    for number, (table, model) in enumerate(zip(logs, models, strict=True)):
        place, out = nights.folder / f"log-{number}.parquet", nights.folder / f"bundle-{number}"
        shutil.rmtree(out, ignore_errors=True)
        pq.write_table(table, place)
        make_bundle(InputPaths(str(place), videos=nights.sources.videos), str(out), settings, model=model)
        found.append(ServingBundle.load(str(out)))
    whole = nights.folder / "whole.parquet"
    pq.write_table(nights.until(SHOP.days), whole)
    data = read_inputs(InputPaths(str(whole), videos=nights.sources.videos), settings.events, "fused")
    since = nights.start + 28 * DAY_US
    log = split_log(data.events, data.interactions, since, settings.events.interest, 5_000)
    challenger, in_service = found
    compared = compare_bundles(challenger, in_service, log, settings.loop.promotion, serve=settings.serve)
    return compared.values


def resampled(pair: tuple[Floats, Floats], nights: int, *, swap: bool, shoppers: int = 400) -> Counter[str]:
    """Return the verdicts of resampled nights: shoppers with replacement, both sides swapped at random."""
    config, verdicts = load_settings(overrides=SETTINGS).loop.promotion, Counter[str]()
    for night in range(nights):
        rng = np.random.default_rng(night)
        rows = rng.integers(len(pair[0]), size=shoppers)
        one, other = pair[0][rows], pair[1][rows]
        if swap:
            turn = rng.random(shoppers) < 0.5
            one, other = np.where(turn, one, other), np.where(turn, other, one)
        verdicts[decide(paired_gain(one, other, config.level, config.min_outcomes)).verdict] += 1
    return verdicts


def equal_and_worse(folder: Path, count: int) -> None:
    """Print the verdicts of resampled nights."""
    nights = SimulatedNights(folder, simulate(SHOP))
    before = nights.until(28)
    users = before.column("user_id")
    half = np.random.default_rng(5).permutation(pc.unique(users).sort().to_pylist())[: SHOP.users // 2]
    mine = pc.is_in(users, value_set=pa.array(half.tolist()))
    halves = before.filter(mine), before.filter(pc.invert(mine))
    equal = values_of(nights, halves, ("item_knn", "item_knn"))
    worse = values_of(nights, (before, before), ("popular", "item_knn"))
    for name, pair, swap in (("equal", equal, True), ("worse", worse, False)):
        gap = pair[0] - pair[1]
        print(
            f"{name}: {len(gap)} shoppers, {np.count_nonzero(gap)} differ, mean difference {gap.mean():+.4f}"
        )
        for shoppers in (100, 400, 2_000):
            for nights_now in (count, 10 * count):
                verdicts = resampled(pair, nights_now, swap=swap, shoppers=shoppers)
                print(f"  {nights_now} nights of {shoppers} shoppers: {dict(verdicts)}")


def twins(events: pa.Table, start: int) -> pa.Table:
    """Return clicks and watches twice more: of shoppers with other ids, and dated four days earlier."""
    kept = events.filter(pc.is_in(events.column("kind"), value_set=pa.array(["click", "watch"])))
    at = pc.max_element_wise(pc.subtract(kept.column("at").cast(pa.int64()), 4 * DAY_US), start)
    place, field = kept.column_names.index("at"), kept.schema.field("at")
    tables = []
    for number in range(2):
        table = kept.set_column(place, field, at.cast(field.type))
        for name in ("event_id", "user_id"):
            values = pc.binary_join_element_wise(f"twin {number}", table.column(name), "-")
            table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
        tables.append(table)
    return pa.concat_tables(tables)


def leaks(folder: Path, seeds: int) -> None:
    """Print what becomes of leaky and of honest challengers in the two nights after they were made."""
    for seed in range(seeds):
        place = folder / str(seed)
        place.mkdir()
        nights = SimulatedNights(place, simulate(SPARSE.model_copy(update={"seed": seed})))
        leaked = twins(nights.until(16), nights.start)
        for name, more in (("leaky", [leaked]), ("honest", [])):
            nights.run(12, LEAK_SETTINGS, out=name)
            first = nights.run(16, LEAK_SETTINGS, *more, out=name)
            second = nights.run(20, LEAK_SETTINGS, *more, out=name)
            confirm = second["tests"].get("confirm", {})
            print(
                f"seed {seed}, {name}: {first['outcome']}, then {second['outcome']}: "
                f"{'; '.join(first['tests']['test item_knn']['reasons'])}; {confirm.get('leak')}",
                flush=True,
            )


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("all", "weeks", "resampled", "leaks"), default="all")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="vrec-loop-") as name:
        place = Path(name)
        for part in ("resampled", "leaks", "confirmed", "same night"):
            (place / part).mkdir()
        if given.part in ("all", "resampled"):
            equal_and_worse(place / "resampled", given.nights)
        if given.part in ("all", "leaks"):
            leaks(place / "leaks", given.seeds)
        if given.part in ("all", "weeks"):
            weeks(place / "confirmed", confirm=True)
            weeks(place / "same night", confirm=False)


if __name__ == "__main__":
    main()
