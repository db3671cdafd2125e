"""Anonymous tables as a whole: what is written is anonymous by an independent count, and nothing else is."""

import warnings
from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import DataWarning, PrivacyError
from vrec.core.table_batches import TableBatches
from vrec.privacy.anonymous.config import AnonymousConfig
from vrec.privacy.anonymous.export import anonymise_table

QUASI = {
    "age": {"kind": "number", "widths": [10, 20]},
    "city": {"kind": "category", "parents": {"a": "north", "b": "north"}, "rare": 2},
}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["shopper-1", "shopper-2", "shopper-3", "shopper-4", "shopper-5", "", None]),
        st.sampled_from([21, 29, 31, 45, None]),
        st.sampled_from(["a", "b", "c", "d", None]),
        st.sampled_from(["x", "y", "z", None]),
    ),
    max_size=30,
)


def table_of(rows: list[tuple], *, batch: int = 4) -> TableBatches:
    """Return rows as a table in small batches, with a column `row` to find them again."""
    users, ages, cities, genres = ([row[n] for row in rows] for n in range(4))
    table = pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "age": pa.array(ages, pa.int32()),
            "city": pa.array(cities, pa.string()).dictionary_encode(),
            "genre": pa.array(genres, pa.string()),
            "note": pa.array([f"secret of {n}" for n in range(len(rows))]),
            "row": pa.array(range(len(rows)), pa.int64()),
        }
    )
    return TableBatches("t", table.schema, lambda: iter(table.to_batches(max_chunksize=batch)))


def config_of(**more) -> AnonymousConfig:
    given = {"quasi_identifiers": QUASI, "sensitive": ["genre", "row"], "k": 2} | more
    return AnonymousConfig.model_validate(given)


