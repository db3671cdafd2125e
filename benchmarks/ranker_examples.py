"""Ranker trained on examples in memory and in files: CPU, memory of driver and largest worker, and AUC.

A simulated shop's events are sharded, and `vrec train ranker` reads the shards by tasks on a local Ray, with
all examples in memory and with files of a tenth of them in each. Both have the default network and history,
and two epochs. Sides run one after the other, each in a process of its own; CPU is that of all processes
without the start of Ray, and memory a process's own, as in `events_at_scale.py`.

    python benchmarks/ranker_examples.py --impressions 50000 200000
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from events_at_scale import ProcessSampler

SLOTS, REQUESTS = 8, 12
PARTS = 10
WAYS = ("memory", "files")


def draw(folder: Path, impressions: int) -> None:
    """Write the simulated shop's VIDEOS, and its EVENTS in shards."""
    from vrec.config.events import EventsConfig
    from vrec.pipelines.shards.run import shard_events
    from vrec.synthetic.shop.simulate import SimulationConfig, simulate

    users = impressions // (SLOTS * REQUESTS)
    shop = simulate(SimulationConfig(users=users, videos=2000, requests_per_user=REQUESTS, slots=SLOTS))
    pq.write_table(shop.events, folder / "EVENTS.parquet")
    pq.write_table(shop.videos, folder / "VIDEOS.parquet")
    shard_events([str(folder / "EVENTS.parquet")], str(folder / "shards"), EventsConfig())


def trained(how: str, folder: Path, impressions: int) -> dict[str, Any]:
    """Train on the shards, and return figures."""
    from vrec.config.load import load_settings
    from vrec.pipelines.cluster import connect_cluster
    from vrec.pipelines.inputs import InputPaths
    from vrec.pipelines.train.ranker import train_ranker

    most = impressions * 10 if how == "memory" else impressions // PARTS
    settings = load_settings(
        overrides=[
            "events.shards.local_events=0",
            f"train.ranker.local_examples={most}",
            "train.ranker.training.epochs=2",
        ]
    )
    inputs = InputPaths(str(folder / "shards"), videos=str(folder / "VIDEOS.parquet"))
    with connect_cluster():
        sampler = ProcessSampler()
        done = train_ranker(inputs, str(folder / how), settings)
        figures = sampler.end()
    wanted = {name: done[name] for name in ("impressions", "examples_per_s", "replay_s", "train_s")}
    return figures | wanted | {"click_auc": round(done["test"]["ranker"]["click_auc"], 4)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--impressions", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--how", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.how:
        print(json.dumps(trained(given.how, Path(given.folder), given.impressions[0])))
        return
    for impressions in given.impressions:
        with tempfile.TemporaryDirectory() as name:
            draw(Path(name), impressions)
            found: dict[str, dict[str, Any]] = {}
            for how in WAYS:
                options = ["--how", how, "--folder", name, "--impressions", str(impressions)]
                done = subprocess.run(
                    [sys.executable, __file__, *options], check=True, stdout=subprocess.PIPE, text=True
                )
                found[how] = json.loads(done.stdout.splitlines()[-1])
                print(json.dumps({"how": how} | found[how]), flush=True)
            ratios = {n: round(found["files"][n] / found["memory"][n], 2) for n in ("cpu_s", "driver_mb")}
            print(f"files by memory: {ratios}", flush=True)


if __name__ == "__main__":
    main()
