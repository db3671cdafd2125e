"""Events that would move the figures of arms and must not, and the ones that count."""

import pyarrow as pa
import pytest

from vrec.config.serve import ExperimentConfig
from vrec.core.schema import EVENTS
from vrec.profiles.profile import VideoMetadata
from vrec.serving import attribution
from vrec.serving.attribution import ImpressionTracker
from vrec.serving.experiments import ArmCounts

MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
DAY_US = 24 * HOUR_US
NOW = 20_000 * DAY_US
START = NOW - 40 * DAY_US
LENGTHS = {"v": VideoMetadata({}, 20.0), "unknown length": VideoMetadata({}, None)}


def counted(*rows, since=START, now=NOW, **config):
    """Impressions, clicks, seconds and purchases after events of (kind, fields)."""
    counts = ArmCounts(ExperimentConfig(**config), facts=lambda _: LENGTHS, since=since)
    plain = {"user_id": "u", "video_id": "v", "request_id": "r", "domain": "d", "at": NOW, "value": None}
    full = [plain | {"event_id": str(n), "kind": kind} | fields for n, (kind, fields) in enumerate(rows)]
    counts.add(pa.Table.from_pylist(full, schema=EVENTS.arrow()), now)
    (arm,) = counts.snapshot().arms
    assert arm.users == (arm.impressions > 0)
    return arm.impressions, arm.clicks, arm.watch_s, arm.conversions


SHOWN = ("impression", {"at": NOW - HOUR_US})


@pytest.mark.parametrize("value", [1e9, 1e300, 20.5, 20.0])
def test_a_watch_counts_as_the_video_s_length_at_most(value):
    assert counted(SHOWN, ("watch", {"value": value})) == (1, 0, 20.0, 0)
    assert counted(SHOWN, ("watch", {"value": 7.5})) == (1, 0, 7.5, 0)


@pytest.mark.parametrize("name", ["unknown length", "not in the catalog"])
def test_a_watch_of_unknown_length_counts_as_the_setting_at_most(name):
    shown = ("impression", {"at": NOW - HOUR_US, "video_id": name})
    watch = ("watch", {"value": 1e9, "video_id": name})
    assert counted(shown, watch) == (1, 0, 3_600.0, 0)
    assert counted(shown, watch, longest_watch_s=60.0) == (1, 0, 60.0, 0)


def test_a_flood_of_events_counts_once_for_each_impression():
    watches = [("watch", {"value": 8.0})] * 50
    flood = [("click", {})] * 50 + [("purchase", {"value": 9.0})] * 50 + watches
    assert counted(SHOWN, *flood) == (1, 1, 20.0, 1)
    # The same impression again, with another event id, is no other impression.
    assert counted(*[SHOWN] * 50, *flood) == (1, 1, 20.0, 1)
    shown = [("impression", {"request_id": f"r{n}"}) for n in range(3)]
    each = [("click", {"request_id": f"r{n}"}) for n in range(3)]
    assert counted(*shown, *each, *each) == (3, 3, 0.0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "made-up"},
        {"user_id": "another shopper"},
        {"video_id": "not in the list"},
        {"at": NOW - HOUR_US - 1},
        {"at": NOW - 300 * DAY_US},
        {"at": NOW + 6 * MINUTE_US},
        {"at": NOW + 300 * DAY_US},
    ],
    ids=lambda fields: next(iter(fields.items())),
)
@pytest.mark.parametrize("kind", ["click", "watch", "purchase"])
def test_an_outcome_counts_only_after_an_impression_of_its_own(kind, fields):
    event = (kind, {"value": 1e9} | fields)
    assert counted(SHOWN, event) == (1, 0, 0.0, 0)
    # Neither alone, nor before the impression in the log.
    assert counted(event) == counted((kind, {})) == (0, 0, 0.0, 0)
    assert counted((kind, {}), SHOWN) == (1, 0, 0.0, 0)


def test_another_shopper_s_request_is_credited_to_nobody():
    theirs = ("impression", {"user_id": "w", "request_id": "theirs"})
    counts = ArmCounts(ExperimentConfig(), since=START)
    rows = [theirs, SHOWN, ("click", {"request_id": "theirs"}), ("purchase", {"request_id": "theirs"})]
    plain = {"user_id": "u", "video_id": "v", "request_id": "r", "domain": "d", "at": NOW, "value": None}
    full = [plain | {"event_id": str(n), "kind": kind} | fields for n, (kind, fields) in enumerate(rows)]
    counts.add(pa.Table.from_pylist(full, schema=EVENTS.arrow()), NOW)
    (arm,) = counts.snapshot().arms
    assert (arm.users, arm.impressions, arm.clicks, arm.conversions) == (2, 2, 0, 0)


