"""Levels of columns: what is left of a value, and values that are refused."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vrec.core.errors import PrivacyError
from vrec.privacy.anonymous.config import QuasiColumn
from vrec.privacy.anonymous.levels import build_levels, leveler_of

COLUMN = TypeAdapter(QuasiColumn)


def labels(values: pl.Series, **config) -> list[list[str | None]]:
    """Return the labels of values at each level of a column."""
    leveler = leveler_of(COLUMN.validate_python(config))
    reduced = leveler.reduce(values)
    return [leveler.label(reduced, level).to_list() for level in range(len(leveler.names))]


def test_numbers_lie_in_the_bands_that_begin_at_multiples_of_the_width():
    found = labels(pl.Series([0.3, 0.7, 19.99, -0.05, None]), kind="number", widths=[0.1, 20])
    assert found == [
        ["[0.3, 0.4)", "[0.7, 0.8)", "[19.9, 20)", "[-0.1, 0)", None],
        ["[0, 20)", "[0, 20)", "[0, 20)", "[-20, 0)", None],
    ]
    assert labels(pl.Series([" 24", "39", None]), kind="number", widths=[10])[0] == [
        "[20, 30)",
        "[30, 40)",
        None,
    ]


@given(value=st.integers(-100_000, 100_000), widths=st.sampled_from([[1, 5, 10], [5, 15], [7]]))
def test_a_whole_number_is_in_its_band(value, widths):
    for width, (text,) in zip(widths, labels(pl.Series([value]), kind="number", widths=widths), strict=True):
        low, high = (int(part) for part in text.strip("[)").split(", "))
        assert low <= value < high
        assert (high - low, low % width) == (width, 0)


@pytest.mark.parametrize("values", [["12", "x"], ["12", "inf"], [1.0, float("inf")], [1e300]])
def test_what_is_no_number_is_refused_without_its_text(values):
    with pytest.raises(PrivacyError, match=rf"^age: the value of row {len(values)} is no finite number$"):
        labels(pl.Series("age", values), kind="number", widths=[1])


def test_times_are_shortened_in_utc():
    at = datetime(2024, 12, 30, 23, 59, tzinfo=UTC)
    units = ["hour", "day", "week", "month", "quarter", "year"]
    found = labels(pl.Series([at, None]), kind="time", units=units)
    assert [one for one, _ in found] == [
        "2024-12-30T23",
        "2024-12-30",
        "2025-W01",
        "2024-12",
        "2024-Q4",
        "2024",
    ]
    assert {none for _, none in found} == {None}
    shanghai = pl.Series([at]).dt.convert_time_zone("Asia/Shanghai")
    assert labels(shanghai, kind="time", units=["day"]) == [["2024-12-30"]]
    with pytest.raises(PrivacyError, match="want times"):
        labels(pl.Series([3]), kind="time", units=["day"])


def test_categories_climb_and_texts_are_cut():
    parents = {"sneaker": "shoes", "shoes": "clothing", "boot": "shoes"}
    found = labels(pl.Series(["sneaker", "shoes", "mug", None]), kind="category", parents=parents)
    assert found == [
        ["sneaker", "shoes", "mug", None],
        ["shoes", "clothing", "mug", None],
        ["clothing", "clothing", "mug", None],
    ]
    cut = labels(pl.Series(["94043", "940", "9", None]), kind="prefix", lengths=[3, 1])
    assert cut == [["940*", "940", "9", None], ["9*", "9*", "9", None]]


def test_rare_categories_are_counted_by_shoppers():
    config = COLUMN.validate_python({"kind": "category", "rare": 2})
    values, codes = pl.Series(["a", "b", "c", None]), np.array([0, 0, 1, 1, 1, 2, 3])
    shoppers = np.array([1, 2, 1, 1, 1, 3, 4])
    first, last = build_levels(config, values, codes, shoppers)
    assert [first.labels[code] for code in first.codes] == ["a", "other", "other", None]
    assert (last.name, last.labels, last.codes.tolist()) == ("hidden", ("*",), [0, 0, 0, 0])
    kept = COLUMN.validate_python({"kind": "category", "may_hide": False})
    assert [level.name for level in build_levels(kept, values, codes, shoppers)] == ["value"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kind": "number", "widths": []}, "at least 1"),
        ({"kind": "number", "widths": [0]}, "greater than 0"),
        ({"kind": "number", "widths": [5, 12]}, "multiples of 5"),
        ({"kind": "number", "widths": [5, 5]}, "want greater ones"),
        ({"kind": "time", "units": ["second"]}, "'hour', 'day'"),
        ({"kind": "category", "parents": {"a": "b", "b": "a"}}, "one of its own"),
        ({"kind": "prefix", "lengths": [1, 3]}, "want each smaller"),
    ],
)
def test_levels_that_make_no_sense_are_refused(config, said):
    with pytest.raises(ValidationError, match=said):
        COLUMN.validate_python(config)
