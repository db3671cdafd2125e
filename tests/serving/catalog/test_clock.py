"""Stamps of changes: later than everything known, whatever a machine's clock says."""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from vrec.serving.catalog.clock import FIRST_STAMP, HybridClock, Stamp


@given(st.lists(st.integers(-(10**17), 10**17), min_size=1), st.integers(0, 10**17))
def test_stamps_grow_while_the_machine_s_clock_jumps(readings, seen):
    left = iter(readings)
    clock = HybridClock(lambda: next(left))
    clock.observe(Stamp(seen, 5, "other"))
    stamps = [Stamp(seen, 5, "other"), *(clock.tick() for _ in readings)]
    assert all(a[:2] < b[:2] for a, b in pairwise(stamps))
    assert all(stamp.time == max([seen, *readings[: n + 1]]) for n, stamp in enumerate(stamps[1:]))


def test_clocks_of_two_processes_have_names_of_their_own_and_all_stamps_an_order():
    one, other = HybridClock(lambda: 7), HybridClock(lambda: 7)
    a, b = one.tick(), other.tick()
    assert a[:2] == b[:2] == (7, 0)
    assert (a < b) != (b < a)
    assert one.tick() == Stamp(7, 1, one.node)
    assert min(a, b) > FIRST_STAMP