@given(
    rows=ROWS,
    k=st.integers(2, 3),
    diversity=st.integers(1, 3),
    bound=st.sampled_from([None, 0.3, 0.9]),
    numbers=st.booleans(),
)
def test_what_is_written_is_anonymous(rows, k, diversity, bound, numbers):
    config = config_of(k=k, diversity=diversity, max_suppressed=bound, numbers=numbers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            found = anonymise_table(table_of(rows), config)
    except PrivacyError:
        return
    written = pa.Table.from_batches(list(found.batches()), found.schema).to_pylist()
    report = found.report
    assert report["written"] == len(written) > 0
    assert report["written"] + report["suppressed"] + report["without_shopper"] == report["rows"] == len(rows)
    assert bound is None or report["suppressed"] <= bound * (len(rows) - report["without_shopper"]) + 1e-9
    by_class, traces = defaultdict(list), defaultdict(Counter)
    for row in written:
        source = rows[row["row"]]
        assert source[0], "rows without a shopper are left out"
        assert row["genre"] == source[3]
        traces[source[0]][row["age"], row["city"]] += 1
    for row in written:
        shopper = rows[row["row"]][0]
        joined = frozenset(traces[shopper].items()) if numbers else None
        by_class[joined, row["age"], row["city"]].append((shopper, row["genre"]))
    for alike in by_class.values():
        assert len({shopper for shopper, _ in alike}) >= k
        assert diversity == 1 or len({genre for _, genre in alike} - {None}) >= diversity
    if numbers:
        pairs = {(row["user_id"], rows[row["row"]][0]) for row in written}
        assert len(pairs) == len({number for number, _ in pairs}) == len({shopper for _, shopper in pairs})
        assert {number for number, _ in pairs} == set(range(1, len(pairs) + 1))
        # Of a shopper all rows are written, or none.
        assert [row[0] in traces for row in rows] == [
            n in {one["row"] for one in written} for n in range(len(rows))
        ]
    text = str(written)
    assert "shopper-" not in text
    assert "secret" not in text
    assert set(found.schema.names) == {"age", "city", "genre", "row"} | ({"user_id"} if numbers else set())


PEOPLE = [(f"shopper-{n}", 20 + n, "ab"[n % 2], "xyz"[n % 3]) for n in range(8)]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        yield


def test_levels_and_risk_are_reported():
    found = anonymise_table(table_of(PEOPLE), config_of(max_suppressed=0.0))
    assert found.report["levels"] == {"age": "bands of 10", "city": "value"}
    assert found.report["dropped"] == ["user_id", "note"]
    assert [row["share"] for row in found.report["risk"]["before"]] == [1.0] * 4
    assert [row["share"] for row in found.report["risk"]["after"]] == [0.0] * 4
    written = pa.Table.from_batches(list(found.batches()), found.schema)
    assert set(written["age"].to_pylist()) == {"[20, 30)"}


def test_the_risk_before_is_that_of_all_columns_as_they_came_in_all_batches():
    people = [(age, city) for age in (21, 22) for city in "ab"]
    for copies, share in ((1, 1.0), (2, 0.0)):
        rows = [(f"shopper-{n}", *who, "x") for n, who in enumerate(people * copies)]
        for batch in (1, 3, 100):
            report = anonymise_table(table_of(rows, batch=batch), config_of()).report
            assert [row["share"] for row in report["risk"]["before"]] == [share] * 4


def test_numbers_and_order_are_other_ones_in_each_export():
    rows = [(f"shopper-{n:03}", 25, "a", "x") for n in range(200)]
    columns = []
    for _ in range(2):
        found = anonymise_table(table_of(rows), config_of(numbers=True))
        columns.append(pa.Table.from_batches(list(found.batches()), found.schema))
    first, second = ({row["row"]: row["user_id"] for row in one.to_pylist()} for one in columns)
    assert first != second
    assert columns[0]["row"].to_pylist() not in (sorted(first), columns[1]["row"].to_pylist())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"k": 9}, "nothing is left at k = 9, of 8 rows of 8 shoppers; no column alone is the reason"),
        (
            {"k": 5, "quasi_identifiers": {"age": {"kind": "number", "widths": [1]}, "city": QUASI["city"]}},
            "nothing is left at k = 5, of 8 rows",
        ),
        (
            {"k": 3, "quasi_identifiers": {"age": {"kind": "number", "widths": [1]}, "city": QUASI["city"]}},
            "without age, which costs most, 100.0% of the rows would be left",
        ),
        (
            {"k": 2, "diversity": 4, "sensitive": ["genre"]},
            "and diversity = 4, of 8 rows of 8 shoppers; without genre, which costs most, 100.0%",
        ),
        ({"max_suppressed": 0.1, "k": 9}, "no levels leave out at most 10.0% of the rows"),
        ({"quasi_identifiers": {}, "sensitive": []}, "no column is to be written"),
        (
            {"quasi_identifiers": {name: {"kind": "category"} for name in "pqrstuvw"}},
            "no column p, q, r, s, t, u, v, w; the table has user_id, age",
        ),
        ({"shopper": "uid"}, "no column uid"),
        (
            {"quasi_identifiers": {"note": {"kind": "number", "widths": [1]}}},
            "note: the value of row 1 is no",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(more, said):
    with pytest.raises(PrivacyError) as refused:
        anonymise_table(table_of(PEOPLE, batch=8), config_of(**more))
    assert said in str(refused.value)
    assert "shopper-" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_tables_without_shoppers_or_with_lists_are_refused():
    with pytest.raises(PrivacyError, match="no row has a user_id"):
        anonymise_table(table_of([(None, 1, "a", "x"), ("", 1, "a", "x")]), config_of())
    with pytest.raises(PrivacyError, match="no row has a user_id"):
        anonymise_table(table_of([]), config_of())
    lists = pa.table({"user_id": ["a"], "tags": [["x"]]})
    table = TableBatches("t", lists.schema, lambda: iter(lists.to_batches()))
    with pytest.raises(PrivacyError, match=r"tags is a list<.*>, and has no single values"):
        anonymise_table(table, AnonymousConfig(sensitive=("tags",)))


def test_columns_of_other_types_are_written_or_refused():
    rows = 6
    table = pa.table(
        {
            "user_id": pa.array(range(rows), pa.int64()),
            "float_id": pa.array([1.0, float("nan"), 2.0, 3.0, float("nan"), 4.0]),
            "text_id": pa.array(["a", "NULL", "b", "nan", "", "c"]).dictionary_encode(),
            "no_id": pa.nulls(rows),
            "view": pa.array(["x"] * rows, pa.string_view()),
            "day": pa.array([date(2024, 1, 2)] * rows),
            "flag": [True] * rows,
            "price": pa.array([Decimal("19.99")] * rows),
            "lasts": pa.array([3] * rows, pa.duration("s")),
            "bytes": [b"x"] * rows,
        }
    )
    batches = TableBatches("t", table.schema, lambda: iter(table.to_batches(max_chunksize=4)))

    def written(**more) -> list[dict]:
        found = anonymise_table(batches, AnonymousConfig.model_validate({"k": 2} | more))
        return pa.Table.from_batches(list(found.batches()), found.schema).to_pylist()

    kinds = {
        "day": {"kind": "time", "units": ["month"]},
        "flag": {"kind": "category"},
        "price": {"kind": "number", "widths": [5]},
        "view": {"kind": "prefix", "lengths": [1]},
    }
    found = written(quasi_identifiers=kinds, sensitive=["no_id", "bytes", "lasts"])
    row = {"day": "2024-01", "flag": "true", "price": "[15, 20)", "view": "x"}
    assert found == [row | {"no_id": None, "bytes": b"x", "lasts": timedelta(seconds=3)}] * rows
    assert written(sensitive=["view"]) == [{"view": "x"}] * rows
    for ids, someone in (("float_id", 4), ("text_id", 3)):
        assert len(written(sensitive=["flag"], shopper=ids)) == someone
    for more, said in (
        ({"sensitive": ["flag"], "shopper": "no_id"}, "no row has a no_id"),
        ({"sensitive": ["flag"], "shopper": "bytes"}, "bytes is binary, which holds no ids"),
        ({"quasi_identifiers": {"lasts": {"kind": "category"}}}, "and has no text"),
    ):
        with pytest.raises(PrivacyError, match=said):
            written(**more)


def test_a_sensitive_column_that_names_shoppers_is_warned_of():
    with pytest.warns(DataWarning, match="row: 100% of its values are those of one shopper each"):
        anonymise_table(table_of(PEOPLE), config_of())


@pytest.mark.parametrize(
    "more",
    [
        {"k": 0},
        {"k": 1},
        {"diversity": 0},
        {"sensitive": ["age"]},
        {"sensitive": ["user_id"]},
        {"sensitive": ["genre", "genre"]},
        {"max_suppressed": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(more):
    with pytest.raises(ValueError, match=r"k|diversity|is named twice|max_suppressed"):
        config_of(**more)


def test_the_row_of_a_bad_value_is_that_of_the_table():
    ages = ["21", "22", "23", "24", "25", "old", "27"]
    table = pa.table({"user_id": [str(n) for n in range(7)], "age": ages})
    batches = TableBatches("t", table.schema, lambda: iter(table.to_batches(max_chunksize=2)))
    with pytest.raises(PrivacyError, match=r"^age: the value of row 6 is no finite number$"):
        anonymise_table(batches, config_of(quasi_identifiers={"age": QUASI["age"]}, sensitive=[]))
