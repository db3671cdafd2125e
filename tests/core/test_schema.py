from datetime import UTC, datetime

import pyarrow as pa
import pytest

from vrec.core.errors import SchemaError, VideoError, video_errors
from vrec.core.schema import (
    EMBEDDINGS,
    FAILURES,
    FIRST_MICROS,
    LAST_MICROS,
    MEDIA,
    TIMESTAMP,
    VIDEOS,
    TableColumn,
    TableSchema,
    VectorType,
    conform,
)

SMALL = TableSchema(
    "SMALL",
    (
        TableColumn("video_id", pa.string()),
        TableColumn("weight", pa.float32()),
        TableColumn("at", pa.timestamp("us", tz="UTC")),
        TableColumn("title", pa.string(), nullable=True),
    ),
)


def test_conform_names_everything_wrong_at_once():
    table = pa.table({"video_id": [1], "weight": pa.array([None], pa.float32()), "colour": ["red"]})
    with pytest.raises(SchemaError) as caught:
        conform(table, SMALL, stage="ItemKnn.fit")
    assert str(caught.value) == (
        "ItemKnn.fit: video_id is int64, want string; weight has 1 null of 1; missing at; unknown colour"
    )


def test_conform_orders_columns_and_adds_absent_nullable_ones():
    table = pa.table(
        {
            "weight": pa.array([1.5], pa.float32()),
            "at": pa.array([0], pa.timestamp("us", tz="UTC")),
            "video_id": ["a"],
        }
    )
    got = conform(table, SMALL, stage="here")
    assert got.column_names == ["video_id", "weight", "at", "title"]
    assert got["title"].null_count == 1
    assert got.column("weight").type == pa.float32()


def test_conform_casts_nothing():
    table = pa.table({"video_id": ["a"], "weight": [1.0], "at": pa.array([0], pa.timestamp("us", tz="UTC"))})
    with pytest.raises(SchemaError, match="weight is double, want float"):
        conform(table, SMALL, stage="here")


def test_conform_drops_further_columns_only_when_told():
    table = SMALL.arrow().empty_table().append_column("colour", pa.array([], pa.string()))
    with pytest.raises(SchemaError, match="unknown colour"):
        conform(table, SMALL, stage="here")
    assert "colour" not in conform(table, SMALL, stage="here", extra=True).column_names


def test_vectors_must_be_float32_of_one_length():
    ragged = EMBEDDINGS.arrow(2).empty_table()
    place = ragged.column_names.index("vector")
    lists = ragged.set_column(place, "vector", pa.array([], pa.list_(pa.float32())))
    with pytest.raises(SchemaError, match="want fixed_size_list<float>"):
        conform(lists, EMBEDDINGS, stage="index")
    doubles = ragged.set_column(place, "vector", pa.array([], pa.list_(pa.float64(), 2)))
    with pytest.raises(SchemaError, match="want fixed_size_list<float>"):
        conform(doubles, EMBEDDINGS, stage="index")
    assert conform(ragged, EMBEDDINGS, stage="index").num_rows == 0


@pytest.mark.parametrize("schema", [VIDEOS, FAILURES, MEDIA])
def test_an_empty_table_of_the_schema_conforms(schema):
    assert conform(schema.arrow().empty_table(), schema, stage="x").schema.names == schema.arrow().names


def test_every_video_error_says_how_to_mend_it():
    kinds = video_errors()
    assert len(kinds) > 10
    for name, kind in kinds.items():
        if kind is not VideoError:
            assert kind.fix != VideoError.fix, name
        assert str(kind("what happened")) == "what happened"


def test_an_arrow_schema_has_the_vectors_length_and_needs_it():
    schema = EMBEDDINGS.arrow(3)
    assert schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert not schema.field("entity_id").nullable
    assert VIDEOS.arrow().field("title").nullable
    with pytest.raises(ValueError, match=r"EMBEDDINGS\.vector needs a dim"):
        EMBEDDINGS.arrow()


def test_conform_keeps_values_and_says_which_columns_may_hold_nulls():
    at = pa.array([5], pa.timestamp("us", tz="UTC"))
    table = pa.table({"video_id": ["a"], "weight": pa.array([2], pa.float32()), "at": at, "title": ["T"]})
    got = conform(table, SMALL, stage="here")
    assert got.to_pylist() == table.to_pylist()
    assert [field.nullable for field in got.schema] == [False, False, False, True]
    assert conform(table.set_column(3, "title", pa.array([None], pa.string())), SMALL, stage="here")[
        "title"
    ].to_pylist() == [None]


def test_conform_counts_nulls_and_names_the_stage_and_the_table():
    at = pa.array([0, 0, 0], pa.timestamp("us", tz="UTC"))
    table = pa.table({"video_id": ["a", None, None], "weight": pa.array([1, 2, 3], pa.float32()), "at": at})
    with pytest.raises(SchemaError) as caught:
        conform(table, SMALL, stage="fit")
    assert str(caught.value) == "fit: video_id has 2 nulls of 3"
    assert caught.value.fix == "give it the columns of SMALL in docs/tables.md"


def test_times_of_another_unit_or_zone_are_refused():
    for kind in (pa.timestamp("ms", tz="UTC"), pa.timestamp("us")):
        table = pa.table(
            {"video_id": ["a"], "weight": pa.array([1], pa.float32()), "at": pa.array([0], kind)}
        )
        with pytest.raises(SchemaError, match="at is timestamp"):
            conform(table, SMALL, stage="fit")


def test_a_list_is_compared_by_its_values_and_not_by_the_name_of_its_item():
    schema = TableSchema("TAGGED", (TableColumn("tags", pa.list_(pa.string())),))
    named = pa.table({"tags": pa.array([["a"]], pa.list_(pa.field("element", pa.string())))})
    assert conform(named, schema, stage="x")["tags"].to_pylist() == [["a"]]
    with pytest.raises(SchemaError, match="tags is list"):
        conform(pa.table({"tags": [[1]]}), schema, stage="x")
    with pytest.raises(SchemaError, match="tags is string"):
        conform(pa.table({"tags": ["a"]}), schema, stage="x")


def test_an_absent_nullable_vector_column_is_missing_because_its_length_is_unknown():
    schema = TableSchema("P", (TableColumn("v", VectorType(), nullable=True),))
    with pytest.raises(SchemaError, match="missing v"):
        conform(pa.table({"w": [1]}), schema, stage="x", extra=True)


def test_times_that_no_datetime_holds_are_counted_and_refused():
    ends = [FIRST_MICROS, LAST_MICROS, None]
    table = VIDEOS.arrow().empty_table()
    row = dict.fromkeys(table.column_names) | {
        "video_id": "v", "uri": "u", "kind": "clip", "tags": [], "product_ids": [], "creator_id": "c",
        "domain": "shop", "available": True, "published_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    rows = pa.Table.from_pylist([row] * 3, table.schema)
    place = rows.column_names.index("expires_at")
    for micros in (ends, [0, 1, 2], [None] * 3):
        times = pa.array(micros, pa.int64()).cast(TIMESTAMP)
        assert conform(rows.set_column(place, "expires_at", times), VIDEOS, stage="S").num_rows == 3
    outside = pa.array([FIRST_MICROS - 1, LAST_MICROS + 1, 0], pa.int64()).cast(TIMESTAMP)
    with pytest.raises(SchemaError, match="S: expires_at has 2 outside the years 1 to 9999, of 3"):
        conform(rows.set_column(place, "expires_at", outside), VIDEOS, stage="S")
