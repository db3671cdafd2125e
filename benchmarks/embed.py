"""What `vrec embed` costs against a hand-tuned loop without Ray and a straightforward Ray Data program.

Prints ratios from interleaved runs on the same clips. Start-up is left out of every system the
same way: the clock runs from the batch that completes the first sixteen videos to the last.

    python benchmarks/embed.py [--videos DIR] [--clips 208] [--rounds 3] [--only throughput,second,memory]
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from embed_baselines import LANES, Event, hand_tuned, straightforward

from vrec.media.draw import DrawConfig, draw_video, plan_catalogue
from vrec.media.source import ENDINGS
from vrec.pipelines.cluster import WORKER_ENVIRONMENT, connected
from vrec.pipelines.embed import embed
from vrec.settings import EmbedConfig

WARM = 16


def rate(events: list[Event]) -> float:
    """Videos a second once WARM videos are done."""
    done = 0
    for place, (when, count) in enumerate(events):
        done += count
        if done >= WARM:
            rest = sum(c for _, c in events[place + 1 :])
            return rest / (events[-1][0] - when)
    raise ValueError("too few videos")


def with_vrec(folder: Path, out: Path, **changes: Any) -> tuple[list[Event], dict[str, Any]]:
    """Events and manifest of `vrec embed`."""
    events: list[Event] = []
    with Path(os.devnull).open("w") as nowhere:
        manifest = embed(
            str(folder),
            str(out),
            EmbedConfig.model_validate(changes),
            log=nowhere,
            watch=lambda videos, _: events.append((time.perf_counter(), videos)),
        )
    return events, manifest


def throughput(folder: Path, rounds: int) -> dict[str, float]:
    """Ratios of vrec's rate to the others', medians over interleaved rounds."""
    paths = sorted(str(p) for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    rates: dict[str, list[float]] = {}
    systems: dict[str, Callable[[Path], list[Event]]] = {
        "vrec": lambda out: with_vrec(folder, out)[0],
        "vrec split": lambda out: with_vrec(folder, out, layout="split")[0],
        "hand-tuned loop": lambda out: hand_tuned(paths, out),
        "straightforward Ray Data": lambda _: straightforward(paths, "torch"),
        "straightforward, vrec's encoder": lambda _: straightforward(paths, "openvino"),
    }
    for number in range(rounds):
        order = list(systems) if number % 2 == 0 else list(reversed(systems))
        for name in order:
            with tempfile.TemporaryDirectory() as out:
                if name == "hand-tuned loop":
                    events = systems[name](Path(out))
                else:
                    with connected():
                        events = systems[name](Path(out))
            rates.setdefault(name, []).append(rate(events))
            print(f"  round {number + 1}: {name}: {rates[name][-1]:.2f} videos/s", flush=True)
    found = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{len(paths)} clips, {LANES} cores, median of {rounds} rounds")
    for name, value in found.items():
        each = [v / o for v, o in zip(rates["vrec"], rates[name], strict=True)]
        spread = f"{min(each):.2f} to {max(each):.2f}"
        print(f"  {name:32} {value:6.2f} videos/s   vrec is {found['vrec'] / value:.2f}× ({spread} by round)")
    return found


def second_run(folder: Path) -> float:
    """Share of the first run's decode and encode time that an unchanged catalogue costs."""
    with tempfile.TemporaryDirectory() as out, connected():
        _, first = with_vrec(folder, Path(out))
        _, second = with_vrec(folder, Path(out))
    assert second["counts"]["new"] == 0
    work = first["timings"]["decode_s"] + first["timings"]["encode_s"]
    again = sum(second["timings"][name] for name in ("plan_s", "embed_s", "compact_s"))
    count = first["counts"]["videos"]
    each, before = again / count * 1e3, work / count * 1e3
    print(f"second run: {each:.2f} ms a video, {again / work:.2%} of the first's {before:.1f} ms of work")
    print(f"  in all: {second['timings']['wall_s']:.2f} s for {count} videos")
    return again / work


def memory(small: int, large: int) -> float:
    """Ratio of peak memory (PSS of all processes) with `large` videos to that with `small`."""
    peaks = []
    for count in (small, large):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "videos"
            _draw(folder, 100, DrawConfig(seconds=1.0, fps=8, width=160, height=160))
            originals = sorted(folder.rglob("*.mp4"))
            for number in range(count - len(originals)):
                os.link(originals[number % 100], folder / f"copy-{number}.mp4")
            with _Peak() as peak, connected():
                with_vrec(folder, Path(place) / "out")
        peaks.append(peak.bytes)
        print(f"  {count} videos: peak {peak.bytes / 2**20:.0f} MiB over all processes")
    print(f"memory: {large} videos need {peaks[1] / peaks[0]:.2f}× the peak of {small}")
    return peaks[1] / peaks[0]


class _Peak:
    """Largest sum of proportional set sizes of this process and its children, looked at twice a second."""

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


def _draw(folder: Path, count: int, config: DrawConfig) -> None:
    plan = plan_catalogue(config.model_copy(update={"videos": count, "near_duplicates": 0, "broken": 0}))
    with multiprocessing.get_context("spawn").Pool(LANES) as pool:
        pool.starmap(draw_video, [(drawn, folder) for drawn in plan])


def _clips(arguments: argparse.Namespace, place: Path) -> Path:
    if arguments.videos:
        return Path(arguments.videos)
    _draw(place, arguments.clips, DrawConfig(seconds=4.0, fps=25, width=320, height=240))
    return place


def main() -> None:
    """Runs the claims asked for and prints what was measured, as text and as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", help="a folder of clips; drawn ones where none is given")
    parser.add_argument("--clips", type=int, default=208)
    parser.add_argument("--rounds", type=int, default=3)
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
