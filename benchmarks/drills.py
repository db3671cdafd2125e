"""Drills: what a lost, cut off or frozen node costs each command, on a cluster of network namespaces.

Run as root on Linux: `python benchmarks/drills.py [--only fit,embed] [--out FOLDER]`. The head has no CPUs
and two worker nodes have one each, so that all work is on nodes that may be lost. Each command runs
undisturbed first; then again, and the node that does its main task is disturbed 2 s after it began with it:
killed (every process of it by SIGKILL), cut off from the network or frozen. Printed are whether the result is
that of the undisturbed run, the seconds beyond it, and the last line that the operator saw. docs/drills.md
has the table. On a full disk the output folder has 64 kB.
"""

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from namespaces import NamespaceCluster, NamespaceNode, namespace_cluster

from vrec.synthetic.shop.simulate import SimulationConfig, simulate
from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog

VREC = str(Path(sys.executable).with_name("vrec"))
CLIPS = SyntheticVideosConfig(
    videos=16, near_duplicates=1, broken=3, seconds=1.0, fps=8, width=160, height=160
)
SHOP = SimulationConfig(users=120, videos=60, categories=4, creators=8, days=20, requests_per_user=8, slots=4)
ALS = [
    "fit.shard_users=10",
    "fit.local_interactions=0",
    "retrieval.als.iterations=4000",
    "retrieval.als.factors=128",
]
EMBED = ["embed.encoders.audio=null", "embed.sample.frames=2", "embed.batch_size=1"]
RANKER = [
    "train.ranker.network={kind: din, width: 4, hidden: [8], attention: [4]}",
    "train.ranker.features={history: 5, min_count: 2}",
    "train.ranker.training={epochs: 20, patience: 20, batch_size: 8}",
    "train.ranker.heads.heads=[click]",
]
LOOP = [
    "loop.models=[als]",
    "loop.embed=false",
    "loop.ranker=false",
    "loop.gates=skip",
    "loop.hold_out_hours=48",
]
SPACE = "retrieval.als.factors: {int: [8, 128]}\nretrieval.als.iterations: {int: [2000, 4000]}\n"
PATIENCE_S = 400.0
BEGUN_S = 2.0
"""Seconds after which a task is in its midst."""


@dataclass(frozen=True)
class DrilledCommand:
    """Command of vrec, and what is compared of its outcome."""

    arguments: Callable[[Path], list[str]]
    """Its arguments, given the folder of the inputs."""
    settings: list[str]
    task: str
    """Part of the title of a process that is at the command's main task or actor."""
    outcome: Callable[[Path], Any]
    """What is compared, given the output folder."""


def files_of(out: Path) -> list[str]:
    """Return the names of a model's files, which carry digests of what is in them."""
    return sorted(path.name for path in out.rglob("*") if path.suffix in (".parquet", ".npz", ".safetensors"))


def vectors_of(out: Path) -> dict[str, str]:
    """Return digests of the rows of an embedding folder's tables, in the order of the videos."""
    found = {}
    for folder in ("embeddings", "failures"):
        names = {path.name.partition("-")[0] for path in (out / folder).glob("*.parquet")}
        for name in sorted(names):
            files = [str(path) for path in sorted((out / folder).glob(f"{name}-*.parquet"))]
            table = ds.dataset(files).to_table()
            # When a video failed is not a part of the result.
            rows = sorted(str(sorted((row | {"at": None}).items())) for row in table.to_pylist())
            found[f"{folder}/{name}"] = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]
    return found


def trials_of(out: Path) -> list[Any]:
    """Return the values of a sweep's trials."""
    rows = [json.loads(path.read_text()) for path in sorted((out / "trials").iterdir())]
    return [(row["number"], row["changes"], row["state"], row["values"]) for row in rows]


def _tables(folder: Path, *names: str) -> list[str]:
    return [f"--{name}={folder / name.upper()}.parquet" for name in names]


COMMANDS = {
    "embed": DrilledCommand(
        lambda folder: ["embed", f"--videos={folder / 'clips'}", "--tolerate=100%"],
        EMBED,
        "FusedEmbedder",
        vectors_of,
    ),
    "fit": DrilledCommand(
        lambda folder: ["fit", "--model=als", *_tables(folder, "events")], ALS, "_fit", files_of
    ),
    "train": DrilledCommand(
        lambda folder: ["train", "ranker", *_tables(folder, "events", "videos")],
        RANKER,
        "RayTrainWorker",
        files_of,
    ),
    "evaluate": DrilledCommand(
        lambda folder: ["evaluate", "--models=als", *_tables(folder, "events")],
        ALS,
        "_fit",
        lambda out: json.loads((out / "metrics.json").read_text())["evaluation"],
    ),
    "tune": DrilledCommand(
        lambda folder: (
            ["tune", "cf", "--model=als", *_tables(folder, "events"), f"--space={folder / 'space.yaml'}"]
        ),
        [*ALS, "tune.trials=4", "tune.early_stop=false"],
        "ImplicitFunc",
        trials_of,
    ),
    "loop": DrilledCommand(
        lambda folder: ["loop", *_tables(folder, "events", "videos")],
        [*LOOP, *ALS],
        "_fit",
        lambda out: sorted({path.name for path in (out / "bundles").rglob("*.npz")}),
    ),
}


