"""The simulation behind docs/scale.md, against queues whose answer is known."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "queueing.py"
spec = importlib.util.spec_from_file_location("queueing", FILE)
queueing = importlib.util.module_from_spec(spec)
sys.modules["queueing"] = queueing
spec.loader.exec_module(queueing)
Machine, Station = queueing.Machine, queueing.Station
MEAN_S = 0.01
EXPONENTIAL = np.random.default_rng(1).exponential(MEAN_S, 200_000)


def seconds_of(machine, load, seconds=400.0, seed=0):
    rng = np.random.default_rng(seed)
    return queueing.simulate(machine, queueing.poisson_arrivals(load, seconds, rng), rng)


@pytest.mark.parametrize("utilization", [0.3, 0.6])
def test_one_process_with_random_work_is_an_m_m_1_queue(utilization):
    found = seconds_of(Machine((Station(1, EXPONENTIAL),), cores=1), utilization / MEAN_S)
    mean = EXPONENTIAL.mean() / (1 - utilization * EXPONENTIAL.mean() / MEAN_S)
    assert found.mean() == pytest.approx(mean, rel=0.06)
    # The time in such a queue is exponential.
    assert np.percentile(found, 99) == pytest.approx(mean * np.log(100), rel=0.12)


def test_one_process_with_constant_work_is_an_m_d_1_queue():
    found = seconds_of(Machine((Station(1, np.array([MEAN_S])),), cores=1), 0.7 / MEAN_S)
    assert found.mean() == pytest.approx(MEAN_S * (1 + 0.7 / (2 * (1 - 0.7))), rel=0.05)


def test_stations_one_after_another_are_independent_queues():
    # Burke's theorem: what leaves an M/M/1 queue arrives at the next one as if at random.
    two = Machine((Station(1, EXPONENTIAL), Station(1, EXPONENTIAL)), cores=2)
    found = seconds_of(two, 0.5 / MEAN_S)
    assert found.mean() == pytest.approx(2 * MEAN_S / (1 - 0.5), rel=0.06)


def test_many_processes_on_one_core_share_it():
    # Processor sharing has the mean of M/M/1, whatever the work is; with a process for each request.
    constant = Machine((Station(60, np.array([MEAN_S])),), cores=1)
    assert seconds_of(constant, 0.5 / MEAN_S, 200.0).mean() == pytest.approx(MEAN_S / (1 - 0.5), rel=0.08)


def test_an_idle_machine_adds_its_waits_only_and_others_take_their_share():
    demands = np.array([0.002, 0.004])
    machine = Machine((Station(1, demands), Station(2, demands)), cores=2, waits_s=0.003)
    arrivals = np.arange(500) * 1.0
    found = queueing.simulate(machine, arrivals, np.random.default_rng(0))
    assert set(np.round(found, 6)) == {0.007, 0.009, 0.011}
    shared = Machine((Station(1, np.array([0.01])),), cores=1, background=3)
    assert queueing.simulate(shared, arrivals, np.random.default_rng(0)) == pytest.approx(0.04)


def test_the_most_that_a_machine_does_is_where_its_queue_grows_without_end():
    machine = Machine((Station(1, np.array([0.002])), Station(2, np.array([0.01]))), cores=2)
    assert machine.most_per_s() == pytest.approx(1 / 0.006)
    below, above = (seconds_of(machine, machine.most_per_s() * share, 60.0) for share in (0.85, 1.15))
    assert below[-500:].mean() < 0.1
    assert above[-500:].mean() > 1
