"""Options and timing shared by the benchmarks."""

import argparse
import time
from collections.abc import Callable, Mapping


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
