"""CPU time and peak memory of `vrec fit`, `vrec recommend` and `vrec evaluate` on a drawn log.

    python benchmarks/commands.py --interactions 1000000 --users 59000 --videos 50000

Prints Markdown rows. CPU seconds and resident memory are sums over the command and all processes below it,
such as Ray's, seen every quarter of a second; pages that processes share count once for each.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from harness import number_parser
from knn import make_shop

from vrec.core.schema import TIMESTAMP

DAYS = 90
"""Length of the log."""
SECONDS_PER_LOOK = 0.25


def write_log(path: Path, users: int, videos: int, interactions: int) -> None:
    """Write a log of clicks at random moments."""
    matrix = make_shop(users, videos, interactions)
    rows = np.repeat(np.arange(users), np.diff(matrix.indptr))
    rng = np.random.default_rng(0)
    at = 1_700_000_000_000_000 + rng.integers(0, DAYS * 86_400_000_000, matrix.nnz)
    names = [pa.array([f"{n:07d}" for n in range(size)]) for size in matrix.shape]
    table = pa.table(
        {
            "user_id": names[0].take(pa.array(rows)),
            "video_id": names[1].take(pa.array(matrix.indices)),
            "kind": pa.array(["click"] * matrix.nnz),
            "at": pa.array(at).cast(TIMESTAMP),
        }
    )
    pq.write_table(table, path)


def measured(command: list[str]) -> tuple[float, float, float]:
    """Run a command and return its wall-clock seconds, CPU seconds and greatest resident bytes."""
    begun = time.perf_counter()
    cpu: dict[int, float] = {}
    most = 0.0
    with tempfile.TemporaryFile() as said:
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            resident = 0
            for each in [process, *process.children(recursive=True)]:
                try:
                    times = each.cpu_times()
                    resident += each.memory_info().rss
                except psutil.Error:
                    continue
                cpu[each.pid] = max(cpu.get(each.pid, 0), times.user + times.system)
            most = max(most, resident)
            time.sleep(SECONDS_PER_LOOK)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said.read().decode()}")
    return time.perf_counter() - begun, sum(cpu.values()), most


def main() -> None:
    parser = number_parser(__doc__, users=59_000, videos=50_000, interactions=1_000_000)
    parser.add_argument("--models", default="popular,item_knn", help="models to evaluate")
    parser.add_argument("--model", default="item_knn", help="model to fit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = str(folder / "EVENTS.parquet")
        write_log(Path(log), given.users, given.videos, given.interactions)
        model = str(folder / "model")
        commands = {
            f"fit --model {given.model}": ["fit", "--events", log, "--model", given.model, "--out", model],
            "recommend": ["recommend", "--model", model, "--out", str(folder / "lists")],
            f"evaluate --models {given.models}": [
                *("evaluate", "--events", log, "--models", given.models, "--out", str(folder / "report"))
            ],
        }
        for label, options in commands.items():
            wall, cpu, most = measured([sys.executable, "-m", "vrec", *options])
            print(f"| {label} | {wall:.1f} s | {cpu:.1f} s | {most / 1e9:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
