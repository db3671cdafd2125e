"""Lists beside live streams whose content is followed: latency with and without, CPU seconds per vector.

Run `vrec serve` first on this machine, without keys, with `serve.security.requests_per_second` raised,
`serve.live.expiry_s=3600` and `serve.security.media_roots=["FOLDER"]`, then

    python benchmarks/followers.py http://127.0.0.1:8000 FOLDER

25 streams that are embedded every 15 s are 100 vectors a minute. All followers of the machine are counted.
"""

import argparse
import contextlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from streams import latencies, send

from vrec.synthetic.live.broadcast import Broadcast, BroadcastConfig
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog

COUNT_S = 5.0
"""Seconds between counts of vectors."""


class Streams:
    """Live streams on disk, written in real time, which the service follows while they are on."""

    def __init__(self, url: str, folder: Path, count: int) -> None:
        self.url, self.vectors = url, 0
        config = BroadcastConfig(streams=count, clips=1)
        self.broadcast = Broadcast(folder, plan_catalog(SyntheticVideosConfig()), config)
        self.broadcast.prepare()
        self.now = self.broadcast.advance()
        self.period_s, self.on, self.seen = config.segment_s, False, {}
        threading.Thread(target=self._write, daemon=True).start()
        threading.Thread(target=self._count, daemon=True).start()

    def start(self) -> None:
        """Start all streams, and wait until each has a vector."""
        for one in self.now:
            body = {"streamer_id": one.stream_id, "title": "Live", "source": str(one.playlist)}
            send(self.url, "PUT", f"/v1/streams/{one.stream_id}", body)
        self.seen, self.on = {}, True
        while len(self.seen) < len(self.now):
            time.sleep(0.5)

    def end(self) -> None:
        """End all streams, and wait until their followers have ended."""
        self.on = False
        for one in self.now:
            send(self.url, "DELETE", f"/v1/streams/{one.stream_id}")
        while followers():
            time.sleep(0.5)

    def _write(self) -> None:
        while True:
            time.sleep(self.period_s)
            self.now = self.broadcast.advance()

    def _count(self) -> None:
        """Count vectors by the times at which they were made; none is missed in less than `refresh_s`.

        Seldom, and all streams with one request: what counts must not delay the lists that are timed.
        """
        while True:
            time.sleep(COUNT_S)
            for one in send(self.url, "GET", "/v1/streams?limit=100")["streams"] if self.on else ():
                at = (one["content"] or {}).get("embedded_at")
                if at is not None and self.seen.get(one["stream_id"]) != at:
                    self.seen[one["stream_id"]] = at
                    self.vectors += 1


def followers() -> list[psutil.Process]:
    """Return the processes of followers."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "ContentFollower" in " ".join(one.cmdline()):
                found.append(one)
    return found


def cpu_s() -> float:
    """Return the CPU seconds of the followers and of their decoding processes so far."""
    total = 0.0
    for follower in followers():
        for one in (follower, *follower.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--streams", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    streams = Streams(options.url, options.folder.absolute(), options.streams)
    latencies(options.url, 5.0)
    without: list[float] = []
    beside: list[float] = []
    vectors, spent, seconds = 0, 0.0, 0.0
    for _ in range(options.rounds):
        without += latencies(options.url, options.seconds)
        streams.start()
        begun, cpu, made = time.perf_counter(), cpu_s(), streams.vectors
        beside += latencies(options.url, options.seconds)
        vectors, spent = vectors + streams.vectors - made, spent + cpu_s() - cpu
        seconds += time.perf_counter() - begun
        streams.end()
    load = os.getloadavg()[0]
    rate, each = vectors / seconds * 60, spent / max(vectors, 1)
    print(f"{rate:.0f} vectors a minute of {options.streams} streams, {each:.2f} CPU s each; load {load:.0f}")
    for share in (0.5, 0.95):
        a, b = np.quantile(without, share), np.quantile(beside, share)
        print(f"p{share * 100:.0f}: {a * 1e3:.1f} ms without, {b * 1e3:.1f} ms beside, {b / a:.2f} times "
              f"({len(without)} and {len(beside)} lists)")  # fmt: skip


if __name__ == "__main__":
    main()
