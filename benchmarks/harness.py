"""Options, processes and timing shared by the benchmarks."""

import argparse
import asyncio
import inspect
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def number_parser(doc: str | None, **defaults: float) -> argparse.ArgumentParser:
    """Return a parser whose options are numbers, such as `--batch-size 10` of `batch_size=10`.

    Args:
        doc: Description of the benchmark, printed as it is written.
        defaults: Default of each option; the option takes numbers of the default's type.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser


def interleaved_times(
    sides: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the (wall-clock, CPU) seconds of each side by round.

    Each round runs every side once, so that whatever else the machine does falls on all sides.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return taken


class CheckoutProcess:
    """Process of a benchmark that times the code of one checkout of the repository.

    It is the benchmark's own file, run with `arguments`. It prints a line `ready`, then a line of JSON for
    each line of its standard input, which says what to time.
    """

    def __init__(self, benchmark: str, arguments: list[str], checkout: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(
            [sys.executable, benchmark, *arguments], env=environment, stderr=subprocess.DEVNULL, **pipe
        )
        self._read("ready")

    def time(self, what: str | int) -> dict[str, Any]:
        """Return what the process found."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._read("{"))

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def _read(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit("a side ended early")


class LoadProcess:
    """Process that sends load to a service, so that it takes no time from the benchmark's own threads.

    `measure` is a function or coroutine function of a module.
    """

    def __init__(self, measure: Callable[..., Any], *arguments: Any, **more: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._near, far = context.Pipe()
        self._process = context.Process(target=_send_result, args=(far, measure, arguments, more))
        self._process.start()

    def result(self) -> Any:
        """Wait for what the function returns."""
        while not self._near.poll(1):
            if not self._process.is_alive():
                raise SystemExit("the load ended early")
        found = self._near.recv()
        self._process.join()
        return found


def _send_result(
    pipe: Connection, measure: Callable[..., Any], arguments: tuple[Any, ...], more: dict[str, Any]
) -> None:
    found = measure(*arguments, **more)
    pipe.send(asyncio.run(found) if inspect.iscoroutine(found) else found)
