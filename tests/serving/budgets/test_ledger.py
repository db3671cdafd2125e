"""Debts of callers: paid back as time passes, and no more than a budget allows in the long run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.serving.budgets import ledger as module
from vrec.serving.budgets.ledger import CpuLedger, CpuRate


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def ledger(ms_per_second=100.0, burst_ms=200.0):
    clock = Clock()
    return CpuLedger(CpuRate(ms_per_second, burst_ms), clock), clock


def spend(book, caller, ms):
    book.end(caller, book.begin(caller), ms)


def test_lists_give_way_before_requests_are_refused_and_time_pays():
    book, clock = ledger()
    spend(book, "a", 200)
    assert not book.is_short("a")
    spend(book, "a", 150)
    assert book.is_short("a")
    assert book.wait_s("a") is None
    spend(book, "a", 200)
    assert book.wait_s("a") == 2
    assert not book.is_short("b")
    clock.now += book.wait_s("a")
    assert book.wait_s("a") is None
    assert book.is_short("a")
    clock.now += 2
    assert not book.is_short("a")


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 0.5)), max_size=200))
@settings(max_examples=60, deadline=None)
def test_whoever_is_let_in_takes_no_more_than_the_budget(requests):
    book, clock = ledger()
    taken, begun = 0.0, clock.now
    for ms, pause in requests:
        clock.now += pause
        if book.wait_s("a") is None:
            spend(book, "a", ms)
            taken += ms
    assert taken <= 2 * 200 + 50 + 100 * (clock.now - begun) + 1e-6


def test_many_that_begin_at_once_are_charged_before_they_end():
    book, _ = ledger()
    for _ in range(30):
        spend(book, "a", 0.0)
    spend(book, "a", 100)  # the usual cost is 20 now
    running = []
    while book.wait_s("a") is None and len(running) < 100:
        running.append(book.begin("a"))
    assert len(running) < 20
    for charged in running:
        book.end("a", charged, 0.0)
    assert book.wait_s("a") is None


def test_callers_without_debt_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MAX_CALLERS", 10)
    book, clock = ledger()
    spend(book, "heavy", 500)
    for number in range(100):
        spend(book, f"c{number}", 1)
        clock.now += 0.02
    assert len(book._accounts) <= 10
    for number in range(100):
        spend(book, f"d{number}", 1)
    assert len(book._accounts) <= 10
    assert book.is_short("heavy") == (500 - 100 * 2 > 200)
    assert book._accounts["heavy"].debt_ms == pytest.approx(300)
