"""Ratios of decoding: keyframes against exact frames, decord against PyAV, a child against this process.

Prints medians of interleaved runs, so that what else the machine does falls on both sides alike.
Usage: python benchmarks/decode.py [--videos DIR] [--runs 7]
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import av
import numpy as np
import psutil
from harness import number_parser

from vrec.core.errors import VideoError
from vrec.media.audio import AudioConfig
from vrec.media.decode import DecodeConfig, MediaConfig, decode
from vrec.media.decode_process import DecodeProcess
from vrec.media.frame_sampling import FrameSamplingConfig

SILENT = AudioConfig(enabled=False)


def draw(path: Path, size: tuple[int, int], seconds: float, seed: int, tone: bool = False) -> str:
    """Write a new H.264 clip at 25 frames per second, a textured picture that pans and flickers."""
    width, height = size
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    picture = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    picture = picture // 2 + random.integers(0, 12, picture.shape, np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = 50
        sound = file.add_stream("aac", rate=44_100, layout="mono") if tone else None
        for i in range(int(seconds * 25)):
            moved = np.roll(picture, (i * 2, i * 3), axis=(0, 1))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        file.mux(stream.encode())
        if sound:
            wave = np.sin(np.arange(int(seconds * 44_100)) / 20).astype(np.float32)[None] * 0.5
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            file.mux(sound.encode(frame))
            file.mux(sound.encode())
    return str(path)


def interleaved(
    runs: int, jobs: Mapping[str, Callable[[], object]], clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each job, the jobs taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name, job in jobs.items():
            begun = clock()
            job()
            if turn:  # the first turn warms caches and imports
                taken[name].append(clock() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


def report(title: str, seconds: dict[str, float], base: str, count: int) -> None:
    """Print one line: milliseconds per clip, and each job's ratio to `base`."""
    parts = [f"{k} {v / count * 1e3:.1f} ms ({v / seconds[base]:.2f}×)" for k, v in seconds.items()]
    print(f"{title}: " + ", ".join(parts), flush=True)


def decode_all(paths: list[str], config: MediaConfig) -> None:
    for path in paths:
        try:
            decode(path, config)
        except VideoError:
            continue


def use(results: Iterable[object]) -> None:
    for _ in results:
        pass


def compare(paths: list[str], title: str, runs: int) -> None:
    """Print decord against PyAV, pictures alone, by CPU time."""
    names = ("decord", "pyav", "auto")
    configs = {n: MediaConfig(decode=DecodeConfig(decoder=n), audio=SILENT) for n in names}
    jobs = {n: (lambda c=c: decode_all(paths, c)) for n, c in configs.items()}
    report(f"decoders, {title}, CPU", interleaved(runs, jobs, time.process_time), "decord", len(paths))


def isolation(small: list[str], runs: int) -> None:
    """Compare decoding in a child process with decoding in this one, CPU of both processes together."""
    config = MediaConfig()
    with DecodeProcess(config) as process:
        jobs = {
            "in process": lambda: decode_all(small, config),
            "isolated": lambda: use(process.decode_many(small)),
        }
        list(process.decode_many(small[:1]))
        child = psutil.Process(process.pid)

        def both() -> float:
            return time.process_time() + sum(child.cpu_times()[:2])

        report("isolation, CPU", interleaved(runs, jobs, both), "in process", len(small))


def main() -> None:
    """Run every comparison on synthetic clips, and the decoders on the user's own if given."""
    arguments = number_parser(__doc__, runs=7)
    arguments.add_argument("--videos", type=Path, help="a folder of real clips")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hd = [draw(folder / "hd.mp4", (1280, 720), 20, 0)]
        small = [draw(folder / f"s{i}.mp4", (320, 240), 3, i, tone=True) for i in range(12)]
        exact, keys = (FrameSamplingConfig(strategy="uniform"), FrameSamplingConfig(strategy="keyframes"))
        for decoder in ("decord", "pyav"):
            configs = [
                MediaConfig(sample=s, decode=DecodeConfig(decoder=decoder), audio=SILENT)
                for s in (exact, keys)
            ]
            jobs = {
                n: (lambda c=c: decode_all(hd, c))
                for n, c in zip(("exact", "keyframes"), configs, strict=True)
            }
            report(f"720p by {decoder}, CPU", interleaved(given.runs, jobs, time.process_time), "exact", 1)
        compare(small, "3 s of 320×240", given.runs)
        compare(hd, "20 s of 720p", given.runs)
        if given.videos:
            compare(
                sorted(str(p) for p in given.videos.iterdir()),
                str(given.videos.name),
                max(1, given.runs // 3),
            )
        isolation(small, given.runs)


if __name__ == "__main__":
    main()
