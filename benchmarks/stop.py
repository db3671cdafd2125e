"""Seconds from SIGTERM to the end of `vrec serve`, while shoppers ask and busy loops take the cores.

    python benchmarks/stop.py --loops 20 --rounds 3

To compare with another version of vrec, run it in both checkouts in turn.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import number_parser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.bundles import write_shop_bundle
from tests.e2e.conftest import start
from tests.e2e.ray_head import free_port
from tests.e2e.service_load import ServiceLoad
from tests.e2e.test_serve_command import arguments

BUSY = [sys.executable, "-c", "while True: pass"]


def seconds_to_stop(bundle: str, data: Path, loops: int) -> tuple[float, int, int]:
    """Serve a bundle under load, stop it, and return the seconds, the exit code and the requests before."""
    port = free_port()
    process = start(*arguments(bundle, data, port))
    assert process.stdout is not None
    if "serves" not in process.stdout.readline():
        raise SystemExit(process.communicate()[1])
    busy = [subprocess.Popen(BUSY) for _ in range(loops)]
    try:
        with ServiceLoad(f"http://127.0.0.1:{port}") as shop:
            time.sleep(4)
            requests, begun = len(shop.done), time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
            taken = time.perf_counter() - begun
    finally:
        for one in busy:
            one.kill()
            one.wait()
    return taken, process.returncode, requests


def main() -> None:
    """Print a line per round."""
    given = number_parser(__doc__, loops=20, rounds=3).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_shop_bundle(Path(folder) / "bundle")
        for number in range(given.rounds):
            taken, code, requests = seconds_to_stop(bundle.uri, Path(folder) / f"data-{number}", given.loops)
            load = os.getloadavg()[0]
            print(f"{taken:.1f} s, exit code {code}, {requests} requests before, load {load:.0f}")


if __name__ == "__main__":
    main()
