"""Conversion of columns: bounds that belong to the range, units of time at their limits, absent values."""

import datetime as dt

import polars as pl
import pytest

from vrec.events.columns import POLARS_TIMESTAMP, as_number, as_text, as_time, as_whole_number
from vrec.events.polars_tables import describe_invalid

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "above", "message"),
    [
        ([0.0, 1.0], False, None),
        ([0.0, 1.0], True, "x has 1 not a number above 0 to 1 of 2, such as 0.0 in row 1"),
        ([1.0, 1.25], True, "x has 1 not a number above 0 to 1 of 2, such as 1.25 in row 2"),
        ([-0.25, float("inf"), None], False, "x has 2 not a number from 0 to 1 of 3, such as -0.25 in row 1"),
        ([None, None], True, None),
    ],
)
def test_the_upper_bound_is_valid_and_the_lower_one_unless_above(values, above, message):
    number, problem = as_number(pl.Series("x", values, dtype=pl.Float64), 0, 1, above=above)
    assert problem == message
    assert number.dtype == pl.Float32
    assert number.null_count() == values.count(None)


def test_infinity_is_no_number_even_without_an_upper_bound():
    _, problem = as_number(pl.Series("x", [1.0, float("inf")]), 0, float("inf"))
    assert problem == "x has 1 not a number from 0 of 2, such as inf in row 2"


def test_whole_numbers_end_at_the_most():
    number, problem = as_whole_number(pl.Series("x", ["0", " 7 ", None]), 7)
    assert problem is None
    assert (number.dtype, number.to_list()) == (pl.Int16, [0, 7, None])
    assert (
        as_whole_number(pl.Series("x", [8]), 7)[1]
        == "x has 1 not a number from 0 to 7 of 1, such as 8 in row 1"
    )
    assert (
        as_whole_number(pl.Series("x", [6.5]), 7)[1]
        == "x has 1 not a whole number of 1, such as 6.5 in row 1"
    )


@pytest.mark.parametrize(
    ("number", "micros"),
    [
        (10**11 - 1, (10**11 - 1) * 1_000_000),
        (10**11, 10**11 * 1_000),
        (10**14 - 1, (10**14 - 1) * 1_000),
        (10**14, 10**14),
        (10**17, 10**17),
    ],
)
def test_the_limit_of_a_unit_belongs_to_the_next(number, micros):
    time, problem = as_time(pl.Series("at", [number]))
    assert problem is None
    assert time.to_physical().to_list() == [pytest.approx(micros, rel=1e-12)]


def test_fractions_of_a_unit_are_rounded_to_microseconds():
    assert as_time(pl.Series("at", [1.0000006]))[0].to_physical().to_list() == [1_000_001]
    assert as_time(pl.Series("at", [1e11 + 0.25]))[0].to_physical().to_list() == [10**14 + 250]


def test_smaller_numbers_are_of_another_unit_than_the_greatest():
    time, problem = as_time(pl.Series("at", [10**11, 10**11 - 1]))
    assert problem is not None
    assert "at has 1 below 1e+11, another unit than the greatest (100000000000, read as ms)," in problem
    assert "such as 99999999999 in row 2" in problem
    assert len(time) == 2
    _, problem = as_time(pl.Series("at", [10**14, 10**14 - 1]))
    assert problem is not None
    assert "below 1e+14" in problem
    assert "read as µs" in problem


@pytest.mark.parametrize(
    "column", [pl.Series("at", [None, None], dtype=pl.Int64), pl.Series("at", [], dtype=pl.Int64)]
)
def test_no_number_gives_no_time(column):
    time, problem = as_time(column)
    assert problem is None
    assert (time.dtype, time.to_list()) == (POLARS_TIMESTAMP, [None] * len(column))


def test_absent_texts_stay_absent():
    time, problem = as_time(pl.Series("at", ["2026-03-01T00:00:01+01:00", None]))
    assert problem is None
    assert time.to_list() == [dt.datetime(2026, 2, 28, 23, 0, 1, tzinfo=dt.UTC), None]
    time, problem = as_time(pl.Series("at", ["5", None]))
    assert problem is None
    assert time.to_list() == [EPOCH + dt.timedelta(seconds=5), None]


def test_other_types_are_rejected_with_as_many_nulls():
    for convert, dtype in (
        (as_text, pl.String),
        (as_time, POLARS_TIMESTAMP),
        (lambda c: as_number(c, 0, 1), pl.Float32),
    ):
        column, problem = convert(pl.Series("x", [[1], [2]]))
        assert problem is not None
        assert problem.startswith("x is list(int64), want ")
        assert (column.dtype, column.to_list()) == (dtype, [None, None])


def test_invalid_values_are_counted_and_the_first_is_shown():
    frame = pl.DataFrame({"x": ["a", None, "b"]})
    assert describe_invalid(frame, "x", pl.Series([False] * 3), "bad") is None
    assert describe_invalid(frame, "x", pl.Series([False, True, True]), "bad") == (
        "x has 2 bad of 3, such as null in row 2"
    )
    assert describe_invalid(frame, "x", pl.Series([False, False, True]), "bad") == (
        "x has 1 bad of 3, such as 'b' in row 3"
    )
