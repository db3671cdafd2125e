"""Speed of each runtime of the frame encoder, side by side on one core.

Run as `python benchmarks/encoders.py [--rounds 9]`. Each round runs every way once, so that a busy
machine slows all alike; the figures are medians over rounds, and ratios to torch eager of the
same round. Also prints the time from nothing to a ready encoder, with and without a kept network.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import interleaved_times, number_parser

from vrec.core.types import Clip
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig
from vrec.encoders.backbone import LITE0, load_backbone
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.encoders.runtime import openvino_module
from vrec.encoders.text import TextEncoder, TextEncoderConfig

FRAMES = 8
SIDE = 224
START = """
import time; begun = time.perf_counter()
from vrec.encoders.cnn import CnnConfig, CnnEncoder
CnnEncoder(CnnConfig()); print(time.perf_counter() - begun)
"""


def torch_way(frames: np.ndarray, layout: torch.memory_format) -> Callable[[], Any]:
    network = load_backbone(LITE0, SIDE).network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    block = torch.from_numpy(frames)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(block).numpy()

    return run


def openvino_way(frames: np.ndarray, batch: int, hint: str) -> Callable[[], Any]:
    """Run OpenVINO as the encoder does, except for the batch (-1 is any) and the performance hint."""
    ov = openvino_module()
    example = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
    model = ov.convert_model(
        load_backbone(LITE0, SIDE).network,
        example_input=example,
        input=[ov.PartialShape([-1, SIDE, SIDE, 3])],
    )
    model.reshape([batch, SIDE, SIDE, 3])
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": hint}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    step = FRAMES if batch == -1 else batch

    def run() -> np.ndarray:
        blocks = [frames[i : i + step] for i in range(0, FRAMES, step)]
        return np.concatenate([request.infer([block], share_inputs=True)[0].copy() for block in blocks])

    return run


def measure(ways: dict[str, Callable[[], Any]], rounds: int, base: str) -> None:
    for run in ways.values():
        run()
    times = interleaved_times(ways, rounds)
    seconds = {name: [wall for wall, _ in taken] for name, taken in times.items()}
    for name, taken in seconds.items():
        ratio = np.median(np.array(seconds[base]) / np.array(taken))
        print(f"{name:34} {np.median(taken) / FRAMES * 1e3:7.2f} ms a frame   {ratio:5.2f} × {base}")


def measure_others(rounds: int) -> None:
    rng = np.random.default_rng(0)
    sound = Clip("", audio=rng.normal(0, 0.1, 30 * 16_000).astype(np.float32))
    text = Clip("", text="Stoneware mug, 350 ml, teal. mugs, teal")
    ways = {
        "audio, 30 s of sound": partial(AudioEncoder(AudioEncoderConfig()).encode, [sound]),
        "text, one title": partial(TextEncoder(TextEncoderConfig()).encode, [text]),
    }
    for name, run in ways.items():
        run()
        taken = []
        for _ in range(rounds):
            begun = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begun)
        print(f"{name:34} {np.median(taken) * 1e3:7.2f} ms a video")


def measure_start() -> None:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "VREC_CACHE": cache}
        command = [sys.executable, "-c", START]
        for name in ("start, nothing kept", "start, network kept", "start, network kept (again)"):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            print(f"{name:34} {float(done.stdout):7.2f} s")


def main() -> None:
    parser = number_parser(__doc__, rounds=9)
    rounds: int = parser.parse_args().rounds
    torch.set_num_threads(1)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    clip = Clip("", frames=frames)
    ways: dict[str, Callable[[], Any]] = {
        "torch eager": torch_way(frames, torch.contiguous_format),
        "torch channels_last": torch_way(frames, torch.channels_last),
        "OpenVINO batch 8, latency": openvino_way(frames, FRAMES, "LATENCY"),
        "OpenVINO batch 8, throughput": openvino_way(frames, FRAMES, "THROUGHPUT"),
        "OpenVINO any batch, latency": openvino_way(frames, -1, "LATENCY"),
        "OpenVINO batch 1, latency": openvino_way(frames, 1, "LATENCY"),
        "OpenVINO batch 1, throughput": openvino_way(frames, 1, "THROUGHPUT"),
        "CnnEncoder(openvino)": partial(CnnEncoder(CnnEncoderConfig(backend="openvino")).encode, [clip]),
        "CnnEncoder(torch)": partial(CnnEncoder(CnnEncoderConfig(backend="torch")).encode, [clip]),
    }
    print(f"{FRAMES} frames of {SIDE} px, one thread, {rounds} interleaved rounds")
    measure(ways, rounds, base="torch eager")
    measure_others(rounds)
    measure_start()


if __name__ == "__main__":
    main()
