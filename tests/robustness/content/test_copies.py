"""Who of several copies was first."""

from datetime import UTC, datetime

from vrec.robustness.content.copies import later_copies


def day(number):
    return datetime(2026, 1, number, tzinfo=UTC)


def test_the_first_published_is_first_then_the_first_by_id():
    dates = {"a": day(3), "b": day(2), "c": None, "d": day(2)}
    assert later_copies([["a", "b", "c", "d"]], dates) == {"a": "b", "c": "b", "d": "b"}
    assert later_copies([["c", "e"], ["f", "g"]], dates | {"g": None, "f": None}) == {"g": "f"}
    assert later_copies([], dates) == {}
