"""What a sweep adds to its trials: wall time a trial beside the bare loop over the same settings.

Run as `OMP_NUM_THREADS=1 python benchmarks/tune_overhead.py --seconds 30`. A trial is an epoch loop of real
work, products of matrices on one thread, counted beforehand to last about so long. Both sides do the same
work in the same number of epochs; the sweep makes one trial at a time on a local Ray that is up already, and
its figure is of all trials but the first, which waits for its worker to start: that is told separately.
Each trial also times itself, which tells what the sweep adds where other work on the machine comes and goes.
"""

import functools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import number_parser

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.tune.run import tune
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TRIALS

EPOCHS, SIZE = 10, 256


def work(products: int, material: np.ndarray, settings: Settings) -> Iterator[float]:
    """Return the seconds since the start, after each of the epochs of one trial."""
    begun = time.perf_counter()
    for _ in range(EPOCHS):
        total = material
        for _ in range(products):
            total = total @ material
            total = total / np.abs(total).max()
        yield time.perf_counter() - begun


def products_for(seconds: float, material: np.ndarray) -> int:
    begun = time.perf_counter()
    list(work(200, material, Settings()))
    return max(1, round(200 * seconds / (time.perf_counter() - begun)))


def main() -> None:
    parser = number_parser(__doc__, seconds=30.0, trials=5)
    given = parser.parse_args()
    material = np.random.default_rng(0).standard_normal((SIZE, SIZE))
    trial = functools.partial(work, products_for(given.seconds, material))

    bare: list[float] = []
    for _ in range(given.trials - 1):
        begun = time.perf_counter()
        list(trial(material, Settings()))
        bare.append(time.perf_counter() - begun)

    about: dict[str, Any] = {"kind": "cf", "model": "als", "metric": "made up", "follows": ("retrieval.als",)}
    subject = TuneTarget(
        **about,
        reports_epochs=True,
        read=lambda: TuneData("made up", "1", lambda: material),
        run_trial=trial,
        command="–",
    )
    settings = load_settings(
        overrides=[f"tune.trials={given.trials}", "tune.concurrent=1", "tune.early_stop=false"]
    )
    with tempfile.TemporaryDirectory() as folder, connect_cluster():
        space = Path(folder) / "space.yaml"
        space.write_text("retrieval.als.factors: {int: [1, 200]}\n")
        begun = time.time()
        tune(subject, space, f"{folder}/out", settings)
        files = sorted((Path(folder) / "out" / TRIALS).iterdir())
        ends = [path.stat().st_mtime for path in files]
        inside = [json.loads(path.read_bytes())["values"][-1] for path in files[1:]]
    a_trial, alone = (ends[-1] - ends[0]) / (given.trials - 1), float(np.mean(bare))
    print(f"bare loop    {alone:.2f} s a trial ({', '.join(f'{s:.1f}' for s in bare)})")
    print(f"in a sweep   {a_trial:.2f} s a trial; the first ended after {ends[0] - begun:.1f} s")
    own = float(np.mean(inside))
    print(f"ratio        {a_trial / alone:.3f} to the bare loop")
    print(f"             {a_trial / own:.3f} to the trials' own time, {own:.2f} s")


if __name__ == "__main__":
    main()
