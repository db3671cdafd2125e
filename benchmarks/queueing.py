"""Discrete-event simulation of a serving machine: processes with queues that share cores.

A request passes stations one after another. A station is one or several processes; each works on one request
at a time, first come, first served, and a request goes to the shorter queue of two drawn at random, as Ray
Serve routes. All processes of the machine share its cores evenly: when more are busy than there are cores,
each is slower by that ratio (processor sharing).
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Station:
    """Processes that do the same step of a request."""

    processes: int
    demands: Doubles
    """CPU seconds of requests, drawn from with replacement."""

    @property
    def mean(self) -> float:
        """Mean CPU seconds of a request."""
        return float(self.demands.mean())


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and what runs on it."""

    stations: tuple[Station, ...]
    cores: float
    background: float = 0.0
    """Number of other processes that always want a core."""
    waits_s: float = 0.0
    """Seconds of each request in which no process works for it: sockets, timers, the network."""

    def most_per_s(self) -> float:
        """Return the requests a second at which a process or the cores are busy all the time."""
        own = self.cores - min(self.background, self.cores / 2)
        by_core = own / sum(station.mean for station in self.stations)
        return min(by_core, *(station.processes / station.mean for station in self.stations))


class _Process:
    """A process: its queue, and the work left of the request that it has taken."""

    __slots__ = ("queue", "request", "work")

    def __init__(self) -> None:
        self.queue: deque[int] = deque()
        self.request, self.work = -1, math.inf


def simulate(machine: Machine, arrivals: Sequence[float] | Doubles, rng: np.random.Generator) -> Doubles:
    """Return the seconds that each request takes.

    Args:
        machine: The machine.
        arrivals: Times of arrival in seconds, ascending.
        rng: Source of randomness.
    """
    count, steps = len(arrivals), len(machine.stations)
    works = [rng.choice(station.demands, count) for station in machine.stations]
    pools = [[_Process() for _ in range(station.processes)] for station in machine.stations]
    at, ended, station_of = 0.0, np.zeros(count), np.zeros(count, int)
    busy: list[_Process] = []
    coming, done = 0, 0

    def enter(request: int) -> None:
        pool = pools[station_of[request]]
        drawn = [pool[int(i)] for i in rng.integers(len(pool), size=2)] if len(pool) > 1 else pool
        process = min(drawn, key=lambda one: len(one.queue) + (one.request >= 0))
        process.queue.append(request)
        if process.request < 0:
            begin(process)

    def begin(process: _Process) -> None:
        process.request = process.queue.popleft()
        process.work = float(works[station_of[process.request]][process.request])
        busy.append(process)

    while done < count:
        speed = min(1.0, machine.cores / (len(busy) + machine.background)) if busy else 1.0
        first = min(busy, key=lambda one: one.work) if busy else None
        ends = at + first.work / speed if first is not None else math.inf
        if coming < count and arrivals[coming] <= ends:
            passed, at = arrivals[coming] - at, float(arrivals[coming])
            _work(busy, passed * speed)
            enter(coming)
            coming += 1
            continue
        assert first is not None
        _work(busy, first.work)
        at, request = ends, first.request
        busy.remove(first)
        first.request, first.work = -1, math.inf
        if first.queue:
            begin(first)
        station_of[request] += 1
        if station_of[request] < steps:
            enter(request)
        else:
            ended[request], done = at, done + 1
    return ended - np.asarray(arrivals) + machine.waits_s


def _work(busy: list[_Process], seconds: float) -> None:
    for process in busy:
        process.work -= seconds


def poisson_arrivals(per_s: float, seconds: float, rng: np.random.Generator) -> Doubles:
    """Return times of arrival of independent requests at a rate."""
    times = np.cumsum(rng.exponential(1 / per_s, math.ceil(per_s * seconds * 1.5) + 50))
    return times[times < seconds]
