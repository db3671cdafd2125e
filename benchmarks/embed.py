"""Cost of `vrec embed` compared with a hand-tuned loop without Ray and a simple Ray Data program.

Prints ratios from interleaved runs on the same clips. Start-up is left out: the clock runs from the
moment that every worker is at work until the last file is written.

    python benchmarks/embed.py [--videos DIR] [--clips 416] [--rounds 3] [--only throughput,second,memory]
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from embed_baselines import LANES, Batch, hand_tuned, rate, straightforward
from harness import number_parser

from vrec.encoders.config import EmbedConfig
from vrec.media.catalog import VIDEO_EXTENSIONS
from vrec.pipelines.cluster import WORKER_ENVIRONMENT, connect_cluster
from vrec.pipelines.embed.run import embed
from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog


def with_vrec(folder: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Run `vrec embed`; return its manifest with `rate` added."""
    batches: list[Batch] = []
    with Path(os.devnull).open("w") as nowhere:
        config = EmbedConfig.model_validate(changes)
        manifest = embed(
            str(folder), str(out), config, log=nowhere, on_batch=lambda r: batches.append(_batch(r))
        )
    if batches:
        manifest["rate"] = rate(batches, manifest["timings"]["compact_s"])
    return manifest


def _batch(row: Mapping[str, Any]) -> Batch:
    return Batch(*(row[name] for name in Batch._fields))


def throughput(folder: Path, rounds: int) -> dict[str, float]:
    """Return ratios of vrec's rate to the others', medians over interleaved rounds."""
    paths = sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in VIDEO_EXTENSIONS)
    rates: dict[str, list[float]] = {}
    systems: dict[str, Callable[[Path], float]] = {
        "vrec": lambda out: with_vrec(folder, out)["rate"],
        "vrec split": lambda out: with_vrec(folder, out, layout="split")["rate"],
        "hand-tuned loop": lambda out: hand_tuned(paths, out),
        # Slow, and as fast on few clips as on many.
        "straightforward Ray Data": lambda _: straightforward(paths[:208], "torch"),
        "straightforward, vrec's encoder": lambda _: straightforward(paths[:208], "openvino"),
    }
    for number in range(rounds):
        order = list(systems) if number % 2 == 0 else list(reversed(systems))
        for name in order:
            with tempfile.TemporaryDirectory() as out:
                if name == "hand-tuned loop":
                    found = systems[name](Path(out))
                else:
                    with connect_cluster():
                        found = systems[name](Path(out))
            rates.setdefault(name, []).append(found)
            print(f"  round {number + 1}: {name}: {rates[name][-1]:.2f} videos/s", flush=True)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{len(paths)} clips, {LANES} cores, median of {rounds} rounds")
    for name, value in middle.items():
        each = [v / o for v, o in zip(rates["vrec"], rates[name], strict=True)]
        spread = f"{min(each):.2f} to {max(each):.2f}"
        print(
            f"  {name:32} {value:6.2f} videos/s   vrec is {middle['vrec'] / value:.2f}× ({spread} by round)"
        )
    return middle


def second_run(folder: Path) -> float:
    """Return the share of the first run's decode and encode time that an unchanged catalog costs."""
    with tempfile.TemporaryDirectory() as out, connect_cluster():
        first = with_vrec(folder, Path(out))
        second = with_vrec(folder, Path(out))
    assert second["counts"]["new"] == 0
    work = first["timings"]["decode_s"] + first["timings"]["encode_s"]
    again = sum(second["timings"][name] for name in ("plan_s", "embed_s", "compact_s"))
    count = first["counts"]["videos"]
    each, before = again / count * 1e3, work / count * 1e3
    print(f"second run: {each:.2f} ms a video, {again / work:.2%} of the first's {before:.1f} ms of work")
    print(f"  in all: {second['timings']['wall_s']:.2f} s for {count} videos")
    return again / work


def memory(small: int, large: int) -> float:
    """Return the ratio of peak memory (PSS of all processes) with `large` videos to that with `small`."""
    peaks = []
    for count in (small, large):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "videos"
            _draw(folder, 100, SyntheticVideosConfig(seconds=1.0, fps=8, width=160, height=160))
            originals = sorted(folder.rglob("*.mp4"))
            for number in range(count - len(originals)):
                os.link(originals[number % 100], folder / f"copy-{number}.mp4")
            with _Peak() as peak, connect_cluster():
                with_vrec(folder, Path(place) / "out")
        peaks.append(peak.bytes)
        print(f"  {count} videos: peak {peak.bytes / 2**20:.0f} MiB over all processes")
    print(f"memory: {large} videos need {peaks[1] / peaks[0]:.2f}× the peak of {small}")
    return peaks[1] / peaks[0]


class _Peak:
    """Largest sum of proportional set sizes of this process and its children, sampled twice a second."""

    def __enter__(self) -> "_Peak":
        self.bytes, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.5):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.bytes = max(self.bytes, total)


def _draw(folder: Path, count: int, config: SyntheticVideosConfig) -> None:
    plan = plan_catalog(config.model_copy(update={"videos": count, "near_duplicates": 0, "broken": 0}))
    with multiprocessing.get_context("spawn").Pool(LANES) as pool:
        pool.starmap(draw_video, [(drawn, folder) for drawn in plan])


def _clips(arguments: argparse.Namespace, place: Path) -> Path:
    if arguments.videos:
        return Path(arguments.videos)
    _draw(place, arguments.clips, SyntheticVideosConfig(seconds=4.0, fps=25, width=320, height=240))
    return place


def main() -> None:
    """Run the selected measurements; print them as text and as one line of JSON."""
    parser = number_parser(__doc__, clips=416, rounds=3)
    parser.add_argument("--videos", help="a folder of clips; drawn ones where none is given")
    parser.add_argument("--only", default="throughput,second,memory")
    arguments = parser.parse_args()
    # Children of the loop inherit it; vrec sets the same for its workers.
    os.environ.update(WORKER_ENVIRONMENT)
    wanted, found = arguments.only.split(","), {}
    place = Path(tempfile.mkdtemp(prefix="vrec-bench-"))
    try:
        folder = _clips(arguments, place) if {"throughput", "second"} & set(wanted) else place
        if "throughput" in wanted:
            found["videos_per_s"] = throughput(folder, arguments.rounds)
        if "second" in wanted:
            found["second_run"] = second_run(folder)
        if "memory" in wanted:
            found["memory"] = memory(200, 2000)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    json.dump(found, sys.stdout)
    print()


if __name__ == "__main__":
    main()
