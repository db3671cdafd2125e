"""CPU time and memory of sharding and gathering events, by their number and by the number of nodes.

For each number of events: files are drawn, sharded by `vrec shard` and weighed by shards as `vrec fit` does,
on a local Ray. `driver` is the process of the command, `worker` the largest of the tasks' processes. Beside
them is the path of one process (`read_events`, `weigh_events`, `aggregate_interactions`) up to a million
events. Memory is the peak that is the process's own, without the shared memory of Ray's object store. CPU is
that of all processes from the first file to the last block, without the start of Ray.

    python benchmarks/events_at_scale.py                 # 100,000 and 1,000,000 events
    python benchmarks/events_at_scale.py --most 10000000
    python benchmarks/events_at_scale.py --nodes         # 1, 2 and 4 nodes of one CPU each

With `--nodes`, `started` counts the workers that ran a task, and `imports_s` is the CPU that a worker takes
to import what the tasks need, measured beside them: what each node pays before it does any work.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

FILE_ROWS = 250_000
VIDEOS = 20_000
EVENTS_PER_USER = 50
SAMPLE_S = 0.1
OBJECTS_BYTES = 1_500_000_000
KINDS = np.array(["impression", "click", "watch", "cart"])


def draw(folder: Path, events: int, seed: int = 0) -> None:
    """Write drawn events, one in a hundred of which is sent twice, to files of FILE_ROWS rows."""
    rng = np.random.default_rng(seed)
    for number, first in enumerate(range(0, events, FILE_ROWS)):
        rows = min(FILE_ROWS, events - first)
        ids = first + np.arange(rows)
        again = rng.random(rows) < 0.01
        ids[again] = rng.integers(0, first + 1, int(again.sum())) if first else ids[again]
        # The rest of an event follows from its id, so that a repeated one is the same.
        mixed = (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
        table = pa.table(
            {
                "event_id": [f"event-{n:012d}" for n in ids],
                "user_id": [f"user-{n:09d}" for n in mixed % np.uint64(max(1, events // EVENTS_PER_USER))],
                "video_id": [f"video-{n:06d}" for n in (mixed >> np.uint64(9)) ** 2 % np.uint64(VIDEOS)],
                "kind": KINDS[(mixed >> np.uint64(3)) % np.uint64(4)].tolist(),
                "at": pa.array(1_700_000_000_000_000 + ids * 1000, pa.timestamp("us", tz="UTC")),
            }
        )
        pq.write_table(table, folder / f"{number:05d}.parquet")


class ProcessSampler:
    """CPU seconds and peak private memory of this process and of those that it started."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._cpu: dict[int, float] = {}
        self._peak: dict[int, int] = {}
        self._tasks: set[int] = set()
        self._ended = threading.Event()
        self._sample()
        self._before = dict(self._cpu)
        self._peak.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        for process in (self._own, *self._own.children(recursive=True)):
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
                    if "ray::" in (process.cmdline() or [""])[0]:
                        self._tasks.add(process.pid)
            except psutil.Error:
                continue
            self._cpu[process.pid] = times.user + times.system
            self._peak[process.pid] = max(self._peak.get(process.pid, 0), memory.rss - memory.shared)

    def end(self) -> dict[str, Any]:
        """Return what was found, in seconds and MB."""
        self._ended.set()
        self._thread.join()
        self._sample()
        own, tasks = self._own.pid, [self._peak[pid] for pid in self._tasks if pid in self._peak]
        cpu = {pid: seconds - self._before.get(pid, 0.0) for pid, seconds in self._cpu.items()}
        return {
            "cpu_s": round(sum(cpu.values()), 2),
            "driver_cpu_s": round(cpu[own], 2),
            "driver_mb": round(self._peak[own] / 1e6),
            "worker_mb": round(max(tasks, default=0) / 1e6),
            "started": len(tasks),
        }


def gather(folder: Path, address: str | None) -> dict[str, Any]:
    """Shard and gather the files of a folder on Ray; return figures, and a digest of the matrix."""
    from vrec.config.events import EventsConfig
    from vrec.events.consents import CONSENTS, ShopperConsents
    from vrec.events.shards.manifest import open_shards
    from vrec.events.shards.weigh import WeighJob
    from vrec.pipelines.cluster import connect_cluster
    from vrec.pipelines.ray_tasks import RayTasks
    from vrec.pipelines.shards.gather import gather_shards
    from vrec.pipelines.shards.run import shard_events
    from vrec.pipelines.task_runner import TaskCall, event_memory

    config, out = EventsConfig.model_validate({"shards": {"count": 16, "local_events": 0}}), folder / "shards"
    with connect_cluster(address):
        tasks = RayTasks()
        sampler, begun = ProcessSampler(), time.perf_counter()
        shard_events([str(folder / "days")], str(out), config)
        table = open_shards(str(out))
        assert table is not None
        job = WeighJob(str(out), config.interest, config.of)
        consents = tasks.share(ShopperConsents(CONSENTS.arrow().empty_table(), default=True))
        gathered = gather_shards(table, job, tasks.share(None), consents, tasks)
        figures = sampler.end() | {"wall_s": round(time.perf_counter() - begun, 1)}
        digest = TaskCall(matrix_digest, gathered.blocks, event_memory(gathered.pairs))
        return figures | {"events": table.rows, "pairs": gathered.pairs, "digest": tasks.run([digest])[0][0]}


