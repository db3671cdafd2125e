"""Pauses of work: in proportion to it, and none where somebody waits."""

import pytest

from vrec.core import pauses


@pytest.fixture
def slept(monkeypatch):
    """Lengths of the pauses, over a clock that each look at moves by a millisecond."""
    lengths, clock = [], iter(range(10_000))
    monkeypatch.setattr(pauses.time, "perf_counter", lambda: next(clock) / 1_000)
    monkeypatch.setattr(pauses.time, "sleep", lengths.append)
    return lengths


def test_work_pauses_in_proportion_to_its_length(slept):
    with pauses.with_pauses():
        for _ in range(300):
            pauses.pause_if_due()
    assert len(slept) > 50
    assert all(0.003 <= one / pauses.REST_SHARE < 0.0041 for one in slept)


def test_a_long_piece_pauses_for_a_bounded_time(monkeypatch):
    lengths, clock = [], iter([0.0, 100.0, 100.0])
    monkeypatch.setattr(pauses.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(pauses.time, "sleep", lengths.append)
    with pauses.with_pauses():
        pauses.pause_if_due()
    assert lengths == [pauses.MAX_REST_S]


def test_work_that_somebody_waits_for_and_other_work_do_not_pause(slept):
    with pauses.with_pauses(lambda: True):
        for _ in range(100):
            pauses.pause_if_due()
    for _ in range(100):
        pauses.pause_if_due()
    assert slept == []
