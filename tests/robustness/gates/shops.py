"""Simulated days that tests of gates share, each simulated once."""

from functools import cache

import polars as pl
import pyarrow as pa

from vrec.robustness.gates.check import EventsGate
from vrec.robustness.gates.config import GatesConfig
from vrec.synthetic.faults.days import ShopDays, SimulatedDays, simulate_days

GOOD, JUDGED = (0, 7), (7, 12)
"""Days of the simulated log, from the first to before the last."""


@cache
def shop_days(seed: int) -> SimulatedDays:
    """Return the days of a shop; every second one has a sale among the judged days."""
    return simulate_days(ShopDays(seed=seed, shoppers=1000, sale_day=8 if seed % 2 else None))


def gate_of(events: pl.DataFrame, videos: pa.Table) -> EventsGate:
    """Return the counts of events."""
    gate = EventsGate(GatesConfig(), videos)
    gate.add(events)
    return gate