def test_the_window_begins_at_the_impression_and_ends_with_its_hours():
    shown = ("impression", {"at": NOW - 2 * HOUR_US})
    for at, counts in ((-2 * HOUR_US, 1), (-1, 1), (0, 1), (1, 0)):
        assert counted(shown, ("click", {"at": NOW + at}), window_hours=2)[1] == counts


@pytest.mark.parametrize("days", [-300, -41, 1, 300])
def test_an_impression_dated_far_off_moves_nothing(days):
    """Before the A/B test, and before the window of the newest event, and in the future."""
    odd = ("impression", {"at": NOW + days * DAY_US, "request_id": "odd"})
    assert counted(odd) == (0, 0, 0.0, 0)
    after = [SHOWN, ("click", {"at": NOW - HOUR_US})]
    # Nor does it keep what comes after it from counting.
    assert counted(odd, *after) == counted(*after) == (1, 1, 0.0, 0)
    assert counted(*after, odd, ("click", {"request_id": "odd", "at": odd[1]["at"]})) == (1, 1, 0.0, 0)


def test_an_impression_of_the_test_s_time_is_too_late_once_the_log_is_a_window_ahead():
    late = ("impression", {"at": NOW - 2 * DAY_US, "request_id": "late"})
    assert counted(late, SHOWN) == (2, 0, 0.0, 0)
    assert counted(SHOWN, late) == (1, 0, 0.0, 0)
    assert counted(SHOWN, late, window_hours=72) == (2, 0, 0.0, 0)


def test_an_event_without_a_request_belongs_to_the_last_impression_of_its_video():
    shown = [("impression", {"at": NOW - n, "request_id": f"r{n}"}) for n in (30, 20, 10)]
    assert counted(*shown, ("click", {"request_id": None})) == (3, 1, 0.0, 0)
    last = ("click", {"request_id": "r10"})
    assert counted(*shown, ("click", {"request_id": None}), last) == (3, 1, 0.0, 0)
    assert counted(*shown, ("click", {"request_id": None, "at": NOW - 15}), last) == (3, 2, 0.0, 0)
    # Lists that are not vrec's have no request ids: each of their impressions counts.
    plain = ("impression", {"request_id": None})
    assert counted(plain, plain, ("click", {"request_id": None})) == (2, 1, 0.0, 0)
    assert counted(plain, ("click", {"request_id": "r"})) == (1, 0, 0.0, 0)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(attribution, "MAX_TRACKED_VIDEOS", 10)
    tracker = ImpressionTracker(1_000)
    for n in range(50):
        assert tracker.show(f"u{n}", "v", "r", n)
        assert tracker.show("often", "v", f"r{n}", n)
    assert len(tracker._shown) == 10
    assert max(map(len, tracker._shown.values())) == attribution.MAX_IMPRESSIONS_PER_VIDEO

    def credit(user, request):
        return tracker.credit(user, "v", request, 60, outcome="click", amount=1.0, limit=1.0).amount

    assert [credit(f"u{n}", "r") for n in (0, 40, 41, 49)] == [0, 0, 1, 1]
    assert [credit("often", f"r{n}") for n in (29, 30, 49)] == [0, 1, 1]


def test_a_refund_takes_back_the_conversion_and_its_minute():
    bought, later = ("purchase", {"at": NOW - MINUTE_US}), ("refund", {"request_id": None})
    assert counted(SHOWN, bought, later) == (1, 0, 0.0, 0)
    assert counted(SHOWN, bought, later, later) == (1, 0, 0.0, 0)
    assert counted(SHOWN, bought, bought, later) == (1, 0, 0.0, 1), "one of two purchases is left"
    assert counted(SHOWN, bought, bought, later, later) == (1, 0, 0.0, 0)
    assert counted(SHOWN, bought, later, bought) == (1, 0, 0.0, 1)
    assert counted(SHOWN, later, bought) == (1, 0, 0.0, 1), "the purchase has to be in the log first"
    for other in ({"user_id": "w"}, {"video_id": "w"}, {"request_id": "s"}, {"at": NOW - 2 * MINUTE_US}):
        assert counted(SHOWN, bought, ("refund", other)) == (1, 0, 0.0, 1)
    counts = ArmCounts(ExperimentConfig(), since=START)
    rows = [
        {"event_id": kind, "kind": kind, "user_id": "u", "video_id": "v", "domain": "d", "at": NOW + late}
        for kind, late in (("impression", 0), ("purchase", 2 * MINUTE_US), ("refund", 4 * MINUTE_US))
    ]
    counts.add(pa.Table.from_pylist(rows, schema=EVENTS.arrow()), NOW + 5 * MINUTE_US)
    assert [(one.impressions, one.conversions) for one in counts.snapshot().arms[0].minutes] == [
        (1, 0),
        (0, 0),
    ]
