"""Live streams over HTTP: seconds to the first list, lists beside beats, and ends that race lists.

Run `vrec serve` first, without keys and with `serve.security.requests_per_second` raised, then

    python benchmarks/streams.py http://127.0.0.1:8000 --answers 20000
"""

import argparse
import json
import multiprocessing
import os
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil

STREAMS, PERIOD_S = 200, 5.0
TOGETHER, BEATING = 40, 16
"""Beats of a request that has several, and threads that beat."""
STREAMERS, SHOPPERS = 3, 4
LIFE_S = 0.4
"""Seconds for which a stream lives in the race."""


def send(url: str, method: str, path: str, body: dict | None = None) -> dict:
    """Return the JSON reply to a request; raise HTTPError for an error status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
    return json.loads(content) if content else {}


def seconds_to_first_list(url: str, starts: int) -> list[float]:
    """Return the seconds from each start, as it is sent, to the first list that has the stream."""
    found: list[float] = []
    for number in range(starts):
        name, begun = f"first-{time.time_ns()}-{number}", time.perf_counter()
        send(url, "PUT", f"/v1/streams/{name}", {"streamer_id": f"ann{number}", "title": "Shoes"})
        body = {"user_id": f"u{number}", "k": 100, "kind": "stream"}
        while name not in {item["video_id"] for item in send(url, "POST", "/v1/recommend", body)["items"]}:
            pass
        found.append(time.perf_counter() - begun)
        send(url, "DELETE", f"/v1/streams/{name}")
    return found


def beating(url: str, way: str, started: Any, stop: Any) -> None:
    """Let STREAMS streams beat until told to stop, each every PERIOD_S; a process of its own."""
    names = [f"beat-{number}" for number in range(STREAMS)]
    for name in names:
        send(url, "PUT", f"/v1/streams/{name}", {"streamer_id": name})
    started.set()
    begun = time.perf_counter()

    def beat(first: int, threads: int) -> None:
        sent = first
        while not stop.is_set():
            at = begun + sent * PERIOD_S / (STREAMS if way == "one" else STREAMS / TOGETHER)
            time.sleep(max(0.0, at - time.perf_counter()))
            if way == "one":
                send(url, "POST", f"/v1/streams/{names[sent % STREAMS]}/beat", {"viewers": sent})
            else:
                part = [names[(sent * TOGETHER + place) % STREAMS] for place in range(TOGETHER)]
                beats = [{"stream_id": name, "viewers": sent} for name in part]
                send(url, "POST", "/v1/streams:beat", {"beats": beats})
            sent += threads

    with ThreadPoolExecutor(BEATING) as pool:
        for task in [pool.submit(beat, number, BEATING) for number in range(BEATING)]:
            task.result()
    for name in names:
        send(url, "DELETE", f"/v1/streams/{name}")


def latencies(url: str, seconds: float) -> list[float]:
    """Return the seconds of lists of videos, asked for one after the other."""
    found: list[float] = []
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        send(url, "POST", "/v1/recommend", {"user_id": f"u{len(found)}", "kinds": ["product", "clip"]})
        found.append(time.perf_counter() - begun)
    return found


def service_cpu_s() -> float:
    """Return the CPU seconds of all processes of Serve on this machine, which are the service's."""
    found = 0.0
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        name = " ".join(process.info["cmdline"] or [])
        if name.startswith("ray::Serve") or name.startswith("ray::ProxyActor"):
            found += process.info["cpu_times"].user + process.info["cpu_times"].system
    return found


