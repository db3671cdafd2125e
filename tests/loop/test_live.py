"""Clicks around a promotion, and the watch over a real HTTP service."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loop.shop_service import LoopService
from vrec.core.schema import EVENTS
from vrec.evaluation.promotion.config import WatchConfig
from vrec.loop.live import DAY_US, ServiceWatch, clicks_around
from vrec.loop.service import ServiceClient

MOVED = 1_760_000_000_000_000


def impressions(rows) -> pa.Table:
    """EVENTS of (shopper, µs from the promotion, clicked), each of a request of its own."""
    events = []
    for number, (user, offset, clicked) in enumerate(rows):
        one = {"user_id": user, "video_id": "v", "domain": "feed", "request_id": f"r{number}", "position": 0}
        events.append(one | {"event_id": f"i{number}", "kind": "impression", "at": MOVED + offset})
        if clicked:
            # Twice, as a client may send it.
            events += [
                one | {"event_id": f"c{number}{n}", "kind": "click", "at": MOVED + offset + n} for n in (1, 2)
            ]
    schema = EVENTS.arrow()
    place, field = schema.get_field_index("at"), schema.field("at")
    table = pa.Table.from_pylist(events, schema=schema.set(place, pa.field("at", pa.int64())))
    return table.set_column(place, field, table.column("at").cast(field.type))


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(-3 * DAY_US, DAY_US // 2), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_the_same_hours_of_the_days_before_are_compared(rows):
    before, after = clicks_around(impressions(rows), MOVED, days=2)
    newest = max(offset + (2 if clicked else 0) for _, offset, clicked in rows)
    length = max(newest, 0)
    early = [r for r in rows if -2 * DAY_US <= r[1] < 0 and (r[1] + 2 * DAY_US) % DAY_US <= length]
    late = [r for r in rows if r[1] >= 0]
    for found, wanted in ((before, early), (after, late)):
        assert found.impressions.sum() == len(wanted)
        assert len(found.impressions) == len({user for user, _, _ in wanted})
    assert after.clicks.sum() == sum(clicked for _, _, clicked in late)


@pytest.fixture
def service(tmp_path, shop_bundle):
    for name in ("one", "two"):
        shutil.copytree(shop_bundle.uri, tmp_path / "bundles" / name)
    made = LoopService(tmp_path / "service", tmp_path / "bundles")
    made.bundles.place("one")
    yield made
    made.close()


def a_watch(service, log, sleep, now=lambda: MOVED / 1e6):
    config = WatchConfig(minutes=10, poll_s=60, min_users=20)
    return ServiceWatch(ServiceClient(service.url), lambda: log, config, sleep=sleep, now=now)


def shoppers(rate_before: float, rate_after: float) -> pa.Table:
    rng = np.random.default_rng(3)
    rows = [
        (f"u{n}", -DAY_US + 1000 * n + i, rng.random() < rate_before) for n in range(400) for i in range(5)
    ]
    rows += [(f"u{n}", 1000 * n + i, rng.random() < rate_after) for n in range(400) for i in range(5)]
    return impressions(rows)


def test_it_ends_when_its_time_is_over_or_the_click_rate_has_fallen(service, shop_bundle):
    clock = [MOVED / 1e6]

    def sleep(seconds):
        clock[0] += seconds

    same = a_watch(service, shoppers(0.3, 0.3), sleep, lambda: clock[0]).run(shop_bundle.version, MOVED)
    assert (same.fallen, same.looks, same.ended) == (None, 11, "its time is over")
    assert same.as_json()["last"]["fallen"] is None
    fallen = a_watch(service, shoppers(0.3, 0.1), sleep).run(shop_bundle.version, MOVED)
    assert fallen.looks == 1
    assert "click rate" in fallen.fallen


def test_it_ends_when_somebody_moves_the_service(service, shop_bundle):
    found = a_watch(service, shoppers(0.3, 0.3), lambda _: None).run("another", MOVED)
    assert (found.fallen, found.looks, found.ended) == (None, 0, "the service was moved to one")