class Drill:
    """Cluster, inputs and undisturbed outcomes.

    Args:
        folder: Where everything is written.
        cluster: The cluster.
    """

    def __init__(self, folder: Path, cluster: NamespaceCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self._undisturbed: dict[str, tuple[Any, float]] = {}

    def undisturbed(self, name: str) -> tuple[Any, float]:
        """Return the outcome of a command and its seconds, on the second of two runs."""
        if name not in self._undisturbed:
            out, times = self.folder / f"{name}-undisturbed", []
            for _ in range(2):
                self._empty(out.name)
                begun = time.monotonic()
                code, said = self._run(name, out)
                times.append(time.monotonic() - begun)
                if code:
                    raise RuntimeError(f"vrec {name} fails undisturbed: {said}")
            self._undisturbed[name] = COMMANDS[name].outcome(out), times[-1]
        return self._undisturbed[name]

    def disturbed(self, name: str, what: str, disturb: Callable[[NamespaceNode], None]) -> None:
        """Run a command, disturb the first node that is busy with it, and print what came of it."""
        expected, usual = self.undisturbed(name)
        out, seen = self._empty(f"{name}-disturbed"), threading.Event()
        ended, task = threading.Event(), COMMANDS[name].task

        def watch() -> None:
            while not ended.is_set():
                for node in self.cluster.workers:
                    if node.works_on(task):
                        time.sleep(BEGUN_S)
                        if node.works_on(task):
                            seen.set()
                            disturb(node)
                            return
                time.sleep(0.02)

        thread = threading.Thread(target=watch)
        thread.start()
        begun = time.monotonic()
        code, said = self._run(name, out)
        seconds = time.monotonic() - begun
        ended.set()
        thread.join()
        if code:
            result = f"exit {code}"
        else:
            result = "equal" if COMMANDS[name].outcome(out) == expected else "ANOTHER RESULT"
        if not seen.is_set():
            result += " (no node was busy)"
        print(
            f"| {name} | {what} | {result} | {usual:.0f} s | {seconds - usual:+.0f} s | {said} |", flush=True
        )
        if code:
            self._again(name, out, expected)
        self.cluster.mend()

    def on_a_full_disk(self, name: str) -> None:
        """Run a command whose output folder is on a disk of 64 kB, and again once it is a larger one."""
        expected, usual = self.undisturbed(name)
        out = self._empty(f"{name}-full")
        out.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(out)], check=True)
        try:
            code, said = self._run(name, out)
            print(f"| {name} | a full disk | exit {code} | {usual:.0f} s | | {said} |", flush=True)
            subprocess.run(["mount", "-o", "remount,size=500m", str(out)], check=True)
            self._again(name, out, expected)
        finally:
            subprocess.run(["umount", "--lazy", str(out)], check=True)

    def _again(self, name: str, out: Path, expected: Any) -> None:
        """Run a command that failed once more, as its message says."""
        self.cluster.mend()
        begun = time.monotonic()
        code, said = self._run(name, out)
        same = "equal" if not code and COMMANDS[name].outcome(out) == expected else f"exit {code}"
        seconds = time.monotonic() - begun
        print(f"| {name} | the same command again | {same} | | {seconds:.0f} s in all | {said} |")

    def _empty(self, name: str) -> Path:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def _run(self, name: str, out: Path) -> tuple[int, str]:
        """Return a command's exit code and the last line that it printed."""
        command, log = COMMANDS[name], self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        settings = [part for setting in command.settings for part in ("--set", setting)]
        process = self.cluster.run([VREC, *command.arguments(self.folder), f"--out={out}", *settings], log)
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = -1
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return code, lines[-1].strip() if lines else "nothing"


def kill(node: NamespaceNode) -> None:
    """Lose a node."""
    node.kill()


def cut_for(seconds: float) -> Callable[[NamespaceNode], None]:
    """Return what cuts a node off for some seconds."""

    def disturb(node: NamespaceNode) -> None:
        node.cut_off()
        time.sleep(seconds)
        node.reconnect()

    return disturb


def freeze_for(seconds: float) -> Callable[[NamespaceNode], None]:
    """Return what stops all processes of a node for some seconds."""

    def disturb(node: NamespaceNode) -> None:
        node.send(signal.SIGSTOP)
        time.sleep(seconds)
        node.send(signal.SIGCONT)

    return disturb


DISTURBANCES: dict[str, Callable[[NamespaceNode], None]] = {
    "a node killed": kill,
    "a node cut off for 5 s": cut_for(5),
    "a node cut off for 60 s": cut_for(60),
    "a node frozen for 10 s": freeze_for(10),
}


FULL_DISK = "a full disk"


def write_inputs(folder: Path) -> None:
    """Draw clips and a shop."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for drawn in plan_catalog(CLIPS):
        draw_video(drawn, folder / "clips")
    shop = simulate(SHOP)
    pq.write_table(shop.events, folder / "EVENTS.parquet")
    pq.write_table(shop.videos, folder / "VIDEOS.parquet")
    (folder / "space.yaml").write_text(SPACE)


def main() -> None:
    """Run the drills and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, by commas")
    parser.add_argument("--disturb", default=",".join([*DISTURBANCES, FULL_DISK]), help="by commas")
    parser.add_argument("--out", type=Path, default=Path("/tmp/vrec-drills"))
    arguments = parser.parse_args()
    write_inputs(arguments.out)
    print(
        "| command | disturbance | result | undisturbed | beyond it | last line |\n|---|---|---|---|---|---|"
    )
    with namespace_cluster(arguments.out / "cluster") as cluster:
        drill = Drill(arguments.out, cluster)
        for name in arguments.only.split(","):
            for what in arguments.disturb.split(","):
                if what == FULL_DISK:
                    drill.on_a_full_disk(name)
                else:
                    drill.disturbed(name, what, DISTURBANCES[what])


if __name__ == "__main__":
    main()
