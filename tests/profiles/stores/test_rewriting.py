"""Removed events, joined sessions and reversals: a store is as it would be without, or of one shopper."""

import uuid
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings

from tests.contracts.store_places import RedisServer
from tests.events.rows import day, events
from tests.profiles.histories import CONFIG, lookup
from tests.profiles.stores.rewriting import HISTORIES, STEPS, run_steps
from vrec.profiles.stores.factory import RedisConfig, SqliteConfig, open_store

RELAXED = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Place:
    """A store that keeps what was written, with the catalog and settings of `histories`."""

    def __init__(self, config):
        self.config = config

    def open(self):
        return open_store(self.config, lookup, CONFIG)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def new_place(request, tmp_path_factory):
    """Return a function that returns an empty place; profiles are written after three events."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield lambda: Place(SqliteConfig(path=str(folder / f"{uuid.uuid4().hex}.db"), fold_after=3))
        return
    server = RedisServer(folder)
    yield lambda: Place(RedisConfig(prefix=uuid.uuid4().hex, url_variable=server.variable, fold_after=3))
    server.stop()


@RELAXED
@given(history=HISTORIES, steps=STEPS)
def test_profiles_and_log_are_those_of_the_events_that_are_left(new_place, history, steps):
    run_steps(new_place(), history, steps)


@pytest.mark.parametrize("kinds", [("like", "unlike"), ("purchase", "refund")])
def test_a_pair_in_any_order_of_arrival_joined_and_removed(new_place, kinds):
    orders, senders = [(0, 1), (1, 0)], list(product(("session:s", "u"), repeat=2))
    for order, pair, joined, removed in product(orders, senders, range(3), (0, 1)):
        rows = [
            {
                "event_id": f"e0{n}",
                "kind": kind,
                "user_id": user,
                "video_id": "v0",
                "value": 2.0,
                "at": day(n),
            }
            for n, (kind, user) in enumerate(zip(kinds, pair, strict=True))
        ]
        steps = [("send", [place]) for place in order]
        steps.insert(joined, ("join", ("session:s", "u")))
        run_steps(new_place(), events(*rows), [*steps, ("remove", f"e0{removed}")])