def beside_beats(url: str, way: str, rounds: int, seconds: float) -> None:
    """Print the latency of lists with and without streams that beat, in turns.

    Args:
        url: The service.
        way: Whether each beat is a request of its own (`one`), or TOGETHER of them are (`together`).
        rounds: Number of turns.
        seconds: Length of a turn with, and of one without.
    """
    taken: dict[str, list[float]] = {"without": [], "beside": []}
    cpu = dict.fromkeys(taken, 0.0)

    def measure(side: str) -> None:
        before = service_cpu_s()
        taken[side] += latencies(url, seconds)
        cpu[side] += service_cpu_s() - before

    for _ in range(rounds):
        measure("without")
        started, stop = multiprocessing.Event(), multiprocessing.Event()
        beats = multiprocessing.Process(target=beating, args=(url, way, started, stop))
        beats.start()
        # To start them is work of another kind: edits of the catalog.
        started.wait()
        time.sleep(1.5)
        measure("beside")
        stop.set()
        beats.join()
    without, beside = (np.array(values) for values in taken.values())
    how = "one a request" if way == "one" else f"{TOGETHER} a request"
    print(f"{STREAMS} streams that beat every {PERIOD_S:g} s, {how}; load average {os.getloadavg()[0]:.0f}")
    for share in (0.5, 0.95):
        a, b = np.quantile(without, share), np.quantile(beside, share)
        print(f"p{share * 100:.0f}: {a * 1e3:.1f} ms without, {b * 1e3:.1f} ms beside, {b / a:.2f} times "
              f"({len(without)} and {len(beside)} lists)")  # fmt: skip
    a, b = cpu["without"] / len(without), cpu["beside"] / len(beside)
    each = (b - a) * len(beside) / (rounds * seconds * STREAMS / PERIOD_S)
    print(
        f"CPU of the service: {a * 1e3:.1f} ms a list without, {b * 1e3:.1f} beside; {each * 1e3:.1f} a beat"
    )


class Race:
    """Streams that begin and end while lists are asked for."""

    def __init__(self, url: str, answers: int) -> None:
        self.url, self.wanted, self.lock = url, answers, threading.Lock()
        self.answers = self.listed = self.wrong = self.number = 0
        self.over: set[str] = set()
        self.prefix = f"race-{time.time_ns()}"

    def stream(self) -> None:
        """Start and end streams until there are enough answers."""
        while self.answers < self.wanted:
            with self.lock:
                self.number += 1
                name = f"{self.prefix}-{self.number}"
            send(self.url, "PUT", f"/v1/streams/{name}", {"streamer_id": "ann", "title": "Shoes"})
            time.sleep(LIFE_S)
            send(self.url, "DELETE", f"/v1/streams/{name}")
            with self.lock:
                self.over.add(name)

    def shop(self, user: str) -> None:
        """Ask for lists, and count the streams in them whose end was acknowledged before the request."""
        while self.answers < self.wanted:
            with self.lock:
                before = frozenset(self.over)
            body = {"user_id": user, "kind": ("video", "stream")[self.answers % 2]}
            found = {item["video_id"] for item in send(self.url, "POST", "/v1/recommend", body)["items"]}
            with self.lock:
                self.answers += 1
                self.listed += any(name.startswith(self.prefix) for name in found)
                self.wrong += bool(found & before)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--answers", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    waits = np.array(seconds_to_first_list(options.url, options.starts))
    print(f"start to first list: median {np.median(waits):.3f} s, p95 {np.quantile(waits, 0.95):.3f} s, "
          f"most {waits.max():.3f} s, of {len(waits)}")  # fmt: skip
    for way in ("together", "one"):
        beside_beats(options.url, way, rounds=options.rounds, seconds=10.0)
    race = Race(options.url, options.answers)
    with ThreadPoolExecutor(STREAMERS + SHOPPERS) as threads:
        tasks = [threads.submit(race.stream) for _ in range(STREAMERS)]
        tasks += [threads.submit(race.shop, f"u{number}") for number in range(SHOPPERS)]
        for task in tasks:
            task.result()
    print(f"answers with a stream that had ended: {race.wrong} of {race.answers} ({race.listed} with a live "
          f"stream, {len(race.over)} streams ended)")  # fmt: skip


if __name__ == "__main__":
    main()