def in_one_process(folder: Path) -> dict[str, Any]:
    """Read, weigh and aggregate the files of a folder in this process."""
    from vrec.config.events import EventsConfig
    from vrec.events.interactions import aggregate_interactions, weigh_events
    from vrec.events.read import read_events
    from vrec.retrieval.interaction_blocks import InteractionBlock

    sampler, begun = ProcessSampler(), time.perf_counter()
    events = read_events(str(folder / "days")).events
    interest = EventsConfig().interest
    pairs = aggregate_interactions(weigh_events(events, interest), interest)
    block = InteractionBlock.from_interactions(pairs)
    figures = sampler.end() | {"wall_s": round(time.perf_counter() - begun, 1)}
    return figures | {"events": events.num_rows, "pairs": pairs.num_rows, "digest": matrix_digest(block)}


def matrix_digest(*blocks: Any) -> str:
    """Return a digest of the ids, places, weights and times of the matrix of all blocks."""
    from vrec.retrieval.interaction_blocks import merge_blocks

    merged, state = merge_blocks(blocks), hashlib.sha256()
    weights = merged.histories.weights
    for array in (weights.data, weights.indices, weights.indptr, merged.histories.at):
        state.update(array.tobytes())
    for ids in (merged.users.ids, merged.videos.ids):
        state.update("\n".join(ids.to_pylist()).encode())
    return state.hexdigest()[:16]


def import_seconds() -> float:
    """Return the CPU seconds in which a process imports what the tasks need."""
    program = (
        "import ray, time; import vrec.pipelines.ray_call, vrec.pipelines.shards.tasks, "
        "vrec.pipelines.shards.gather, vrec.pipelines.shards.judge; print(time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True)
    return round(float(done.stdout), 2)


def wait_until_idle(most_s: float = 60) -> None:
    """Wait until the processes of Ray have started and take little CPU, which is not to be measured."""
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        before = cpu_of_children()
        time.sleep(2)
        if cpu_of_children() - before < 0.2:
            return


def cpu_of_children() -> float:
    """Return the CPU seconds of the processes that this one started."""
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system
    return seconds


def on_nodes(nodes: int, folder: Path) -> dict[str, Any]:
    """Shard and gather on so many nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    # `Cluster` gives a node 150 MB for objects, so that ten million events would be spilled to the disk.
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": OBJECTS_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1, object_store_memory=OBJECTS_BYTES)
        wait_until_idle()
        return gather(folder, cluster.address) | {"imports_s": import_seconds()}
    finally:
        cluster.shutdown()


def measured(how: str, events: int, folder: str) -> dict[str, Any]:
    """Return the figures of one way, found in a process of its own."""
    command = [sys.executable, __file__, "--how", how, "--most", str(events), "--folder", folder]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--least", type=int, default=100_000)
    parser.add_argument("--nodes", action="store_true")
    parser.add_argument("--how", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.how:
        folder = Path(given.folder)
        ways = {"ray": lambda: gather(folder, None), "process": lambda: in_one_process(folder)}
        found = ways[given.how]() if given.how in ways else on_nodes(int(given.how), folder)
        print(json.dumps(found))
        return
    sizes = [n for n in (100_000, 1_000_000, 10_000_000) if given.least <= n <= given.most]
    for events in sizes:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "days").mkdir()
            draw(Path(name) / "days", events)
            ways = ["1", "2", "4"] if given.nodes else ["ray", *(["process"] if events <= 1_000_000 else [])]
            digests = set()
            for how in ways:
                found = measured(how, events, name)
                digests.add(found["digest"])
                print(json.dumps({"drawn": events, "how": how} | found), flush=True)
                subprocess.run(["rm", "-rf", f"{name}/shards"], check=True)
            print("equal to the bit" if len(digests) == 1 else "NOT EQUAL", flush=True)


if __name__ == "__main__":
    main()
