"""Scans of tables: nested columns, shares of a column, batches, and tables without personal data."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.table_batches import open_table
from vrec.privacy.pii.columns import redact_table, scan_table
from vrec.privacy.pii.config import PiiScanConfig

CONFIG = PiiScanConfig()
MAIL, PHONE = "ab@qq.com", "13812345678"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def stored(folder, table, rows=2):
    pq.write_table(table, folder / "t.parquet", row_group_size=rows)
    return open_table(str(folder / "t.parquet"))


def found(source, config=CONFIG):
    rows = [row for one in scan_table(source, config).values() for row in one.rows(config.min_share)]
    return {(row["column"], row["kind"]): row["values"] for row in rows if row["values"]}


def redacted(source, config=CONFIG):
    schema, batches = redact_table(source, scan_table(source, config), config)
    return pa.Table.from_batches(list(batches), schema)


def test_every_nested_place_is_looked_at_and_redacted(folder):
    point = pa.struct([("mail", pa.string()), ("n", pa.int64())])
    table = pa.table(
        {
            "tags": pa.array([["x", MAIL], None, [], [MAIL, None]]),
            "owner": pa.array(
                [{"mail": MAIL, "n": 1}, None, {"mail": None, "n": 2}, {"mail": "x", "n": None}], point
            ),
            "more": pa.array([[{"mail": "x", "n": int(PHONE)}], None, [], [None]], pa.list_(point)),
            "attributes": pa.array(
                [[("k", MAIL)], [(PHONE, "v")], None, []], pa.map_(pa.string(), pa.string())
            ),
            "number": pa.array([int(PHONE), None, None, int(PHONE)]),
            "float": pa.array([float(PHONE), None, 0.5, float("nan")]),
            "word": pa.array([MAIL, "x", MAIL, None]).dictionary_encode(),
            "video_id": ["v1", "v2", "v3", "v4"],
            "at": pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
        }
    )
    expected = {
        ("tags[]", "email"): 2,
        ("owner.mail", "email"): 1,
        ("more[].n", "phone"): 1,
        ("attributes{key}", "phone"): 1,
        ("attributes{}", "email"): 1,
        ("number", "phone"): 2,
        ("float", "phone"): 1,
        ("word", "email"): 2,
    }
    assert found(stored(folder, table)) == expected
    clean = redacted(stored(folder, table))
    assert found(stored(folder, clean)) == {}
    assert clean["tags"].to_pylist() == [["x", "[email]"], None, [], ["[email]", None]]
    assert clean["owner"].to_pylist()[::2] == [{"mail": "[email]", "n": 1}, {"mail": None, "n": 2}]
    assert clean["more"].to_pylist() == [[{"mail": "x", "n": "[phone]"}], None, [], [None]]
    assert clean["attributes"].to_pylist() == [[("k", "[email]")], [("[phone]", "v")], None, []]
    assert clean["number"].to_pylist() == ["[phone]", None, None, "[phone]"]
    assert clean["word"].to_pylist() == ["[email]", "x", "[email]", None]
    assert clean.select(["video_id", "at"]) == table.select(["video_id", "at"])


def test_bare_digits_count_where_most_of_a_column_s_numbers_are_valid(folder):
    rng = random.Random(0)
    ids = [str(rng.randrange(2 * 10**10, 10**11)) for _ in range(50)]
    mostly = stored(folder, pa.table({"contact": [*ids[:10], *[PHONE] * 40, *["unknown"] * 500]}))
    assert found(mostly) == {("contact", "phone"): 40}
    assert redacted(mostly)["contact"].to_pylist()[:11] == [*ids[:10], "[phone]"]
    few = stored(folder, pa.table({"order": [*ids, PHONE]}))
    assert found(few) == {}
    (row,) = scan_table(few, CONFIG)["order"].rows(CONFIG.min_share)
    assert (row["look_alikes"], row["values"]) == (1, 0)
    assert redacted(few)["order"].to_pylist()[-1] == PHONE


@given(
    st.lists(st.sampled_from([MAIL, PHONE, f"tel {PHONE}", "x", "20240131", None]), min_size=1),
    st.integers(1, 9),
)
def test_what_is_found_does_not_depend_on_batches_and_nothing_is_left(folder, values, rows):
    table = pa.table({"c": pa.array(values, pa.string())})
    together, apart = found(stored(folder, table, 1000)), found(stored(folder, table, rows))
    assert together == apart
    clean = redacted(stored(folder, table, rows))
    assert found(stored(folder, clean)) == {}
    kept = [value for value in clean["c"].to_pylist() if value in ("x", "20240131", None)]
    assert kept == [value for value in values if value in ("x", "20240131", None)]
